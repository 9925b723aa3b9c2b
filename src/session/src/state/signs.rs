//! What lies beside the records of a user, and records that are put away.
//!
//! Nothing here takes the lock of a record or waits for it: a sign is left just where somebody
//! else has the lock.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::dirs::{self, enter};
use super::{DAMAGED, PRIVATE_FILE, REMEDY, Sessions};
use crate::error::{Error, Result};
use crate::record::RecordName;

impl Sessions {
    /// Notes that a session has ended whose record, or token, could not be removed.
    ///
    /// Needs no lock: somebody else may have it.
    pub fn mark_ended(&self, name: &RecordName) -> Result<()> {
        self.mark(name, &name.ended())
    }

    /// Notes that the token of a session is still to be written.
    pub fn mark_pending(&self, name: &RecordName) -> Result<()> {
        self.mark(name, &name.pending())
    }

    /// Notes that the tokens of a session are in the private store, since its home did
    /// not answer: the record itself can not be replaced while a thread has its lock.
    pub fn mark_strayed(&self, name: &RecordName) -> Result<()> {
        self.mark(name, &name.strayed())
    }

    /// Takes that back.
    pub fn forget_strayed(&self, name: &RecordName) {
        let _ = unlinkat(
            &self.dir,
            name.strayed().as_str(),
            UnlinkatFlags::NoRemoveDir,
        );
    }

    fn mark(&self, name: &RecordName, file: &str) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        openat(&self.dir, file, flags, PRIVATE_FILE)
            .map(drop)
            .map_err(|e| Error::io("leave a sign beside the record", self.path_of(name), e))
    }

    /// Sets a damaged record aside, beside the others, where nobody reads it again.
    pub fn set_aside(&self, name: &RecordName) -> Result<PathBuf> {
        let aside = name.damaged();
        renameat(
            &self.dir,
            name.to_string().as_str(),
            &self.dir,
            aside.as_str(),
        )
        .or_else(gone_is_fine)
        .map_err(|e| Error::io("set aside the record", self.path_of(name), e))?;
        Ok(self.path.join(aside))
    }

    /// Moves a record that was set aside to `<state_dir>/damaged`: its session has ended.
    ///
    /// Returns where it is kept for an administrator.
    pub fn retire(&self, name: &RecordName, state_dir: &Path, euid: u32) -> Result<PathBuf> {
        let to = state_dir.join(DAMAGED);
        let top = dirs::top(state_dir, euid)?;
        let dir = enter(&top, DAMAGED, &to, euid)?;
        let aside = name.damaged();
        renameat(&self.dir, aside.as_str(), &dir, aside.as_str())
            .or_else(gone_is_fine)
            .map_err(|e| Error::io("set aside the record", self.path.join(&aside), e))?;
        Ok(to.join(aside))
    }

    /// Removes what was left of a record that is not there: its writer, or whoever
    /// left a sign, has to be gone.
    pub fn remove_leftovers(&self, name: &RecordName) -> Result<()> {
        let signs = [name.ended(), name.pending(), name.strayed()];
        for file in [name.unfinished()].into_iter().chain(signs) {
            match unlinkat(&self.dir, file.as_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => {
                    let path = self.path.join(file);
                    return Err(Error::io("remove", path, errno).with_remedy(REMEDY));
                }
            }
        }
        Ok(())
    }
}

/// Another reconcile was first.
fn gone_is_fine(errno: Errno) -> nix::Result<()> {
    match errno {
        Errno::ENOENT => Ok(()),
        other => Err(other),
    }
}
