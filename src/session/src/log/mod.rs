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
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};
use syslog::{Facility, LogFormat};

use crate::aside::lock;
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

    /// Does what can be done for the next line, which comes soon.
    fn make_ready(&self) {}

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
    pub fn field(self, key: &str, value: impl fmt::Display) -> Self {
        self.with(key, &value)
    }

    /// One function for all values: each kind of its own would be in every host.
    #[inline(never)]
    fn with(mut self, key: &str, value: &dyn fmt::Display) -> Self {
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
    pub fn because(self, error: impl fmt::Display) -> Self {
        self.after_colon(&error)
    }

    #[inline(never)]
    fn after_colon(mut self, error: &dyn fmt::Display) -> Self {
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
    program: OnceLock<String>,
    socket: PathBuf,
    /// How long lines have waited, in microseconds.
    waited: AtomicU64,
    /// For the next line.
    ready: Mutex<Option<Datagram>>,
}

impl Syslog {
    /// Lines that start with `prefix`, as in `pam_idtoken(sshd:session)`; lines
    /// of [`Severity::Debug`] only if `debug`.
    pub fn new(prefix: &str, debug: bool) -> Self {
        Self {
            prefix: Line::new(prefix).0,
            debug,
            program: OnceLock::new(),
            socket: PathBuf::from(LOG_SOCKET),
            waited: AtomicU64::new(0),
            ready: Mutex::new(None),
        }
    }

    fn program(&self) -> &str {
        self.program.get_or_init(program_name)
    }

    fn connect(&self) -> Option<Datagram> {
        Datagram::connect(&self.socket).ok()
    }

    fn send(&self, mut daemon: Datagram, severity: Severity, text: &str) -> syslog::Result<()> {
        let started = Instant::now();
        let waited = Duration::from_micros(self.waited.load(Ordering::Relaxed));
        daemon.patience = PATIENCE.saturating_sub(waited);
        let header = Header {
            process: self.program(),
            pid: std::process::id(),
        };
        let message = format_args!("{}: {text}", self.prefix);
        let result = header.format(&mut daemon, severity.into(), message);
        let waited = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(waited, Ordering::Relaxed);
        result
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
        let ready = lock(&self.ready).take();
        // The daemon may have begun anew since, on another socket.
        let is_sent = ready.is_some_and(|daemon| self.send(daemon, severity, text).is_ok());
        // A host without a log daemon works all the same.
        if let Some(daemon) = (!is_sent).then(|| self.connect()).flatten() {
            let _ = self.send(daemon, severity, text);
        }
    }

    fn make_ready(&self) {
        self.program();
        *lock(&self.ready) = self.connect();
    }
}

impl From<Severity> for syslog::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::LOG_ERR,
            Severity::Warning => Self::LOG_WARNING,
            Severity::Notice => Self::LOG_NOTICE,
            Severity::Info => Self::LOG_INFO,
            Severity::Debug => Self::LOG_DEBUG,
        }
    }
}

/// What stands in front of a message: `<86>sshd[7]: `, as in RFC 3164 but for the time.
///
/// A daemon notes when a line comes, and the line comes at once: the time in it would be
/// the host's local one, which is asked of the C library, and that looks at the host's
/// environment, reads its files and takes its locks.
struct Header<'a> {
    process: &'a str,
    pid: u32,
}

impl<T: fmt::Display> LogFormat<T> for Header<'_> {
    fn format<W: io::Write>(
        &self,
        to: &mut W,
        severity: syslog::Severity,
        message: T,
    ) -> syslog::Result<()> {
        let priority = Facility::LOG_AUTHPRIV as u8 | severity as u8;
        let Self { process, pid } = self;
        write!(to, "<{priority}>{process}[{pid}]: {message}").map_err(syslog::Error::Write)
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
    fn connect(path: &Path) -> io::Result<Self> {
        match Self::connect_as(SockType::Datagram, path) {
            Err(Errno::EPROTOTYPE) => Self::connect_as(SockType::Stream, path),
            other => other,
        }
        .map_err(Into::into)
    }

    fn connect_as(kind: SockType, path: &Path) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, kind, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self {
            socket,
            stream: kind == SockType::Stream,
            patience: PATIENCE,
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
mod tests;
