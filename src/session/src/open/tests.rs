use super::*;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use idtoken::{KeyForm, Kid, SigningKey};

use crate::close::Closed;
use crate::home::TOKENS_D;
use crate::log::Kept;
use crate::user::User;

/// A host with a key, a state directory and one user, who is whoever runs the tests.
struct Lab {
    dir: tempfile::TempDir,
    config: Config,
    host: Host,
    log: Kept,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("home")).unwrap();
        fs::create_dir(path("keys")).unwrap();
        fs::write(path("keys/POOL"), "the key").unwrap();
        fs::set_permissions(path("keys/POOL"), fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "trust_domain = \"lab.test\"\nuid_domain = \"lab.test\"\nstate_dir = {:?}\n\
             password_directory = {:?}\ntimeout = \"2s\"\n",
            path("state"),
            path("keys")
        );
        let config = Config::parse(&text, Path::new("/x.toml")).unwrap();
        Self {
            dir,
            config,
            host: Host::current().unwrap(),
            log: Kept::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn opening(&self) -> Opening {
        let uid = nix::unistd::geteuid().as_raw();
        let gid = nix::unistd::getegid().as_raw();
        let home = self.path("home");
        let user = User {
            name: "alice".into(),
            uid,
            gid,
            groups: vec![gid],
            home,
        };
        Opening {
            user,
            service: "sshd".into(),
            rhost: None,
        }
    }

    fn open(&self) -> Opened {
        open(&self.config, &self.host, self.opening(), &self.log)
    }

    fn opened(&self) -> Session {
        match self.open() {
            Opened::Yes(session) => *session,
            Opened::No(error) | Opened::Pending(_, error) => panic!("{error}"),
        }
    }

    fn refused(&self) -> String {
        match self.open() {
            Opened::No(error) => error.to_string(),
            _ => panic!("it opened"),
        }
    }

    fn tokens(&self) -> Vec<String> {
        names(&self.path("home").join(TOKENS_D))
    }

    fn records(&self) -> Vec<String> {
        let uid = nix::unistd::geteuid().as_raw().to_string();
        names(&self.path("state/sessions").join(uid))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_session_has_a_valid_token_and_leaves_nothing() {
    let lab = Lab::new();
    let session = lab.opened();
    assert_eq!((lab.tokens().len(), lab.records().len()), (1, 1));
    let text = fs::read_to_string(session.record().token_path()).unwrap();
    let key = SigningKey::from_bytes(&Kid::pool(), b"the key", KeyForm::Plain).unwrap();
    let seen = idtoken::verify(text.trim(), &[&key], None, lab.host.now()).unwrap();
    assert_eq!(seen.sub.as_deref(), Some("alice@lab.test"));
    assert_eq!(seen.exp, Some(lab.host.now() + 86_400));
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
    assert!(lab.log.lines()[0].starts_with("Info: token closed user=alice uid="));
}

#[test]
fn closing_twice_is_closing_once() {
    let lab = Lab::new();
    let session = lab.opened();
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Before);
    assert_eq!(lab.log.lines().len(), 1);
}

#[test]
fn the_newer_of_two_sessions_is_read_first_and_ends_alone() {
    let mut lab = Lab::new();
    let old = lab.opened();
    lab.host.now_ns += 1;
    let new = lab.opened();
    assert_eq!(lab.tokens()[0], new.record().file.to_string());
    new.close(&lab.host, &lab.log).unwrap();
    assert_eq!(lab.tokens(), [old.record().file.to_string()]);
    old.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty());
}

#[test]
fn a_token_from_a_clock_ahead_is_passed() {
    let mut lab = Lab::new();
    lab.host.now_ns += 3_600_000_000_000;
    let ahead = lab.opened();
    lab.host.now_ns -= 3_600_000_000_000;
    let session = lab.opened();
    assert_eq!(lab.tokens()[0], session.record().file.to_string());
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!(lab.tokens(), [ahead.record().file.to_string()]);
    assert_eq!(lab.records().len(), 1);
}

#[test]
fn a_login_tidies_up_after_a_session_whose_process_was_killed() {
    let mut lab = Lab::new();
    lab.host.holder.start += 1;
    let killed = lab.opened();
    lab.host.holder.start -= 1;
    let session = lab.opened();
    assert_eq!(lab.tokens(), [session.record().file.to_string()]);
    assert_eq!(lab.records(), [session.record().name().to_string()]);
    let jti = killed.record().jtis();
    assert!(
        lab.log
            .lines()
            .iter()
            .any(|l| l.contains("ended without a close") && l.contains(&jti))
    );
}

#[test]
fn a_damaged_record_stays_and_stops_nobody() {
    let mut lab = Lab::new();
    lab.host.holder.start += 1;
    let killed = lab.opened();
    lab.host.holder.start -= 1;
    let uid = nix::unistd::geteuid().as_raw().to_string();
    let path = lab
        .path("state/sessions")
        .join(uid)
        .join(killed.record().name().to_string());
    fs::write(&path, "{").unwrap();
    lab.opened();
    assert!(path.exists());
    assert!(lab.log.lines().iter().any(|line| line.contains("damaged")));
}

#[test]
fn a_failure_takes_the_record_back() {
    let lab = Lab::new();
    fs::write(lab.path("home/.condor"), "in the way").unwrap();
    assert!(lab.refused().contains(".condor"));
    assert!(lab.records().is_empty());
}

#[test]
fn without_a_key_or_a_domain_nothing_is_made() {
    let mut lab = Lab::new();
    fs::remove_file(lab.path("keys/POOL")).unwrap();
    assert!(lab.refused().contains("keys/POOL"));
    lab.config.uid_domain = None;
    assert!(lab.refused().contains("uid_domain"));
    assert!(!lab.path("state").exists() && !lab.path("home/.condor").exists());
}

#[test]
fn a_record_that_can_not_be_written_leaves_no_token() {
    let lab = Lab::new();
    fs::write(lab.path("state"), "in the way").unwrap();
    assert!(lab.refused().contains("state"));
    assert!(lab.tokens().is_empty());
}

#[test]
fn a_session_is_found_again_by_its_process_and_service() {
    let lab = Lab::new();
    let session = lab.opened();
    let uid = session.record().user.uid;
    let found = |service, uid| Session::held_by(&lab.host, &lab.config, service, uid).unwrap();
    assert!(found("login", uid).is_none());
    assert!(found("sshd", uid + 1).is_none());
    let mut other = lab.host.clone();
    other.holder.pid += 1;
    assert!(
        Session::held_by(&other, &lab.config, "sshd", uid)
            .unwrap()
            .is_none()
    );
    found("sshd", uid)
        .unwrap()
        .close(&lab.host, &lab.log)
        .unwrap();
    assert!(lab.tokens().is_empty());
}

#[test]
fn of_several_sessions_of_a_process_none_is_guessed() {
    let lab = Lab::new();
    let uid = lab.opened().record().user.uid;
    lab.opened();
    let error = Session::held_by(&lab.host, &lab.config, "sshd", uid).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { sessions: 2 }), "{error}");
    assert_eq!(lab.tokens().len(), 2);
}

#[test]
fn a_token_goes_even_if_the_records_are_gone() {
    let lab = Lab::new();
    let session = lab.opened();
    fs::remove_dir_all(lab.path("state")).unwrap();
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.tokens().is_empty());
}

#[test]
fn a_token_that_can_not_be_removed_keeps_its_record() {
    let lab = Lab::new();
    let session = lab.opened();
    let token = session.record().token_path();
    fs::remove_file(&token).unwrap();
    fs::create_dir(&token).unwrap();
    assert!(session.close(&lab.host, &lab.log).is_err());
    assert_eq!(lab.records().len(), 1);
    fs::remove_dir(&token).unwrap();
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty());
}

#[test]
fn records_and_log_hold_neither_token_nor_key() {
    let lab = Lab::new();
    let session = lab.opened();
    let text = fs::read_to_string(session.record().token_path()).unwrap();
    let signature = text.trim().rsplit('.').next().unwrap().to_owned();
    session.close(&lab.host, &lab.log).unwrap();
    let again = lab.opened();
    let record = String::from_utf8(again.record().to_bytes().unwrap()).unwrap();
    for secret in [signature.as_str(), "the key"] {
        assert!(!record.contains(secret) && !lab.log.lines().join("\n").contains(secret));
    }
}
