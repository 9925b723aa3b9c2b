//! Runs what works on homes in a process of its own and does not wait for that process.
//!
//! A file server in user space that has taken a request and stalls holds the
//! thread that asked for as long as it likes, kill -9 or not (fuse's
//! request_wait_answer), and a process ends only with its last thread. Whoever
//! waited for it, systemd above all, would start no other reconcile meanwhile, and a package
//! that ends all tokens before it is removed would never go, nor would who looks at a home that hangs.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use session::sys::{ENDINGS, endings};

use crate::output::{Output, complain};

/// What the worker says last, before its exit code. No other line starts so:
/// control characters are escaped.
const LAST_WORDS: &[u8] = b"\x04exit ";

/// How long a worker may take to end that has said its last words.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a worker may take to tidy up that was told to end.
const TIDY: Duration = Duration::from_secs(5);

/// What a shell says of who ended by a signal is this and the number of the signal.
const SIGNALLED: i32 = 128;

/// What the worker finds in its environment: the pid of who started it.
const WORKER: &str = "IDTOKENCTL_WORKER";

/// Whether this process is the worker.
pub(crate) fn is_worker() -> bool {
    std::env::var_os(WORKER).is_some()
}

/// Has this process end with the one that started it as a worker, also if that was killed.
pub(crate) fn end_with_supervisor() -> Result<(), Box<dyn Error>> {
    set_pdeathsig(Signal::SIGTERM)?;
    // It may have ended before that.
    let supervisor = std::env::var(WORKER)?.parse();
    if supervisor.map(Pid::from_raw) != Ok(Pid::parent()) {
        return Err("the process that started this one has ended".into());
    }
    Ok(())
}

/// Starts this program again as a worker, hands on what it says and returns with
/// its exit code as soon as it has said that. With `tidies` the worker has something to
/// take away first if it is told to end: it hears of that, and is waited for.
pub(crate) fn run(out: &mut Output, tidies: bool) -> Result<ExitCode, Box<dyn Error>> {
    let signals = endings();
    if tidies {
        signals.thread_block()?;
    }
    let mut worker = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(WORKER, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    if tidies {
        let pid = Pid::from_raw(i32::try_from(worker.id())?);
        std::thread::Builder::new().spawn(move || hand_on(signals, pid))?;
    }
    let said = worker.stdout.take().ok_or("the worker has no output")?;
    for line in BufReader::new(said).split(b'\n') {
        let line = line?;
        if let Some(code) = line.strip_prefix(LAST_WORDS) {
            let code = std::str::from_utf8(code)
                .ok()
                .and_then(|code| code.parse::<u8>().ok());
            let_end(&mut worker);
            return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
        }
        out.line(OsStr::from_bytes(&line).display())?;
    }
    let status = worker.wait()?;
    if let Some(signal) = told_to_end(status).filter(|_| tidies) {
        return Ok(ExitCode::from(signal));
    }
    complain(format!("the worker ended early: {status}"));
    Ok(ExitCode::FAILURE)
}

/// Waits for a signal, hands it on and ends if the worker does not, which something holds then.
fn hand_on(signals: SigSet, worker: Pid) {
    if let Ok(signal) = signals.wait() {
        let _ = kill(worker, signal);
        std::thread::sleep(TIDY);
        std::process::exit(SIGNALLED + signal as i32);
    }
}

/// The exit code of a worker that was told to end, by a signal or as one that tidied up first.
fn told_to_end(status: ExitStatus) -> Option<u8> {
    let code = status
        .code()
        .or(status.signal().map(|signal| SIGNALLED + signal))?;
    let signal = Signal::try_from(code - SIGNALLED).ok()?;
    ENDINGS.contains(&signal).then(|| u8::try_from(code).ok())?
}

/// Waits for the worker as long as one takes that nothing holds. systemd is not
/// good at starting a unit anew in whose control group a process is just ending.
fn let_end(worker: &mut Child) {
    for _ in 0..PATIENCE.as_millis() {
        if !matches!(worker.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says how it went and lets go of everything that somebody else may wait for.
pub(crate) fn last_words(code: u8) {
    let mut last = LAST_WORDS.to_vec();
    last.extend_from_slice(code.to_string().as_bytes());
    last.push(b'\n');
    // Nobody is left to say it to if one of these fails.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(&last);
    let _ = out.flush();
    let _ = session::host::let_go_of_output();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_was_told_to_end_ends_as_a_shell_says_it_and_no_other_does() {
        for (status, code) in [
            (libc::SIGQUIT, Some(131)),
            (libc::SIGTERM, Some(143)),
            (130 << 8, Some(130)),
            (libc::SIGKILL, None),
            (libc::SIGSEGV, None),
            (1 << 8, None),
            (137 << 8, None),
        ] {
            assert_eq!(told_to_end(ExitStatus::from_raw(status)), code, "{status}");
        }
    }
}
