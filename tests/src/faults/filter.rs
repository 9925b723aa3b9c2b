//! The filter of a process that is watched.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use libc::{c_long, c_uint, c_ulong, sock_filter, sock_fprog};

/// The descriptor by which a watched process talks to its supervisor: what is sent there is not asked
/// for.
pub const CHANNEL: RawFd = 200;

/// A call that no kernel has, by which a process says where it is; the supervisor answers it with 0.
pub(super) const MARK: c_long = 0x0fa1;

/// What a descriptor leads to that was closed though close(2) said no: see the supervisor.
pub const CLOSED: &str = "/memfd:closed (deleted)";

/// Calls that can not fail, and that end a task or a handler of a signal.
const LET_THROUGH: [c_long; 4] = [
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
];

/// From now on the calling thread, and whatever comes of it, asks for each system call. The end that
/// hears of them goes away on [`CHANNEL`] with this message: no other call comes back before somebody
/// has it.
pub fn watch_me(message: &[u8]) -> io::Result<()> {
    let mut program = program();
    let program = sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut with = WithDescriptor::default();
    // SAFETY: the kernel copies the program, which is live.
    let end = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            flags,
            &raw const program,
        )
    };
    let end = RawFd::try_from(end).unwrap();
    if end < 0 {
        return Err(io::Error::last_os_error());
    }
    with.send(message, end)?;
    // SAFETY: the kernel has made it for us, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(end) });
    Ok(())
}

/// Room for a control message with one descriptor, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Default)]
struct WithDescriptor([u8; 24]);

impl WithDescriptor {
    /// Sends a message and a descriptor without any other system call, one for memory included.
    fn send(&mut self, message: &[u8], descriptor: RawFd) -> io::Result<()> {
        let mut part = libc::iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        };
        // SAFETY: a structure of numbers and pointers, for which all zeros are values.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = self.0.len();
        let size = u32::try_from(size_of::<RawFd>()).unwrap();
        // SAFETY: the buffer is aligned and as long as CMSG_SPACE of one descriptor, which is 24, so the
        // first control message and its data lie in it; what the kernel reads is live.
        let sent = unsafe {
            let control = libc::CMSG_FIRSTHDR(&raw const header);
            (*control).cmsg_level = libc::SOL_SOCKET;
            (*control).cmsg_type = libc::SCM_RIGHTS;
            (*control).cmsg_len = libc::CMSG_LEN(size) as usize;
            libc::CMSG_DATA(control)
                .cast::<RawFd>()
                .write_unaligned(descriptor);
            libc::sendmsg(CHANNEL, &raw const header, libc::MSG_NOSIGNAL)
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// Tells the supervisor that something begins, or ends.
pub fn mark(begins: bool) {
    // SAFETY: no kernel knows the call; the supervisor answers it.
    unsafe { libc::syscall(MARK, c_ulong::from(begins)) };
}

fn program() -> Vec<sock_filter> {
    // struct seccomp_data: the number, the architecture, the instruction, and the arguments.
    const NUMBER: u32 = 0;
    const FIRST: u32 = 16;
    let mut program = vec![statement(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        NUMBER,
    )];
    for call in LET_THROUGH {
        program.push(unless(call, 1));
        program.push(answer(libc::SECCOMP_RET_ALLOW));
    }
    program.push(unless(libc::SYS_sendmsg, 3));
    program.push(statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, FIRST));
    program.push(unless(CHANNEL.into(), 1));
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program.push(answer(libc::SECCOMP_RET_USER_NOTIF));
    program
}

fn statement(code: c_uint, operand: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: 0,
        k: operand,
    }
}

/// Skips so many statements unless the value is this one.
fn unless(value: c_long, skip: u8) -> sock_filter {
    sock_filter {
        jf: skip,
        ..statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            u32::try_from(value).unwrap(),
        )
    }
}

fn answer(what: c_uint) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, what)
}
