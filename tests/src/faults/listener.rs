//! The end of a filter that hears of each system call and answers it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::{seccomp_notif, seccomp_notif_addfd, seccomp_notif_resp};

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` of linux/seccomp.h: who answers is about to wait, so whoever
/// is answered runs on the same processor.
const SYNC_WAKE_UP: u64 = 1;

/// A system call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    id: u64,
    /// The thread that calls, as this process sees it.
    pub task: i32,
    /// The number of the call.
    pub number: i64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// The end itself; it hangs up when the last process with the filter has ended.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Of what a process sent.
    pub fn new(end: OwnedFd) -> Self {
        // SAFETY: takes a plain number. Kernels before 6.6 refuse it and are slower.
        unsafe {
            libc::ioctl(
                end.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            )
        };
        Self(end)
    }

    /// The next call; none if whoever made it was killed meanwhile.
    pub fn next(&self) -> Option<Asked> {
        // SAFETY: a structure of plain numbers, which the kernel wants to be all zeros.
        let mut asked: seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes to one live structure of the type that it takes.
        let done = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut asked,
            )
        };
        (done == 0).then(|| Asked {
            id: asked.id,
            task: asked.pid.cast_signed(),
            number: asked.data.nr.into(),
            args: asked.data.args,
        })
    }

    /// The kernel does what was asked for.
    pub fn go_on(&self, asked: Asked) {
        self.answer(asked, 0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE);
    }

    /// It does not, and the call returns this.
    pub fn returns(&self, asked: Asked, value: i64) {
        self.answer(asked, value, 0, 0);
    }

    /// It does not, and the call fails.
    pub fn fails(&self, asked: Asked, errno: i32) {
        self.answer(asked, 0, -errno, 0);
    }

    fn answer(&self, asked: Asked, val: i64, error: i32, flags: u64) {
        let mut answer = seccomp_notif_resp {
            id: asked.id,
            val,
            error,
            flags: u32::try_from(flags).unwrap(),
        };
        // SAFETY: the kernel only reads one live structure. It fails if the caller was killed.
        unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut answer,
            )
        };
    }

    /// Puts a descriptor of ours in the place of one of the caller's, which is closed by that.
    pub fn replace(&self, asked: Asked, theirs: u32, ours: BorrowedFd<'_>) -> io::Result<()> {
        let mut replace = seccomp_notif_addfd {
            id: asked.id,
            flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SETFD).unwrap(),
            srcfd: u32::try_from(ours.as_raw_fd()).unwrap(),
            newfd: theirs,
            newfd_flags: libc::O_CLOEXEC.cast_unsigned(),
        };
        // SAFETY: the kernel only reads one live structure.
        let done = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ADDFD,
                &raw mut replace,
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
