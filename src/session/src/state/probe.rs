//! Whether records can be written, found out without making or leaving anything.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access};

use super::dirs::{check_dir, dir_flags};
use super::{PRIVATE_FILE, REMEDY, SESSIONS};
use crate::error::{Error, Result};

/// What [`probe`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The directory is there and a record can be written.
    Ready,
    /// It is not there and can be made.
    Missing,
}

/// Whether records can be written below `state_dir`; makes and leaves nothing.
pub fn probe(state_dir: &Path, euid: u32) -> Result<Probe> {
    let failed = |path: &Path, e| Error::io("write to", path, e).with_remedy(REMEDY);
    let top = match open(state_dir, dir_flags(), Mode::empty()) {
        Ok(top) => top,
        Err(Errno::ENOENT) => {
            let parent = state_dir.parent().unwrap_or(Path::new("/"));
            access(parent, AccessFlags::W_OK).map_err(|e| failed(parent, e))?;
            return Ok(Probe::Missing);
        }
        Err(errno) => return Err(failed(state_dir, errno)),
    };
    check_dir(&top, state_dir, euid, 0o022)?;
    let path = state_dir.join(SESSIONS);
    let inner = match open(&path, dir_flags() | OFlag::O_NOFOLLOW, Mode::empty()) {
        Ok(inner) => {
            check_dir(&inner, &path, euid, 0o077)?;
            inner
        }
        Err(Errno::ENOENT) => top,
        Err(errno) => return Err(failed(&path, errno)),
    };
    // A file without a name: a full or read-only file system says so, and nothing is left.
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(&inner, ".", flags, PRIVATE_FILE).map_err(|e| failed(state_dir, e))?;
    File::from(file)
        .write_all(&[b' '; 4096])
        .map_err(|e| Error::io("write to", state_dir, e).with_remedy(REMEDY))?;
    Ok(Probe::Ready)
}
