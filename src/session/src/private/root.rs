//! Root's side: the directory itself, never what is in it.
//!
//! All of this happens below `<run_dir>/tokens`, which nobody but root can
//! write to, so no name there is a link of a user's. A user can mount a file
//! system of theirs (FUSE) on their directory: none of the calls here enters it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::parent::{Parent, TOKENS};
use super::{Cleared, PRIVATE_DIR, clear, dir_flags, mounts};
use crate::acting::as_user;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::name::SessionId;
use crate::sys;
use crate::user::User;

pub(super) const REMEDY: &str = "check the file system that run_dir is on";
/// So many times a directory is looked through in one call, at most.
const ROUNDS: usize = 4;

/// Where the private store of a session is.
pub fn path(run_dir: &Path, session: SessionId) -> PathBuf {
    run_dir.join(TOKENS).join(session.to_string())
}

/// Whether sessions could have a private store here; makes what all of them share.
pub fn check(run_dir: &Path, euid: u32) -> Result<()> {
    Parent::make(run_dir, euid).map(drop)
}

/// Makes the directory of a session, for its user alone; `euid` is the effective
/// uid of this process. One that is there already is kept if anything is in it.
///
/// Fails if `run_dir` is not root's alone, lets no user pass, or is not in memory.
pub fn make(run_dir: &Path, session: SessionId, user: &User, euid: u32) -> Result<PathBuf> {
    let parent = Parent::make(run_dir, euid)?;
    let path = path(run_dir, session);
    let failed = |e| Error::io("make the private store", &path, e).with_remedy(REMEDY);
    let name = session.to_string();
    match mkdirat(&parent.fd, name.as_str(), PRIVATE_DIR) {
        Err(Errno::EEXIST) => match parent.remove(session) {
            // It was made as a whole before, or nothing could be in it.
            Err(Errno::ENOTEMPTY) => return Ok(path),
            removed => removed
                .and_then(|_| mkdirat(&parent.fd, name.as_str(), PRIVATE_DIR))
                .map_err(failed)?,
        },
        made => made.map_err(failed)?,
    }
    if let Err(errno) = hand_over(&parent.fd, &name, user, euid) {
        let _ = unlinkat(&parent.fd, name.as_str(), UnlinkatFlags::RemoveDir);
        return Err(failed(errno));
    }
    Ok(path)
}

/// Gives a directory that was just made to its user.
fn hand_over(parent: &OwnedFd, name: &str, user: &User, euid: u32) -> nix::Result<()> {
    let dir = openat(parent, name, dir_flags(), Mode::empty())?;
    // The host's umask is not ours.
    fchmod(&dir, PRIVATE_DIR)?;
    if euid == 0 {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        fchown(&dir, Some(uid), Some(gid))?;
    }
    let stat = fstat(&dir)?;
    let is_theirs = stat.st_uid == user.uid && stat.st_mode & 0o7777 == PRIVATE_DIR.bits();
    if is_theirs { Ok(()) } else { Err(Errno::EPERM) }
}

/// Removes the directory of a session once it is empty: false if it was not there.
///
/// A file system that is mounted on it is detached. What is in it has to be
/// removed before, as the user ([`clear()`]); if something still is, that is an
/// error of the kind [`io::ErrorKind::DirectoryNotEmpty`].
pub fn remove_dir(run_dir: &Path, session: SessionId, euid: u32) -> Result<bool> {
    match Parent::open(run_dir, euid)? {
        Some(parent) => parent
            .remove(session)
            .map_err(|e| not_removed(run_dir, session, e)),
        None => Ok(false),
    }
}

fn not_removed(run_dir: &Path, session: SessionId, source: impl Into<io::Error>) -> Error {
    let path = path(run_dir, session);
    Error::io("remove the private store", path, source)
        .with_remedy("look for files of other users and for mounted file systems in it")
}

/// Detaches whatever is mounted on the directory of a session or inside it, and
/// says how many that were. No path of the user's is followed.
pub fn detach(run_dir: &Path, session: SessionId, euid: u32) -> Result<usize> {
    let failed = |e: io::Error| {
        Error::io("detach what is mounted on", path(run_dir, session), e).with_remedy(REMEDY)
    };
    match Parent::open(run_dir, euid)? {
        Some(parent) => mounts::detach(&parent.fd, &session.to_string()).map_err(failed),
        None => Ok(0),
    }
}

/// Ends the private store of a session, with all that is in it: the tokens and
/// the rest as the user, then the directory. Says whether a token was there.
///
/// `share` is a share of whatever keeps others away from the session; the thread
/// that works as the user holds it as long as it may be at it. A tree that is
/// too large for one call costs an error, and its tokens are gone all the same.
pub fn end(
    run_dir: &Path,
    session: SessionId,
    user: &User,
    euid: u32,
    deadline: Deadline,
    share: &(impl Clone + Send + 'static),
) -> Result<bool> {
    let Some(parent) = Parent::open(run_dir, euid)? else {
        return Ok(false);
    };
    let mut had_tokens = false;
    for _ in 0..ROUNDS {
        // First, because it does not enter what may be mounted there.
        match parent.remove(session) {
            Ok(_) => return Ok(had_tokens),
            Err(Errno::ENOTEMPTY) if !deadline.passed() => {}
            Err(errno) => return Err(not_removed(run_dir, session, errno)),
        }
        let (dir, share) = (path(run_dir, session), share.clone());
        // It has to stop in time to be heard.
        let until = Deadline::after(deadline.remaining() / 4 * 3);
        let Cleared {
            had_tokens: had,
            is_empty,
        } = as_user(user, euid, deadline, move || {
            let _share = share;
            clear(&dir, until)
        })?;
        had_tokens |= had;
        if !is_empty {
            detach(run_dir, session, euid)?;
        }
    }
    let removed = parent.remove(session);
    removed.map_err(|e| not_removed(run_dir, session, e))?;
    Ok(had_tokens)
}

/// The sessions that have a directory, whatever became of them.
pub fn list(run_dir: &Path, euid: u32) -> Result<Vec<SessionId>> {
    let Some(parent) = Parent::open(run_dir, euid)? else {
        return Ok(Vec::new());
    };
    let failed = |e| Error::io("list", &parent.path, e).with_remedy(REMEDY);
    let mut dir = sys::open_dir(&parent.fd, ".").map_err(failed)?;
    let mut sessions = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_str().ok();
        sessions.extend(name.and_then(|name| name.parse::<SessionId>().ok()));
    }
    Ok(sessions)
}

/// The uid whose directory it is; none if it is not there. What is mounted on it
/// is detached, not asked.
pub fn owner(run_dir: &Path, session: SessionId, euid: u32) -> Result<Option<u32>> {
    let Some(parent) = Parent::open(run_dir, euid)? else {
        return Ok(None);
    };
    let failed = |e: io::Error| Error::io("look at", path(run_dir, session), e).with_remedy(REMEDY);
    let open = || {
        openat(
            &parent.fd,
            session.to_string().as_str(),
            path_flags(),
            Mode::empty(),
        )
    };
    let dir = match open() {
        Err(Errno::ENOENT) => return Ok(None),
        dir => dir.map_err(|e| failed(e.into()))?,
    };
    let is_mounted = mounts::is_elsewhere(&dir, &parent.fd).map_err(failed)?;
    let dir = if is_mounted {
        mounts::detach(&parent.fd, &session.to_string()).map_err(failed)?;
        open().map_err(|e| failed(e.into()))?
    } else {
        dir
    };
    fstat(&dir)
        .map(|stat| Some(stat.st_uid))
        .map_err(|e| failed(e.into()))
}

/// To be named and not to be entered.
fn path_flags() -> OFlag {
    dir_flags() | OFlag::O_PATH
}
