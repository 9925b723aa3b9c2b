//! How much of the system a process has, to see whether it grows.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a process has at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// How many sessions it had opened and closed by then.
    pub rounds: usize,
    /// Its resident memory, in KiB.
    pub resident: u64,
    /// Its descriptors.
    pub descriptors: usize,
    /// Its threads.
    pub threads: usize,
}

impl Size {
    /// Of the calling process.
    pub fn take(rounds: usize) -> Self {
        wait_for_joined_threads();
        Self {
            rounds,
            resident: resident(),
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }
}

fn count(dir: &str) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// A thread that was joined is in /proc a moment longer; one that was not stays.
pub(super) fn wait_for_joined_threads() {
    for _ in 0..300 {
        if count("/proc/self/task") == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The resident memory of the calling process, in KiB.
///
/// Counted page by page: what status says lags behind by some (proc_pid_status(5)).
pub fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}
