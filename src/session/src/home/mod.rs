//! The home store: `~/.condor/tokens.d`.
//!
//! Everything here runs on the thread that has become the user (see
//! [`crate::acting`]), and nothing here may be called from another. So a home
//! whose directories are links to elsewhere leads only where its user may go.

mod dead;
#[cfg(fuzzing)]
pub mod fuzz;
mod listing;
mod own;
mod renew;
mod scan;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use dead::{Judge, Keys};
pub(crate) use listing::{Leads, own_files};
pub use own::{Finding, Severity, examine};
pub use renew::{Missing, Renewal, Renewed, renew};
use scan::scan;

use crate::error::{Error, Result};
use crate::name::{SessionId, TokenName};
use crate::sys;

/// Where HTCondor's client looks for tokens, below the home.
pub const TOKENS_D: &str = ".condor/tokens.d";

/// How many names of tokens.d are looked at; a directory beyond it is not searched to its end.
const ENTRIES_LIMIT: usize = 10_000;
const PRIVATE_DIR: Mode = Mode::S_IRWXU;
const PRIVATE_FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const REMEDY: &str = "check the home's owner and mode, its quota and whether it is writable";

/// The bytes of a token file, wiped when nobody needs them any more.
pub type Contents = Arc<Zeroizing<Vec<u8>>>;

/// What was being done when a token could not be put into place.
pub const WRITING: &str = "write the token";

/// What is to be written.
pub struct Plan {
    /// The user's home.
    pub home: PathBuf,
    /// The token files in the order in which HTCondor is to read them, at least one.
    pub files: Vec<(TokenName, Contents)>,
    /// Token files whose sessions have ended; they go first.
    pub ended: Vec<TokenName>,
    /// Whether to write even if another token sorts before the first: it is
    /// another session's and most likely as good, and better than none.
    pub insist: bool,
    /// Tells which of the other token files are dead.
    pub judge: Arc<Judge>,
    /// Set when nobody waits for the answer any more: then nothing is put in place.
    pub abandoned: Arc<AtomicBool>,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// Dead tokens that were removed, by file name.
    pub removed: Vec<String>,
    /// Those of [`Plan::ended`] that are gone.
    pub ended: Vec<TokenName>,
    /// The home it was written in.
    pub home_id: Option<HomeId>,
    /// This token of another session sorts before the new one, so that HTCondor
    /// would read it first: nothing was put in place.
    pub behind: Option<TokenName>,
}

/// Makes tokens.d if it is missing, removes dead tokens of ours and puts the
/// new ones in place, mode 0600: all of them or none.
///
/// Before the first of them it waits for `is_recorded`: without a record nobody would ever
/// take them away.
pub fn write(plan: &Plan, is_recorded: impl FnOnce() -> bool) -> Result<Written> {
    let path = plan.home.join(TOKENS_D);
    let mut dir = open_or_make(&plan.home)?;
    // What can not be removed now is found again by its record.
    let gone = |name: &&TokenName| remove_in(dir.as_fd(), name).is_ok();
    let ended = plan.ended.iter().filter(gone).cloned().collect();
    let own = plan.files.first().map(|(name, _)| name);
    let scan = scan(&mut dir, &path, own, &plan.judge)?;
    let behind = scan.first.filter(|first| {
        own.is_some_and(|own| {
            let is_behind = first.sorts_before(own) && !plan.insist;
            // Nothing sorts before the first name there is.
            let moved = own.in_front_of(first, plan.files.len() as u64);
            is_behind && moved.sorts_before(first)
        })
    });
    if behind.is_none() {
        if !is_recorded() {
            return Err(Error::io(WRITING, path, unwanted()));
        }
        put_all(dir.as_fd(), &path, &plan.files, &plan.abandoned)?;
    }
    Ok(Written {
        removed: scan.removed,
        ended,
        home_id: home_id(&plan.home),
        behind,
    })
}

/// Puts new token files in place; a failure leaves none of them.
pub(crate) fn put_all(
    dir: BorrowedFd<'_>,
    path: &Path,
    files: &[(TokenName, Contents)],
    abandoned: &AtomicBool,
) -> Result<()> {
    for (number, (name, contents)) in files.iter().enumerate() {
        let file = name.to_string();
        let Err(source) = move_into_place(dir, &file, contents, abandoned) else {
            continue;
        };
        // A network file system may say no to a rename that it has done.
        for (name, _) in &files[..=number] {
            let _ = unlink(dir, &name.to_string());
        }
        return Err(Error::io(WRITING, path.join(file), source).with_remedy(REMEDY));
    }
    Ok(())
}

/// Removes a token: false if it was not there any more.
///
/// A home that is not there is [`Error::Away`]: it may be a file system that is
/// not mounted just now, with the token on it.
pub fn remove(home: &Path, known: Option<HomeId>, names: &[TokenName]) -> Result<bool> {
    let Some((dir, path)) = tokens_d(home, known)? else {
        return Ok(false);
    };
    let mut was_there = false;
    for name in names {
        was_there |= remove_in(dir.as_fd(), name).map_err(|errno| {
            Error::io("remove the token", path.join(name.to_string()), errno).with_remedy(REMEDY)
        })?;
    }
    Ok(was_there)
}

/// Removes whatever a session has in a home of which only its id is known.
pub fn remove_session(home: &Path, known: Option<HomeId>, session: SessionId) -> Result<bool> {
    let Some((dir, path)) = tokens_d(home, known)? else {
        return Ok(false);
    };
    let listed = |e| Error::io("list", &path, e).with_remedy(REMEDY);
    let mut dir = list(dir, &path)?;
    let mut found = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(listed)?;
        if let Ok(file) = entry.file_name().to_str() {
            let name = file.strip_prefix('.').unwrap_or(file).parse::<TokenName>();
            found.extend(name.ok().filter(|name| name.id() == session));
        }
    }
    let mut was_there = false;
    for name in found {
        was_there |= remove_in(dir.as_fd(), &name).map_err(|errno| {
            Error::io("remove the token", path.join(name.to_string()), errno).with_remedy(REMEDY)
        })?;
    }
    Ok(was_there)
}

/// Device and inode of a home: what is mounted there is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeId(u64, u64);

impl HomeId {
    fn of(home: &impl AsFd) -> Option<Self> {
        let stat = fstat(home).ok()?;
        Some(Self(stat.st_dev, stat.st_ino))
    }
}

/// tokens.d; none if its user removed that directory.
///
/// That is so only in the very home in which a token was written before: any
/// other is what it is mounted on, or what a link leads to just now.
fn tokens_d(home: &Path, known: Option<HomeId>) -> Result<Option<(OwnedFd, PathBuf)>> {
    let path = home.join(TOKENS_D);
    match open(&path, dir_flags(), Mode::empty()) {
        Ok(dir) => Ok(Some((dir, path))),
        Err(Errno::ENOENT | Errno::ENOTDIR) if is_removed(home, known) => Ok(None),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Err(Error::Away { path }),
        Err(errno) => Err(Error::io("open", path, errno).with_remedy(REMEDY)),
    }
}

/// The listing of a directory that is open.
fn list(dir: OwnedFd, path: &Path) -> Result<Dir> {
    sys::list_dir(dir).map_err(|e| Error::io("list", path, e).with_remedy(REMEDY))
}

/// Tells a home from what is mounted on it, or is below it; none if it can not be opened.
pub(crate) fn home_id(home: &Path) -> Option<HomeId> {
    let dir = open(home, dir_flags(), Mode::empty()).ok()?;
    HomeId::of(&dir)
}

fn is_removed(home: &Path, known: Option<HomeId>) -> bool {
    let Ok(mut dir) = open(home, dir_flags(), Mode::empty()) else {
        return false;
    };
    if known.is_none() || HomeId::of(&dir) != known {
        return false;
    }
    for part in Path::new(TOKENS_D) {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        match fstatat(&dir, part, flags).map(|stat| dead::kind(&stat)) {
            Err(Errno::ENOENT) => return true,
            // Somebody put something else there.
            Ok(kind) if kind != SFlag::S_IFDIR => return kind != SFlag::S_IFLNK,
            _ => {}
        }
        match openat(&dir, part, dir_flags(), Mode::empty()) {
            Ok(inner) => dir = inner,
            Err(_) => return false,
        }
    }
    false
}

fn remove_in(dir: BorrowedFd<'_>, name: &TokenName) -> nix::Result<bool> {
    // The file of a write that was cut off; mostly there is none.
    let unfinished = unlink(dir, &format!(".{name}"));
    let was_there = match unlink(dir, &name.to_string()) {
        Ok(()) => true,
        Err(Errno::ENOENT) => false,
        Err(errno) => return Err(errno),
    };
    match unfinished {
        // A directory is its user's, and holds no token of ours.
        Ok(()) | Err(Errno::ENOENT | Errno::EISDIR) => Ok(was_there),
        Err(errno) => Err(errno),
    }
}

/// Whether a token could be written to this home; leaves nothing behind.
pub fn probe(home: &Path) -> Result<()> {
    let mut path = home.join(TOKENS_D);
    // The nearest directory that is there is where the first write would be.
    let dir = loop {
        match open(&path, dir_flags(), Mode::empty()) {
            Ok(dir) => break dir,
            // A link that leads nowhere is there, and in the way.
            Err(Errno::ENOENT) if path.as_path() != home && path.symlink_metadata().is_err() => {
                path.pop();
            }
            Err(errno) => return Err(Error::io("open", path, errno).with_remedy(REMEDY)),
        }
    };
    let name = format!(".idtokenctl-{}", std::process::id());
    let result = write_new(dir.as_fd(), &name, &[b' '; 1024]);
    let _ = unlink(dir.as_fd(), &name);
    result.map_err(|e| Error::io("write to", path, e).with_remedy(REMEDY))
}

/// Writes to a dot-file, which HTCondor skips, and renames it into place.
fn move_into_place(
    dir: BorrowedFd<'_>,
    name: &str,
    contents: &[u8],
    abandoned: &AtomicBool,
) -> io::Result<()> {
    let temporary = format!(".{name}");
    let result = write_new(dir, &temporary, contents).and_then(|()| {
        if abandoned.load(Ordering::SeqCst) {
            return Err(unwanted());
        }
        Ok(renameat(dir, temporary.as_str(), dir, name)?)
    });
    if result.is_err() {
        let _ = unlink(dir, &temporary);
    }
    result
}

/// Why a token is not put in place after all.
pub(crate) fn unwanted() -> io::Error {
    io::Error::other("nobody waited for it")
}

/// Writes a file that is not there yet, mode 0600.
pub(crate) fn write_new(dir: BorrowedFd<'_>, name: &str, contents: &[u8]) -> io::Result<()> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(dir, name, flags, PRIVATE_FILE)?;
    // The host's umask is not ours.
    fchmod(fd.as_fd(), PRIVATE_FILE)?;
    let mut file = File::from(fd);
    file.write_all(contents)?;
    close(file.into())
}

/// Closes with the error that a network file system reports only now.
fn close(fd: OwnedFd) -> io::Result<()> {
    nix::unistd::close(fd).map_err(Into::into)
}

fn open_or_make(home: &Path) -> Result<Dir> {
    let path = home.join(TOKENS_D);
    match sys::open_dir(AT_FDCWD, &path) {
        Ok(dir) => return Ok(dir),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(Error::io("open", path, errno).with_remedy(REMEDY)),
    }
    let failed = |e| Error::io("open the home", home, e).with_remedy(REMEDY);
    let mut dir = open(home, dir_flags(), Mode::empty()).map_err(failed)?;
    let mut path = home.to_owned();
    for part in Path::new(TOKENS_D) {
        path.push(part);
        dir = enter(&dir, Path::new(part), &path)?;
    }
    list(dir, &path)
}

fn enter(parent: &OwnedFd, name: &Path, path: &Path) -> Result<OwnedFd> {
    match mkdirat(parent, name, PRIVATE_DIR) {
        // The host's umask is not ours.
        Ok(()) => fchmodat(parent, name, PRIVATE_DIR, FchmodatFlags::FollowSymlink),
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
    .and_then(|()| openat(parent, name, dir_flags(), Mode::empty()))
    .map_err(|e| Error::io("make the directory", path, e).with_remedy(REMEDY))
}

pub(crate) fn unlink(dir: BorrowedFd<'_>, name: &str) -> nix::Result<()> {
    unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)
}

fn dir_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

#[cfg(test)]
mod tests;
