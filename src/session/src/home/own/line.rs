//! One token: what HTCondor would do with it.

use idtoken::{Decoded, Refusal, SigningKey};

use super::words::{duration, shown};
use super::{Examiner, Severity};

/// What a token is.
pub(super) struct Seen {
    class: Class,
    /// For how many seconds it has been expired, by its own account.
    expired: Option<u64>,
    /// Whether HTCondor would use it: its pool is one of ours, and no token of the
    /// same issuer and kid was there before it.
    is_used: bool,
}

enum Class {
    /// Not a token, or none that could be matched with a server.
    Junk(&'static str),
    /// Of a trust domain that is not ours.
    Foreign(String),
    /// Of our trust domain, and signed with a key that is not here.
    UnknownKid(String),
    /// Of our trust domain, of which no key is here.
    Unverified(Box<Decoded>),
    /// The key of its kid did not sign it.
    BadlySigned(String),
    /// Its kid and issuer fit, and servers refuse it.
    Refused(&'static str),
    /// As good as new, but for being expired perhaps.
    Signed(Box<Decoded>),
}

impl Examiner<'_> {
    /// Says what a token is, and takes note of it.
    pub(super) fn line(&mut self, line: &str) -> Seen {
        let (class, pair, expired) = match idtoken::decode(line) {
            Ok(seen) => self.class(line, seen),
            Err(Refusal::NotAToken(why)) => (Class::Junk(why), None, None),
            Err(_) => (Class::Junk("it can not be read"), None, None),
        };
        let is_used = pair.is_some_and(|pair| self.taken.insert(pair));
        Seen {
            class,
            expired,
            is_used,
        }
    }

    fn class(&self, line: &str, seen: Decoded) -> (Class, Option<(String, String)>, Option<u64>) {
        let expired = seen
            .exp
            .filter(|exp| self.now > *exp)
            .map(|exp| self.now - exp);
        let Some(iss) = seen.iss.clone().filter(|iss| !iss.is_empty()) else {
            return (Class::Junk("it names no issuer"), None, expired);
        };
        let Some(kid) = seen.kid.clone() else {
            return (Class::Junk("it names no key"), None, expired);
        };
        let is_own = |domain: &idtoken::TrustDomain| domain.as_str() == iss;
        let keys = self.keys.iter().filter(|(domain, _)| is_own(domain));
        let keys: Vec<&SigningKey> = keys.flat_map(|(_, keys)| keys.iter()).collect();
        if keys.is_empty() && !self.issuers.iter().any(is_own) {
            return (Class::Foreign(iss), None, expired);
        }
        let class = if keys.is_empty() {
            Class::Unverified(Box::new(seen))
        } else {
            match idtoken::verify(line, &keys, None, self.now) {
                Ok(_) | Err(Refusal::Expired { .. }) => Class::Signed(Box::new(seen)),
                Err(Refusal::UnknownKid(kid)) => return (Class::UnknownKid(kid), None, expired),
                Err(Refusal::NotAToken(why)) => Class::Refused(why),
                Err(_) => Class::BadlySigned(kid.clone()),
            }
        };
        (class, Some((iss, kid)), expired)
    }
}

impl Seen {
    /// Whether nothing can make it work again.
    pub(super) fn is_dead(&self) -> bool {
        let is_refused = matches!(self.class, Class::BadlySigned(_) | Class::Refused(_));
        is_refused || self.expired.is_some()
    }

    /// How bad it is if its file is read before the session's token, or after it.
    pub(super) fn severity(&self, is_first: bool) -> Severity {
        match (&self.class, self.is_dead()) {
            (Class::Junk(_), false) => Severity::Ignored,
            (_, true) if self.is_used && is_first => Severity::Breaks,
            (_, true) => Severity::Stale,
            _ if self.is_used && is_first => Severity::Shadows,
            _ => Severity::Fine,
        }
    }

    /// What it is, in words. Nothing of its signature is in it.
    pub(super) fn what(&self) -> String {
        let what = match &self.class {
            Class::Junk(why) => format!("is not a token HTCondor could use: {why}"),
            Class::Foreign(iss) => format!("is of another trust domain, {}", shown(iss)),
            Class::UnknownKid(kid) => {
                format!(
                    "is signed with the key {}, which is not on this host",
                    shown(kid)
                )
            }
            Class::BadlySigned(kid) => format!(
                "is signed with another key than the {} of today: that was replaced since",
                shown(kid)
            ),
            Class::Refused(why) => format!("is refused by every server: {why}"),
            Class::Unverified(seen) => {
                format!("is {}, by its own account", self.contents(seen))
            }
            Class::Signed(seen) => format!("is {}", self.contents(seen)),
        };
        match self.expired {
            Some(seconds) => format!("{what}, and expired {} ago", duration(seconds)),
            None => what,
        }
    }

    fn contents(&self, seen: &Decoded) -> String {
        let sub = shown(seen.sub.as_deref().unwrap_or_default());
        let scope = match seen.scope.as_deref() {
            Some(scope) => format!("with the scope {}", shown(scope)),
            None => "with all rights".to_owned(),
        };
        let standing = if self.expired.is_some() {
            "a token"
        } else {
            "a valid token"
        };
        let end = if seen.exp.is_none() {
            ", that never expires"
        } else {
            ""
        };
        format!("{standing} of {sub} {scope}{end}")
    }
}
