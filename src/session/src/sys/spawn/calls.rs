//! The kernel's own calls, for processes that share nothing with the host but
//! have its memory as it was: nothing here allocates, locks or panics.

use std::ptr;

use libc::{c_int, c_long, pid_t};

use crate::sys::{CAPABILITY_VERSION_3, CapabilityHeader, CapabilitySet};

/// The kernel's signal sets have so many bytes.
const SET_SIZE: usize = 8;
/// Where close_range(2) is missing, descriptors are closed one by one up to here.
const MOST_DESCRIPTORS: u64 = 1 << 20;

/// Sets every signal to its default; SIGKILL and SIGSTOP are refused and need nothing.
pub(super) fn default_signals() {
    let default = [0_u64; 8];
    for signal in 1..=64_usize {
        let none = ptr::null_mut::<u64>();
        let action = default.as_ptr();
        // SAFETY: a zeroed sigaction of any layout is SIG_DFL without flags and mask, and the
        // array is longer than the kernel's.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, none, SET_SIZE) };
    }
}

/// clone(2) as fork(2) does it, with nothing shared; 0 in the new process.
pub(super) fn clone(flags: c_int) -> Result<pid_t, c_int> {
    let (flags, none) = (c_long::from(flags), 0 as c_long);
    #[cfg(not(target_arch = "s390x"))]
    let (first, second) = (flags, none);
    #[cfg(target_arch = "s390x")]
    let (first, second) = (none, flags);
    // SAFETY: without CLONE_VM the new process goes on with a copy of this stack, and without
    // the flags that use them the three pointers are not looked at.
    let result = unsafe { libc::syscall(libc::SYS_clone, first, second, none, none, none) };
    outcome(result).and_then(|pid| pid_t::try_from(pid).map_err(|_| libc::EINVAL))
}

/// Sets the signal mask of the calling thread, the C library's own signals
/// among them, and returns the one before.
pub(super) fn set_mask(mask: u64) -> Result<u64, c_int> {
    let mut before = 0_u64;
    // SAFETY: two live sets of the size that is named.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut before,
            SET_SIZE,
        )
    };
    outcome(result).map(|_| before)
}

pub(super) fn dup_to(from: c_int, to: c_int, flags: c_int) -> Result<(), c_int> {
    let numbers = [from, to, flags].map(c_long::from);
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_dup3, numbers[0], numbers[1], numbers[2]) };
    outcome(result).map(drop)
}

/// Closes every descriptor from this one on.
pub(super) fn close_from(first: c_int) {
    let first = c_long::from(first);
    if plain(libc::SYS_close_range, [first, c_long::from(u32::MAX), 0]).is_ok() {
        return;
    }
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit64 into a live one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE,
            ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    };
    // The limit may have been lowered since a descriptor was opened: the hard one counts.
    let end = outcome(result).map_or(MOST_DESCRIPTORS, |_| limit.rlim_max.min(MOST_DESCRIPTORS));
    let mut descriptor = first;
    while u64::try_from(descriptor).is_ok_and(|number| number < end) {
        let _ = plain(libc::SYS_close, [descriptor, 0, 0]);
        descriptor = descriptor.wrapping_add(1);
    }
}

/// Sets the supplementary groups and reads them back into `kept`, which is as long.
pub(super) fn set_groups(wanted: &[u32], kept: &mut [u32]) -> Result<(), c_int> {
    // SAFETY: the pointer and the count describe one live slice; the kernel only reads it.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, wanted.len(), wanted.as_ptr()) };
    outcome(result)?;
    // SAFETY: the kernel writes at most `kept.len()` ids into a live slice of that length, and
    // with a length of 0 only counts.
    let result = unsafe { libc::syscall(libc::SYS_getgroups, kept.len(), kept.as_mut_ptr()) };
    let count = outcome(result)?;
    kept.sort_unstable();
    if usize::try_from(count) == Ok(wanted.len()) && kept == wanted {
        Ok(())
    } else {
        Err(libc::EPERM)
    }
}

/// Sets real, effective and saved id and reads them back.
pub(super) fn set_ids(set: c_long, get: c_long, id: u32) -> Result<(), c_int> {
    plain(set, [c_long::from(id); 3])?;
    let mut kept = [u32::MAX; 3];
    let [real, effective, saved] = &mut kept;
    let (real, effective, saved) = (ptr::from_mut(real), ptr::from_mut(effective), saved);
    // SAFETY: the kernel writes three ids into three live ones.
    let result = unsafe { libc::syscall(get, real, effective, ptr::from_mut(saved)) };
    outcome(result)?;
    if kept == [id; 3] {
        Ok(())
    } else {
        Err(libc::EPERM)
    }
}

/// A host that asked to keep its capabilities over a change of ids keeps them for itself.
pub(super) fn drop_capabilities() -> Result<(), c_int> {
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let none = [CapabilitySet::default(); 2];
    // SAFETY: version 3 takes a header and two sets; both live, and pid 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) };
    outcome(result).map(drop)
}

/// Keeps the memory of this process out of any core, and that of the program that it
/// becomes.
///
/// A change of ids sets the attribute to fs.suid_dumpable, so this comes after it; execve(2)
/// gives the program its own. The limit stays: a core of one byte is none, and with this one
/// the kernel starts no handler of cores either, as it does with 0 (fs/coredump.c).
pub(super) fn keep_memory() -> Result<(), c_int> {
    let least = libc::rlimit64 {
        rlim_cur: 1,
        rlim_max: 1,
    };
    let before = ptr::null_mut::<libc::rlimit64>();
    let (this, which) = (0 as c_long, libc::RLIMIT_CORE);
    // SAFETY: the kernel reads one live rlimit64 and writes nothing to a null pointer.
    unsafe { libc::syscall(libc::SYS_prlimit64, this, which, &raw const least, before) };
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// Asks the kernel for a signal when the parent's thread ends; without it, this
/// process ends by itself.
pub(super) fn hear_of_parent(signal: c_int) {
    let _ = prctl(libc::PR_SET_PDEATHSIG, signal);
}

pub(super) fn prctl(option: c_int, value: c_int) -> Result<(), c_int> {
    let [option, value, none] = [option, value, 0].map(c_long::from);
    // SAFETY: every caller names an option that takes a plain number.
    let result = unsafe { libc::syscall(libc::SYS_prctl, option, value, none, none, none) };
    outcome(result).map(drop)
}

/// Takes a process that has ended from the kernel's table and returns its pid and
/// status; the pid is 0 when all that are left go on. ECHILD: none is left.
pub(super) fn take_any() -> Result<(c_long, c_int), c_int> {
    let mut status: c_int = 0;
    let (anybody, flags): (pid_t, c_int) = (-1, libc::__WALL | libc::WNOHANG);
    let usage = ptr::null_mut::<libc::rusage>();
    // SAFETY: the kernel writes one int into a live one, and no usage to a null pointer.
    let result = unsafe { libc::syscall(libc::SYS_wait4, anybody, &raw mut status, flags, usage) };
    outcome(result).map(|pid| (pid, status))
}

/// Waits for one of two blocked signals, for at most a time in nanoseconds if one
/// is given, and returns it.
pub(super) fn await_signal(signals: [c_int; 2], time: Option<c_long>) -> Result<c_long, c_int> {
    let set = signals.map(|signal| 1_u64 << (signal.wrapping_sub(1) & 63));
    let set = set[0] | set[1];
    let time = time.map(|tv_nsec| libc::timespec { tv_sec: 0, tv_nsec });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let info = ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the kernel reads a live set of the size that is named and a live timespec, if
    // any, and writes nothing to a null pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const set,
            info,
            time,
            SET_SIZE,
        )
    };
    outcome(result)
}

/// Sends SIGKILL to every child; false if the kernel tells of none that may be sent it.
///
/// The kernel's list has the numbers of that /proc, which may be of another pid
/// namespace: wait(2) says whether a number is a child's. It can be nobody else's before
/// the child is taken from the kernel's table, which this process alone does.
pub(super) fn kill_children() -> bool {
    let path = c"/proc/thread-self/children";
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the path is a literal with its NUL.
    let result = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) };
    let Ok(list) = outcome(result) else {
        return false;
    };
    let mut is_any_killed = false;
    let mut number = 0;
    let mut buffer = [0_u8; 512];
    loop {
        // SAFETY: the pointer and the length describe one live array.
        let result =
            unsafe { libc::syscall(libc::SYS_read, list, buffer.as_mut_ptr(), buffer.len()) };
        let Some(length) = outcome(result).ok().and_then(|n| usize::try_from(n).ok()) else {
            break;
        };
        // A blank follows every number.
        for byte in buffer.iter().take(length) {
            if byte.is_ascii_digit() {
                let digit = c_long::from(byte & 0xF);
                number = c_long::wrapping_add(c_long::wrapping_mul(number, 10), digit);
            } else {
                is_any_killed |= kill_child(number);
                number = 0;
            }
        }
        if length == 0 {
            break;
        }
    }
    let _ = plain(libc::SYS_close, [list, 0, 0]);
    is_any_killed
}

/// Whether it was a child and was sent the signal.
pub(super) fn kill_child(pid: c_long) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let info = ptr::null_mut::<libc::siginfo_t>();
    let usage = ptr::null_mut::<libc::rusage>();
    // SAFETY: the kernel writes nothing to null pointers.
    let result = unsafe { libc::syscall(libc::SYS_waitid, libc::P_PID, pid, info, flags, usage) };
    result == 0 && plain(libc::SYS_kill, [pid, c_long::from(libc::SIGKILL), 0]).is_ok()
}

/// A call that takes plain numbers only.
pub(super) fn plain(call: c_long, numbers: [c_long; 3]) -> Result<(), c_int> {
    let [a, b, c] = numbers;
    // SAFETY: every caller names a call whose arguments are no pointers.
    outcome(unsafe { libc::syscall(call, a, b, c) }).map(drop)
}

pub(super) fn outcome(result: c_long) -> Result<c_long, c_int> {
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: the C library gives each thread a valid place for its errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above; a copy of the process has a copy of it.
    Err(unsafe { *place })
}
