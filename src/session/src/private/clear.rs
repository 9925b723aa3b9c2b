//! A session's directory is emptied, by its user.
//!
//! Whatever is in it may be there to be in the way: links, trees without end,
//! directories that nobody may read, mounted file systems. Tokens go first, then
//! files and links, then directories. Nothing is followed and no other file
//! system entered; what does not fit into one call is left to the next.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::libc::dev_t;
use nix::sys::stat::fstat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{REMEDY, open_dir, open_own};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::name::{SessionId, TokenName};
use crate::sys;

/// What is removed in one call, at most.
const LIMIT: usize = 50_000;
/// Directories further down are moved up first: each level costs a descriptor.
const DEPTH: usize = 12;
/// Of one directory, so many inner ones are looked into before it is listed again.
const WIDTH: usize = 256;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// Whether a token of a session was there.
    pub had_tokens: bool,
    /// Whether nothing is left, or the directory itself is not there.
    pub is_empty: bool,
}

/// Removes everything in a session's directory, as far as its user may and the
/// deadline allows.
pub fn clear(dir: &Path, deadline: Deadline) -> Result<Cleared> {
    let Some(top) = open_own(dir)? else {
        return Ok(Cleared {
            had_tokens: false,
            is_empty: true,
        });
    };
    let failed = |e| Error::io("clear the private store", dir, e).with_remedy(REMEDY);
    let had_tokens = remove_tokens(&top).map_err(failed)?;
    let mut broom = Broom {
        device: fstat(&top).map_err(failed)?.st_dev,
        top: &top,
        left: LIMIT,
        deadline,
    };
    let mut before = usize::MAX;
    // Again as long as that gets on: directories have been moved up meanwhile.
    while broom.left < before && !is_empty(&top).map_err(failed)? {
        before = broom.left;
        broom.empty(&top, 0);
    }
    Ok(Cleared {
        had_tokens,
        is_empty: is_empty(&top).map_err(failed)?,
    })
}

/// Tokens first, however much else there is and however long that takes.
fn remove_tokens(top: &OwnedFd) -> nix::Result<bool> {
    let mut had_tokens = false;
    for entry in listing(top)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_str().unwrap_or_default();
        let is_token = |name: &str| name.parse::<TokenName>().is_ok();
        if is_token(text) || text.strip_prefix('.').is_some_and(is_token) {
            had_tokens |= unlink(top, name).is_ok() && is_token(text);
        }
    }
    Ok(had_tokens)
}

struct Broom<'a> {
    top: &'a OwnedFd,
    device: dev_t,
    /// How much may still be removed in this call.
    left: usize,
    deadline: Deadline,
}

impl Broom<'_> {
    /// Empties a directory as far as that goes.
    fn empty(&mut self, dir: &OwnedFd, depth: usize) {
        for name in self.remove_files(dir) {
            if self.is_done() {
                return;
            }
            self.remove_dir(dir, &name, depth);
        }
    }

    /// Removes all but directories; gives the names of those.
    fn remove_files(&mut self, dir: &OwnedFd) -> Vec<CString> {
        let mut dirs = Vec::new();
        let Ok(mut listing) = listing(dir) else {
            return dirs;
        };
        for entry in listing.iter() {
            let Ok(entry) = entry else {
                break;
            };
            if self.is_done() {
                break;
            }
            match unlink(dir, entry.file_name()) {
                Ok(()) => self.left -= 1,
                Err(Errno::EISDIR) if !is_dot(entry.file_name()) && dirs.len() < WIDTH => {
                    dirs.push(entry.file_name().to_owned());
                }
                // Mounted on, or gone, or not the user's to remove.
                Err(_) => {}
            }
        }
        dirs
    }

    fn remove_dir(&mut self, dir: &OwnedFd, name: &CStr, depth: usize) {
        let remove = || unlinkat(dir, name, UnlinkatFlags::RemoveDir);
        match remove() {
            Ok(()) => self.left -= 1,
            Err(Errno::ENOTEMPTY) => {
                // It may be one that its user can not enter.
                let Ok((inner, stat)) = open_dir(dir, name) else {
                    return;
                };
                if stat.st_dev != self.device {
                    return;
                }
                if depth == DEPTH {
                    self.move_up(dir, name);
                    return;
                }
                self.empty(&inner, depth + 1);
                if remove().is_ok() {
                    self.left = self.left.saturating_sub(1);
                }
            }
            // Mounted on, or gone, or not the user's to remove.
            Err(_) => {}
        }
    }

    /// Moves a directory to the top, from where the next round takes it.
    fn move_up(&mut self, dir: &OwnedFd, name: &CStr) {
        // A name that nobody can have taken beforehand.
        let Ok(up) = SessionId::random().map(|id| format!(".deep-{id}")) else {
            return;
        };
        if renameat(dir, name, self.top, up.as_str()).is_ok() {
            self.left -= 1;
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.deadline.passed()
    }
}

fn is_empty(dir: &OwnedFd) -> nix::Result<bool> {
    let mut listing = listing(dir)?;
    let mut names = listing.iter();
    Ok(names.all(|entry| entry.is_ok_and(|entry| is_dot(entry.file_name()))))
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Of its own, so that names can be removed while they are listed.
fn listing(dir: &OwnedFd) -> nix::Result<Dir> {
    sys::open_dir(dir, ".")
}

fn unlink(dir: &OwnedFd, name: &CStr) -> nix::Result<()> {
    unlinkat(dir.as_fd(), name, UnlinkatFlags::NoRemoveDir)
}
