//! Which call is which, so that it is found again in the next run.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::errnos::Fault;
use super::listener::Asked;

/// One call among all, the same in every run.
///
/// Threads and children are not in step with each other, nor do they always come in the same order:
/// a call is known by what it does, and only among its like by its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// What it does, see [`kind`].
    pub(super) kind: u64,
    /// The number of the call.
    pub number: i64,
    /// The how manieth of its kind, from 0.
    pub nth: usize,
}

/// Which thread makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Who {
    /// Whether it is one of the process that is watched, and not of a child.
    pub is_host: bool,
    /// Whether it is the first thread of its process.
    pub is_first: bool,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.is_host, self.is_first) {
            (true, true) => "the host",
            (true, false) => "a thread",
            (false, true) => "a child",
            (false, false) => "a child's thread",
        })
    }
}

/// So many turns of a loop are told apart.
const TURNS: usize = 16;

impl Position {
    /// Whether it is one more turn of a loop: what a program prints comes in as many parts, and takes
    /// as many looks, as the machine's other work has it.
    pub(super) fn is_one_more(&self) -> bool {
        let waits = [
            #[cfg(target_arch = "x86_64")]
            libc::SYS_poll,
            libc::SYS_ppoll,
            libc::SYS_read,
            libc::SYS_wait4,
            libc::SYS_waitid,
        ];
        self.nth >= TURNS && waits.contains(&self.number)
    }
}

/// What a call does, as a number: who makes it, on what, and what can go wrong there.
pub(super) fn kind(number: i64, who: Who, what: &str, faults: Option<&[Fault]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (number, who).hash(&mut hasher);
    for part in what.split('/') {
        plain(part).hash(&mut hasher);
    }
    // A futex(2) that wakes is not one that waits.
    for fault in faults.unwrap_or_default() {
        fault.to_string().hash(&mut hasher);
    }
    hasher.finish()
}

/// A part of a path without what is another in each run: ids, times, numbers, random names.
fn plain(part: &str) -> String {
    if part.starts_with(".tmp") {
        return ".tmp".to_owned();
    }
    let is_made = part.contains(|c: char| c.is_ascii_digit());
    let stays = |c: &char| !is_made || !(c.is_ascii_hexdigit() || *c == '-');
    part.chars().filter(stays).collect()
}

/// What a call is about: the path among its arguments, or the open file, and whether it is that.
pub(super) fn subject(asked: &Asked, process: i32) -> (String, bool) {
    let path = path(asked, process);
    if !path.is_empty() || !is_of_a_file(asked) {
        return (path, false);
    }
    let file = asked.args[0] & 0xffff_ffff;
    let leads = fs::read_link(format!("/proc/{process}/fd/{file}"));
    let leads = leads.map(|leads| leads.display().to_string());
    (leads.unwrap_or_default(), true)
}

/// Whether the first argument of a call is an open file.
fn is_of_a_file(asked: &Asked) -> bool {
    let is_empty_path = |flags: u64| flags & u64::try_from(libc::AT_EMPTY_PATH).unwrap() != 0;
    match asked.number {
        libc::SYS_statx => return is_empty_path(asked.args[2]),
        libc::SYS_newfstatat => return is_empty_path(asked.args[3]),
        _ => {}
    }
    [
        libc::SYS_close,
        libc::SYS_fchmod,
        libc::SYS_fchown,
        libc::SYS_fcntl,
        libc::SYS_flock,
        libc::SYS_fstat,
        libc::SYS_fstatfs,
        libc::SYS_getdents64,
        libc::SYS_lseek,
        libc::SYS_pread64,
        libc::SYS_read,
        libc::SYS_sendto,
        libc::SYS_write,
    ]
    .contains(&asked.number)
}

/// The path among the arguments of a call.
fn path(asked: &Asked, process: i32) -> String {
    let at = match asked.number {
        libc::SYS_execve | libc::SYS_symlinkat => 0,
        libc::SYS_openat
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_mkdirat
        | libc::SYS_unlinkat
        | libc::SYS_renameat
        | libc::SYS_readlinkat
        | libc::SYS_fchmodat => 1,
        _ => return String::new(),
    };
    text(process, asked.args[at])
}

/// A string in the memory of a process.
pub(super) fn text(process: i32, at: u64) -> String {
    let mut bytes = [0; 8192];
    let base = usize::try_from(at).unwrap();
    // Page by page: the next one may not be there, and then there is as much as the first has.
    let len = 4096 - base % 4096;
    let next = RemoteIoVec {
        base: base + len,
        len: 4096,
    };
    let remote = [RemoteIoVec { base, len }, next];
    let local = &mut [IoSliceMut::new(&mut bytes)];
    let read = process_vm_readv(Pid::from_raw(process), local, &remote).unwrap_or(0);
    let text = bytes[..read]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
