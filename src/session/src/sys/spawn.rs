//! Starting a program from a host that is not ours.
//!
//! Two processes are made. The first, the keeper, stays a copy of the host: it
//! was cloned without an exit signal, so the host gets no SIGCHLD and a
//! waitpid(2) of the host's own does not find it, whatever the host made of
//! SIGCHLD. An execve(2) would give it that signal back, so it is the keeper's
//! child that becomes the program. The keeper waits for it and reports how it ended.
//!
//! What the program leaves running ends with the keeper. As root the keeper is the
//! first process of a pid namespace: when it ends, whatever way, the kernel ends the
//! rest. Where there is none (no root, no CAP_SYS_ADMIN, a filter) the keeper adopts
//! all descendants that lose their parents and kills what is left until wait(2) knows
//! of no child: when the program has ended, when the host asks for it, and when the
//! host's thread ends. A keeper that is killed itself can not do that: then the program
//! gets a SIGKILL from the kernel, and what it started is left.
//!
//! What is about to become the program is a copy of the host under the user's ids. It
//! takes no signal before the kernel was told to make no core of it and to let nobody
//! trace it.
//!
//! Between clone and exec nothing is allocated, nothing can panic, and every
//! call is the kernel's own: another thread of the host may have held any lock.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_char, c_int, c_long, pid_t};
use nix::sys::signal::Signal;

mod calls;
mod keeper;

use calls::{clone, set_mask};

/// Where the keeper has its report; 0, 1 and 2 are the program's streams.
const REPORT: c_int = 3;
/// What a report says in its upper half when the program has ended; any other
/// is the number of the step that failed.
const ENDED: u32 = 0;

/// What asks a keeper without a pid namespace to end everything. It takes no other
/// signal, and nobody sends this one to a group of processes.
pub(crate) const ASK: Signal = Signal::SIGPWR;
/// A report is one number of eight bytes: what it says, and the status or errno.
pub(crate) const REPORT_SIZE: usize = 8;

/// What a program becomes.
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// A program, with everything it is started with.
pub(crate) struct Launch {
    pub(crate) path: CString,
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// None leaves the ids as they are.
    pub(crate) ids: Option<Ids>,
    /// Whether to try for a pid namespace.
    pub(crate) own_pids: bool,
}

/// The descriptors of the program and of the keeper; none of them is below 4.
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) report: OwnedFd,
}

/// The process that watches a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeper {
    /// Also the process group of both. It is to be waited for alone, with `__WALL`.
    pub(crate) pid: pid_t,
    /// Whether the kernel ends everything with it; if not, it does so when it is sent [`ASK`].
    pub(crate) own_pids: bool,
}

/// What the keeper reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The status of wait4(2).
    Ended(i32),
    /// The step that failed and its errno.
    Failed(&'static str, i32),
}

impl Report {
    /// Reads a report; none if it is no report of ours.
    pub(crate) fn parse(bytes: [u8; REPORT_SIZE]) -> Option<Self> {
        let report = u64::from_ne_bytes(bytes);
        let [what, value] = [report >> 32, report & u64::from(u32::MAX)];
        let value = u32::try_from(value).ok()?.cast_signed();
        match u32::try_from(what).ok()? {
            ENDED => Some(Self::Ended(value)),
            number => Step::ALL
                .iter()
                .find(|step| **step as u32 == number)
                .map(|step| Self::Failed(step.doing(), value)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Session = 1,
    Signals,
    Streams,
    Clone,
    Wait,
    Directory,
    Groups,
    Gid,
    Uid,
    Capabilities,
    Attributes,
    Exec,
}

impl Step {
    const ALL: [Self; 12] = [
        Self::Session,
        Self::Signals,
        Self::Streams,
        Self::Clone,
        Self::Wait,
        Self::Directory,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::Capabilities,
        Self::Attributes,
        Self::Exec,
    ];

    const fn doing(self) -> &'static str {
        match self {
            Self::Session => "setsid",
            Self::Signals => "sigaction",
            Self::Streams => "dup",
            Self::Clone => "clone",
            Self::Wait => "wait",
            Self::Directory => "chdir",
            Self::Groups => "setgroups",
            Self::Gid => "setresgid",
            Self::Uid => "setresuid",
            Self::Capabilities => "capset",
            Self::Attributes => "prctl",
            Self::Exec => "exec",
        }
    }
}

/// Starts the program and returns its keeper.
///
/// Fails if the keeper can not be made; what fails after that is reported.
pub(crate) fn start(launch: &Launch, streams: &Streams) -> io::Result<Keeper> {
    let args = pointers(&launch.args);
    let env = pointers(&launch.env);
    let mut wanted = launch
        .ids
        .as_ref()
        .map_or(Vec::new(), |ids| ids.groups.clone());
    wanted.sort_unstable();
    let mut prepared = Prepared {
        path: &launch.path,
        args: args.as_ptr(),
        env: env.as_ptr(),
        ids: launch.ids.as_ref().map(|ids| (ids.uid, ids.gid)),
        own_pids: launch.own_pids,
        kept: vec![0; wanted.len()],
        wanted,
        streams: [&streams.stdin, &streams.stdout, &streams.stderr].map(AsRawFd::as_raw_fd),
        report: streams.report.as_raw_fd(),
    };
    // No handler of the host's may run in the copy.
    let before = set_mask(u64::MAX).map_err(io::Error::from_raw_os_error)?;
    let flags = if launch.own_pids {
        libc::CLONE_NEWPID
    } else {
        0
    };
    let mut made = clone(flags);
    if launch.own_pids && made.is_err_and(is_refusal) {
        prepared.own_pids = false;
        made = clone(0);
    }
    if made == Ok(0) {
        prepared.keep();
    }
    // Setting a mask that was in force a moment ago does not fail.
    let _ = set_mask(before);
    made.map(|pid| Keeper {
        pid,
        own_pids: prepared.own_pids,
    })
    .map_err(io::Error::from_raw_os_error)
}

/// A copy of a descriptor whose number none of the keeper's is: a host may have
/// closed its own streams, and then a new descriptor is one of theirs.
pub(crate) fn out_of_the_way(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    let descriptor = descriptor.as_raw_fd();
    // SAFETY: takes and returns plain numbers.
    let number = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, REPORT + 1) };
    super::check(c_long::from(number))?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether the kernel gives no pid namespace, which a process can do without.
fn is_refusal(errno: c_int) -> bool {
    matches!(
        errno,
        libc::EPERM | libc::EINVAL | libc::ENOSYS | libc::ENOSPC
    )
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    let texts = texts.iter().map(|text| text.as_ptr());
    texts.chain([ptr::null()]).collect()
}

/// What the two processes need, made before they are.
struct Prepared<'a> {
    path: &'a CStr,
    args: *const *const c_char,
    env: *const *const c_char,
    ids: Option<(u32, u32)>,
    own_pids: bool,
    /// Sorted.
    wanted: Vec<u32>,
    /// As long as `wanted`.
    kept: Vec<u32>,
    streams: [c_int; 3],
    report: c_int,
}
