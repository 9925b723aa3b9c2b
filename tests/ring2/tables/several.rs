//! Several tokens for one session, and those that a user has beside them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pam_idtoken_tests::host::Step::{Close, Open, Sh};
use pam_idtoken_tests::host::lab::ALICE;
use pam_idtoken_tests::host::{Lab, Who};

use super::{END, login};
use crate::Test::{self, Both, Root};
use crate::tokens::{Asked, claims, now};
use crate::{PAM_SESSION_ERR, PAM_SUCCESS, line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Both(
        "two names make two tokens, which come, are renewed and go together",
        two_names,
    ),
    Root(
        "of two tokens the one that can be made is made, and the other is told",
        one_of_two,
    ),
    Root("check names a user's own stale tokens", stale),
];

fn two_names(who: Who) {
    let lab = Lab::new(who);
    fs::copy(lab.path("keys/POOL"), lab.path("keys/site")).unwrap();
    if who == Who::Alice {
        lab.give("keys/site", ALICE);
    }
    let other = "[[token]]\nname = \"other\"\ntrust_domain = \"other.test\"\nkid = \"site\"\n\
                 uid_domain = \"uid.test\"\n";
    lab.configure(&format!("[[token]]\n{other}"));
    let session = lab.stay("alice", &[Open(0)]);
    let texts = || {
        let names = lab.tokens();
        let read = |name: &String| fs::read_to_string(lab.tokens_d().join(name)).unwrap();
        let texts: Vec<String> = names.iter().map(read).collect();
        <[String; 2]>::try_from(texts).unwrap()
    };
    let first = texts();
    let [pool, site] = first.each_ref().map(|text| claims(text));
    assert_eq!(pool.iss.unwrap(), "pool.lab.test");
    assert_eq!(site.iss.unwrap(), "other.test");
    assert_eq!(site.sub.unwrap(), "alice@uid.test");
    assert_eq!(site.kid.unwrap(), "site");
    // A new key renews the one that it signs.
    fs::write(lab.path("keys/site"), "the next key of the site").unwrap();
    lab.tool(&["reconcile"]).must();
    let second = texts();
    assert_eq!(first[0], second[0]);
    assert_ne!(first[1], second[1]);
    // A table that has gone takes its token with it.
    lab.configure("[[token]]\n");
    lab.tool(&["reconcile"]).must();
    assert_eq!(lab.tokens().len(), 1);
    assert_eq!(
        fs::read_to_string(lab.tokens_d().join(&lab.tokens()[0])).unwrap(),
        first[0]
    );
    session.end();
    nothing_is_left(&lab);
    lab.configure(&format!("[[token]]\n{other}"));
    let seen = login(&lab, "alice", "test", &[]);
    assert_eq!(idtoken::lines(&seen.answers.shell[0]).count(), 2);
    nothing_is_left(&lab);
}

fn one_of_two() {
    let lab = Lab::new(Who::Root);
    lab.configure(
        "[[token]]\n[[token]]\nname = \"other\"\ntrust_domain = \"other.test\"\nkid = \"gone\"\n",
    );
    let count = Sh(format!("ls {}", lab.tokens_d().display()));
    let seen = lab.run(&[Open(0), count.clone(), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(seen.answers.shell[0].lines().count(), 1);
    assert_eq!(seen.answers.messages.len(), 1);
    assert!(seen.answers.messages[0].1.contains("one of the tokens"));
    let said = line(
        &seen.log,
        "a token could not be made user=alice token=other",
    );
    assert!(said.contains("keys/gone is not there"), "{said}");
    nothing_is_left(&lab);
    // Who denies sessions without their token denies this one.
    lab.line("on_failure=deny");
    let seen = lab.run(&[Open(0), count, Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SESSION_ERR]);
    assert_eq!(seen.answers.shell[0], "");
    nothing_is_left(&lab);
}

fn stale() {
    let lab = Lab::new(Who::Root);
    fs::create_dir_all(lab.tokens_d()).unwrap();
    let own = [
        (
            "0-first",
            Asked::default().expires(now() - 7200).token(&lab),
        ),
        ("expired", Asked::default().expires(now() - 300).token(&lab)),
        (
            "fine",
            Asked::default().issuer("elsewhere.test").token(&lab),
        ),
    ];
    let replaced = Asked::default().never_expires().token(&lab);
    fs::write(lab.path("keys/POOL"), "the next key").unwrap();
    for (name, token) in own.iter().chain([&("replaced", replaced)]) {
        let path = lab.tokens_d().join(name);
        fs::write(&path, token).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        lab.give(&format!("home/alice/.condor/tokens.d/{name}"), ALICE);
    }
    for name in ["", "/tokens.d"] {
        lab.give(&format!("home/alice/.condor{name}"), ALICE);
    }
    let said = lab.tool(&["check", "--user", "alice", "--service", "test"]);
    let text = &said.stdout;
    let finding = |name: &str| {
        let start = format!("the user's own token {name}: ");
        text.lines().find(|line| line.contains(&start))
    };
    assert!(finding("0-first").unwrap().starts_with("FAIL  "), "{text}");
    assert!(finding("0-first").unwrap().contains("expired 2 hours ago"));
    assert!(finding("expired").unwrap().starts_with("note  "), "{text}");
    let why = "is signed with another key than the \"POOL\" of today";
    assert!(finding("replaced").unwrap().contains(why), "{text}");
    assert!(finding("fine").is_none(), "{text}");
    let signatures = own
        .iter()
        .map(|(_, token)| token.rsplit('.').next().unwrap());
    for signature in signatures {
        assert!(!said.all().contains(signature));
    }
    // Looking takes nothing away.
    assert_eq!(lab.tokens().len(), 4);
}
