//! The record of a session: what it takes to find its token again, end it or
//! renew it, whatever became of the process that opened it.
//!
//! A record never holds a key or a token. Its file name alone says which
//! session it is and which process holds it, so that looking for the sessions
//! of a process reads no file.

mod file;
mod name;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::holder::Holder;
use crate::home::HomeId;
use crate::linger::Trace;
use crate::name::{SessionId, TokenName};
use crate::private;
use crate::user::User;

pub use file::{Minted, TokenFile};
pub use name::{Kind, RecordName};

/// The version this code writes; it reads no other.
const VERSION: u32 = 3;

/// A session that was given tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u32,
    /// The session.
    pub session: SessionId,
    /// The user, as the user database knew them when the session opened.
    pub user: User,
    /// How they came in.
    pub login: Login,
    /// When the session opened, as seconds since 1970 UTC.
    pub opened: u64,
    /// The process that opened it.
    pub holder: Holder,
    /// What has become of it since.
    pub phase: Phase,
    /// How the processes of the session are found when it closes; none if
    /// closing ends it whatever they do.
    pub linger: Option<Trace>,
    /// Where its tokens are.
    pub place: Place,
    /// `run_dir`, below which its private store is or would be.
    pub run_dir: PathBuf,
    /// Tells the home in which tokens were written last from a mount point.
    pub home_id: Option<HomeId>,
    /// Names by which a home that did not answer may have got tokens all the same,
    /// though they are in the private store now; they are to be removed.
    pub strays: Vec<TokenName>,
    /// When the last of those expires, as seconds since 1970 UTC.
    #[serde(default)]
    pub strays_expire: u64,
    /// Whether there was a configuration file when it opened: one that is gone is no reason to
    /// make other tokens.
    #[serde(default)]
    pub has_config: bool,
    /// Its token files.
    pub files: Vec<TokenFile>,
}

/// How a user came in: what the policy of the tokens looks at, besides the user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The PAM service.
    pub service: String,
    /// Where the user came from, `PAM_RHOST`.
    pub rhost: Option<String>,
    /// By which methods of SSH they proved who they are, the first line first
    /// (`SSH_AUTH_INFO_0`); none if the host does not say.
    pub auth: Vec<String>,
}

/// Where the tokens of a session are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In `~/.condor/tokens.d`.
    Home,
    /// In a directory of the session's own below `run_dir`.
    Private,
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

/// What a session is before it has tokens.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The user.
    pub user: User,
    /// How they came in.
    pub login: Login,
    /// How its processes are found, if it may linger.
    pub linger: Option<Trace>,
}

impl Record {
    /// The record of a session that opens at `now`, in seconds since 1970 UTC.
    pub fn new(
        opening: Opening,
        session: SessionId,
        holder: Holder,
        now: u64,
        run_dir: PathBuf,
        files: Vec<TokenFile>,
    ) -> Self {
        let Opening {
            user,
            login,
            linger,
        } = opening;
        Self {
            version: VERSION,
            session,
            user,
            login,
            opened: now,
            holder,
            phase: Phase::Open,
            linger,
            place: Place::Home,
            run_dir,
            home_id: None,
            strays: Vec::new(),
            strays_expire: 0,
            has_config: false,
            files,
        }
    }

    /// Whether all tokens have expired: whoever finds them may remove them.
    pub fn is_overdue(&self, now: u64) -> bool {
        self.files.iter().all(|file| file.is_overdue(now))
    }

    /// When the first of its tokens that are still there expires, as seconds since 1970 UTC.
    pub fn expires(&self) -> u64 {
        let there = self.files.iter().filter(|file| file.is_there());
        let first = there.map(TokenFile::expires).min();
        first.unwrap_or_else(|| self.last_expiry())
    }

    fn last_expiry(&self) -> u64 {
        let expire = self.tokens().map(|token| token.expires);
        expire.max().unwrap_or_default()
    }

    /// Whether its user took all of its tokens away.
    pub fn is_removed(&self) -> bool {
        self.files.iter().all(|file| file.removed)
    }

    /// The name of this record's file.
    pub fn name(&self) -> RecordName {
        RecordName {
            session: self.session,
            holder: self.holder.clone(),
        }
    }

    /// Every name by which its tokens may be where they are, or strayed to the home.
    pub fn names(&self) -> Vec<TokenName> {
        let files = self.files.iter().flat_map(TokenFile::names);
        files.collect()
    }

    /// The directory of the token files.
    pub fn directory(&self) -> PathBuf {
        match self.place {
            Place::Home => self.user.home.join(crate::home::TOKENS_D),
            Place::Private => self.directory_in_private(),
        }
    }

    /// The directory of its private store, whether it has one or not.
    pub fn directory_in_private(&self) -> PathBuf {
        private::path(&self.run_dir, self.session)
    }

    /// The paths of the token files.
    pub fn paths(&self) -> Vec<PathBuf> {
        let directory = self.directory();
        let files = self.files.iter();
        files
            .map(|file| directory.join(file.name.to_string()))
            .collect()
    }

    /// What is known of its tokens, in the order of the files and of their lines.
    pub fn tokens(&self) -> impl Iterator<Item = &Minted> {
        self.files.iter().flat_map(|file| &file.tokens)
    }

    /// The tokens are in the private store now; a home that did not answer may have some too.
    pub fn stray(&mut self) {
        if self.place == Place::Home {
            self.strays = self.names();
            self.strays_expire = self.last_expiry();
            self.place = Place::Private;
        }
    }

    /// None of its token files is there; those that are to be are put there when they can be.
    pub fn drop_files(&mut self) {
        for file in &mut self.files {
            file.dropped |= file.is_there();
        }
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
        let mut record: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if record.version != VERSION {
            return Err(format!("it has version {}", record.version));
        }
        if record.strays_expire == 0 && !record.strays.is_empty() {
            record.strays_expire = record.last_expiry();
        }
        if record.files.is_empty() {
            return Err("it names no token file".into());
        }
        let names = record.names().into_iter().chain(record.strays.clone());
        if names.into_iter().any(|name| name.id() != record.session) {
            return Err("its token file belongs to another session".into());
        }
        if !record.run_dir.is_absolute() {
            return Err("its run_dir is not a path from /".into());
        }
        if !record.user.home.is_absolute() {
            return Err("its home is not a path from /".into());
        }
        // It is a part of the names of the record and of the signs beside it.
        if record.holder.boot.contains(['/', '\0']) {
            return Err("the boot id of its holder is not one".into());
        }
        Ok(record)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use idtoken::{Jti, Kid};
    use proptest::prelude::*;

    impl Record {
        /// The name of its first token file.
        pub(crate) fn file(&self) -> &TokenName {
            &self.files[0].name
        }

        /// The path of its first token file.
        pub(crate) fn token_path(&self) -> PathBuf {
            self.paths().remove(0)
        }

        /// The id of its first token.
        pub(crate) fn jtis(&self) -> String {
            self.files[0].tokens[0].jti.to_string()
        }
    }

    /// A record as open writes it.
    pub(crate) fn sample(session: SessionId, user: User, holder: Holder) -> Record {
        let minted = Minted {
            jti: Jti::random().unwrap(),
            kid: Kid::pool(),
            key: "0011223344556677".into(),
            subject: "alice@lab.test".into(),
            issuer: "lab.test".into(),
            scope: None,
            issued: 5,
            expires: 65,
        };
        let opening = Opening {
            user,
            login: Login {
                service: "sshd".into(),
                rhost: Some("10.0.0.1".into()),
                auth: vec!["publickey".into()],
            },
            linger: None,
        };
        let name = TokenName::new(5_000_000_000, "ap1", session);
        let files = vec![TokenFile::new(None, name, vec![minted])];
        Record::new(opening, session, holder, 5, "/run/x".into(), files)
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
        let tokens_d = "/home/alice/.condor/tokens.d/0-session-";
        let path = record.paths()[0].display().to_string();
        assert!(path.starts_with(tokens_d), "{path}");
    }

    #[test]
    fn a_record_without_the_later_fields_reads_as_before() {
        let mut record = sample(SessionId::random().unwrap(), alice(), holder());
        record.stray();
        let mut json = serde_json::to_value(&record).unwrap();
        for field in ["strays_expire", "has_config"] {
            json.as_object_mut().unwrap().remove(field).unwrap();
        }
        json["files"][0]
            .as_object_mut()
            .unwrap()
            .remove("dropped")
            .unwrap();
        let bytes = serde_json::to_vec(&json).unwrap();
        assert_eq!(Record::from_bytes(&bytes), Ok(record));
    }

    #[test]
    fn a_damaged_record_says_why() {
        let record = sample(SessionId::random().unwrap(), alice(), holder());
        let text = String::from_utf8(record.to_bytes().unwrap()).unwrap();
        for (from, to) in [
            ("\"version\":3", "\"version\":4"),
            ("/home/alice", "home/alice"),
            ("\"service\"", "\"extra\":1,\"service\""),
            ("0-session-", "../"),
            ("/run/x", "run/x"),
            ("0b9d2f6e-", "../"),
            ("0b9d2f6e-", "\\u0000"),
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
        let newer = text.replace("\"version\":3", "\"version\":4,\"more\":0");
        assert_eq!(Record::other_version(newer.as_bytes()), Some(4));
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
