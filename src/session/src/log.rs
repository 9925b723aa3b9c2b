//! Lines for the system's log: AUTHPRIV, one line per event, in the form
//! people grep for.
//!
//! The host may have its own openlog(3) and its own ideas about signals: the
//! messages go out over a socket of our own, never wait longer than
//! [`PATIENCE`] all together, and never raise SIGPIPE. A host without `/dev/log` works all
//! the same, without lines.

use std::fmt::{self, Write as _};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};
use syslog::{Facility, Formatter3164, Logger};

use crate::deadline::Deadline;

/// How long the lines of one call may wait, all together, for a log daemon that
/// is slow or does not read.
pub const PATIENCE: Duration = Duration::from_millis(200);

const LOG_SOCKET: &str = "/dev/log";

/// How much a line matters; syslog's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something failed that an administrator has to look at.
    Error,
    /// Something is odd, the session has its token all the same.
    Warning,
    /// An event in the life of a token that its user did not cause just now.
    Notice,
    /// An event in the life of a token.
    Info,
    /// Only wanted when looking for a fault.
    Debug,
}

/// Where lines go; several threads may write at once.
pub trait Log: Sync {
    /// Writes one line; `text` has no control characters.
    fn write(&self, severity: Severity, text: &str);

    /// Writes one line that something failed.
    fn error(&self, line: &Line) {
        self.write(Severity::Error, line.as_str());
    }

    /// Writes one line that something is odd.
    fn warning(&self, line: &Line) {
        self.write(Severity::Warning, line.as_str());
    }

    /// Writes one line about an event that its user did not cause just now.
    fn notice(&self, line: &Line) {
        self.write(Severity::Notice, line.as_str());
    }

    /// Writes one line about an event.
    fn info(&self, line: &Line) {
        self.write(Severity::Info, line.as_str());
    }

    /// Writes one line for looking for a fault.
    fn debug(&self, line: &Line) {
        self.write(Severity::Debug, line.as_str());
    }
}

/// A line of the log: a few words, then `key=value` fields.
///
/// Control characters are escaped wherever they come from, so that nobody can
/// forge a line by a user name or a path; a value with a blank or a quote is
/// put in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(String);

impl Line {
    /// A line that starts with these words.
    pub fn new(words: &str) -> Self {
        let mut line = Self(String::with_capacity(256));
        line.push_escaped(words);
        line
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        let quoted = value.is_empty() || value.contains([' ', '"', '=']);
        // Writing to a String does not fail.
        let _ = write!(self.0, " {key}=");
        if quoted {
            self.0.push('"');
            self.push_escaped(&value.replace('\\', "\\\\").replace('"', "\\\""));
            self.0.push('"');
        } else {
            self.push_escaped(&value);
        }
        self
    }

    /// Adds a field when there is a value for it.
    #[must_use]
    pub fn field_if(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    /// Adds what went wrong, after a colon.
    #[must_use]
    pub fn because(mut self, error: impl fmt::Display) -> Self {
        self.0.push_str(": ");
        self.push_escaped(&error.to_string());
        self
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn push_escaped(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
    }
}

/// The system's log.
pub struct Syslog {
    prefix: String,
    debug: bool,
    program: String,
    socket: PathBuf,
    /// How long lines have waited, in microseconds.
    waited: AtomicU64,
}

impl Syslog {
    /// Lines that start with `prefix`, as in `pam_idtoken(sshd:session)`; lines
    /// of [`Severity::Debug`] only if `debug`.
    pub fn new(prefix: &str, debug: bool) -> Self {
        Self {
            prefix: Line::new(prefix).0,
            debug,
            program: program_name(),
            socket: PathBuf::from(LOG_SOCKET),
            waited: AtomicU64::new(0),
        }
    }

    /// The same log, with lines of [`Severity::Debug`] or without.
    #[must_use]
    pub fn with_debug(self, debug: bool) -> Self {
        Self { debug, ..self }
    }
}

impl Log for Syslog {
    fn write(&self, severity: Severity, text: &str) {
        if severity == Severity::Debug && !self.debug {
            return;
        }
        let formatter = Formatter3164 {
            facility: Facility::LOG_AUTHPRIV,
            hostname: None,
            process: self.program.clone(),
            pid: std::process::id(),
        };
        // A host without a log daemon works all the same.
        let waited = Duration::from_micros(self.waited.load(Ordering::Relaxed));
        let started = Instant::now();
        let patience = PATIENCE.saturating_sub(waited);
        let Ok(backend) = Datagram::connect(&self.socket, patience) else {
            return;
        };
        let mut logger = Logger::new(backend, formatter);
        let message = format!("{}: {text}", self.prefix);
        let _ = match severity {
            Severity::Error => logger.err(message),
            Severity::Warning => logger.warning(message),
            Severity::Notice => logger.notice(message),
            Severity::Info => logger.info(message),
            Severity::Debug => logger.debug(message),
        };
        let waited = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(waited, Ordering::Relaxed);
    }
}

/// The file name of the host program, which is what it logs as itself.
fn program_name() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "pam_idtoken".to_owned())
}

/// A socket to the log daemon that neither blocks nor raises SIGPIPE.
struct Datagram {
    socket: OwnedFd,
    stream: bool,
    patience: Duration,
}

impl Datagram {
    fn connect(path: &Path, patience: Duration) -> io::Result<Self> {
        match Self::connect_as(SockType::Datagram, path, patience) {
            Err(Errno::EPROTOTYPE) => Self::connect_as(SockType::Stream, path, patience),
            other => other,
        }
        .map_err(Into::into)
    }

    fn connect_as(kind: SockType, path: &Path, patience: Duration) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, kind, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self {
            socket,
            stream: kind == SockType::Stream,
            patience,
        })
    }

    fn send(&self, message: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let deadline = Deadline::after(self.patience);
        loop {
            match send(self.socket.as_raw_fd(), message, flags) {
                // Many may wait for the same place in the daemon's short queue.
                Err(Errno::EAGAIN) if !deadline.passed() => {
                    let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    let left = PollTimeout::try_from(deadline.remaining());
                    poll(&mut fds, left.unwrap_or(PollTimeout::ZERO))?;
                }
                other => return Ok(other?),
            }
        }
    }
}

impl io::Write for Datagram {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.send(message)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// One message, one datagram: the pieces of a format string must not go
    /// out one by one. On a stream a message ends with a NUL.
    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        let mut message = fmt::format(arguments);
        if self.stream {
            message.push('\0');
        }
        self.send(message.as_bytes()).map(|_| ())
    }
}

/// A log that keeps its lines, for tests of this and other crates.
#[derive(Debug, Default)]
pub struct Kept(std::sync::Mutex<Vec<String>>);

impl Kept {
    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().map(|lines| lines.clone()).unwrap_or_default()
    }
}

impl Log for Kept {
    fn write(&self, severity: Severity, text: &str) {
        if let Ok(mut lines) = self.0.lock() {
            lines.push(format!("{severity:?}: {text}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    #[test]
    fn a_line_is_words_and_fields() {
        let line = Line::new("token opened")
            .field("user", "alice")
            .field("exp", 12);
        assert_eq!(line.as_str(), "token opened user=alice exp=12");
    }

    #[test]
    fn nobody_forges_a_line_by_a_name() {
        let line = Line::new("x").field("user", "a\nsshd[1]: Accepted\x1b[2J\u{2028}");
        assert!(
            !line.as_str().contains(['\n', '\x1b', '\u{2028}']),
            "{line:?}"
        );
        assert!(line.as_str().contains("a\\nsshd[1]:"));
        let because = Line::new("x").because("one\r\ntwo");
        assert_eq!(because.as_str(), "x: one\\r\\ntwo");
    }

    #[test]
    fn a_value_can_not_pretend_to_be_another_field() {
        let line = Line::new("x").field("user", "a kid=POOL").field("host", "");
        assert_eq!(line.as_str(), "x user=\"a kid=POOL\" host=\"\"");
        assert_eq!(
            Line::new("x").field("u", "a\" b=\"").as_str(),
            "x u=\"a\\\" b=\\\"\""
        );
    }

    #[test]
    fn a_line_is_one_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut logger = Logger::new(
            Datagram::connect(&path, PATIENCE).unwrap(),
            Formatter3164 {
                facility: Facility::LOG_AUTHPRIV,
                hostname: None,
                process: "sshd".into(),
                pid: 7,
            },
        );
        logger.info("token opened").unwrap();
        let mut buffer = [0; 512];
        let n = daemon.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..n]).unwrap();
        assert!(
            text.starts_with("<86>") && text.ends_with(" sshd[7]: token opened"),
            "{text}"
        );
    }

    #[test]
    fn a_log_daemon_that_does_not_read_does_not_hold_up_a_login() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let client = Datagram::connect(&path, PATIENCE).unwrap();
        let started = std::time::Instant::now();
        let mut failed = false;
        for _ in 0..5000 {
            if client.send(&[b'x'; 64]).is_err() {
                failed = true;
                break;
            }
        }
        assert!(failed, "the socket never filled up");
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    fn log_to(path: PathBuf) -> Syslog {
        Syslog {
            socket: path,
            ..Syslog::new("pam_idtoken", false)
        }
    }

    #[test]
    fn many_lines_for_such_a_daemon_wait_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let log = log_to(path);
        let started = Instant::now();
        for _ in 0..1000 {
            log.info(&Line::new("a line"));
        }
        let waited = started.elapsed();
        assert!(waited >= PATIENCE, "the socket never filled up");
        assert!(waited < PATIENCE * 10);
    }

    #[test]
    fn many_lines_for_a_slow_daemon_wait_no_longer_all_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        daemon
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let log = log_to(path);
        let started = Instant::now();
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut read = 0;
                while daemon.recv(&mut [0; 512]).is_ok() {
                    read += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                read
            });
            for _ in 0..1000 {
                log.info(&Line::new("a line"));
            }
            assert!(started.elapsed() < PATIENCE * 10, "{:?}", started.elapsed());
            reader.join().unwrap()
        });
        assert!(read < 1000, "the daemon was not slow");
    }

    #[test]
    fn a_stream_log_socket_gone_away_raises_no_signal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixListener::bind(&path).unwrap();
        let client = Datagram::connect(&path, PATIENCE).unwrap();
        assert!(client.stream);
        drop(daemon);
        for _ in 0..3 {
            let _ = client.send(b"x");
        }
    }
}
