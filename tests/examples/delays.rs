//! `libdelays.so`: preloaded into a program it makes system calls on files take a
//! random while, so that what runs beside each other meets at every step.
//!
//! IDTOKEN_DELAY is the longest delay in microseconds; about every second call
//! has none.

use std::cell::Cell;
use std::sync::OnceLock;

use libc::{c_char, c_int, c_uint, c_void, mode_t, size_t, ssize_t};

fn longest() -> u64 {
    static LONGEST: OnceLock<u64> = OnceLock::new();
    let read = || std::env::var("IDTOKEN_DELAY").ok()?.parse().ok();
    *LONGEST.get_or_init(|| read().unwrap_or(0))
}

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

fn delay() {
    let longest = longest();
    if longest == 0 {
        return;
    }
    let mut seed = SEED.get();
    if seed == 0 {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the structure is ours.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        // SAFETY: takes nothing and returns a number.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) };
        seed = (now.tv_nsec.unsigned_abs() << 20) ^ thread.unsigned_abs() | 1;
    }
    // xorshift64
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    SEED.set(seed);
    if seed.is_multiple_of(2) {
        let micros = i64::try_from((seed >> 8) % longest).unwrap_or(0);
        let time = libc::timespec {
            tv_sec: micros / 1_000_000,
            tv_nsec: micros % 1_000_000 * 1000,
        };
        // SAFETY: the structure is ours; what is left of the time is not asked for.
        unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
    }
}

macro_rules! delayed {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty = $($call:expr),+;)*) => { $(
        /// As the C library's, after a while.
        ///
        /// # Safety
        ///
        /// As the C library's.
        // The kernel answers with what the type of the C library's function holds.
        #[allow(clippy::cast_possible_truncation)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $kind),*) -> $answer {
            delay();
            // SAFETY: the caller upholds the contract of the system call.
            unsafe { libc::syscall($($call),+) as $answer }
        }
    )* };
}

delayed! {
    open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = libc::SYS_openat, libc::AT_FDCWD, path, flags, mode;
    open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = libc::SYS_openat, libc::AT_FDCWD, path, flags, mode;
    openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = libc::SYS_openat, dir, path, flags, mode;
    openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = libc::SYS_openat, dir, path, flags, mode;
    renameat(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int
        = libc::SYS_renameat2, from_dir, from, to_dir, to, 0 as c_uint;
    unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int
        = libc::SYS_unlinkat, dir, path, flags;
    mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int
        = libc::SYS_mkdirat, dir, path, mode;
    fchmod(fd: c_int, mode: mode_t) -> c_int = libc::SYS_fchmod, fd, mode;
    flock(fd: c_int, how: c_int) -> c_int = libc::SYS_flock, fd, how;
    write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t
        = libc::SYS_write, fd, bytes, count;
}
