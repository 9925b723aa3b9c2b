//! Runs what works on homes in a process of its own and does not wait for that process.
//!
//! A file server in user space that has taken a request and stalls holds the
//! thread that asked for as long as it likes, kill -9 or not (fuse's
//! request_wait_answer), and a process ends only with its last thread. Whoever
//! waited for it, systemd above all, would start no other reconcile meanwhile, and a package
//! that ends all tokens before it is removed would never go.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::output::{Output, complain};

/// What the worker says last, before its exit code. No other line starts so:
/// control characters are escaped.
const LAST_WORDS: &[u8] = b"\x04exit ";

/// How long a worker may take to end that has said its last words.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the worker finds in its environment.
const WORKER: &str = "IDTOKENCTL_WORKER";

/// Whether this process is the worker.
pub(crate) fn is_worker() -> bool {
    std::env::var_os(WORKER).is_some()
}

/// Starts this program again as a worker, hands on what it says and returns with
/// its exit code as soon as it has said that.
pub(crate) fn run(out: &mut Output) -> Result<ExitCode, Box<dyn Error>> {
    let mut worker = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(WORKER, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
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
    complain(format!("the worker ended early: {}", worker.wait()?));
    Ok(ExitCode::FAILURE)
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
