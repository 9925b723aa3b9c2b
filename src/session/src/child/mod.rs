//! Running a program and reading what it prints, from inside a host that is not
//! ours.
//!
//! The host sees nothing of it: no SIGCHLD, no child that its own waitpid(2)
//! could find, no thread, no descriptor that outlives the call, no change of
//! its signal mask, its environment or what it made of a signal. The program
//! sees nothing of the host: neither its environment, nor its descriptors, its
//! working directory, its terminal or its signal mask. As a user it gains no
//! privileges, and neither it nor what it starts leaves a core.
//!
//! All its descendants end with the call, also those in sessions of their own, and also
//! when the deadline has passed or the host is killed (`sys/spawn.rs` says how). What
//! it asked others to start (systemd, a daemon) is none of its descendants. As root
//! with CAP_SYS_ADMIN nothing is left then. Without a pid namespace these are left:
//! - who this process may not signal: another user's without CAP_KILL;
//! - where /proc is not there, of another pid namespace, or of a kernel without
//!   CONFIG_PROC_CHILDREN: who left the program's process group;
//! - who left that group, when the keeper is killed from outside or has not killed them
//!   in time: 200 ms past the deadline, and half a second at most.
//!
//! What it prints may be a token: stdout is wiped after use, and what looks like
//! a token on stderr is not passed on.

mod error;
mod reading;
pub mod redact;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid, pipe2};
use zeroize::Zeroizing;

pub use error::ChildError;

use crate::deadline::Deadline;
use crate::sys::spawn::{ASK, Ids, Keeper, Launch, Streams, out_of_the_way, start};
use crate::user::User;
use reading::Reading;

/// How long a killed program may take to end when the deadline has passed.
const SETTLE: Duration = Duration::from_millis(50);
/// How long a keeper may take to kill the rest when the deadline has passed.
const ASKED: Duration = Duration::from_millis(200);
/// And how long either may take at most while it has not.
const SETTLE_MOST: Duration = Duration::from_millis(500);

/// A program and what it is run with.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its path, from `/`.
    pub path: &'a Path,
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(&'a str, String)>,
    /// Whom it runs as, with real, effective and saved ids and supplementary
    /// groups; none leaves it as this process is.
    pub user: Option<&'a User>,
    /// How many bytes it may print on stdout.
    pub limit: usize,
}

/// What a program said before it ended.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed on stdout, which may be a token: [`redact::redacted`] before it is shown.
    pub stdout: Zeroizing<Vec<u8>>,
    /// The beginning of what it printed on stderr, at most [`STDERR_LIMIT`]
    /// bytes; whatever looks like a token reads `[token]`.
    pub stderr: String,
}

pub use reading::STDERR_LIMIT;

/// Runs a program until it ends, or until the deadline.
///
/// It starts in `/` with a umask of 077, stdin from `/dev/null` and every signal
/// at its default. How it ended is for the caller to judge.
///
/// Fails with [`ChildError::Missing`] when there is no such program, with
/// [`ChildError::Start`] when it can not be started as asked (nothing of it has
/// run then), with [`ChildError::Deadline`] and [`ChildError::Limit`] when it was
/// killed for taking too long or printing too much, and with
/// [`ChildError::Lost`] when nobody can say how it ended.
pub fn run(program: &Program<'_>, deadline: Deadline) -> Result<Said, ChildError> {
    let failed = |doing, source| ChildError::Start {
        program: program.path.to_owned(),
        doing,
        source,
    };
    let launch = launch(program)?;
    if deadline.passed() {
        return Err(ChildError::Deadline {
            program: program.path.to_owned(),
            waited: deadline.waited(),
        });
    }
    let (streams, mut reading) = connect().map_err(|e| failed("pipe", e))?;
    let keeper = start(&launch, &streams).map_err(|e| failed("clone", e))?;
    // The program has copies; only it and the keeper may hold these ends now.
    drop(streams);
    let result = reading.until_ended(program, Pid::from_raw(keeper.pid), deadline);
    end(keeper, deadline);
    result
}

fn launch(program: &Program<'_>) -> Result<Launch, ChildError> {
    let unfit = |why| ChildError::Start {
        program: program.path.to_owned(),
        doing: "check",
        source: io::Error::new(io::ErrorKind::InvalidInput, why),
    };
    if !program.path.is_absolute() {
        return Err(unfit("its path does not start with /"));
    }
    let text = |text: Vec<u8>| CString::new(text).map_err(|_| unfit("an argument has a NUL"));
    let path = text(program.path.as_os_str().as_encoded_bytes().to_vec())?;
    let mut args = vec![path.clone()];
    for arg in &program.args {
        args.push(text(arg.clone().into_bytes())?);
    }
    let mut env = Vec::with_capacity(program.env.len());
    for (name, value) in &program.env {
        env.push(text(format!("{name}={value}").into_bytes())?);
    }
    let euid = geteuid();
    // Without root a process can be itself only; the kernel refuses anybody else.
    let ids = program
        .user
        .filter(|user| euid.is_root() || user.uid != euid.as_raw())
        .map(|user| Ids {
            uid: user.uid,
            gid: user.gid,
            groups: user.groups.clone(),
        });
    Ok(Launch {
        path,
        args,
        env,
        ids,
        own_pids: euid.is_root(),
    })
}

/// The program's ends of its streams, and ours.
fn connect() -> io::Result<(Streams, Reading)> {
    let null = File::open("/dev/null")?;
    let (out, stdout) = pipe()?;
    let (err, stderr) = pipe()?;
    let (said, report) = pipe()?;
    let streams = Streams {
        stdin: out_of_the_way(&null.into())?,
        stdout,
        stderr,
        report,
    };
    Ok((streams, Reading::new(out, err, said)))
}

/// A pipe whose reading end does not block.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, out_of_the_way(&writer)?))
}

/// Ends whatever is left and takes the keeper from the kernel's table.
///
/// Its pid can not become anybody else's before that. A process that the kernel
/// holds, as on a file system that does not answer, is left to it.
fn end(keeper: Keeper, deadline: Deadline) {
    let pid = Pid::from_raw(keeper.pid);
    // A host that waits for everything with __WALL has it: the pid may be anybody's by now.
    if reading::is_taken(pid) {
        return;
    }
    if !keeper.own_pids {
        // It alone finds who left the group, and once it is killed nobody does.
        let _ = kill(pid, ASK);
        wait_until(|| reading::has_ended(pid), deadline, ASKED);
        if reading::is_taken(pid) {
            return;
        }
    }
    let _ = kill(Pid::from_raw(-keeper.pid), Signal::SIGKILL);
    let _ = kill(pid, Signal::SIGKILL);
    wait_until(|| is_reaped(pid), deadline, SETTLE);
}

fn wait_until(is_done: impl Fn() -> bool, deadline: Deadline, at_least: Duration) {
    let until = Instant::now() + (deadline.remaining() + at_least).min(SETTLE_MOST);
    let mut pause = Duration::from_micros(50);
    while !is_done() && Instant::now() < until {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Takes the keeper if it has ended.
fn is_reaped(keeper: Pid) -> bool {
    loop {
        match waitpid(keeper, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::StillAlive) => return false,
            _ => return true,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
