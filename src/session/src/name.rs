//! The names of token files: `0-session-<T>-<host>-<id>`, and behind that `-<label>` if
//! the session has several tokens.
//!
//! HTCondor's client reads tokens.d in byte order of the names and takes the
//! first token whose kid and issuer the server knows, expired or not
//! (findTokens in condor_io/condor_auth_passwd.cpp). So `<T>` falls as time
//! rises: the newest token is read first, on every host that shares the home.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

const PREFIX: &str = "0-session-";
const HEX: usize = 16;

/// The id of a session: 64 random bits, written as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl SessionId {
    /// A new id.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|e| Error::Random(e.to_string()))?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = NotAName;

    fn from_str(text: &str) -> std::result::Result<Self, NotAName> {
        hex(text).map(Self).ok_or(NotAName)
    }
}

/// Written and read as text.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(SessionId);
serde_as_text!(TokenName);

/// The name is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAName;

impl fmt::Display for NotAName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a session's token")
    }
}

impl std::error::Error for NotAName {}

/// The name of a session's token file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName {
    /// Falls as time rises.
    stamp: u64,
    host: String,
    id: SessionId,
    label: Option<String>,
}

/// Whether a text can tell a session's tokens apart in their names: 1 to 32 of a-z, 0-9
/// and `_`, and no session id.
pub fn is_label(text: &str) -> bool {
    let is_fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=32).contains(&text.len()) && text.bytes().all(is_fine) && hex(text).is_none()
}

impl TokenName {
    /// The name for a session opened at `now_ns` (nanoseconds since 1970 UTC) on `host`
    /// (already a short name, see [`crate::host::short_name`]).
    pub fn new(now_ns: u64, host: &str, id: SessionId) -> Self {
        Self {
            stamp: u64::MAX - now_ns,
            host: host.to_owned(),
            id,
            label: None,
        }
    }

    /// The name of the token `label` of the same session (see [`is_label`]), which has
    /// `before` others in front of it.
    #[must_use]
    pub fn labelled(&self, label: Option<&str>, before: u64) -> Self {
        Self {
            stamp: self.stamp.saturating_add(before),
            label: label.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The session whose token this is.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The short name of the host that made it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether HTCondor would read this name before the other's token.
    ///
    /// Equal stamps count as not before: the host name decides then, and the
    /// newer session must win.
    pub fn sorts_before(&self, other: &Self) -> bool {
        self.stamp < other.stamp
    }

    /// The same name, moved just in front of `first`, with room for `behind` others
    /// between the two.
    ///
    /// For a home shared with a host whose clock is ahead: its tokens would
    /// sort first although they are older. When `first` holds the first stamp
    /// there is, the name stays as it is.
    #[must_use]
    pub fn in_front_of(&self, first: &Self, behind: u64) -> Self {
        let stamp = first.stamp.checked_sub(behind.saturating_add(1));
        Self {
            stamp: stamp.unwrap_or(self.stamp),
            ..self.clone()
        }
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:016x}-{}-{}", self.stamp, self.host, self.id)?;
        match &self.label {
            Some(label) => write!(f, "-{label}"),
            None => Ok(()),
        }
    }
}

impl FromStr for TokenName {
    type Err = NotAName;

    fn from_str(name: &str) -> std::result::Result<Self, NotAName> {
        let rest = name.strip_prefix(PREFIX).ok_or(NotAName)?;
        let (stamp, rest) = rest.split_at_checked(HEX).ok_or(NotAName)?;
        let (rest, label) = match rest.rsplit_once('-').ok_or(NotAName)? {
            (before, label) if is_label(label) => (before, Some(label.to_owned())),
            _ => (rest, None),
        };
        let (host, id) = rest.rsplit_once('-').ok_or(NotAName)?;
        let host = host.strip_prefix('-').ok_or(NotAName)?;
        let safe = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if host.is_empty() || host.len() > 63 || !host.bytes().all(safe) {
            return Err(NotAName);
        }
        Ok(Self {
            stamp: hex(stamp).ok_or(NotAName)?,
            host: host.to_owned(),
            id: id.parse()?,
            label,
        })
    }
}

/// Exactly 16 lower-case hex digits.
fn hex(text: &str) -> Option<u64> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != HEX || !text.bytes().all(digit) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(now_ns: u64, host: &str, id: u64) -> TokenName {
        TokenName::new(now_ns, host, SessionId(id))
    }

    #[test]
    fn the_newest_name_sorts_first_on_any_host() {
        let old = name(1_700_000_000_000_000_000, "ap1", 7).to_string();
        let new = name(1_700_000_001_000_000_000, "zz", 1).to_string();
        assert!(new < old);
        assert!(
            ["00-planted", "1-own", "token"]
                .iter()
                .all(|other| new.as_str() < *other)
        );
    }

    #[test]
    fn a_name_can_be_moved_in_front_of_one_from_a_clock_ahead() {
        let ahead = name(2_000, "ap2", 1);
        let mine = name(1_000, "ap1", 2);
        assert!(ahead.sorts_before(&mine));
        let moved = mine.in_front_of(&ahead, 0);
        assert!(moved.sorts_before(&ahead) && moved.to_string() < ahead.to_string());
        let first = name(u64::MAX, "x", 1);
        assert_eq!(name(5, "ap1", 2).in_front_of(&first, 0), name(5, "ap1", 2));
    }

    #[test]
    fn equal_clocks_on_two_hosts_give_two_names() {
        assert_ne!(name(5, "ap1", 1).to_string(), name(5, "ap2", 2).to_string());
        assert!(!name(5, "ap1", 1).sorts_before(&name(5, "ap2", 2)));
    }

    #[test]
    fn names_that_are_not_ours_are_not_taken() {
        let good = name(5, "ap1", 9).to_string();
        for bad in [
            "",
            "0-session-",
            "mytoken",
            &good[1..],
            &good.to_uppercase(),
            &format!("{good}~"),
            &format!(".{good}"),
            &format!("{good}.pl"),
            "0-session-fffffffffffffffa--0000000000000009",
            "0-session-fffffffffffffffa-ap1-two",
            &format!("{good}-"),
            &format!("{good}-Two"),
            &format!("{good}-two-three"),
            &format!("{good}-two.pl"),
            "0-session-ffffffffffffffé-ap1-0000000000000009",
        ] {
            assert_eq!(bad.parse::<TokenName>(), Err(NotAName), "{bad}");
        }
    }

    #[test]
    fn the_tokens_of_a_session_have_names_of_their_own_in_their_order() {
        let first = name(5_000, "ap1", 9);
        let second = first.labelled(Some("two"), 1);
        let third = first.labelled(Some("a"), 2);
        assert!(first.to_string() < second.to_string() && second.to_string() < third.to_string());
        assert_eq!(second.id(), first.id());
        assert_eq!(second.to_string().parse(), Ok(second.clone()));
        // All of them fit in front of another's, in the same order.
        let ahead = name(9_000, "ap2", 1);
        let moved = [first.in_front_of(&ahead, 1), second.in_front_of(&ahead, 0)];
        assert!(moved[0].sorts_before(&moved[1]) && moved[1].sorts_before(&ahead));
        for bad in ["", "A", "a-b", "0123456789abcdef", "a.b", &"x".repeat(33)] {
            assert!(!is_label(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_name_reads_back(now in any::<u64>(), host in "[a-z0-9-]{1,63}", id in any::<u64>(),
                                 label in proptest::option::of("[a-z0-9_]{1,32}")) {
            prop_assume!(label.as_deref().is_none_or(is_label));
            let made = name(now, &host, id).labelled(label.as_deref(), 0);
            prop_assert_eq!(made.to_string().parse::<TokenName>(), Ok(made.clone()));
            prop_assert!(!made.to_string().ends_with('~') && !made.to_string().contains('.'));
        }

        #[test]
        fn later_is_always_first(a in any::<u64>(), b in any::<u64>(), h1 in "[a-z0-9-]{1,63}",
                                 h2 in "[a-z0-9-]{1,63}", i in any::<u64>(), j in any::<u64>()) {
            prop_assume!(a < b);
            prop_assert!(name(b, &h1, i).to_string() < name(a, &h2, j).to_string());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<TokenName>();
        }
    }
}
