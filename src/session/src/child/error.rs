//! Why a program gave no answer, in words for an administrator.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a program gave no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChildError {
    /// There is no such program.
    Missing {
        /// Its path.
        program: PathBuf,
    },
    /// It could not be started as it should be.
    Start {
        /// Its path.
        program: PathBuf,
        /// The system call that failed, as in "setresuid" or "exec".
        doing: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// It did not end in time and was killed.
    Deadline {
        /// Its path.
        program: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// It printed too much and was killed.
    Limit {
        /// Its path.
        program: PathBuf,
        /// How many bytes it may print.
        limit: usize,
    },
    /// It was killed from outside together with the process that watches it.
    Lost {
        /// Its path.
        program: PathBuf,
    },
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program } => write!(
                f,
                "{} is not there; install it or correct the path",
                program.display()
            ),
            Self::Start {
                program,
                doing,
                source,
            } => write!(
                f,
                "could not start {} ({doing}: {source}); check its mode, the limits of this \
                 process and what confines it",
                program.display()
            ),
            Self::Deadline { program, waited } => write!(
                f,
                "{} did not end within {} ms and was killed; run it by hand to see what it \
                 waits for",
                program.display(),
                waited.as_millis()
            ),
            Self::Limit { program, limit } => write!(
                f,
                "{} printed more than {limit} bytes and was killed; run it by hand to see what \
                 it prints",
                program.display()
            ),
            Self::Lost { program } => write!(
                f,
                "{} was killed from outside; look in the kernel's log for a lack of memory",
                program.display()
            ),
        }
    }
}

impl std::error::Error for ChildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}
