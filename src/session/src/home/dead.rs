//! Which files of tokens.d are dead tokens of ours.
//!
//! A file is ours by its name alone, and only a file of ours is ever looked
//! into. It is dead when nothing can make it work again; what might still work
//! for somebody stays.

use std::collections::HashSet;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use idtoken::{Refusal, SigningKey, TrustDomain};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use zeroize::Zeroizing;

use crate::name::{SessionId, TokenName};

/// A token file of ours is far smaller.
const SIZE_LIMIT: u64 = 64 * 1024;
/// For how many seconds a token of another host has to be expired: its clock may
/// be behind ours. A session that lives and is renewed has half a lifetime more.
pub(super) const SKEW: u64 = 60;
/// A token younger than this, in seconds, is not judged by its signature: its
/// session may have opened, and the key changed, since the records were listed.
const GRACE: u64 = 60;
/// After this many seconds nobody will finish a file that was being written.
const UNFINISHED: u64 = 3600;

/// A file that is ours by its name.
pub(super) enum Candidate {
    /// A token.
    Token(String, TokenName),
    /// A token being written, or left so by a crash.
    Unfinished(String),
}

impl Candidate {
    pub(super) fn new(file: &str) -> Option<Self> {
        if let Ok(name) = file.parse() {
            return Some(Self::Token(file.to_owned(), name));
        }
        let inner = file.strip_prefix('.')?;
        inner
            .parse::<TokenName>()
            .ok()
            .map(|_| Self::Unfinished(file.to_owned()))
    }

    pub(super) fn file(&self) -> &str {
        match self {
            Self::Token(file, _) | Self::Unfinished(file) => file,
        }
    }

    pub(super) fn name(&self) -> Option<&TokenName> {
        match self {
            Self::Token(_, name) => Some(name),
            Self::Unfinished(_) => None,
        }
    }

    pub(super) fn into_token_name(self) -> Option<TokenName> {
        match self {
            Self::Token(_, name) => Some(name),
            Self::Unfinished(_) => None,
        }
    }
}

/// Signing keys by their trust domain.
pub type Keys = Vec<(TrustDomain, Arc<[SigningKey]>)>;

/// What it takes to tell a dead token from one that works.
pub struct Judge {
    /// Seconds since 1970 UTC.
    pub now: u64,
    /// The short name of this host.
    pub host: String,
    /// The user's sessions on this host that are alive.
    pub alive: HashSet<SessionId>,
    /// The current signing keys of this host, by trust domain: two pools may both have a
    /// key of one name.
    pub keys: Keys,
}

/// What is to become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is dead.
    Dead,
    /// It is not, or nobody can tell.
    Stays {
        /// When it will be, in seconds since 1970 UTC, as far as it says so itself
        /// and no session of this host looks after it.
        dies_at: Option<u64>,
        /// Whether a server that has the keys of this host refuses it.
        is_refused: bool,
    },
}

const STAYS: Verdict = Verdict::Stays {
    dies_at: None,
    is_refused: false,
};

impl Judge {
    /// What is to become of the file. Anything that can not be looked at stays.
    pub(super) fn verdict(&self, dir: BorrowedFd<'_>, candidate: &Candidate) -> Verdict {
        match candidate {
            Candidate::Token(_, name) if self.alive.contains(&name.id()) => STAYS,
            Candidate::Token(file, name) => self.token(dir, file, name.host()),
            Candidate::Unfinished(file) => dead_if(
                stat(dir, file)
                    .is_some_and(|stat| is_regular(&stat) && self.is_older(&stat, UNFINISHED)),
            ),
        }
    }

    fn token(&self, dir: BorrowedFd<'_>, file: &str, host: &str) -> Verdict {
        let flags = OFlag::O_RDONLY
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let Ok(fd) = openat(dir, file, flags, Mode::empty()) else {
            // We make no links; HTCondor would follow one.
            let is_link = |stat: FileStat| kind(&stat) == SFlag::S_IFLNK;
            return dead_if(stat(dir, file).is_some_and(is_link));
        };
        let Ok(stat) = fstat(fd.as_fd()) else {
            return STAYS;
        };
        if !is_regular(&stat) {
            // A FIFO would hang HTCondor's client; a directory it skips.
            return dead_if(kind(&stat) != SFlag::S_IFDIR);
        }
        let mut text = Zeroizing::new(String::with_capacity(1024));
        let read = std::fs::File::from(fd)
            .take(SIZE_LIMIT)
            .read_to_string(&mut text);
        let is_own = host == self.host;
        match read {
            Ok(_) => self.text(&text, is_own, is_own && self.is_older(&stat, GRACE)),
            Err(error) => dead_if(error.kind() == std::io::ErrorKind::InvalidData),
        }
    }

    /// A file is dead when each of its lines is.
    ///
    /// Keys are replaced host by host: a token of another host that this host's
    /// key does not verify may still work there, so only tokens made here are
    /// judged by their signature. The new token sorts before all of them.
    fn text(&self, text: &str, is_own: bool, by_signature: bool) -> Verdict {
        let skew = if is_own { 0 } else { SKEW };
        let mut dies_at = None;
        let (mut all_dead, mut is_refused) = (true, true);
        for line in idtoken::lines(text) {
            let Ok(seen) = idtoken::decode(line) else {
                continue;
            };
            let end = seen.exp.map(|exp| exp.saturating_add(skew));
            dies_at = [dies_at, end].into_iter().flatten().min();
            let is_expired = end.is_some_and(|end| end < self.now);
            let is_badly_signed = self.is_badly_signed(line, seen.iss.as_deref());
            all_dead &= is_expired || (by_signature && is_badly_signed);
            is_refused &= is_badly_signed;
        }
        if all_dead {
            Verdict::Dead
        } else {
            Verdict::Stays {
                dies_at,
                is_refused,
            }
        }
    }

    fn is_badly_signed(&self, line: &str, issuer: Option<&str>) -> bool {
        let of_issuer = self
            .keys
            .iter()
            .filter(|(of, _)| Some(of.as_str()) == issuer);
        let keys: Vec<&SigningKey> = of_issuer.flat_map(|(_, keys)| keys.iter()).collect();
        matches!(
            idtoken::verify(line, &keys, None, self.now),
            Err(Refusal::BadSignature)
        )
    }

    fn is_older(&self, stat: &FileStat, seconds: u64) -> bool {
        let changed = u64::try_from(stat.st_mtime).unwrap_or(0);
        changed.saturating_add(seconds) < self.now
    }
}

fn dead_if(is_dead: bool) -> Verdict {
    if is_dead { Verdict::Dead } else { STAYS }
}

fn stat(dir: BorrowedFd<'_>, file: &str) -> Option<FileStat> {
    fstatat(dir, file, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
}

fn is_regular(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFREG
}

pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
