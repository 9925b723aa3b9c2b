//! The state directory: `<state_dir>/sessions/<uid>/` holds the records of a
//! user's sessions, root's alone.
//!
//! One directory per user, so that what a login costs does not grow with the
//! sessions of others. A record is locked by flock(2) on its file; it is
//! replaced by rename, so whoever waited for the lock of a file that is no
//! longer linked looks again. Beside `<name>.json` there may be, by the same
//! name: `.<name>.json.new`, being written; `<name>.ended`, a session whose
//! close failed; `<name>.pending`, one whose home did not answer when it opened;
//! `<name>.strayed`, one whose tokens are in the private store therefore;
//! `<name>.damaged`, set aside.

mod dirs;
mod lock;
mod probe;
mod signs;

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::name::SessionId;
use crate::record::{Kind, Place, Record, RecordName};
use dirs::{check_dir, dir_flags, enter, entries};

pub use lock::{Lock, Locked};
pub use probe::{Probe, probe};

/// Larger than any record: a user in 65,536 groups fits.
const RECORD_LIMIT: u64 = 1024 * 1024;
/// How often a lock that is taken is asked for again.
const LOCK_PAUSE: Duration = Duration::from_millis(2);
const SESSIONS: &str = "sessions";
/// Where damaged records go when their session has ended.
const DAMAGED: &str = "damaged";
const PRIVATE_FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const REMEDY: &str = "check the file system that state_dir is on";

/// The records of one user's sessions.
#[derive(Debug)]
pub struct Sessions {
    dir: OwnedFd,
    path: PathBuf,
}

/// What is in a user's directory.
#[derive(Debug, Default)]
pub struct Listing {
    /// The records.
    pub records: Vec<RecordName>,
    /// Damaged records that were set aside.
    pub damaged: Vec<RecordName>,
    /// Sessions that have ended though their holder may live.
    pub ended: HashSet<SessionId>,
    /// Sessions whose home did not answer when they opened.
    pub pending: HashSet<SessionId>,
    /// The names of the records beside which these signs lie.
    pub signed: Vec<RecordName>,
    /// Records being written, or left so by a crash.
    pub unfinished: Vec<RecordName>,
}

impl Listing {
    /// Whether there is anything of a session.
    pub fn knows(&self, session: SessionId) -> bool {
        let names = [&self.records, &self.damaged, &self.signed, &self.unfinished];
        let mut names = names.into_iter().flatten();
        names.any(|name| name.session == session)
    }
}

impl Sessions {
    /// The directory of a user's records, made if it is missing.
    ///
    /// Each directory on the way from `state_dir` has to be owned by root (or
    /// by `euid`) and must not let others write; the inner two let nobody in.
    pub fn of(state_dir: &Path, uid: u32, euid: u32) -> Result<Self> {
        let top = dirs::top(state_dir, euid)?;
        let sessions = enter(&top, SESSIONS, &state_dir.join(SESSIONS), euid)?;
        let path = state_dir.join(SESSIONS).join(uid.to_string());
        let dir = enter(&sessions, &uid.to_string(), &path, euid)?;
        Ok(Self { dir, path })
    }

    /// The same, without making anything: none if the user has no directory.
    pub fn existing(state_dir: &Path, uid: u32, euid: u32) -> Result<Option<Self>> {
        let path = state_dir.join(SESSIONS).join(uid.to_string());
        match open(&path, dir_flags() | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(dir) => {
                check_dir(&dir, &path, euid, 0o077)?;
                Ok(Some(Self { dir, path }))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::io("open the records in", path, errno)),
        }
    }

    /// The uids that have a directory of records.
    pub fn uids(state_dir: &Path) -> Result<Vec<u32>> {
        let path = state_dir.join(SESSIONS);
        match open(&path, dir_flags(), Mode::empty()) {
            Ok(dir) => Ok(entries(&dir, &path)?
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect()),
            Err(Errno::ENOENT) => Ok(Vec::new()),
            Err(errno) => Err(Error::io("open the records in", path, errno)),
        }
    }

    /// The names of the records.
    pub fn names(&self) -> Result<Vec<RecordName>> {
        Ok(self.list()?.records)
    }

    /// The names of the records and of what may lie beside them.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        for entry in entries(&self.dir, &self.path)? {
            match RecordName::parse(&entry) {
                Some((name, Kind::Record)) => listing.records.push(name),
                Some((name, Kind::Damaged)) => listing.damaged.push(name),
                Some((name, Kind::Unfinished)) => listing.unfinished.push(name),
                Some((name, Kind::Ended)) => {
                    listing.ended.insert(name.session);
                    listing.signed.push(name);
                }
                Some((name, Kind::Pending)) => {
                    listing.pending.insert(name.session);
                    listing.signed.push(name);
                }
                Some((name, Kind::Strayed)) => listing.signed.push(name),
                None => {}
            }
        }
        Ok(listing)
    }

    /// The path of a record.
    pub fn path_of(&self, name: &RecordName) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// Reads a record without its lock: none if it is gone.
    pub fn read(&self, name: &RecordName) -> Result<Option<Record>> {
        match self.open(name) {
            Ok(file) => self.read_open(&file, name).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::io("open the record", self.path_of(name), errno)),
        }
    }

    /// Reads an open record, with what the sign beside it says.
    fn read_open(&self, file: &File, name: &RecordName) -> Result<Record> {
        let mut record = read_record(file, &self.path_of(name))?;
        if record.place == Place::Home && self.has_sign(&name.strayed()) == Ok(true) {
            record.stray();
        }
        Ok(record)
    }

    fn has_sign(&self, sign: &str) -> nix::Result<bool> {
        match fstatat(&self.dir, sign, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Writes a new record; its lock is held before anybody can see it.
    pub fn create(&self, record: &Record) -> Result<Locked<'_>> {
        let name = record.name();
        let file = self.put(&name, record).inspect_err(|_| {
            // A file server may say no to a rename that it has done, and the session is nobody
            // else's yet.
            let _ = unlinkat(
                &self.dir,
                name.to_string().as_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        })?;
        Ok(Locked {
            sessions: self,
            name,
            lock: Arc::new(file),
        })
    }

    /// Takes the lock of a record: none if the record is gone.
    ///
    /// Fails with [`Error::Locked`] when the deadline passes first.
    pub fn lock(&self, name: &RecordName, deadline: Deadline) -> Result<Option<Locked<'_>>> {
        loop {
            let failed = |e: Errno| Error::io("lock the record", self.path_of(name), e);
            let file = match self.open(name) {
                Ok(file) => file,
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(failed(errno)),
            };
            match file.try_lock() {
                Ok(()) if is_linked(&file).map_err(failed)? => {
                    return Ok(Some(Locked {
                        sessions: self,
                        name: name.clone(),
                        lock: Arc::new(Lock(file)),
                    }));
                }
                // Replaced or removed before the lock was ours.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if !deadline.passed() => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked {
                        path: self.path_of(name),
                        waited: deadline.waited(),
                    });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(Error::io("lock the record", self.path_of(name), source));
                }
            }
        }
    }

    /// Whether there is a record of this name.
    pub fn has(&self, name: &RecordName) -> bool {
        !matches!(self.open(name), Err(Errno::ENOENT))
    }

    fn open(&self, name: &RecordName) -> nix::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        openat(&self.dir, name.to_string().as_str(), flags, Mode::empty()).map(File::from)
    }

    /// Writes the record beside its place, locks it and moves it there.
    fn put(&self, name: &RecordName, record: &Record) -> Result<Lock> {
        let path = self.path_of(name);
        let bytes = record.to_bytes().map_err(|why| Error::Damaged {
            path: path.clone(),
            why,
        })?;
        let temporary = name.unfinished();
        let result = self.write_new(&temporary, &bytes).and_then(|file| {
            let to = name.to_string();
            renameat(&self.dir, temporary.as_str(), &self.dir, to.as_str())?;
            Ok(Lock(file))
        });
        result.map_err(|source| {
            let _ = unlinkat(&self.dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
            Error::io("write the record", path, source).with_remedy(REMEDY)
        })
    }

    fn write_new(&self, temporary: &str, bytes: &[u8]) -> std::io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let open_new = || {
            openat(
                &self.dir,
                temporary,
                flags | OFlag::O_NOFOLLOW,
                PRIVATE_FILE,
            )
        };
        let file = match open_new() {
            // Left by a process that was killed here: only who holds the lock, or makes the
            // session, writes by this name.
            Err(Errno::EEXIST) => {
                unlinkat(&self.dir, temporary, UnlinkatFlags::NoRemoveDir)?;
                open_new()
            }
            other => other,
        }?;
        // The host's umask is not ours.
        fchmod(file.as_fd(), PRIVATE_FILE)?;
        let mut file = File::from(file);
        file.try_lock().map_err(std::io::Error::from)?;
        file.write_all(bytes)?;
        Ok(file)
    }
}

fn is_linked(file: &File) -> nix::Result<bool> {
    Ok(fstat(file)?.st_nlink > 0)
}

fn read_record(file: &File, path: &Path) -> Result<Record> {
    // Most are read at once.
    let mut bytes = Vec::with_capacity(2048);
    let mut reader = file;
    // A record that was just written is read from its start all the same.
    reader
        .rewind()
        .and_then(|()| reader.take(RECORD_LIMIT).read_to_end(&mut bytes))
        .map_err(|e| Error::io("read the record", path, e))?;
    let path = path.to_owned();
    if let Some(version) = Record::other_version(&bytes) {
        return Err(Error::Version { path, version });
    }
    Record::from_bytes(&bytes).map_err(|why| Error::Damaged { path, why })
}

#[cfg(test)]
mod tests;
