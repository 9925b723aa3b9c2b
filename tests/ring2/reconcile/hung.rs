//! Homes that stop answering, and servers that stall.

use std::fs;
use std::time::{Duration, Instant};

use pam_idtoken_tests::command::Answer;
use pam_idtoken_tests::host::Step::Open;
use pam_idtoken_tests::host::hung::Mirror;
use pam_idtoken_tests::host::lab::names;
use pam_idtoken_tests::host::{Lab, Who};
use serde_json::Value;

use super::{left, wait_until};
use crate::Test::{self, Root};
use crate::{PAM_SUCCESS, line};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "a home that does not answer holds up no other and is returned to",
        hung_home,
    ),
    Root(
        "a login whose home does not answer takes its timeout and has its token later",
        hung_login,
    ),
    Root(
        "a logout whose home does not answer takes its timeout and leaves nothing later",
        hung_logout,
    ),
    Root(
        "a file server that has taken the request and stalls holds up no reconcile",
        stalled_home,
    ),
];

/// What hangs does so for as long as the test lets it.
const NOT_FOR_EVER: Duration = Duration::from_secs(15);

/// Bob's home on a server that can be stopped; alice's is as ever.
pub(crate) fn with_hung_home() -> (Lab, Mirror) {
    let lab = Lab::new(Who::Root);
    lab.configure("timeout = \"500ms\"\n");
    fs::rename(lab.path("home/bob"), lab.path("disk")).unwrap();
    fs::create_dir(lab.path("home/bob")).unwrap();
    let mirror = Mirror::of(&lab.path("disk"), &lab.path("home/bob"));
    (lab, mirror)
}

fn on_disk(lab: &Lab) -> Vec<String> {
    names(&lab.path("disk/.condor/tokens.d"))
}

/// What a reconcile says that can not do everything, and is not held up by it.
fn reconcile_in_trouble(lab: &Lab) -> Answer {
    let started = Instant::now();
    let said = lab.tool(&["reconcile"]);
    let took = started.elapsed();
    assert!(took < NOT_FOR_EVER, "{took:?}");
    assert_eq!(said.code, Some(3), "{}", said.all());
    said
}

/// A check of a home that holds who looks at it ends all the same, with the whole document, and
/// asks no pool with programs that would hang, too.
fn check_in_trouble(lab: &Lab) {
    let started = Instant::now();
    let said = lab.tool(&["check", "--user", "bob", "--online", "--json"]);
    let took = started.elapsed();
    assert!(took < 2 * NOT_FOR_EVER, "{took:?}");
    assert_eq!(said.code, Some(1), "{}", said.all());
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["online"], false);
    let why = "the pool was not asked: the home of bob does not answer";
    let findings = report["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|finding| finding["message"] == why),
        "{report}"
    );
}

fn hung_home() {
    let (lab, mirror) = with_hung_home();
    let both = [lab.stay("bob", &[Open(0)]), lab.stay("alice", &[Open(0)])];
    let text = || {
        let alice = fs::read(lab.tokens_d().join(&lab.tokens()[0])).unwrap();
        let bobs = lab.path("disk/.condor/tokens.d").join(&on_disk(&lab)[0]);
        (alice, fs::read(bobs).unwrap())
    };
    let before = text();
    mirror.stop();
    fs::write(lab.path("keys/POOL"), "the next key").unwrap();
    let said = reconcile_in_trouble(&lab);
    assert!(said.stdout.contains("renewed: alice"), "{}", said.all());
    let why = format!("the home {} did not answer", lab.path("home/bob").display());
    assert!(said.stdout.contains(&why), "{}", said.all());
    assert_ne!(text().0, before.0);
    assert_eq!(text().1, before.1);
    mirror.go_on();
    let said = lab.tool(&["reconcile"]).must().stdout;
    assert!(
        said.contains("renewed: bob") && !said.contains("alice"),
        "{said}"
    );
    assert_ne!(text().1, before.1);
    for session in both {
        session.end();
    }
    assert!(on_disk(&lab).is_empty() && lab.tokens().is_empty());
}

fn hung_login() {
    let (lab, mirror) = with_hung_home();
    mirror.stop();
    let started = Instant::now();
    let session = lab.stay("bob", &[Open(0)]);
    let took = started.elapsed();
    // A fifth of the timeout is kept for the private store, which a disk can not take.
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < NOT_FOR_EVER, "{took:?}");
    // The thread of the login has written nothing and will not, so reconcile tries it itself.
    let said = lab.tool(&["reconcile"]);
    assert_eq!(said.code, Some(3), "{}", said.all());
    assert!(said.stdout.contains("did not answer"), "{}", said.all());
    mirror.go_on();
    wait_until(|| {
        lab.tool(&["reconcile"])
            .stdout
            .contains("written late: bob")
    });
    assert_eq!(on_disk(&lab).len(), 1);
    let seen = session.end();
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(
        seen.answers.messages.len(),
        1,
        "{:?}",
        seen.answers.messages
    );
    line(&seen.log, "no token for user=bob: the home");
    line(&seen.log, "token opened late, when the home answered");
    assert_eq!(left(&lab), Vec::<String>::new());
    assert!(on_disk(&lab).is_empty());
}

fn hung_logout() {
    let (lab, mirror) = with_hung_home();
    let session = lab.stay("bob", &[Open(0)]);
    assert_eq!(on_disk(&lab).len(), 1);
    mirror.stop();
    let started = Instant::now();
    let seen = session.end();
    let took = started.elapsed();
    assert!(took < NOT_FOR_EVER, "{took:?}");
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    line(&seen.log, "the token was not taken away from");
    mirror.go_on();
    wait_until(|| lab.tool(&["reconcile"]).ok && on_disk(&lab).is_empty());
    assert_eq!(left(&lab), Vec::<String>::new());
}

/// A server that waits for another server: kill -9 does not end who asked it.
fn stalled_home() {
    let lab = Lab::new(Who::Root);
    lab.configure("timeout = \"500ms\"\n");
    fs::rename(lab.path("home/bob"), lab.path("disk")).unwrap();
    for dir in ["home/bob", "between"] {
        fs::create_dir(lab.path(dir)).unwrap();
    }
    let inner = Mirror::of(&lab.path("disk"), &lab.path("between"));
    let outer = Mirror::of(&lab.path("between"), &lab.path("home/bob"));
    let session = lab.stay("bob", &[Open(0)]);
    let before = on_disk(&lab);
    fs::write(lab.path("keys/POOL"), "the next key").unwrap();
    inner.stop();
    for why in ["did not answer", "stayed locked"] {
        let said = reconcile_in_trouble(&lab);
        assert!(said.stdout.contains(why), "{}", said.all());
    }
    check_in_trouble(&lab);
    inner.go_on();
    wait_until(|| lab.tool(&["reconcile"]).stdout.contains("renewed: bob"));
    assert_eq!(on_disk(&lab), before);
    session.end();
    assert!(on_disk(&lab).is_empty());
    drop(outer);
}
