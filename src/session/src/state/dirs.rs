//! Directories of ours: opened by descriptor, made with their mode, refused
//! when others could write to them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat, mkdirat};

use super::REMEDY;
use crate::error::{Error, Result, refuse_unsafe};
use crate::sys;

const PRIVATE_DIR: Mode = Mode::S_IRWXU;

pub(super) fn dir_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

/// The state directory, made if it is missing.
pub(super) fn top(state_dir: &Path, euid: u32) -> Result<OwnedFd> {
    let top = match open(state_dir, dir_flags(), Mode::empty()) {
        Err(Errno::ENOENT) => {
            make_dir(AT_FDCWD, state_dir, state_dir)?;
            open(state_dir, dir_flags(), Mode::empty())
        }
        other => other,
    }
    .map_err(|e| Error::io("open the state directory", state_dir, e).with_remedy(REMEDY))?;
    check_dir(&top, state_dir, euid, 0o022)?;
    Ok(top)
}

/// A directory inside, which lets nobody in; made if it is missing.
pub(super) fn enter(parent: &OwnedFd, name: &str, path: &Path, euid: u32) -> Result<OwnedFd> {
    let flags = dir_flags() | OFlag::O_NOFOLLOW;
    let dir = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => {
            make_dir(parent, Path::new(name), path)?;
            openat(parent, name, flags, Mode::empty())
        }
        other => other,
    }
    .map_err(|e| Error::io("open the state directory", path, e).with_remedy(REMEDY))?;
    check_dir(&dir, path, euid, 0o077)?;
    Ok(dir)
}

fn make_dir(parent: impl AsFd, name: &Path, path: &Path) -> Result<()> {
    match mkdirat(parent.as_fd(), name, PRIVATE_DIR) {
        // The host's umask is not ours.
        Ok(()) => fchmodat(
            parent.as_fd(),
            name,
            PRIVATE_DIR,
            FchmodatFlags::FollowSymlink,
        ),
        // Another login was first.
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
    .map_err(|e| Error::io("make the state directory", path, e).with_remedy(REMEDY))
}

/// Refuses a directory of somebody else, or with a forbidden bit in its mode.
pub(super) fn check_dir(dir: &OwnedFd, path: &Path, euid: u32, forbidden: u32) -> Result<()> {
    let stat = fstat(dir).map_err(|e| Error::io("look at the state directory", path, e))?;
    refuse_unsafe(path, &stat, euid, forbidden)
}

/// The names in a directory that are text.
pub(super) fn entries(dir: &OwnedFd, path: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::io("list the records in", path, e);
    let mut dir = sys::open_dir(dir, ".").map_err(failed)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().to_str() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
