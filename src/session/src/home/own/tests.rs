use super::*;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use idtoken::{Claims, Jti, KeyForm, Kid, Scope, SigningKey, Subject};
use nix::sys::stat::Mode;

use crate::home::TOKENS_D;

const NOW: u64 = 1_000_000;

struct Home(tempfile::TempDir);

/// A token as it would be minted, of a pool and a key.
struct Made {
    iss: &'static str,
    kid: &'static str,
    raw: &'static [u8],
    exp: Option<u64>,
}

const GOOD: Made = Made {
    iss: "lab.test",
    kid: "POOL",
    raw: b"current",
    exp: Some(NOW + 100),
};
const EXPIRED: Made = Made {
    exp: Some(NOW - 300),
    ..GOOD
};
const REPLACED: Made = Made {
    raw: b"replaced",
    ..GOOD
};

fn key(kid: &str, raw: &[u8]) -> SigningKey {
    SigningKey::from_bytes(&kid.parse::<Kid>().unwrap(), raw, KeyForm::Plain).unwrap()
}

impl Made {
    fn text(&self) -> String {
        let claims = Claims {
            iat: 1,
            exp: self.exp,
            iss: self.iss.parse().unwrap(),
            jti: Jti::random().unwrap(),
            sub: Subject::new("alice", &"lab.test".parse().unwrap()).unwrap(),
            scope: Scope::parse(&["READ"]).unwrap(),
        };
        let token = key(self.kid, self.raw).mint(&claims).unwrap();
        token.as_str().to_owned()
    }
}

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(home.0.path().join(TOKENS_D)).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(TOKENS_D).join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn with(name: &str, text: &str) -> Self {
        let home = Self::new();
        home.put(name, text);
        home
    }

    fn examine(&self) -> Vec<Finding> {
        let lab: TrustDomain = "lab.test".parse().unwrap();
        let keyless: TrustDomain = "keyless.test".parse().unwrap();
        let keys = vec![(lab.clone(), [key("POOL", b"current")].into())];
        examine(self.0.path(), &keys, &[lab, keyless], NOW).unwrap()
    }

    fn only(&self) -> Finding {
        let mut found = self.examine();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

/// What is found of one token, read before the session's and after it.
fn both(made: &Made) -> (Finding, Finding) {
    let text = made.text();
    let found = (
        Home::with("0-a", &text).only(),
        Home::with("mine", &text).only(),
    );
    for finding in [&found.0, &found.1] {
        let all = format!("{finding:?}");
        let parts: Vec<&str> = text.split('.').collect();
        assert!(parts.iter().all(|part| !all.contains(part)), "{all}");
    }
    found
}

fn severities(made: &Made) -> (Severity, Severity) {
    let (first, after) = both(made);
    (first.severity, after.severity)
}

#[test]
fn an_expired_token_breaks_commands_if_it_sorts_first() {
    assert_eq!(severities(&EXPIRED), (Severity::Breaks, Severity::Stale));
    let (first, after) = both(&EXPIRED);
    assert!(first.what.contains("expired 5 minutes ago"), "{first:?}");
    assert!(first.effect.contains("fail"), "{first:?}");
    assert_eq!(first.remedy, "run `rm ~/.condor/tokens.d/0-a`");
    assert_eq!(after.remedy, "run `rm ~/.condor/tokens.d/mine`");
}

#[test]
fn a_token_of_a_replaced_key_breaks_commands_if_it_sorts_first() {
    assert_eq!(severities(&REPLACED), (Severity::Breaks, Severity::Stale));
    assert!(both(&REPLACED).0.what.contains("POOL"));
}

#[test]
fn a_valid_token_shadows_the_sessions_if_it_sorts_first() {
    assert_eq!(severities(&GOOD), (Severity::Shadows, Severity::Fine));
    let (first, after) = both(&GOOD);
    let what = r#"is a valid token of "alice@lab.test" with the scope "condor:/READ""#;
    assert_eq!(first.what, what);
    assert!(
        first
            .remedy
            .contains("`mv ~/.condor/tokens.d/0-a ~/.condor/tokens.d/own-0-a`")
    );
    assert_eq!(after.remedy, "");
    let (forever, _) = both(&Made { exp: None, ..GOOD });
    assert!(forever.what.ends_with("never expires"), "{forever:?}");
}

#[test]
fn another_pools_token_is_judged_by_nothing_but_its_end() {
    // The same kid, and not this pool's key to judge it by.
    let other = Made {
        iss: "other.test",
        ..REPLACED
    };
    assert_eq!(severities(&other), (Severity::Fine, Severity::Fine));
    let expired = Made {
        exp: EXPIRED.exp,
        ..other
    };
    assert_eq!(severities(&expired), (Severity::Stale, Severity::Stale));
}

#[test]
fn a_key_that_is_not_here_judges_nothing() {
    let other = Made {
        kid: "other",
        ..GOOD
    };
    assert_eq!(severities(&other), (Severity::Fine, Severity::Fine));
    assert!(both(&other).0.what.contains("\"other\""));
    // No key at all: the issuer fits, and a server may well take it.
    let keyless = Made {
        iss: "keyless.test",
        ..GOOD
    };
    assert_eq!(severities(&keyless), (Severity::Shadows, Severity::Fine));
    let expired = Made {
        exp: EXPIRED.exp,
        ..keyless
    };
    assert_eq!(severities(&expired), (Severity::Breaks, Severity::Stale));
}

#[test]
fn what_is_no_token_is_skipped() {
    for text in ["", "# a note\n", "no token", "a.b.c", "\u{fffd}"] {
        let found = Home::with("0-a", text).only();
        assert_eq!(found.severity, Severity::Ignored, "{text:?}");
        assert!(found.remedy.starts_with("run `rm "), "{found:?}");
    }
    let large = Home::with("0-a", &"x".repeat(70_000)).only();
    assert_eq!(large.severity, Severity::Ignored);
    let home = Home::new();
    fs::write(home.path("0-a"), b"\xff\xfe").unwrap();
    fs::set_permissions(home.path("0-a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(home.only().severity, Severity::Ignored);
}

#[test]
fn only_the_first_token_of_an_issuer_and_kid_is_ever_used() {
    let home = Home::with("0-a", &GOOD.text());
    home.put("0-b", &EXPIRED.text());
    let found: Vec<_> = home.examine().into_iter().map(|f| f.severity).collect();
    assert_eq!(found, [Severity::Shadows, Severity::Stale]);
}

#[test]
fn of_several_tokens_in_a_file_the_worst_is_told_and_the_good_ones_stay() {
    let foreign = Made {
        iss: "other.test",
        ..GOOD
    };
    let text = format!("{}\n{}\n", foreign.text(), EXPIRED.text());
    let found = Home::with("0-a", &text).only();
    assert_eq!(found.severity, Severity::Breaks);
    assert!(
        found.what.contains("holds 2 tokens, of which number 2"),
        "{found:?}"
    );
    assert_eq!(
        found.remedy,
        "edit ~/.condor/tokens.d/0-a: token number 2 can go"
    );
}

#[test]
fn a_file_that_lets_others_in_or_is_anothers_is_not_used() {
    let home = Home::with("0-a", &EXPIRED.text());
    home.put("0-b", &GOOD.text());
    fs::set_permissions(home.path("0-a"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = home.examine();
    assert_eq!(found[0].severity, Severity::Ignored);
    assert!(found[0].remedy.contains("rm "), "{found:?}");
    assert_eq!(
        found[1].severity,
        Severity::Shadows,
        "it is the first that is used"
    );
    fs::set_permissions(home.path("0-b"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(home.examine()[1].remedy.contains("chmod 600"));
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(&home.path("0-b"), Some(4321.into()), None).unwrap();
        assert!(home.examine()[1].what.contains("uid 4321"));
    }
}

#[test]
fn a_fifo_is_told_of_and_never_waited_for() {
    let home = Home::new();
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    nix::unistd::mkfifo(&home.path("mine"), mode).unwrap();
    symlink("mine", home.path("0-a")).unwrap();
    symlink("/dev/null", home.path("null")).unwrap();
    let found: Vec<_> = home.examine().into_iter().map(|f| f.severity).collect();
    assert_eq!(
        found,
        [Severity::Breaks, Severity::Stale, Severity::Ignored]
    );
}

#[test]
fn links_are_followed_as_htcondor_does_and_the_rest_is_passed_over() {
    let home = Home::new();
    let target = home.0.path().join("target");
    fs::write(&target, EXPIRED.text()).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&target, home.path("0-a")).unwrap();
    symlink("/nowhere", home.path("dangling")).unwrap();
    fs::create_dir(home.path("dir")).unwrap();
    home.put("old~", &EXPIRED.text());
    home.put(&session_name(NOW).unwrap(), &EXPIRED.text());
    assert_eq!(home.only().severity, Severity::Breaks);
}

#[test]
fn a_home_without_tokens_has_nothing_to_tell() {
    assert_eq!(Home::new().examine(), []);
    assert_eq!(
        examine(Path::new("/no/home"), &Keys::new(), &[], NOW).unwrap(),
        []
    );
}
