//! What the copy of the host is just before it becomes the program.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;

use super::*;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

/// What a copy of this process says of itself when it may be sent a signal.
fn before_exec(ids: Option<(u32, u32)>) -> [bool; 3] {
    let null = File::open("/dev/null").unwrap();
    let mut prepared = Prepared {
        path: c"/no/such/program",
        args: ptr::null(),
        env: ptr::null(),
        ids,
        own_pids: false,
        kept: vec![0],
        wanted: vec![4322],
        streams: [null.as_raw_fd(); 3],
        report: null.as_raw_fd(),
    };
    let before = set_mask(u64::MAX).unwrap();
    let pid = clone(libc::SIGCHLD).unwrap();
    if pid == 0 {
        // What fs.suid_dumpable = 1 would leave it, ids or not.
        let _ = prctl(libc::PR_SET_DUMPABLE, 1);
        let code = prepared.change().map_or(100, |()| {
            let mut core = libc::rlimit64 {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: the kernel writes one rlimit64 into a live one and reads none.
            unsafe {
                libc::syscall(
                    libc::SYS_prlimit64,
                    0,
                    libc::RLIMIT_CORE,
                    ptr::null::<libc::rlimit64>(),
                    &raw mut core,
                )
            };
            let ask = |option: c_int| {
                // SAFETY: takes and returns plain numbers.
                unsafe { libc::syscall(libc::SYS_prctl, option, 0, 0, 0, 0) }
            };
            let is_dumpable = ask(libc::PR_GET_DUMPABLE) != 0;
            let has_core = (core.rlim_cur, core.rlim_max) != (1, 1);
            let may_gain = ask(libc::PR_GET_NO_NEW_PRIVS) != 1;
            c_long::from(is_dumpable) + 2 * c_long::from(has_core) + 4 * c_long::from(may_gain)
        });
        let _ = plain(libc::SYS_exit_group, [code, 0, 0]);
    }
    set_mask(before).unwrap();
    let ended = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::__WALL)).unwrap();
    let WaitStatus::Exited(_, code @ 0..8) = ended else {
        panic!("{ended:?}")
    };
    [1, 2, 4].map(|bit| code & bit != 0)
}

#[test]
fn a_copy_of_the_host_that_takes_signals_can_leave_no_core() {
    let [is_dumpable, has_core, _] = before_exec(None);
    assert!(!is_dumpable && !has_core);
    if geteuid().is_root() {
        // Where fs.suid_dumpable is 2 this says that it comes after the change of ids.
        assert_eq!(before_exec(Some((4321, 4322))), [false; 3]);
    }
}
