//! The private store: a directory of one session's own, in memory.
//!
//! `<run_dir>/tokens/<session id>/` belongs to the user, mode 0700, and holds the
//! session's tokens and links to the user's own. It has two sides. Root makes
//! and removes the directory, by descriptors and on paths that root alone
//! controls; it never looks inside. What is inside is the user's: [`write`](fn@write),
//! [`renew`], [`clear`](fn@clear) and [`link`] run on the thread that has become the user (see
//! [`crate::acting`]), and may be called on no other.

mod clear;
mod links;
mod mounts;
mod parent;
mod root;
mod write;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use nix::{NixPath, fcntl};
use zeroize::Zeroizing;

pub use clear::{Cleared, clear};
pub use links::{Links, link};
pub use root::{check, detach, end, list, make, owner, path, remove_dir};
pub use write::{remove, renew, write};

use crate::error::{Error, Result};
use crate::name::TokenName;
use crate::sys;

/// A token file: its name and its bytes.
pub type TokenFile = (TokenName, Arc<Zeroizing<Vec<u8>>>);

/// Of linux/magic.h; the C library does not name it.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

const PRIVATE_DIR: Mode = Mode::S_IRWXU;
/// For the user's part.
const REMEDY: &str = "check what its user has put there, and the space in memory file systems";

fn dir_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// Whether the file system of an open directory is in memory.
fn is_in_memory(dir: impl AsFd) -> nix::Result<bool> {
    let kind = fstatfs(dir)?.filesystem_type();
    Ok(kind == TMPFS_MAGIC || kind == RAMFS_MAGIC)
}

/// The session's directory, opened as its user; none if it is not there.
fn open_own(dir: &Path) -> Result<Option<OwnedFd>> {
    let failed = |e| Error::io("open the private store", dir, e).with_remedy(REMEDY);
    let (fd, stat) = match open_dir(AT_FDCWD, dir) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other.map_err(failed)?,
    };
    let what = if stat.st_uid != sys::fs_uid() {
        format!("is owned by uid {}, not by the user", stat.st_uid)
    } else if !is_in_memory(&fd).map_err(failed)? {
        "is not in memory: something is mounted on it".to_owned()
    } else {
        return Ok(Some(fd));
    };
    Err(Error::Unsafe {
        path: dir.to_owned(),
        what,
        remedy: "it goes when its session ends".to_owned(),
    })
}

/// Opens a directory of the user's for good or ill: a mode that keeps the user
/// out is changed, a link is not followed.
fn open_dir<P: NixPath + ?Sized>(parent: impl AsFd, name: &P) -> nix::Result<(OwnedFd, FileStat)> {
    let parent = parent.as_fd();
    let dir = match openat(parent, name, dir_flags(), Mode::empty()) {
        Err(Errno::EACCES) => {
            let flags = dir_flags() | OFlag::O_PATH;
            let closed = openat(parent, name, flags, Mode::empty())?;
            // The very directory, whatever has its name by now.
            let path = fd_path(&closed);
            fchmodat(
                fcntl::AT_FDCWD,
                path.as_str(),
                PRIVATE_DIR,
                FchmodatFlags::FollowSymlink,
            )?;
            openat(parent, name, dir_flags(), Mode::empty())?
        }
        other => other?,
    };
    let stat = fstat(&dir)?;
    if stat.st_mode & libc::S_IRWXU != libc::S_IRWXU {
        // Another user's directory stays as it is.
        let _ = fchmod(&dir, PRIVATE_DIR);
    }
    Ok((dir, stat))
}

/// A path that leads to an open file and to nothing else.
fn fd_path(fd: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/thread-self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests;
