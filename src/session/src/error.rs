//! What can go wrong in the life of a token, in words for an administrator.
//!
//! Every message names the file or setting, says what is wrong with it and what
//! to do. No variant can hold a key or a token.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use idtoken::{ClaimError, KeyError, MintError};

use crate::child::ChildError;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a session got no token, or why one could not be taken away.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration can not be used; the text names file, key and remedy.
    Config(String),
    /// A setting that has no default is not set.
    Unset {
        /// The key of the configuration.
        key: &'static str,
        /// The setting of HTCondor that it must equal.
        htcondor: &'static str,
        /// The configuration file that was read.
        file: PathBuf,
        /// Why HTCondor could not say it, if it was asked.
        why: Option<String>,
    },
    /// A signing key can not be used.
    Key(KeyError),
    /// The user's name or a configured value can not go into a token.
    Claim(ClaimError),
    /// Signing failed.
    Mint(MintError),
    /// The system gave no random bytes.
    Random(String),
    /// The user database has no such user.
    NoUser(String),
    /// The user database has no such group, or does not say so now.
    NoGroup(String),
    /// The user database could not be asked.
    UserDatabase {
        /// The name that was looked up.
        user: String,
        /// What the C library answered.
        source: io::Error,
    },
    /// The user database names no directory that could be a home.
    NoHome {
        /// The user.
        user: String,
        /// What it names.
        home: PathBuf,
    },
    /// A file operation failed.
    Io {
        /// What was being done, as in "create the directory".
        doing: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
        /// What an administrator can do about it, or nothing.
        remedy: &'static str,
    },
    /// A file or directory of ours is owned or protected in a way that is not safe.
    Unsafe {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The home did not answer in time.
    HomeTimeout {
        /// The user's home.
        home: PathBuf,
        /// How long the session waited.
        waited: Duration,
    },
    /// The home, or the tokens.d that was in it, is not there just now.
    Away {
        /// What is not there.
        path: PathBuf,
    },
    /// The thread that acts as the user could not be made, or could not become the user.
    Acting {
        /// What failed.
        doing: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The thread that acts as the user ended without an answer.
    ActingDied,
    /// The schedd gave no token that could be used.
    Fetch {
        /// The program that asked it.
        program: PathBuf,
        /// What is wrong.
        why: String,
        /// Why the signing key is not used, if it was to be.
        why_not_key: Option<String>,
    },
    /// The session can not be told where its tokens are.
    Environment {
        /// The variable that libpam did not take.
        name: &'static str,
    },
    /// A record can not be read.
    Damaged {
        /// The record's path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A record was written by another version of this program.
    Version {
        /// The record's path.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A program that was run gave no answer.
    Program(ChildError),
    /// A lock was not free in time.
    Locked {
        /// The path of the locked file.
        path: PathBuf,
        /// How long the session waited.
        waited: Duration,
    },
}

impl Error {
    /// An I/O error with its path and what was being done.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            doing,
            path: path.into(),
            source: source.into(),
            remedy: "",
        }
    }

    /// The same error with what an administrator can do about it.
    #[must_use]
    pub fn with_remedy(mut self, text: &'static str) -> Self {
        if let Self::Io { remedy, .. } = &mut self {
            *remedy = text;
        }
        self
    }

    /// Whether this is an I/O error of the given kind.
    pub fn is_io_kind(&self, kind: io::ErrorKind) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == kind)
    }
}

impl fmt::Display for Error {
    // One arm a message: a list is read from its top to its end.
    #[allow(clippy::too_many_lines)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) => f.write_str(text),
            Self::Unset {
                key,
                htcondor,
                file,
                why,
            } => {
                let asked = ", and HTCondor was asked in vain: ";
                let why = why
                    .as_ref()
                    .map_or_else(String::new, |why| format!("{asked}{why}"));
                write!(
                    f,
                    "{key} is not set{why}: set it in {} to what `condor_config_val {htcondor}` \
                     prints",
                    file.display()
                )
            }
            Self::Key(error) => error.fmt(f),
            Self::Claim(error) => error.fmt(f),
            Self::Mint(error) => error.fmt(f),
            Self::Program(error) => error.fmt(f),
            Self::Random(why) => write!(f, "the system gave no random bytes: {why}"),
            Self::NoUser(user) => {
                write!(
                    f,
                    "the user database has no user {user:?}: check nsswitch.conf and getent passwd"
                )
            }
            Self::NoGroup(group) => write!(
                f,
                "the user database has no group {group:?}, which the configuration names, so \
                 nobody can tell who is in it: check getent group, or correct the configuration"
            ),
            Self::UserDatabase { user, source } => {
                write!(
                    f,
                    "the user database could not be asked for user {user:?}: {source}; check \
                     nsswitch.conf and the service it names"
                )
            }
            Self::NoHome { user, home } => write!(
                f,
                "the user database has the home {} for {user:?}: it must be a path from / in \
                 UTF-8; correct the entry",
                home.display()
            ),
            Self::Io {
                doing,
                path,
                source,
                remedy,
            } => {
                write!(f, "could not {doing} {}: {source}", path.display())?;
                if remedy.is_empty() {
                    Ok(())
                } else {
                    write!(f, "; {remedy}")
                }
            }
            Self::Unsafe { path, what, remedy } => {
                write!(f, "{} {what}; {remedy}", path.display())
            }
            Self::HomeTimeout { home, waited } => write!(
                f,
                "the home {} did not answer within {} ms; check the file system it is on",
                home.display(),
                waited.as_millis()
            ),
            Self::Away { path } => write!(
                f,
                "{} is not there any more, removed or not mounted; until its token has expired \
                 it is looked for again",
                path.display()
            ),
            Self::Acting { doing, source } => {
                write!(
                    f,
                    "could not {doing} to act as the user: {source}; check the limits and \
                     capabilities of this process"
                )
            }
            Self::ActingDied => f.write_str(
                "the thread acting as the user ended without an answer; this is a defect, \
                     please report it",
            ),
            Self::Fetch {
                program,
                why,
                why_not_key,
            } => {
                let asked = |why: &String| format!(". It was asked since {why}");
                write!(
                    f,
                    "{} got no token from the schedd: {why}; run it as the user to see more{}",
                    program.display(),
                    why_not_key.as_ref().map_or_else(String::new, asked)
                )
            }
            Self::Environment { name } => write!(
                f,
                "{name} could not be set in the session's environment; the host is short of memory"
            ),
            Self::Damaged { path, why } => write!(
                f,
                "the record {} is damaged: {why}; `idtokenctl reconcile` sets it aside",
                path.display()
            ),
            Self::Version { path, version } => write!(
                f,
                "the record {} has version {version}, written by another version of pam_idtoken; \
                 it is left alone: use the idtokenctl that belongs to the installed module",
                path.display()
            ),
            Self::Locked { path, waited } => write!(
                f,
                "the record {} stayed locked for {} ms, most likely by a process that waits for \
                 the same home",
                path.display(),
                waited.as_millis()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UserDatabase { source, .. }
            | Self::Io { source, .. }
            | Self::Acting { source, .. } => Some(source),
            Self::Program(error) => error.source(),
            _ => None,
        }
    }
}

impl From<ChildError> for Error {
    fn from(error: ChildError) -> Self {
        Self::Program(error)
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<ClaimError> for Error {
    fn from(error: ClaimError) -> Self {
        Self::Claim(error)
    }
}

impl From<MintError> for Error {
    fn from(error: MintError) -> Self {
        Self::Mint(error)
    }
}

/// Says what is unsafe about a file that must be ours alone.
///
/// `owner` is the uid the process runs as: files of ours belong to root or to it.
pub(crate) fn refuse_unsafe(
    path: &Path,
    stat: &nix::sys::stat::FileStat,
    owner: u32,
    forbidden: u32,
) -> Result<()> {
    let mode = stat.st_mode & 0o7777;
    if stat.st_uid != 0 && stat.st_uid != owner {
        return Err(Error::Unsafe {
            path: path.to_owned(),
            what: format!("is owned by uid {}, not by root", stat.st_uid),
            remedy: format!("run `chown root {}`", path.display()),
        });
    }
    if mode & forbidden != 0 {
        let safe = mode & !forbidden;
        return Err(Error::Unsafe {
            path: path.to_owned(),
            what: format!("has mode {mode:04o}, which lets others in"),
            remedy: format!("run `chmod {safe:04o} {}`", path.display()),
        });
    }
    Ok(())
}
