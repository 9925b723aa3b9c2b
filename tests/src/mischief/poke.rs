//! A user who tries to get at the processes that serve them: sshd's, and threads in them that act
//! as this very user towards file systems.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read};
use std::path::Path;

use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use super::{begun, is_over};

/// Tries everything on every thread of sshd's and the module's processes; how often that worked.
///
/// Those that have become the user may be ended by them, and not be looked into.
pub(super) fn poke() -> usize {
    begun();
    let (mut tries, mut worked) = (0_usize, 0);
    while !is_over(0) {
        for pid in numbers(Path::new("/proc")) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if !["sshd", "idtokenctl"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                continue;
            }
            for thread in numbers(Path::new(&format!("/proc/{pid}/task"))) {
                tries += 1;
                worked += attempts(pid, thread);
            }
        }
    }
    eprintln!("{tries} tries");
    assert!(tries > 0, "no process to try it on");
    worked
}

fn numbers(dir: &Path) -> Vec<i32> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

fn attempts(pid: i32, thread: i32) -> usize {
    let task = format!("/proc/{pid}/task/{thread}");
    if real_uid(&task) != 0 {
        // What its memory holds is asked of the memory itself: it may be another program by now.
        let maps = fs::read_to_string(format!("{task}/maps")).unwrap_or_default();
        let is_served_by = ["/sshd", "idtokenctl", "pam_idtoken"];
        let has_it = |line: &&str| is_served_by.iter().any(|part| line.contains(part));
        let found = maps.lines().find(has_it);
        if let Some(line) = found {
            eprintln!("{task}: {line}");
        }
        return usize::from(found.is_some());
    }
    let reads = |name: &str| -> Option<usize> {
        let mut byte = [0];
        let mut file = File::open(format!("{task}/{name}")).ok()?;
        // One that is ending has nothing to read.
        file.read(&mut byte).ok().filter(|count| *count > 0)
    };
    let mut byte = [0];
    let remote = [RemoteIoVec {
        base: 0x1000,
        len: 1,
    }];
    let id = Pid::from_raw(thread);
    let read = process_vm_readv(id, &mut [IoSliceMut::new(&mut byte)], &remote);
    let memory = File::options().write(true).open(format!("{task}/mem"));
    let worked = [
        // EFAULT would mean that it was let in.
        read != Err(nix::Error::EPERM) && read != Err(nix::Error::ESRCH),
        ptrace::seize(id, ptrace::Options::empty()).is_ok(),
        reads("environ").is_some(),
        reads("maps").is_some(),
        memory.is_ok(),
        fs::read_dir(format!("{task}/fd")).is_ok(),
        fs::read_link(format!("{task}/cwd")).is_ok(),
        // Whether a signal would be taken, without sending one: at any of many moments.
        (0..100).any(|_| kill(id, None).is_ok()),
        limits(thread),
    ];
    if real_uid(&task) != 0 {
        // It has become the user in the meantime.
        return 0;
    }
    let count = worked.iter().filter(|worked| **worked).count();
    if count > 0 {
        eprintln!("{task}: {worked:?}");
    }
    count
}

/// Of all its ids, the one that signals go by.
fn real_uid(task: &str) -> u32 {
    let status = fs::read_to_string(format!("{task}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let first = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    // One that has ended is nobody's.
    first.unwrap_or(u32::MAX)
}

/// Whether its limits can be seen, which takes as much as changing them.
fn limits(thread: i32) -> bool {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let (new, which) = (std::ptr::null(), libc::RLIMIT_FSIZE);
    // SAFETY: the structure is ours, and no limits are given.
    unsafe { libc::prlimit(thread, which, new, &raw mut limits) == 0 }
}
