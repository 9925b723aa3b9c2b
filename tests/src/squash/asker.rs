//! Being who asks, for one request and on one thread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use fuser::Request;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

/// Does something as who asks; they are not root.
pub(super) fn as_asker<T>(
    proc: &OwnedFd,
    request: &Request,
    act: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let groups = groups_of(proc, request.pid());
    set_groups(&groups)?;
    setfsgid(Gid::from_raw(request.gid()));
    // Leaving root's fsuid takes the thread's powers over files, coming back returns them.
    setfsuid(Uid::from_raw(request.uid()));
    let done = act();
    setfsuid(Uid::from_raw(0));
    setfsgid(Gid::from_raw(0));
    set_groups(&[])?;
    done
}

/// The supplementary groups of a thread; FUSE does not say them, NFS does.
fn groups_of(proc: &OwnedFd, pid: u32) -> Vec<libc::gid_t> {
    let path = format!("{pid}/status");
    let file = openat(proc.as_fd(), path.as_str(), OFlag::O_RDONLY, Mode::empty());
    let text = file.map(|file| io::read_to_string(std::fs::File::from(file)).unwrap_or_default());
    let text = text.unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Groups:"));
    let words = line.unwrap_or_default().split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Of this thread alone; the function of libc sets those of all threads.
fn set_groups(groups: &[libc::gid_t]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a slice that outlives the call.
    match unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
