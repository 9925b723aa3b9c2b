//! The record of a session: what it takes to find its token again, end it or
//! renew it, whatever became of the process that opened it.
//!
//! A record never holds a key or a token. Its file name alone says which
//! session it is and which process holds it, so that looking for the sessions
//! of a process reads no file.

mod name;

use std::path::PathBuf;

use idtoken::{Jti, Kid};
use serde::{Deserialize, Serialize};

use crate::holder::Holder;
use crate::home::HomeId;
use crate::linger::Trace;
use crate::name::{SessionId, TokenName};
use crate::user::User;

pub use name::{Kind, RecordName};

/// The version this code writes; it reads no other.
const VERSION: u32 = 2;

/// A session that was given a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// The session.
    pub session: SessionId,
    /// The user, as the user database knew them when the session opened.
    pub user: User,
    /// The PAM service.
    pub service: String,
    /// Where the user came from, `PAM_RHOST`.
    pub rhost: Option<String>,
    /// When the session opened, as seconds since 1970 UTC.
    pub opened: u64,
    /// The process that opened it.
    pub holder: Holder,
    /// What has become of it since.
    pub phase: Phase,
    /// Whether its user took the token away; it gets no other.
    pub removed: bool,
    /// Tells the home in which the token was written last from a mount point.
    pub home_id: Option<HomeId>,
    /// How the processes of the session are found when it closes; none if
    /// closing ends it whatever they do.
    pub linger: Option<Trace>,
    /// The name of the token file in tokens.d.
    pub file: TokenName,
    /// The name that the token file is about to have, or has already.
    pub moving_to: Option<TokenName>,
    /// When the tokens were signed, as seconds since 1970 UTC.
    pub issued: u64,
    /// When the tokens expire, as seconds since 1970 UTC.
    pub expires: u64,
    /// When a token that HTCondor reads before this one dies and has to be cleared
    /// away, in seconds since 1970 UTC.
    pub clear_at: Option<u64>,
    /// The tokens in that file, in its order.
    pub tokens: Vec<Minted>,
}

/// What has become of a session since it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It lives as long as its holder.
    Open,
    /// It was closed and lives as long as its processes.
    Lingering,
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
}

/// What a session is before it has tokens.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The user.
    pub user: User,
    /// The PAM service.
    pub service: String,
    /// `PAM_RHOST`.
    pub rhost: Option<String>,
    /// How its processes are found, if it may linger.
    pub linger: Option<Trace>,
}

/// The tokens of a session: what is known of them, and from when to when they hold.
#[derive(Debug, Clone)]
pub struct Term {
    /// Seconds since 1970 UTC.
    pub issued: u64,
    /// Seconds since 1970 UTC.
    pub expires: u64,
    /// The tokens, in the order of the file.
    pub tokens: Vec<Minted>,
}

impl Record {
    /// The record of a session that opens now.
    pub fn new(opening: Opening, file: TokenName, holder: Holder, term: Term) -> Self {
        let Opening {
            user,
            service,
            rhost,
            linger,
        } = opening;
        let Term {
            issued,
            expires,
            tokens,
        } = term;
        let session = file.id();
        Self {
            version: VERSION,
            session,
            user,
            service,
            rhost,
            opened: issued,
            holder,
            phase: Phase::Open,
            removed: false,
            home_id: None,
            linger,
            file,
            moving_to: None,
            issued,
            expires,
            clear_at: None,
            tokens,
        }
    }

    /// Takes over the tokens of a renewal.
    pub fn renew(&mut self, term: Term) {
        self.issued = term.issued;
        self.expires = term.expires;
        self.tokens = term.tokens;
    }

    /// Whether the tokens have expired: whoever finds them may remove them.
    pub fn is_overdue(&self, now: u64) -> bool {
        self.expires < now
    }

    /// When half of the tokens' life is over, as seconds since 1970 UTC.
    pub fn half_life(&self) -> u64 {
        self.issued + self.expires.saturating_sub(self.issued) / 2
    }

    /// The name of this record's file.
    pub fn name(&self) -> RecordName {
        RecordName {
            session: self.session,
            holder: self.holder.clone(),
        }
    }

    /// Every name by which the token may be in the home.
    pub fn files(&self) -> Vec<TokenName> {
        let names = [Some(&self.file), self.moving_to.as_ref()];
        names.into_iter().flatten().cloned().collect()
    }

    /// The path of the token file.
    pub fn token_path(&self) -> PathBuf {
        self.user
            .home
            .join(crate::home::TOKENS_D)
            .join(self.file.to_string())
    }

    /// The ids of the tokens, in their order, with commas.
    pub fn jtis(&self) -> String {
        self.tokens
            .iter()
            .map(|t| t.jti.to_string())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The kids of the tokens, in their order, with commas.
    pub fn kids(&self) -> String {
        self.tokens
            .iter()
            .map(|t| t.kid.to_string())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The bytes of the record's file. Fails for a home that is not UTF-8.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut bytes = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The version of a record that another version of this program wrote.
    pub fn other_version(bytes: &[u8]) -> Option<u32> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let seen: Versioned = serde_json::from_slice(bytes).ok()?;
        (seen.version != VERSION).then_some(seen.version)
    }

    /// Reads a record back. The text of the error says what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if record.version != VERSION {
            return Err(format!("it has version {}", record.version));
        }
        if record.file.id() != record.session {
            return Err("its token file belongs to another session".into());
        }
        if !record.user.home.is_absolute() {
            return Err("its home is not a path from /".into());
        }
        Ok(record)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record as open writes it.
    pub(crate) fn sample(session: SessionId, user: User, holder: Holder) -> Record {
        let minted = Minted {
            jti: Jti::random().unwrap(),
            kid: Kid::pool(),
            key: "0011223344556677".into(),
            subject: "alice@lab.test".into(),
            issuer: "lab.test".into(),
            scope: None,
        };
        let opening = Opening {
            user,
            service: "sshd".into(),
            rhost: Some("10.0.0.1".into()),
            linger: None,
        };
        let file = TokenName::new(5_000_000_000, "ap1", session);
        let term = Term {
            issued: 5,
            expires: 65,
            tokens: vec![minted],
        };
        Record::new(opening, file, holder, term)
    }

    pub(crate) fn alice() -> User {
        User {
            name: "alice".into(),
            uid: 1000,
            gid: 1000,
            groups: vec![1000],
            home: "/home/alice".into(),
        }
    }

    fn holder() -> Holder {
        Holder {
            pid: 7,
            start: 9,
            boot: "0b9d2f6e-aaaa-bbbb-cccc-0123456789ab".into(),
        }
    }

    #[test]
    fn a_record_reads_back() {
        let record = sample(SessionId::random().unwrap(), alice(), holder());
        assert_eq!(
            Record::from_bytes(&record.to_bytes().unwrap()),
            Ok(record.clone())
        );
        assert!(
            record
                .token_path()
                .starts_with("/home/alice/.condor/tokens.d")
        );
    }

    #[test]
    fn a_damaged_record_says_why() {
        let record = sample(SessionId::random().unwrap(), alice(), holder());
        let text = String::from_utf8(record.to_bytes().unwrap()).unwrap();
        for (from, to) in [
            ("\"version\":2", "\"version\":3"),
            ("/home/alice", "home/alice"),
            ("\"service\"", "\"extra\":1,\"service\""),
            ("0-session-", "../"),
        ] {
            assert!(text.contains(from), "{text}");
            assert!(
                Record::from_bytes(text.replace(from, to).as_bytes()).is_err(),
                "{from}"
            );
        }
        let other = SessionId::random().unwrap().to_string();
        let swapped = text.replacen(&record.session.to_string(), &other, 1);
        assert!(
            Record::from_bytes(swapped.as_bytes())
                .unwrap_err()
                .contains("another session")
        );
        let newer = text.replace("\"version\":2", "\"version\":3,\"more\":0");
        assert_eq!(Record::other_version(newer.as_bytes()), Some(3));
        assert_eq!(Record::other_version(text.as_bytes()), None);
        assert_eq!(Record::other_version(b"{"), None);
        for end in 0..text.len() - 1 {
            assert!(Record::from_bytes(&text.as_bytes()[..end]).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Record::from_bytes(&bytes);
        }
    }
}
