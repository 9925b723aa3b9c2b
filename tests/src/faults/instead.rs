//! What a supervisor does in the place of a process that asked for it: a call whose answer is lost, and
//! one that does less than it was asked for.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

use super::errnos::Fault;
use super::listener::{Asked, Listener};
use super::position::text;

/// Who is asked, and for whom.
pub(super) struct Instead<'a> {
    pub(super) listener: &'a Listener,
    /// The process that asked.
    pub(super) process: i32,
    pub(super) host: i32,
    /// Takes the place of descriptors that are closed though close(2) fails.
    pub(super) closed: BorrowedFd<'a>,
}

impl Instead<'_> {
    /// Answers a call that is to go wrong.
    pub(super) fn answer(&self, asked: Asked, fault: Fault) {
        match fault {
            Fault::Errno(errno) | Fault::Lasting(errno) => {
                if asked.number == libc::SYS_close {
                    // The kernel gives a descriptor back whatever close(2) says.
                    let theirs = u32::try_from(asked.args[0] & 0xffff_ffff).unwrap();
                    let _ = self.listener.replace(asked, theirs, self.closed);
                }
                self.listener.fails(asked, errno);
            }
            Fault::Done(told) => {
                // What can not be done fails as it would.
                let refused = done(&asked, self.process).err();
                let errno = refused.and_then(|error| error.raw_os_error());
                self.listener.fails(asked, errno.unwrap_or(told));
            }
            Fault::Short => {
                let len = half(&asked, self.process).unwrap();
                self.listener.returns(asked, i64::try_from(len).unwrap());
            }
            Fault::Refused => self.listener.returns(asked, 0),
            Fault::Kill => {
                let _ = kill(Pid::from_raw(self.process), Signal::SIGKILL);
            }
            Fault::KillHost => {
                let _ = kill(Pid::from_raw(self.host), Signal::SIGKILL);
                self.listener.go_on(asked);
            }
        }
    }
}

/// Does an unlinkat(2) or a renameat(2) for a process that asked for it.
fn done(asked: &Asked, process: i32) -> io::Result<()> {
    let path = |directory: usize| {
        let name = text(process, asked.args[directory + 1]);
        if name.starts_with('/') {
            return name;
        }
        format!(
            "/proc/{process}/fd/{}/{name}",
            asked.args[directory] & 0xffff_ffff
        )
    };
    match asked.number {
        libc::SYS_renameat => std::fs::rename(path(0), path(2)),
        _ if asked.args[2] == 0 => std::fs::remove_file(path(0)),
        _ => std::fs::remove_dir(path(0)),
    }
}

/// Whether a call reads or writes more than a byte of a file, which may be done in part.
pub(super) fn can_be_short(asked: &Asked) -> bool {
    let file = asked.args[0] & 0xffff_ffff;
    let moves = matches!(asked.number, libc::SYS_read | libc::SYS_write) && asked.args[2] > 1;
    moves
        && std::fs::metadata(format!("/proc/{}/fd/{file}", asked.task))
            .is_ok_and(|stat| stat.is_file())
}

/// Reads or writes the first half for a process; how much that was.
fn half(asked: &Asked, process: i32) -> io::Result<usize> {
    let mut file = File::from(shared(process, asked.args[0])?);
    let len = usize::try_from(asked.args[2] / 2).unwrap().min(1 << 16);
    let mut bytes = vec![0; len];
    let base = usize::try_from(asked.args[1]).unwrap();
    let (process, remote) = (Pid::from_raw(process), RemoteIoVec { base, len });
    if asked.number == libc::SYS_write {
        let read = process_vm_readv(process, &mut [IoSliceMut::new(&mut bytes)], &[remote])?;
        return file.write(&bytes[..read]);
    }
    let read = file.read(&mut bytes)?;
    let remote = RemoteIoVec { base, len: read };
    Ok(process_vm_writev(
        process,
        &[IoSlice::new(&bytes[..read])],
        &[remote],
    )?)
}

/// An open file of a process, with the place in it that both of us move.
fn shared(process: i32, file: u64) -> io::Result<OwnedFd> {
    let descriptor = |number: libc::c_long| {
        let number = RawFd::try_from(number).unwrap();
        // SAFETY: the kernel has just made it for us, or it is -1, which is not taken.
        (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
    };
    // SAFETY: takes plain numbers.
    let process = descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })
        .ok_or_else(io::Error::last_os_error)?;
    // SAFETY: takes plain numbers.
    let file = unsafe {
        libc::syscall(
            libc::SYS_pidfd_getfd,
            process.as_raw_fd(),
            file & 0xffff_ffff,
            0,
        )
    };
    descriptor(file).ok_or_else(io::Error::last_os_error)
}
