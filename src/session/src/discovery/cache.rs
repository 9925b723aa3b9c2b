//! Where an answer is kept: one file for each source in `run_dir`, replaced in one
//! step by whoever holds the lock beside it.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::fstat;

use super::Source;
use super::kept::Kept;
use crate::deadline::Deadline;
use crate::error::{Error, Result, refuse_unsafe};
use crate::run_dir;

/// More than any answer needs, in bytes.
const LIMIT: u64 = 1024 * 1024;
/// How often a lock is tried.
const TRY: Duration = Duration::from_millis(10);

/// What the files of a source begin with: another tool, or another CONDOR_CONFIG, must
/// not replace its answer.
///
/// The hash is FNV-1a, which every version computes alike. Two sources with one hash
/// only replace each other's answers, since each file tells its source.
fn name(source: &Source<'_>) -> String {
    let mut text = source.tool.as_os_str().as_encoded_bytes().to_vec();
    if let Some(path) = source.condor_config {
        text.push(0);
        text.extend_from_slice(path.as_os_str().as_encoded_bytes());
    }
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("htcondor-{hash:016x}")
}

/// Where the answer of a source is.
pub(super) fn kept_in(source: &Source<'_>) -> PathBuf {
    source.run_dir.join(name(source) + ".kept")
}

/// Where its lock is.
pub(super) fn lock_of(source: &Source<'_>) -> PathBuf {
    source.run_dir.join(name(source) + ".lock")
}

/// Reads what is kept for this source, however old it is; none if there is
/// nothing or it can not be trusted.
pub(super) fn read(source: &Source<'_>, euid: u32) -> Option<Kept> {
    let path = kept_in(source);
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
    source: Source<'a>,
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
    /// Fails if nothing can be kept in the source's `run_dir`, or if somebody else could
    /// write to it.
    pub(super) fn acquire(
        source: Source<'a>,
        euid: u32,
        deadline: Deadline,
    ) -> Result<Option<Self>> {
        let failed = |doing, path: &Path, e: io::Error| Error::io(doing, path, e);
        let run_dir = source.run_dir;
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
        let path = lock_of(&source);
        let lock = open(&path, true, libc::O_NOFOLLOW | libc::O_NONBLOCK)?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Some(Self { source, lock })),
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
        let kept = kept_in(&self.source);
        let new = kept.with_extension("new");
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
        std::fs::rename(&new, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_a_name_of_its_own_that_stays() {
        let name = |tool, condor_config| {
            name(&Source {
                tool: Path::new(tool),
                condor_config,
                run_dir: Path::new("/run"),
            })
        };
        let usual = name("/usr/bin/condor_config_val", None);
        assert_eq!(usual, "htcondor-10aa84c0d61f1ee5");
        let all = [
            usual,
            name("/usr/bin/condor_config_val", Some(Path::new(""))),
            name("/usr/bin/condor_config_val", Some(Path::new("/c"))),
            name("/usr/bin/condor_config_val/c", None),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{one}");
        }
    }
}
