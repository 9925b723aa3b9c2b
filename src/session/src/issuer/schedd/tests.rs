use super::*;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::user::User;
use idtoken::{Claims, Jti, KeyForm, Lifetime, Scope, SigningKey, Subject};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NOW: u64 = 1_000_000;

/// A directory with a program in place of condor_token_fetch, and whoever runs the tests.
struct Place {
    dir: tempfile::TempDir,
    user: User,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let user = User {
            name: "alice".into(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            groups: vec![nix::unistd::getegid().as_raw()],
            home: dir.path().to_owned(),
        };
        Self { dir, user }
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("condor_token_fetch")
    }

    fn script(&self, text: &str) {
        let text = format!("#!/bin/sh\n{text}\n");
        crate::child::tests::install(&text, "755", &self.program());
    }

    fn settings(&self, more: &str) -> TokenSettings {
        let text = format!(
            "issuer = \"schedd\"\ncondor_token_fetch = {:?}\npassword_directory = {:?}\n{more}",
            self.program(),
            self.dir.path(),
        );
        Config::parse(&text, Path::new("/x.toml")).unwrap().token
    }

    fn fetch_within(&self, more: &str, timeout: Duration) -> std::result::Result<Batch, String> {
        let schedd = Schedd::new(&self.settings(more), None);
        let request = Request {
            user: &self.user,
            euid: self.user.uid,
            now: NOW,
            lifetime: Lifetime::HOUR,
            deadline: Deadline::after(timeout),
        };
        schedd.fetch(request).map_err(|error| error.to_string())
    }

    fn fetch(&self, more: &str) -> std::result::Result<Batch, String> {
        self.fetch_within(more, Duration::from_secs(10))
    }

    /// What a schedd says that prints this text.
    fn prints(&self, text: &str) -> std::result::Result<Batch, String> {
        fs::write(self.dir.path().join("answer"), text).unwrap();
        self.script(&format!("cat {:?}", self.dir.path().join("answer")));
        self.fetch("")
    }
}

fn claims(user: &str) -> Claims {
    Claims {
        iat: NOW,
        exp: Some(NOW + 3600),
        iss: "lab.test".parse().unwrap(),
        jti: Jti::random().unwrap(),
        sub: Subject::new(user, &"lab.test".parse().unwrap()).unwrap(),
        scope: None,
    }
}

fn signed(claims: &Claims) -> String {
    let key = SigningKey::from_bytes(&Kid::pool(), b"k", KeyForm::Plain).unwrap();
    key.mint(claims).unwrap().as_str().to_owned()
}

#[track_caller]
fn refused(answer: std::result::Result<Batch, String>, part: &str) {
    let why = answer.err().expect("it was taken");
    assert!(why.contains(part), "{part:?} in {why}");
    assert!(
        why.contains("condor_token_fetch") && !why.contains("eyJ"),
        "{why}"
    );
}

#[test]
fn one_token_of_the_user_is_taken_however_it_is_printed() {
    let place = Place::new();
    let claims = claims("alice");
    let token = signed(&claims);
    for text in [
        format!("{token}\n"),
        token.clone(),
        format!("\n{token}\r\n\n"),
        format!("Token fetched.\nToken: {token}\n"),
        format!("# a.b.c\nSee htcondor.readthedocs.io\n{token}\n"),
    ] {
        let batch = place.prints(&text).unwrap();
        assert_eq!(batch.contents.as_slice(), format!("{token}\n").as_bytes());
        assert_eq!(batch.tokens[0].jti, claims.jti);
        assert_eq!(batch.tokens[0].subject, "alice@lab.test");
        assert_eq!(batch.tokens[0].expires, NOW + 3600);
    }
}

#[test]
fn what_is_no_token_of_the_user_that_expires_in_time_is_refused() {
    let place = Place::new();
    let alice = claims("alice");
    let with = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims("alice");
        change(&mut claims);
        signed(&claims)
    };
    for (text, part) in [
        (String::new(), "it printed no token"),
        ("\u{0}\u{1}garbage.x.y".into(), "it printed no token"),
        (format!("{}*", signed(&alice)), "it printed no token"),
        (
            signed(&claims("bob")),
            "for \"bob@lab.test\", not for alice",
        ),
        (signed(&claims("alice2")), "not for alice"),
        (
            format!("{}\n{}\n", signed(&alice), signed(&alice)),
            "more than one token",
        ),
        (with(&|c| c.exp = None), "never expires"),
        (with(&|c| c.exp = Some(NOW)), "has expired already"),
        (
            with(&|c| c.exp = Some(NOW + 3600 + 121)),
            "lives longer than 1h",
        ),
    ] {
        refused(place.prints(&text), part);
    }
    assert!(place.prints(&with(&|c| c.exp = Some(NOW + 3700))).is_ok());
    fs::write(place.dir.path().join("answer"), [0xff, 0xfe]).unwrap();
    place.script(&format!("cat {:?}", place.dir.path().join("answer")));
    refused(place.fetch(""), "is no text");
}

#[test]
fn what_somebody_wrote_down_binds_the_schedd() {
    let place = Place::new();
    let token = signed(&claims("alice"));
    place.script(&format!("echo {token}"));
    assert!(
        place
            .fetch("trust_domain = \"lab.test\"\nuid_domain = \"lab.test\"")
            .is_ok()
    );
    refused(
        place.fetch("trust_domain = \"other\""),
        "of the trust domain \"lab.test\"",
    );
    refused(place.fetch("uid_domain = \"other\""), "not for alice");
    refused(place.fetch("kid = \"site\""), "signed with the key POOL");
    refused(place.fetch("scope = [\"READ\"]"), "more than scope allows");
    for (scope, is_fine) in [
        (&["READ"][..], true),
        (&["WRITE"], true),
        (&["ADMINISTRATOR"], false),
    ] {
        let mut claims = claims("alice");
        claims.scope = Scope::parse(scope).unwrap();
        place.script(&format!("echo {}", signed(&claims)));
        assert_eq!(
            place.fetch("scope = [\"WRITE\"]").is_ok(),
            is_fine,
            "{scope:?}"
        );
    }
}

#[test]
fn it_is_asked_with_a_lifetime_and_with_what_is_configured_and_with_nothing_else() {
    let place = Place::new();
    let said = place.dir.path().join("said");
    let show = format!("{{ echo \"$@\"; env | sort; }} >{said:?}; exit 1");
    place.script(&show);
    refused(place.fetch(""), "it printed no token and ended with");
    let text = fs::read_to_string(&said).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("-lifetime 3600"));
    let names: Vec<&str> = lines.filter_map(|line| line.split('=').next()).collect();
    // The shell adds PWD and, some of them, more of its own.
    let ours = ["HOME", "PATH", "USER"];
    let shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    assert!(
        names.iter().all(|n| ours.contains(n) || shell.contains(n)),
        "{text}"
    );
    assert!(ours.iter().all(|name| names.contains(name)), "{text}");
    let all = "kid = \"site\"\nscope = [\"READ\"]\nschedd_name = \"ap2\"\nschedd_pool = \"cm:9618\"\n\
               condor_config = \"/etc/c\"\n";
    let _ = place.fetch(all);
    let text = fs::read_to_string(&said).unwrap();
    let first = text.lines().next().unwrap();
    assert_eq!(
        first,
        "-lifetime 3600 -name ap2 -pool cm:9618 -key site -authz READ"
    );
    assert!(text.contains("CONDOR_CONFIG=/etc/c"), "{text}");
}

#[test]
fn of_several_kids_those_that_the_schedd_has_are_taken() {
    let place = Place::new();
    let token = signed(&claims("alice"));
    place.script(&format!(
        "case \"$*\" in *POOL*) echo {token};; *) exit 1;; esac"
    ));
    let batch = place.fetch("kid = [\"new\", \"POOL\"]").unwrap();
    assert_eq!(batch.tokens.len(), 1);
    refused(place.fetch("kid = [\"new\", \"newer\"]"), "ended with");
}

#[test]
fn a_failure_says_what_the_program_said_and_no_token() {
    let place = Place::new();
    let token = signed(&claims("alice"));
    place.script(&format!(
        "echo 'no route to schedd' >&2; echo {token} >&2; exit 1"
    ));
    refused(place.fetch(""), "no route to schedd");
    fs::remove_file(place.program()).unwrap();
    refused(place.fetch(""), "is not there");
    crate::child::tests::install("x", "644", &place.program());
    refused(place.fetch(""), "condor_token_fetch");
}

/// Asks for a token for one user of several.
fn fetch_for(place: &Place, schedd: &Schedd, uid: u32, timeout: Duration) -> Result<Batch> {
    let user = User {
        uid,
        ..place.user.clone()
    };
    // As that user, as far as the schedd knows.
    schedd.fetch(Request {
        user: &user,
        euid: uid,
        now: NOW,
        lifetime: Lifetime::HOUR,
        deadline: Deadline::after(timeout),
    })
}

fn away() -> KeyError {
    KeyError {
        path: "/keys/POOL".into(),
        fault: KeyFault::Missing,
    }
}

#[test]
fn one_that_hangs_costs_no_more_than_allowed_and_says_why_it_was_asked() {
    let place = Place::new();
    place.script("exec sleep 100");
    let schedd = Schedd::new(&place.settings(""), Some(away()));
    let started = Instant::now();
    let why = fetch_for(&place, &schedd, 1, Duration::from_millis(200));
    let why = why.err().unwrap().to_string();
    assert!(
        why.contains("the signing key /keys/POOL is not there"),
        "{why}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn one_that_hangs_for_several_users_is_given_up_and_never_for_one_alone() {
    let place = Place::new();
    let schedd = Schedd::new(&place.settings(""), None);
    let fetch = |uid, ms| fetch_for(&place, &schedd, uid, Duration::from_millis(ms)).is_ok();
    place.script("exec sleep 100");
    for _ in 0..4 {
        assert!(!fetch(1, 100));
    }
    assert!(!fetch(2, 100) && !schedd.is_given_up());
    place.script(&format!("echo {}", signed(&claims("alice"))));
    assert!(fetch(3, 10_000));
    // What fails at once holds up nobody.
    place.script("exit 1");
    for uid in 1..8 {
        assert!(!fetch(uid, 10_000));
    }
    assert!(!schedd.is_given_up());
    place.script("exec sleep 100");
    for uid in 1..4 {
        assert!(!fetch(uid, 100));
    }
    assert!(schedd.is_given_up());
    let started = Instant::now();
    assert!(!fetch(4, 60_000));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_token_that_the_key_of_this_host_did_not_sign_is_refused_where_the_key_is() {
    let place = Place::new();
    place.script(&format!("echo {}", signed(&claims("alice"))));
    let key = place.dir.path().join("POOL");
    for (secret, is_fine) in [("another", false), ("", false), ("k", true)] {
        fs::write(&key, secret).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(place.fetch("").is_ok(), is_fine, "{secret}");
    }
    fs::write(&key, "another").unwrap();
    refused(place.fetch(""), "not one of this host");
    // Another host's schedd may have another key.
    assert!(place.fetch("schedd_pool = \"cm.other\"").is_ok());
}

#[test]
fn one_that_prints_without_end_is_stopped() {
    let place = Place::new();
    place.script("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
    refused(place.fetch(""), "condor_token_fetch");
}

#[test]
fn a_replaced_key_and_a_changed_configuration_call_for_another_token() {
    let place = Place::new();
    fs::write(place.dir.path().join("POOL"), "old").unwrap();
    place.script(&format!("echo {}", signed(&claims("alice"))));
    let tokens = place.fetch("").unwrap().tokens;
    let change = |more: &str| Schedd::new(&place.settings(more), None).change("alice", &tokens);
    assert_eq!(change(""), None);
    assert_eq!(change("kid = \"POOL\""), None);
    assert_eq!(change("kid = \"site\""), Some(Change::Kids));
    assert_eq!(change("scope = [\"READ\"]"), Some(Change::Claims));
    assert_eq!(change("uid_domain = \"other\""), Some(Change::Claims));
    assert_eq!(change("trust_domain = \"lab.test\""), None);
    fs::remove_file(place.dir.path().join("POOL")).unwrap();
    assert_eq!(change(""), None, "a key that is away is no other");
    fs::write(place.dir.path().join("POOL"), "newer").unwrap();
    assert_eq!(change(""), Some(Change::Key));
}

#[test]
fn a_key_file_that_can_not_be_looked_at_is_not_one_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(identity(&dir.path().join("none")), "");
    // Longer than a name may be.
    assert_eq!(identity(&dir.path().join("x".repeat(300))), FILE);
    let key = dir.path().join("key");
    std::fs::write(&key, "x").unwrap();
    assert!(identity(&key).len() > FILE.len());
}
