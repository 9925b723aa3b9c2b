//! The unsafe part: what nix does not offer for a single thread.
//!
//! glibc's setgroups(3) and set*id(3) signal every thread of the process to
//! change with the caller (nptl(7)). In a host that is not ours that would
//! change the host itself, so the calls here are the kernel's own, which
//! change the calling thread alone.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, c_long, c_void, gid_t, uid_t};
use nix::NixPath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;

pub(crate) mod spawn;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the raw id calls used here take 32-bit ids on 64-bit machines only");

/// For how many groups of a user there is room at first.
const ROOM_FOR_GROUPS: usize = 64;
/// How many groups the kernel takes at most: `NGROUPS_MAX` of linux/limits.h.
const GROUPS_LIMIT: usize = 65_536;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct CapabilitySet {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes the calling thread act as a user towards file systems, for good.
///
/// Supplementary groups, fsgid and fsuid become the user's, and every
/// capability is dropped; each step is read back. The effective uid stays: the
/// user can neither signal nor trace the thread. There is no way back, so the
/// thread must end after its work.
///
/// Fails if the kernel refuses a step or does not keep it; the thread must then
/// not be used for anything.
pub fn become_user_for_files(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    set_groups(groups)?;
    set_fs_id(libc::SYS_setfsgid, gid)?;
    set_fs_id(libc::SYS_setfsuid, uid)?;
    drop_capabilities()
}

fn set_groups(groups: &[gid_t]) -> io::Result<()> {
    // SAFETY: the pointer and the count describe one live slice; the kernel only reads it.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    let mut kept = vec![0 as gid_t; groups.len()];
    // SAFETY: the kernel writes at most `kept.len()` ids into a live slice of that length, and
    // with a length of 0 only counts.
    let count =
        check(unsafe { libc::syscall(libc::SYS_getgroups, kept.len(), kept.as_mut_ptr()) })?;
    let mut wanted = groups.to_vec();
    wanted.sort_unstable();
    kept.sort_unstable();
    if usize::try_from(count) == Ok(wanted.len()) && kept == wanted {
        Ok(())
    } else {
        Err(io::Error::other(
            "the kernel did not keep the supplementary groups",
        ))
    }
}

/// setfsuid(2) and setfsgid(2) report no errors: a second call with an id that
/// can not exist changes nothing and returns the one in force.
fn set_fs_id(call: c_long, id: uid_t) -> io::Result<()> {
    // SAFETY: takes and returns plain numbers.
    unsafe { libc::syscall(call, id) };
    // SAFETY: as above; -1 is no valid id and so only asks.
    let now = unsafe { libc::syscall(call, uid_t::MAX) };
    if now == c_long::from(id) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }
}

/// The uid that the calling thread has towards file systems.
pub fn fs_uid() -> uid_t {
    // SAFETY: takes and returns plain numbers; -1 is no valid id and so only asks.
    let now = unsafe { libc::syscall(libc::SYS_setfsuid, uid_t::MAX) };
    // The kernel returns a uid; anything else would be nobody's.
    uid_t::try_from(now).unwrap_or(uid_t::MAX)
}

fn drop_capabilities() -> io::Result<()> {
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let none = [CapabilitySet::default(); 2];
    // SAFETY: version 3 takes a header and two sets; both live, and pid 0 is the calling thread.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) })?;
    let mut kept = [CapabilitySet {
        effective: 1,
        permitted: 1,
        inheritable: 1,
    }; 2];
    // SAFETY: version 3 writes two sets into a live array of two.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, kept.as_mut_ptr()) })?;
    if kept == none {
        Ok(())
    } else {
        Err(io::Error::other("the kernel did not drop the capabilities"))
    }
}

/// Leaves the calling thread these capabilities only.
#[cfg(test)]
pub(crate) fn keep_capabilities(kept: u64) {
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut sets = [CapabilitySet::default(); 2];
    // SAFETY: version 3 writes two sets into a live array of two.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) }).unwrap();
    let kept = [kept & u64::from(u32::MAX), kept >> 32].map(|half| u32::try_from(half).unwrap());
    for (set, kept) in sets.iter_mut().zip(kept) {
        set.permitted &= kept;
        set.effective &= kept;
    }
    // SAFETY: version 3 takes a header and two sets, both live.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) }).unwrap();
}

/// The process's dumpable attribute as the kernel has it: 0, 1, or 2 for "as
/// root only" (prctl(2), PR_GET_DUMPABLE).
pub fn dumpable() -> io::Result<c_int> {
    // SAFETY: takes and returns plain numbers.
    let value = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
    check(c_long::from(value)).map(|_| value)
}

/// Gives the process its dumpable attribute back; the kernel takes 0 and 1.
pub fn set_dumpable(value: c_int) -> io::Result<()> {
    // SAFETY: takes and returns plain numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, value, 0, 0, 0) };
    check(c_long::from(result)).map(drop)
}

/// Has this process leave no core.
///
/// A limit of one byte keeps also a core from being piped to a program, as one of 0 does not
/// (core(5), and `do_coredump` of fs/coredump.c). Where the limit is 0 already, as systemd's
/// LimitCORE= sets it, and may not be raised, it stays that.
pub fn forbid_cores() -> io::Result<()> {
    limit_cores(1).or_else(|_| limit_cores(0))
}

fn limit_cores(bytes: libc::rlim_t) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: the kernel only reads the structure, which is live.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
    check(c_long::from(result)).map(drop)
}

/// The signals by which people end a program.
pub const ENDINGS: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Those of [`ENDINGS`], but for those that this process was started to
/// ignore, as by nohup(1): a signal that is blocked is not ignored any more.
pub fn endings() -> SigSet {
    ENDINGS
        .into_iter()
        .filter(|signal| !is_ignored(*signal))
        .collect()
}

fn is_ignored(signal: Signal) -> bool {
    // SAFETY: a structure of plain numbers and of no handler, for which all zeros are values.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the kernel only writes the old one to a live structure.
    let result = unsafe { libc::sigaction(signal as c_int, std::ptr::null(), &raw mut old) };
    result == 0 && old.sa_sigaction == libc::SIG_IGN
}

/// By how much the kernel takes its clock to be wrong at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockError(pub Duration);

/// Asks the kernel how good its clock is (adjtimex(2)); changes nothing and needs no privilege.
///
/// Fails where a container is not allowed to ask.
pub fn clock_error() -> io::Result<ClockError> {
    // SAFETY: a struct of plain numbers, for which all zeros are values.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to one live struct of the type that it takes; with modes of 0 it only
    // reads the clock.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    check(c_long::from(result))?;
    let error = u64::try_from(state.maxerror).unwrap_or(u64::MAX);
    Ok(ClockError(Duration::from_micros(error)))
}

/// Every gid of a user, `gid` among them (getgrouplist(3)).
///
/// nix's own asks sysconf(3) for the most there can be, for which the C library opens, reads and
/// closes a file of /proc; hardly anybody is in more groups than there is room for at first.
///
/// Fails with EINVAL where there are more than the kernel takes, and with ENOMEM where the C library
/// has no answer though there is room for it: it has no memory then.
pub(crate) fn group_list(name: &CStr, gid: gid_t) -> nix::Result<Vec<gid_t>> {
    group_list_with(ROOM_FOR_GROUPS, name, gid)
}

fn group_list_with(room: usize, name: &CStr, gid: gid_t) -> nix::Result<Vec<gid_t>> {
    let mut groups = vec![gid; room];
    loop {
        let room = c_int::try_from(groups.len()).map_err(|_| Errno::EINVAL)?;
        let mut count = room;
        // SAFETY: a live string, and a live array of as many gids as `count` says.
        let result =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let found = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        if result >= 0 {
            groups.truncate(found);
            return Ok(groups);
        }
        if found <= groups.len() {
            return Err(Errno::ENOMEM);
        }
        if found > GROUPS_LIMIT {
            return Err(Errno::EINVAL);
        }
        // There may be more by then, and so on until there are too many.
        groups.resize(found, gid);
    }
}

/// Opens a directory to list it.
pub(crate) fn open_dir<P: ?Sized + NixPath>(at: impl AsFd, path: &P) -> nix::Result<Dir> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    list_dir(openat(at, path, flags, Mode::empty())?)
}

/// Makes a listing of an open directory.
///
/// nix leaves the descriptor open where fdopendir(3) fails, as on a file server that fails or without
/// memory. It would stay in the host for good.
pub(crate) fn list_dir(dir: OwnedFd) -> nix::Result<Dir> {
    let number = dir.as_raw_fd();
    Dir::from_fd(dir).inspect_err(|_| {
        // SAFETY: it was given up and not closed, which a test holds nix to: nobody else has it.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    })
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The system's allocator, wiping every block before it gives it back.
///
/// Keys and tokens pass through libraries that make copies of their own (JSON,
/// base64). With this allocator none of them outlives its block, whoever made
/// it. A block that grows is moved by the trait's own `realloc`, which goes
/// through `dealloc`.
#[derive(Debug, Default)]
pub struct WipingAllocator;

// SAFETY: every block comes from and goes back to the system's allocator with the layout it was
// asked for; wiping stays inside the block.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is live and `layout.size()` bytes long until the next line; explicit_bzero
        // is not optimized away (bzero(3)).
        unsafe { libc::explicit_bzero(block.cast::<c_void>(), layout.size()) };
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(key: &str) -> String {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        text.lines().find(|l| l.starts_with(key)).unwrap()[key.len()..]
            .trim()
            .to_owned()
    }

    #[test]
    fn a_signal_that_this_process_was_started_to_ignore_stays_ignored() {
        use nix::sys::signal::{SigHandler, signal};
        // SAFETY: neither is a handler, and no other test has to do with the signal.
        let become_ = |handler| unsafe { signal(Signal::SIGHUP, handler) }.unwrap();
        let before = become_(SigHandler::SigDfl);
        assert!(endings().contains(Signal::SIGHUP));
        become_(SigHandler::SigIgn);
        let seen = endings();
        become_(before);
        assert!(!seen.contains(Signal::SIGHUP) && seen.contains(Signal::SIGTERM));
    }

    #[test]
    fn a_process_that_may_leave_no_core_pipes_none_either() {
        forbid_cores().unwrap();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<&str> = core.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["1", "1"]);
    }

    #[test]
    fn every_group_of_a_user_is_listed_however_little_room_there_is_at_first() {
        // Nobody has to be known: whoever asks says one of the groups.
        for name in [c"root", c"no-such-user"] {
            let all = nix::unistd::getgrouplist(name, 54_321.into()).unwrap();
            let all: Vec<gid_t> = all.into_iter().map(nix::unistd::Gid::as_raw).collect();
            assert!(all.contains(&54_321));
            for room in [0, 1, ROOM_FOR_GROUPS] {
                assert_eq!(group_list_with(room, name, 54_321).unwrap(), all);
            }
        }
    }

    #[test]
    fn what_is_no_directory_is_closed_when_it_can_not_be_listed() {
        let (read, write) = nix::unistd::pipe().unwrap();
        assert_eq!(list_dir(write).unwrap_err(), nix::errno::Errno::ENOTDIR);
        // The end of the pipe: nobody can write to it any more.
        assert_eq!(nix::unistd::read(&read, &mut [0]).unwrap(), 0);
    }

    #[test]
    fn nix_still_leaves_open_what_can_not_be_listed() {
        let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK).unwrap();
        let number = write.as_raw_fd();
        assert!(Dir::from_fd(write).is_err());
        let left = nix::unistd::read(&read, &mut [0]);
        assert_eq!(left, Err(nix::errno::Errno::EAGAIN), "close it no more");
        // SAFETY: nobody has it, as was just seen.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }

    #[test]
    fn a_thread_that_may_not_become_a_user_says_so() {
        let result = std::thread::spawn(|| {
            // A thread without capabilities is what an unprivileged host has.
            drop_capabilities().unwrap();
            become_user_for_files(4321, 4321, &[4321])
        });
        let error = result.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_thread_becomes_the_user_and_no_other_thread_does() {
        if !nix::unistd::geteuid().is_root() {
            // Without root there is nobody to become; the test above covers that side.
            return;
        }
        let before = (status("Uid:"), status("Groups:"), status("CapEff:"));
        std::thread::spawn(|| {
            become_user_for_files(4321, 4322, &[4323, 4324]).unwrap();
            assert_eq!(status("Uid:"), "0\t0\t0\t4321");
            assert!(status("Gid:").ends_with("\t4322"));
            assert_eq!(fs_uid(), 4321);
            assert_eq!(status("Groups:"), "4323 4324");
            assert_eq!(status("CapEff:"), "0000000000000000");
            assert_eq!(status("CapPrm:"), "0000000000000000");
        })
        .join()
        .unwrap();
        assert_eq!(
            before,
            (status("Uid:"), status("Groups:"), status("CapEff:"))
        );
    }

    #[test]
    fn the_clock_is_asked_and_not_set() {
        let before = std::time::SystemTime::now();
        let ClockError(error) = clock_error().unwrap();
        // NTP_PHASE_LIMIT of the kernel: an error never grows beyond 16 s.
        assert!(error <= Duration::from_secs(16), "{error:?}");
        assert!(before.elapsed().unwrap() < Duration::from_secs(5));
    }

    #[test]
    #[allow(clippy::multiple_unsafe_ops_per_block)]
    fn a_freed_block_is_wiped() {
        let layout = Layout::from_size_align(256, 16).unwrap();
        // SAFETY: a block of our own; after dealloc only the allocator's own words may differ.
        unsafe {
            let block = WipingAllocator.alloc(layout);
            block.write_bytes(0xAA, 256);
            WipingAllocator.dealloc(block, layout);
            let again = System.alloc(layout);
            let left = std::slice::from_raw_parts(again, 256);
            assert!(again != block || left[32..].iter().all(|b| *b != 0xAA));
            System.dealloc(again, layout);
        }
    }
}
