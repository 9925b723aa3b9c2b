//! What is wrong with a key file, a claim or a signature, in words for an
//! administrator. No variant can hold a key or a token.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A signing key can not be used.
#[derive(Debug)]
pub struct KeyError {
    /// The key file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: KeyFault,
}

/// What is wrong with a key file.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFault {
    /// There is no such file.
    Missing,
    /// It can not be opened or read.
    Io(io::Error),
    /// It is a directory, a FIFO, a device.
    NotRegular,
    /// It belongs to somebody else.
    Owner {
        /// The uid it belongs to.
        is: u32,
        /// The uid it has to belong to.
        wanted: u32,
    },
    /// Others may read or write it.
    Mode(u32),
    /// Nothing is in it, or nothing that counts.
    Empty,
    /// It is larger than any key.
    TooLarge,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            KeyFault::Missing => write!(
                f,
                "the signing key {path} is not there; copy it from the central manager"
            ),
            KeyFault::Io(error) => write!(f, "could not read the signing key {path}: {error}"),
            KeyFault::NotRegular => {
                write!(
                    f,
                    "the signing key {path} is not a regular file; put the key there"
                )
            }
            KeyFault::Owner { is, wanted } => write!(
                f,
                "the signing key {path} is owned by uid {is}, and HTCondor and we use it only if \
                 owned by uid {wanted}; run `chown {wanted} {path}`"
            ),
            KeyFault::Mode(mode) => write!(
                f,
                "the signing key {path} has mode {mode:04o}, so others may know it; run \
                 `chmod 0600 {path}` and think of replacing it"
            ),
            KeyFault::Empty => write!(
                f,
                "the signing key {path} is empty; copy it from the central manager"
            ),
            KeyFault::TooLarge => {
                write!(
                    f,
                    "the signing key {path} is larger than 64 KiB; is it the right file?"
                )
            }
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            KeyFault::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// A value can not go into a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// Not the name of a key.
    Kid(String),
    /// Not a trust domain or a UID domain.
    Domain(String),
    /// Not a user of the pool.
    User(String),
    /// One of HTCondor's own identities, which carry administrators' rights.
    Administrator(String),
    /// Not an authorization of HTCondor.
    Scope(String),
    /// Not a lifetime.
    Lifetime(String),
    /// Not a token id.
    Jti,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kid(text) => write!(
                f,
                "{text:?} is not a kid: a kid is the name of a key file, of letters, digits, \
                 '.', '_' and '-', without a leading dot"
            ),
            Self::Domain(text) => write!(
                f,
                "{text:?} is not a domain: it must be 1 to 255 bytes without blanks, commas, \
                 '@' and control characters"
            ),
            Self::User(text) => write!(
                f,
                "the user name {text:?} can not go into a token: it must be 1 to 255 bytes \
                 without blanks and control characters"
            ),
            Self::Administrator(text) => write!(
                f,
                "{text:?} is one of HTCondor's own identities and never gets a token"
            ),
            Self::Scope(text) => write!(
                f,
                "{text:?} is not an authorization; allowed are {}",
                crate::Authorization::ALL
                    .map(crate::Authorization::as_str)
                    .join(", ")
            ),
            Self::Lifetime(text) => write!(
                f,
                "{text:?} is not a lifetime: write a number with s, m, h or d, from 1s to 3650d"
            ),
            Self::Jti => f.write_str("a token id is 32 lower-case hex digits"),
        }
    }
}

impl std::error::Error for ClaimError {}

/// A token could not be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintError(pub(crate) String);

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token could not be signed: {}", self.0)
    }
}

impl std::error::Error for MintError {}
