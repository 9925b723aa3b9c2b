//! Tokens are put into the session's directory, by its user.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, renameat};
use nix::sys::stat::fstatat;

use super::{REMEDY, TokenFile, open_own};
use crate::error::{Error, Result};
use crate::home::{unlink, unwanted, write_new};
use crate::name::TokenName;

/// Writes the tokens of a session: all of them or, after a failure, none.
///
/// `abandoned` is set when nobody waits for the answer any more: then nothing is
/// put in place. A directory that is not there is an I/O error of the kind
/// [`io::ErrorKind::NotFound`].
pub fn write(dir: &Path, files: &[TokenFile], abandoned: &AtomicBool) -> Result<()> {
    let fd = opened(dir)?;
    let names: Vec<String> = files.iter().map(|(name, _)| name.to_string()).collect();
    put(&fd, files, abandoned).map_err(|source| {
        for name in &names {
            let _ = unlink(fd.as_fd(), name);
        }
        Error::io("write the token to", dir, source).with_remedy(REMEDY)
    })
}

/// Replaces tokens that are there and says which those are. One that its user
/// took away is not brought back; whatever fails, no session loses a token.
pub fn renew(dir: &Path, files: &[TokenFile], abandoned: &AtomicBool) -> Result<Vec<TokenName>> {
    let fd = opened(dir)?;
    let failed =
        |source: io::Error| Error::io("renew the token in", dir, source).with_remedy(REMEDY);
    let mut there = Vec::with_capacity(files.len());
    for file in files {
        let name = file.0.to_string();
        match fstatat(&fd, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => there.push(file.clone()),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
    put(&fd, &there, abandoned).map_err(failed)?;
    Ok(there.into_iter().map(|(name, _)| name).collect())
}

/// Takes tokens away; false if none was there, or the directory is not.
pub fn remove(dir: &Path, names: &[TokenName]) -> Result<bool> {
    let Some(fd) = open_own(dir)? else {
        return Ok(false);
    };
    let mut was_there = false;
    for name in names {
        let name = name.to_string();
        let _ = unlink(fd.as_fd(), &format!(".{name}"));
        match unlink(fd.as_fd(), &name) {
            Ok(()) => was_there = true,
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                return Err(
                    Error::io("remove the token", dir.join(name), errno).with_remedy(REMEDY)
                );
            }
        }
    }
    Ok(was_there)
}

fn opened(dir: &Path) -> Result<OwnedFd> {
    open_own(dir)?
        .ok_or_else(|| Error::io("open the private store", dir, Errno::ENOENT).with_remedy(REMEDY))
}

/// Writes every token to a dot-file, which HTCondor skips, and then renames them
/// all: what can fail, such as for want of space, fails before the first is in place.
fn put(dir: &OwnedFd, files: &[TokenFile], abandoned: &AtomicBool) -> io::Result<()> {
    let dir = dir.as_fd();
    let result = files
        .iter()
        .try_for_each(|(name, contents)| {
            let temporary = format!(".{name}");
            // The session is nobody else's now: whoever was writing this was killed.
            let _ = unlink(dir, &temporary);
            write_new(dir, &temporary, contents)
        })
        .and_then(|()| {
            if abandoned.load(Ordering::SeqCst) {
                return Err(unwanted());
            }
            files.iter().try_for_each(|(name, _)| {
                let temporary = format!(".{name}");
                Ok(renameat(
                    dir,
                    temporary.as_str(),
                    dir,
                    name.to_string().as_str(),
                )?)
            })
        });
    if result.is_err() {
        for (name, _) in files {
            let _ = unlink(dir, &format!(".{name}"));
        }
    }
    result
}
