//! The threads and processes that are watched, by the thread id that comes with each call.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device and inode of a program.
pub(super) type Program = (u64, u64);

/// The first call of a Rust program: its runtime looks whether the three standard descriptors are open.
#[cfg(target_arch = "x86_64")]
const FIRST: i64 = libc::SYS_poll;
#[cfg(not(target_arch = "x86_64"))]
const FIRST: i64 = libc::SYS_ppoll;

/// What is known of a thread.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// Whether it runs the program that is under test, and is past its start.
    pub(super) is_ours: bool,
    /// The process that it belongs to.
    pub(super) process: i32,
}

/// All that were seen.
#[derive(Debug)]
pub(super) struct Tasks {
    program: Program,
    known: HashMap<i32, Task>,
    /// Processes that became another program and are not past its start.
    starting: HashSet<i32>,
}

/// The identity of a program.
pub(super) fn program(path: &Path) -> Program {
    let stat = fs::metadata(path).unwrap();
    (stat.dev(), stat.ino())
}

impl Tasks {
    pub(super) fn new(program: Program) -> Self {
        Self {
            program,
            known: HashMap::new(),
            starting: HashSet::new(),
        }
    }

    /// The thread that makes this call.
    ///
    /// What a process does before the program's first call is the dynamic loader's and the C library's.
    pub(super) fn of(&mut self, id: i32, call: i64) -> Task {
        let mut task = match self.known.get(&id) {
            Some(task) => task.clone(),
            None => self.look_at(id),
        };
        if task.is_ours && call == FIRST {
            self.starting.remove(&task.process);
        }
        task.is_ours &= !self.starting.contains(&task.process);
        task
    }

    /// A process is about to become another program.
    pub(super) fn becomes_another(&mut self, process: i32) {
        self.known.retain(|_, task| task.process != process);
        self.starting.insert(process);
    }

    fn look_at(&mut self, id: i32) -> Task {
        let stat = fs::metadata(format!("/proc/{id}/exe"));
        let is_ours = stat.is_ok_and(|stat| (stat.dev(), stat.ino()) == self.program);
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        let process = process.and_then(|id| id.trim().parse().ok()).unwrap_or(id);
        let task = Task { is_ours, process };
        self.known.insert(id, task.clone());
        task
    }
}
