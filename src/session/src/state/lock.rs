//! The lock of a record.
//!
//! Whoever changes a session's token holds the lock of its record, and so does
//! every thread that may still write to the home: a thread that was left to a
//! home that does not answer keeps its share, and nobody else can end or renew
//! the session until it is done. That is how a token can never come back after
//! its session has closed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{REMEDY, Sessions};
use crate::error::{Error, Result};
use crate::record::{Place, Record, RecordName};

/// A share of a record's lock; it is free when the last share is dropped.
#[derive(Debug)]
pub struct Lock(pub(super) File);

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that the host forked in the meantime shares the lock: closing would leave it held.
        let _ = self.0.unlock();
    }
}

/// A record whose lock is held.
#[derive(Debug)]
pub struct Locked<'a> {
    pub(super) sessions: &'a Sessions,
    pub(super) name: RecordName,
    pub(super) lock: Arc<Lock>,
}

impl Locked<'_> {
    /// A share of the lock, for a thread that works on the home.
    pub fn share(&self) -> Arc<Lock> {
        Arc::clone(&self.lock)
    }

    /// Reads the record.
    pub fn read(&self) -> Result<Record> {
        self.sessions.read_open(&self.lock.0, &self.name)
    }

    /// Replaces the record; the lock is held on the new file then.
    ///
    /// Fails while a thread has a share of the lock: it would be left with the
    /// lock of a file that nobody asks any more.
    pub fn replace(&mut self, record: &Record) -> Result<()> {
        if Arc::strong_count(&self.lock) > 1 {
            return Err(Error::Locked {
                path: self.path(),
                waited: Duration::ZERO,
            });
        }
        self.lock = Arc::new(self.sessions.put(&self.name, record)?);
        if record.place == Place::Private {
            // The record says it itself now.
            self.sessions.forget_strayed(&self.name);
        }
        Ok(())
    }

    /// Removes the record, and then whatever a crash left beside it.
    ///
    /// Signs without a record say nothing, and are tidied; a record without them would say that a
    /// session goes on which has ended.
    pub fn remove(self) -> Result<()> {
        let Sessions { dir, .. } = self.sessions;
        let unlink = |name: &str| unlinkat(dir, name, UnlinkatFlags::NoRemoveDir);
        match unlink(&self.name.to_string()) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => {
                return Err(Error::io("remove the record", self.path(), errno).with_remedy(REMEDY));
            }
        }
        self.forget_pending();
        self.sessions.forget_strayed(&self.name);
        for beside in [self.name.unfinished(), self.name.ended()] {
            let _ = unlink(&beside);
        }
        Ok(())
    }

    /// Keeps a record that can not be read for an administrator, out of the way.
    pub fn retire(self, state_dir: &Path, euid: u32) -> Result<PathBuf> {
        self.sessions.set_aside(&self.name)?;
        self.sessions.remove_leftovers(&self.name)?;
        self.sessions.retire(&self.name, state_dir, euid)
    }

    /// Whether somebody left the sign that the session has ended.
    pub fn is_ended(&self) -> Result<bool> {
        self.sees(&self.name.ended())
    }

    /// Whether the token is still to be written.
    pub fn is_pending(&self) -> Result<bool> {
        self.sees(&self.name.pending())
    }

    /// Whether a sign is there. One that can not be looked for may be.
    fn sees(&self, sign: &str) -> Result<bool> {
        self.sessions.has_sign(sign).map_err(|errno| {
            let path = self.sessions.path.join(sign);
            Error::io("look for the sign", path, errno).with_remedy(REMEDY)
        })
    }

    /// Takes away the sign that the token is still to be written.
    pub fn forget_pending(&self) {
        let sign = self.name.pending();
        let _ = unlinkat(
            &self.sessions.dir,
            sign.as_str(),
            UnlinkatFlags::NoRemoveDir,
        );
    }

    /// The record's path.
    pub fn path(&self) -> PathBuf {
        self.sessions.path_of(&self.name)
    }
}
