//! Where an answer is kept: one file in `run_dir`, replaced in one step by
//! whoever holds the lock beside it.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::fstat;

use super::Source;
use super::kept::Kept;
use crate::deadline::Deadline;
use crate::error::{Error, Result, refuse_unsafe};
use crate::run_dir;

const NAME: &str = "htcondor.kept";
const NEW: &str = ".htcondor.kept.new";
const LOCK: &str = "htcondor.lock";
/// More than any answer needs, in bytes.
const LIMIT: u64 = 1024 * 1024;
/// How often a lock is tried.
const TRY: Duration = Duration::from_millis(10);

/// Reads what is kept for this source, however old it is; none if there is
/// nothing or it can not be trusted.
pub(super) fn read(source: &Source<'_>, euid: u32) -> Option<Kept> {
    let path = source.run_dir.join(NAME);
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)
        .ok()?;
    let stat = fstat(file.as_fd()).ok()?;
    refuse_unsafe(&path, &stat, euid, 0o022).ok()?;
    let size = u64::try_from(stat.st_size).ok()?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG || size > LIMIT {
        return None;
    }
    let mut text = Vec::with_capacity(usize::try_from(size).ok()? + 1);
    file.take(LIMIT).read_to_end(&mut text).ok()?;
    Kept::from_text(std::str::from_utf8(&text).ok()?, source)
}

/// The right to ask and to keep the answer.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    run_dir: &'a Path,
    lock: File,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // A child that the host forked in the meantime shares the lock: closing would leave it held.
        let _ = self.lock.unlock();
    }
}

impl<'a> Locked<'a> {
    /// Waits for the lock until the deadline; none if it was not free by then.
    ///
    /// Fails if nothing can be kept in `run_dir`, or if somebody else could
    /// write to it.
    pub(super) fn acquire(
        run_dir: &'a Path,
        euid: u32,
        deadline: Deadline,
    ) -> Result<Option<Self>> {
        let failed = |doing, path: &Path, e: io::Error| Error::io(doing, path, e);
        run_dir::make(run_dir).map_err(|e| failed("make the directory", run_dir, e.into()))?;
        let open = |path: &Path, write, flags| {
            // Nobody else may open the lock, or they could hold it.
            let mut options = File::options();
            options.read(true).write(write).create(write).mode(0o600);
            let file = options.custom_flags(flags).open(path);
            let file = file.map_err(|e| failed("open", path, e))?;
            let stat = fstat(file.as_fd()).map_err(|e| failed("look at", path, e.into()))?;
            refuse_unsafe(path, &stat, euid, 0o022)?;
            Ok::<_, Error>(file)
        };
        open(run_dir, false, libc::O_DIRECTORY)?;
        let path = run_dir.join(LOCK);
        let lock = open(&path, true, libc::O_NOFOLLOW | libc::O_NONBLOCK)?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Some(Self { run_dir, lock })),
                Err(std::fs::TryLockError::WouldBlock) if deadline.passed() => return Ok(None),
                Err(std::fs::TryLockError::WouldBlock) => {
                    std::thread::sleep(TRY.min(deadline.remaining()));
                }
                Err(std::fs::TryLockError::Error(e)) => return Err(failed("lock", &path, e)),
            }
        }
    }

    /// Replaces what is kept.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        let new = self.run_dir.join(NEW);
        // What a crash left; nobody else is writing now.
        let _ = std::fs::remove_file(&new);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        // The host's umask is not ours.
        file.set_permissions(Permissions::from_mode(0o644))?;
        std::fs::rename(&new, self.run_dir.join(NAME))
    }
}
