//! Reading what a program prints until it has ended.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use zeroize::Zeroizing;

use super::redact::redacted;
use super::{ChildError, Program, Said};
use crate::deadline::Deadline;
use crate::sys::spawn::{REPORT_SIZE, Report};

/// How much of stderr is kept, in bytes.
pub const STDERR_LIMIT: usize = 4096;
/// So often it is asked whether the keeper is still there: another thread of
/// the host may have forked and hold the pipe that would say so.
const LOOK: Duration = Duration::from_millis(100);

/// One pipe and what came out of it.
struct Stream {
    /// None when it has ended.
    pipe: Option<File>,
    bytes: Zeroizing<Vec<u8>>,
    /// How many bytes are kept; what comes after is read all the same.
    keep: usize,
    /// Whether more came.
    overflowed: bool,
}

impl Stream {
    fn new(pipe: OwnedFd, keep: usize) -> Self {
        Self {
            pipe: Some(pipe.into()),
            bytes: Zeroizing::default(),
            keep,
            overflowed: false,
        }
    }

    /// Reads what is there, at most so much that a program that never stops does
    /// not keep us here.
    fn read(&mut self) -> io::Result<()> {
        let mut chunk = Zeroizing::new([0; 4096]);
        for _ in 0..64 {
            let Some(pipe) = &mut self.pipe else {
                return Ok(());
            };
            match pipe.read(&mut *chunk) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.put(chunk.get(..length).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn put(&mut self, chunk: &[u8]) {
        // The buffer never grows: a block that is given back would hold a copy.
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(self.keep);
        }
        let fits = chunk.len().min(self.keep - self.bytes.len());
        self.overflowed |= fits < chunk.len();
        self.bytes.extend(chunk.iter().take(fits));
    }
}

/// The reading ends of a program's pipes.
pub(super) struct Reading {
    stdout: Stream,
    stderr: Stream,
    report: Stream,
}

impl Reading {
    pub(super) fn new(stdout: OwnedFd, stderr: OwnedFd, report: OwnedFd) -> Self {
        Self {
            // The program's own limit is set when it is read.
            stdout: Stream::new(stdout, 0),
            stderr: Stream::new(stderr, STDERR_LIMIT),
            report: Stream::new(report, REPORT_SIZE),
        }
    }

    /// Reads until the program has ended; somebody it left behind, who still has
    /// its streams, is not waited for.
    pub(super) fn until_ended(
        &mut self,
        program: &Program<'_>,
        keeper: Pid,
        deadline: Deadline,
    ) -> Result<Said, ChildError> {
        let path = || program.path.to_owned();
        let failed = |source| ChildError::Start {
            program: path(),
            doing: "read",
            source,
        };
        self.stdout.keep = program.limit;
        loop {
            // What is known before the streams are read has all its output in them.
            let is_over = self.report.bytes.len() >= REPORT_SIZE
                || self.report.pipe.is_none()
                || has_ended(keeper);
            self.report.read().map_err(failed)?;
            for stream in [&mut self.stdout, &mut self.stderr] {
                stream.read().map_err(failed)?;
            }
            if self.stdout.overflowed {
                return Err(ChildError::Limit {
                    program: path(),
                    limit: program.limit,
                });
            }
            if is_over {
                return self.said(program);
            }
            if deadline.passed() {
                return Err(ChildError::Deadline {
                    program: path(),
                    waited: deadline.waited(),
                });
            }
            if self.report.bytes.len() < REPORT_SIZE && self.report.pipe.is_some() {
                self.wait(deadline.remaining().min(LOOK))
                    .map_err(|e| failed(e.into()))?;
            }
        }
    }

    fn wait(&self, time: Duration) -> nix::Result<()> {
        let pipes = [&self.stdout, &self.stderr, &self.report];
        let pipes = pipes.into_iter().filter_map(|stream| stream.pipe.as_ref());
        let mut fds: Vec<_> = pipes
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
            .collect();
        // Below a millisecond it is rounded up, or it would spin.
        let time =
            PollTimeout::try_from(time.max(Duration::from_millis(1))).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, time) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn said(&mut self, program: &Program<'_>) -> Result<Said, ChildError> {
        let path = program.path.to_owned();
        let bytes = <[u8; REPORT_SIZE]>::try_from(self.report.bytes.as_slice());
        match bytes.ok().and_then(Report::parse) {
            Some(Report::Ended(status)) => Ok(Said {
                status: ExitStatus::from_raw(status),
                stdout: std::mem::take(&mut self.stdout.bytes),
                stderr: redacted(&String::from_utf8_lossy(&self.stderr.bytes)),
            }),
            // A script that is there and whose interpreter is not gives the same errno.
            Some(Report::Failed("exec", libc::ENOENT | libc::ENOTDIR))
                if std::fs::symlink_metadata(program.path).is_err() =>
            {
                Err(ChildError::Missing { program: path })
            }
            Some(Report::Failed(doing, errno)) => Err(ChildError::Start {
                program: path,
                doing,
                source: io::Error::from_raw_os_error(errno),
            }),
            None => Err(ChildError::Lost { program: path }),
        }
    }
}

/// Whether the keeper has ended; it stays in the kernel's table.
pub(super) fn has_ended(keeper: Pid) -> bool {
    match look_at(keeper) {
        Ok(status) => status != WaitStatus::StillAlive,
        Err(errno) => errno != Errno::EINTR,
    }
}

/// Whether somebody else took the keeper from the kernel's table.
pub(super) fn is_taken(keeper: Pid) -> bool {
    look_at(keeper) == Err(Errno::ECHILD)
}

fn look_at(keeper: Pid) -> nix::Result<WaitStatus> {
    let flags =
        WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    waitid(Id::Pid(keeper), flags)
}
