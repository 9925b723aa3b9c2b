//! A token file of a session: its name, and what is known of the tokens in it.

use idtoken::{Jti, Kid};
use serde::{Deserialize, Serialize};

use crate::name::TokenName;

/// After how many seconds no other host removes what it saw before a renewal.
const SEEN_BEFORE: u64 = 60;

/// Not so if the clock was set back since.
fn is_soon(again_at: u64, now: u64) -> bool {
    again_at <= now.saturating_add(SEEN_BEFORE)
}

/// A token file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// The `[[token]]` table it is made by; none if that has no name.
    pub table: Option<String>,
    /// Its name.
    pub name: TokenName,
    /// The name that it is about to have, or has already.
    pub moving_to: Option<TokenName>,
    /// Whether its user took it away; it does not come back.
    pub removed: bool,
    /// Whether it is not there and is to be put there when it can be: no table made it, it
    /// could not be made when its home answered at last, or its private store was lost.
    #[serde(default)]
    pub dropped: bool,
    /// Whether it is being taken away, since no table makes it: that it is not there says nothing
    /// of its user then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropping: bool,
    /// When a token that HTCondor reads before this one dies and has to be cleared
    /// away, in seconds since 1970 UTC.
    pub clear_at: Option<u64>,
    /// When it is renewed once more, in seconds since 1970 UTC: its tokens had expired when they
    /// were renewed, and another host that had just seen the old ones may have removed the new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_at: Option<u64>,
    /// The tokens in it, one a line.
    pub tokens: Vec<Minted>,
}

/// What is known of a token that was made; not the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minted {
    /// Its id, which HTCondor puts into each job as `AuthTokenId`.
    pub jti: Jti,
    /// The signing key.
    pub kid: Kid,
    /// Tells the key from a later one of the same kid; says nothing about it otherwise.
    pub key: String,
    /// `sub`.
    pub subject: String,
    /// `iss`.
    pub issuer: String,
    /// `scope`, none if unrestricted.
    pub scope: Option<String>,
    /// When it was signed, as seconds since 1970 UTC.
    pub issued: u64,
    /// When it expires, as seconds since 1970 UTC.
    pub expires: u64,
}

impl TokenFile {
    /// A file that is to be written.
    pub fn new(table: Option<String>, name: TokenName, tokens: Vec<Minted>) -> Self {
        Self {
            table,
            name,
            moving_to: None,
            removed: false,
            dropped: false,
            dropping: false,
            clear_at: None,
            again_at: None,
            tokens,
        }
    }

    /// Every name by which it may be there.
    pub fn names(&self) -> impl Iterator<Item = TokenName> {
        let names = [Some(&self.name), self.moving_to.as_ref()];
        names.into_iter().flatten().cloned()
    }

    /// Whether it is to be there.
    pub fn is_there(&self) -> bool {
        !self.removed && !self.dropped
    }

    /// When the first of its tokens expires, as seconds since 1970 UTC.
    pub fn expires(&self) -> u64 {
        let expire = self.tokens.iter().map(|token| token.expires);
        expire.min().unwrap_or_default()
    }

    /// When the first of its tokens was signed, as seconds since 1970 UTC.
    pub fn issued(&self) -> u64 {
        let issued = self.tokens.iter().map(|token| token.issued);
        issued.min().unwrap_or_default()
    }

    /// Whether none of its tokens is good any more.
    pub fn is_overdue(&self, now: u64) -> bool {
        self.tokens.iter().all(|token| token.expires < now)
    }

    /// Whether that it is not there is a reconcile's doing, or may be, and not its user's.
    pub fn was_taken(&self) -> bool {
        self.dropped || self.dropping
    }

    /// Whether another host may take what is there for a token that has expired.
    pub fn may_be_expired(&self, now: u64) -> bool {
        self.is_overdue(now) || self.again_at.is_some_and(|at| is_soon(at, now))
    }

    /// The [`Self::again_at`] of what takes its place at `now`.
    pub fn again_after(&self, now: u64) -> Option<u64> {
        if self.is_overdue(now) {
            return Some(now.saturating_add(SEEN_BEFORE));
        }
        self.again_at.filter(|at| *at > now && is_soon(*at, now))
    }

    /// When half of the tokens' life is over, as seconds since 1970 UTC.
    pub fn half_life(&self) -> u64 {
        let issued = self.issued();
        // A damaged record may say anything.
        issued.saturating_add(self.expires().saturating_sub(issued) / 2)
    }
}
