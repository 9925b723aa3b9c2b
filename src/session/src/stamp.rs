//! The sign by which a login knows that somebody renews tokens.
//!
//! Each scheduled reconcile sets the time of `<run_dir>/reconciled` to when the
//! next one will have run. A login looks at that time, and at nothing else.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idtoken::Lifetime;

use crate::error::{Error, Result};
use crate::run_dir;

const NAME: &str = "reconciled";
/// A reconciler that is late by so many seconds is not relied on, whatever the lifetime.
const PATIENCE: u64 = 300;
/// No promise reaches further, in seconds: it is a clock that was set back.
const FURTHEST: u64 = 24 * 3600;

/// Whether a token of this lifetime that is signed at `now` (seconds since 1970
/// UTC) will be renewed in time. Only a file of root's, or of `euid`'s, counts.
pub fn is_fresh(run_dir: &Path, lifetime: Lifetime, now: u64, euid: u32) -> bool {
    let Ok(meta) = std::fs::symlink_metadata(run_dir.join(NAME)) else {
        return false;
    };
    let is_ours = meta.is_file() && (meta.uid() == 0 || meta.uid() == euid);
    let promised = u64::try_from(meta.mtime()).unwrap_or(0);
    // A token is due at half of its life, and a run may be late.
    let patience = (lifetime.as_secs() / 2).clamp(1, PATIENCE);
    is_ours && now <= promised.saturating_add(patience) && promised <= now.saturating_add(FURTHEST)
}

/// Whether a reconcile every so often keeps tokens of this lifetime valid:
/// one has to come between half of their life and its end, with room for a
/// home that takes the whole `timeout`.
pub fn is_often_enough(every: Duration, lifetime: Lifetime, timeout: Duration) -> bool {
    every + timeout <= Duration::from_secs(lifetime.as_secs() / 2)
}

/// Promises a reconcile at `next`, in seconds since 1970 UTC.
pub fn promise(run_dir: &Path, next: u64) -> Result<()> {
    let path = run_dir.join(NAME);
    write(run_dir, &path, next).map_err(|e| {
        Error::io("touch", path, e).with_remedy("check the file system that run_dir is on")
    })
}

fn write(run_dir: &Path, path: &Path, now: u64) -> io::Result<()> {
    run_dir::make(run_dir)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(now);
    file.set_modified(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour() -> Lifetime {
        Lifetime::HOUR
    }

    fn euid() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    #[test]
    fn a_promise_is_relied_on_until_it_is_well_over() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        assert!(!is_fresh(&run, hour(), 1000, euid()));
        promise(&run, 1000).unwrap();
        for (now, fresh) in [(900, true), (1000, true), (1300, true), (1301, false)] {
            assert_eq!(is_fresh(&run, hour(), now, euid()), fresh, "{now}");
        }
        promise(&run, 200_000).unwrap();
        assert!(!is_fresh(&run, hour(), 1000, euid()), "a clock set back");
        assert!(is_fresh(&run, hour(), 199_000, euid()));
    }

    #[test]
    fn a_short_lifetime_has_little_patience() {
        let dir = tempfile::tempdir().unwrap();
        promise(dir.path(), 1000).unwrap();
        let minute = Lifetime::from_secs(60).unwrap();
        assert!(is_fresh(dir.path(), minute, 1030, euid()));
        assert!(!is_fresh(dir.path(), minute, 1031, euid()));
    }

    #[test]
    fn a_reconcile_has_to_come_in_the_second_half_of_a_life() {
        let often = |every, lifetime| {
            is_often_enough(
                Duration::from_secs(every),
                Lifetime::from_secs(lifetime).unwrap(),
                Duration::from_secs(3),
            )
        };
        assert!(often(15, 60) && often(60, 3600));
        assert!(!often(15, 30) && !often(60, 60));
    }

    #[test]
    fn somebody_elses_file_or_a_link_is_no_sign() {
        let dir = tempfile::tempdir().unwrap();
        promise(dir.path(), 1000).unwrap();
        if euid() == 0 {
            nix::unistd::chown(&dir.path().join(NAME), Some(4321.into()), None).unwrap();
            assert!(!is_fresh(dir.path(), hour(), 1000, 0));
        }
        std::fs::rename(dir.path().join(NAME), dir.path().join("other")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("other"), dir.path().join(NAME)).unwrap();
        assert!(!is_fresh(dir.path(), hour(), 1000, euid()));
        assert!(promise(dir.path(), 1000).is_err());
    }
}
