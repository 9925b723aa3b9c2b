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

use calls::{
    await_signal, clone, close_from, default_signals, drop_capabilities, dup_to, hear_of_parent,
    keep_memory, kill_child, kill_children, outcome, plain, prctl, set_groups, set_ids, set_mask,
    take_any,
};

/// Where the keeper has its report; 0, 1 and 2 are the program's streams.
const REPORT: c_int = 3;
/// What a report says in its upper half when the program has ended; any other
/// is the number of the step that failed.
const ENDED: u32 = 0;

/// What asks a keeper without a pid namespace to end everything. It takes no other
/// signal, and nobody sends this one to a group of processes.
pub(crate) const ASK: Signal = Signal::SIGPWR;
/// So often a keeper looks for what is still there, and so long it waits between.
const ROUNDS: u32 = 5000;
const ROUND: c_long = 1_000_000;

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

type Done = Result<(), (Step, c_int)>;

impl Prepared<'_> {
    /// The keeper's life.
    fn keep(&mut self) -> ! {
        let made = self
            .settle()
            .and_then(|()| clone(libc::SIGCHLD).map_err(|errno| (Step::Clone, errno)));
        match made {
            Ok(0) => self.become_program(),
            Ok(program) => self.watch(program),
            Err((step, errno)) => fail(step, errno),
        }
    }

    /// A session of its own, no signal handled, no descriptor but four.
    fn settle(&self) -> Done {
        plain(libc::SYS_setsid, [0; 3]).map_err(|errno| (Step::Session, errno))?;
        // The host's thread waits for the keeper: if it ends, the host has.
        let signal = if self.own_pids {
            libc::SIGKILL
        } else {
            prctl(libc::PR_SET_CHILD_SUBREAPER, 1).map_err(|errno| (Step::Attributes, errno))?;
            ASK as c_int
        };
        hear_of_parent(signal);
        default_signals();
        let [stdin, stdout, stderr] = self.streams;
        for (from, to) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
            dup_to(from, to, 0).map_err(|errno| (Step::Streams, errno))?;
        }
        dup_to(self.report, REPORT, libc::O_CLOEXEC).map_err(|errno| (Step::Streams, errno))?;
        close_from(REPORT + 1);
        Ok(())
    }

    /// The program's life before it is the program.
    fn become_program(&mut self) -> ! {
        let (step, errno) = match self.change() {
            Ok(()) => (Step::Exec, self.exec()),
            Err(failed) => failed,
        };
        fail(step, errno)
    }

    fn change(&mut self) -> Done {
        // SAFETY: the path is a literal with its NUL.
        let result = unsafe { libc::syscall(libc::SYS_chdir, c"/".as_ptr()) };
        outcome(result).map_err(|errno| (Step::Directory, errno))?;
        let _ = plain(libc::SYS_umask, [0o077, 0, 0]);
        if let Some((uid, gid)) = self.ids {
            set_groups(&self.wanted, &mut self.kept).map_err(|errno| (Step::Groups, errno))?;
            set_ids(libc::SYS_setresgid, libc::SYS_getresgid, gid)
                .map_err(|errno| (Step::Gid, errno))?;
            set_ids(libc::SYS_setresuid, libc::SYS_getresuid, uid)
                .map_err(|errno| (Step::Uid, errno))?;
            if uid != 0 {
                drop_capabilities().map_err(|errno| (Step::Capabilities, errno))?;
                prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(|errno| (Step::Attributes, errno))?;
            }
        }
        // A change of ids takes these back, so they come after it.
        keep_memory().map_err(|errno| (Step::Attributes, errno))?;
        hear_of_parent(libc::SIGKILL);
        // The program keeps the mask, so it is emptied here, and from here on the user may end
        // this copy of the host with any signal; none of them finds a handler or leaves a core.
        set_mask(0)
            .map(drop)
            .map_err(|errno| (Step::Signals, errno))
    }

    /// Waits until the program has ended and reports it; whoever else ends is reaped on
    /// the way. Ends everything then, or when it is asked to.
    fn watch(&self, program: pid_t) -> ! {
        // A reader of the streams must see their end when the program closes them.
        for descriptor in 0..3 {
            let _ = plain(libc::SYS_close, [descriptor, 0, 0]);
        }
        let mut has_ended = false;
        loop {
            match reap(program, &mut has_ended) {
                _ if has_ended => break,
                Ok(()) => {}
                Err(errno) => fail(Step::Wait, errno),
            }
            let ask = ASK as c_int;
            if await_signal([libc::SIGCHLD, ask], None) == Ok(c_long::from(ask)) {
                break;
            }
        }
        if !self.own_pids {
            end_all(program, has_ended);
        }
        leave()
    }

    /// Returns only if it fails.
    fn exec(&self) -> c_int {
        // SAFETY: a C string and two lists of such that end with a null pointer, all of them live.
        let result =
            unsafe { libc::syscall(libc::SYS_execve, self.path.as_ptr(), self.args, self.env) };
        outcome(result).err().unwrap_or(libc::EINVAL)
    }
}

/// Takes from the kernel's table whoever has ended; reports the program and notes that
/// it has ended. Fails when nobody is left.
fn reap(program: pid_t, has_ended: &mut bool) -> Result<(), c_int> {
    loop {
        match take_any() {
            Ok((0, _)) => return Ok(()),
            Ok((pid, status)) if pid == c_long::from(program) => {
                report(ENDED, status);
                *has_ended = true;
            }
            Ok(_) | Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Ends all descendants. One whose parent ends becomes a child, so when the kernel
/// knows of no child there is none.
fn end_all(program: pid_t, mut has_ended: bool) {
    if !has_ended {
        kill_child(c_long::from(program));
    }
    for _ in 0..ROUNDS {
        if reap(program, &mut has_ended).is_err() {
            return;
        }
        // Without the kernel's list, and without the right to signal them, the group is left.
        if !kill_children() {
            break;
        }
        let _ = await_signal([libc::SIGCHLD; 2], Some(ROUND));
    }
    // The keeper leads a group of its own and ends with it.
    let _ = plain(libc::SYS_kill, [0, c_long::from(libc::SIGKILL), 0]);
}

fn fail(step: Step, errno: c_int) -> ! {
    report(step as u32, errno);
    leave()
}

fn report(what: u32, value: c_int) {
    let report = (u64::from(what) << 32) | u64::from(value.cast_unsigned());
    let bytes: [u8; REPORT_SIZE] = report.to_ne_bytes();
    // SAFETY: the pointer and the length describe one live array; the kernel only reads it.
    unsafe { libc::syscall(libc::SYS_write, REPORT, bytes.as_ptr(), bytes.len()) };
}

/// Ends this process without any of the host's handlers.
fn leave() -> ! {
    loop {
        let _ = plain(libc::SYS_exit_group, [127, 0, 0]);
    }
}

#[cfg(test)]
mod tests;
