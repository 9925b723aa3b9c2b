//! `<run_dir>/tokens`, in which every session has its directory: root's alone,
//! in memory, and passed through by users who can not list it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat, stat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::root::REMEDY;
use super::{dir_flags, is_in_memory, mounts};
use crate::error::{Error, Result, refuse_unsafe};
use crate::name::SessionId;
use crate::run_dir;

pub(super) const TOKENS: &str = "tokens";

const TOKENS_MODE: Mode = Mode::from_bits_truncate(0o711);

/// The directory, open and checked.
pub(super) struct Parent {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
}

impl Parent {
    /// Makes it if it is missing, and `run_dir` with it.
    pub(super) fn make(run_dir: &Path, euid: u32) -> Result<Self> {
        let failed = |e| Error::io("make the directory", run_dir, e).with_remedy(REMEDY);
        run_dir::make(run_dir).map_err(failed)?;
        let follow = dir_flags() - OFlag::O_NOFOLLOW;
        let run = open(run_dir, follow, Mode::empty()).map_err(failed)?;
        let path = run_dir.join(TOKENS);
        let fd = open_or_make(&run, &path)?;
        let stat = fstat(&fd).map_err(|e| Error::io("look at", &path, e))?;
        if stat.st_uid == euid && stat.st_mode & 0o777 != 0o711 && stat.st_mode & 0o022 == 0 {
            // Another login has just made it, under a umask that is not ours.
            fchmod(&fd, TOKENS_MODE).map_err(|e| Error::io("open up", &path, e))?;
        }
        let parent = Self::checked(run_dir, &run, fd, euid)?;
        if !is_in_memory(&parent.fd).map_err(|e| Error::io("look at", &path, e))? {
            return Err(Error::Unsafe {
                path,
                what: "is on a disk: a token would outlive the machine there".to_owned(),
                remedy: "point run_dir below /run, mount a tmpfs there, or use \
                         store = \"home\""
                    .to_owned(),
            });
        }
        Ok(parent)
    }

    /// None if no session ever had a private store since the machine started.
    pub(super) fn open(run_dir: &Path, euid: u32) -> Result<Option<Self>> {
        let path = run_dir.join(TOKENS);
        let failed = |e| Error::io("open", &path, e).with_remedy(REMEDY);
        let run = match open(run_dir, dir_flags() - OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ENOENT) if is_missing(run_dir) => return Ok(None),
            run => run.map_err(failed)?,
        };
        match openat(&run, TOKENS, dir_flags(), Mode::empty()) {
            Err(Errno::ENOENT) if is_missing(&path) => Ok(None),
            fd => Self::checked(run_dir, &run, fd.map_err(failed)?, euid).map(Some),
        }
    }

    fn checked(run_dir: &Path, run: &OwnedFd, fd: OwnedFd, euid: u32) -> Result<Self> {
        let path = run_dir.join(TOKENS);
        for (path, dir) in [(run_dir, run), (&path, &fd)] {
            let stat = fstat(dir).map_err(|e| Error::io("look at", path, e))?;
            refuse_unsafe(path, &stat, euid, 0o022)?;
            if stat.st_mode & 0o111 != 0o111 {
                return Err(Error::Unsafe {
                    path: path.to_owned(),
                    what: "lets no user pass to their private store".to_owned(),
                    remedy: format!("run `chmod a+x {}`", path.display()),
                });
            }
        }
        Ok(Self { fd, path })
    }

    /// Removes a session's directory if it is empty; what is mounted on it is detached.
    pub(super) fn remove(&self, session: SessionId) -> nix::Result<bool> {
        let name = session.to_string();
        let remove = || unlinkat(&self.fd, name.as_str(), UnlinkatFlags::RemoveDir);
        let removed = match remove() {
            Err(Errno::EBUSY) => {
                // The answer to the next try says what came of it.
                let _ = mounts::detach(&self.fd, &name);
                remove()
            }
            other => other,
        };
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// A second look at what was not seen: a record that is given up takes with it all that is known
/// of the tokens in here.
fn is_missing(path: &Path) -> bool {
    stat(path) == Err(Errno::ENOENT)
}

/// Opens the directory inside; one that had to be made gets exactly its mode.
fn open_or_make(run: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let failed = |e| Error::io("make the directory", path, e).with_remedy(REMEDY);
    let is_new = match openat(run, TOKENS, dir_flags(), Mode::empty()) {
        Err(Errno::ENOENT) => match mkdirat(run, TOKENS, TOKENS_MODE) {
            Ok(()) => true,
            // Another login was first.
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(failed(errno)),
        },
        dir => return dir.map_err(failed),
    };
    let dir = openat(run, TOKENS, dir_flags(), Mode::empty()).map_err(failed)?;
    if is_new {
        // The host's umask is not ours.
        fchmod(&dir, TOKENS_MODE).map_err(failed)?;
    }
    Ok(dir)
}
