//! One after the other: what is done to a file, a socket or a thread.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{openat, renameat};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{fchmod, fstat};
use nix::unistd::{UnlinkatFlags, getpid, unlinkat};

use super::{FILE, NEW, RECORD, Ready};

pub(super) fn entered(dir: OwnedFd) -> OwnedFd {
    fstat(&dir).unwrap();
    dir
}

pub(super) fn list(dir: OwnedFd) -> Dir {
    let mut dir = Dir::from_fd(dir).unwrap();
    for entry in dir.iter() {
        entry.unwrap();
    }
    dir
}

pub(super) fn read(path: &Path) {
    let mut file = File::open(path).unwrap();
    fstat(&file).unwrap();
    let mut text = [0; 2048];
    while file.read(&mut text).unwrap() > 0 {}
}

/// What says by itself how long it is: a file of /proc.
pub(super) fn read_once(path: &Path) {
    let mut text = [0; 1024];
    let _ = File::open(path).unwrap().read(&mut text).unwrap();
}

pub(super) fn random() {
    let mut bytes = [0_u8; 16];
    // SAFETY: the kernel writes to a live array of that length.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
}

pub(super) fn put_record(records: &OwnedFd) -> File {
    let temporary = format!(".{RECORD}.json.new");
    let mut file = File::from(openat(records, temporary.as_str(), NEW, FILE).unwrap());
    fchmod(&file, FILE).unwrap();
    file.try_lock().unwrap();
    file.write_all(&[b'x'; 775]).unwrap();
    renameat(
        records,
        temporary.as_str(),
        records,
        format!("{RECORD}.json").as_str(),
    )
    .unwrap();
    file
}

pub(super) fn say(ready: Ready) {
    let Ready { log, mut audit } = ready;
    getpid();
    let _ = send(
        log.as_raw_fd(),
        &[b'x'; 300],
        MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
    );
    drop(log);
    let size = audit.metadata().unwrap().len();
    audit.read_at(&mut [0], size - 1).unwrap();
    audit.write_all(&[b'\n'; 365]).unwrap();
}

pub(super) fn unlink(dir: &OwnedFd, name: &str) {
    let _ = unlinkat(dir.as_fd(), name, UnlinkatFlags::NoRemoveDir);
}

/// As the module does, and asks after each step.
pub(super) fn become_user(uid: u32, gid: u32) {
    let mut header = [0x2008_0522_u32, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: every pointer is to a live array of the size that its call takes; the ids and the
    // capabilities are those of this thread alone.
    unsafe {
        libc::syscall(libc::SYS_setgroups, 1, &raw const gid);
        libc::syscall(libc::SYS_getgroups, 6, sets.as_mut_ptr());
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsgid, u32::MAX);
        libc::syscall(libc::SYS_setfsuid, uid);
        assert_eq!(libc::syscall(libc::SYS_setfsuid, u32::MAX), i64::from(uid));
        sets.fill(0);
        libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr());
        libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr());
    }
}
