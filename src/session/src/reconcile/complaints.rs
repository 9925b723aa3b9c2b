//! What was complained of lately: a home that is broken for a day must not
//! fill the log with a line every few seconds.
//!
//! One file per subject in `<run_dir>/complaints`, whose time says when. Without
//! the directory every complaint is new.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::run_dir;

/// In seconds.
const AGAIN_AFTER: u64 = 600;

fn file(run_dir: &Path, subject: &str) -> PathBuf {
    run_dir.join("complaints").join(subject)
}

/// Says something of the subject, if nothing was said of it for a while.
pub(super) fn once(run_dir: &Path, subject: &str, now: u64, say: impl FnOnce()) {
    if is_new(run_dir, subject, now) {
        say();
        remember(run_dir, subject, now);
    }
}

/// Whether nothing was said of the subject for a while.
pub(super) fn is_new(run_dir: &Path, subject: &str, now: u64) -> bool {
    let said = fs::symlink_metadata(file(run_dir, subject))
        .ok()
        .and_then(|meta| u64::try_from(meta.mtime()).ok());
    said.is_none_or(|said| now.abs_diff(said) >= AGAIN_AFTER)
}

/// It was said now. A complaint that can not be remembered is said again.
fn remember(run_dir: &Path, subject: &str, now: u64) {
    let path = file(run_dir, subject);
    let _ = run_dir::make(&run_dir.join("complaints"));
    if let Ok(file) = File::create(path) {
        let _ = file.set_modified(UNIX_EPOCH + Duration::from_secs(now));
    }
}

/// All is well again: the next complaint is new.
pub(super) fn forget(run_dir: &Path, subject: &str) {
    let _ = fs::remove_file(file(run_dir, subject));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_said_once_in_a_while_and_anew_after_things_were_well() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_new(dir.path(), "1000", 5000));
        let mut said = 0;
        for now in [5000, 5001] {
            once(dir.path(), "1000", now, || said += 1);
        }
        assert_eq!(said, 1);
        assert!(!is_new(dir.path(), "1000", 5001) && is_new(dir.path(), "1001", 5001));
        assert!(is_new(dir.path(), "1000", 5600));
        forget(dir.path(), "1000");
        assert!(is_new(dir.path(), "1000", 5001));
    }

    #[test]
    fn users_pass_a_run_dir_that_is_made_for_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        crate::testing::under_umask(0o077, || remember(&run, "1000", 5000));
        let mode = fs::metadata(&run).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert!(!is_new(&run, "1000", 5001));
    }

    #[test]
    fn what_can_not_be_remembered_is_said_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("complaints"), "in the way").unwrap();
        remember(dir.path(), "1000", 5000);
        assert!(is_new(dir.path(), "1000", 5001));
    }
}
