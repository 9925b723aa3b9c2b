//! Sessions and tokens stay in step, whatever runs beside what and whatever is killed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pam_idtoken_tests::host::Step::{Close, End, Open, Rounds, Sh};
use pam_idtoken_tests::host::hung::Mirror;
use pam_idtoken_tests::host::lab::{BOB, names};
use pam_idtoken_tests::host::{Lab, Step, Who};

use crate::Test::{self, Both, Root};
use crate::{PAM_SUCCESS, line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "2,000 sessions that close beside reconciles neither lose nor keep a token",
        race,
    ),
    Root(
        "whatever is killed in open, close and reconcile, one more reconcile leaves nothing",
        killed_anywhere,
    ),
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
    Both(
        "a damaged record is kept and its token removed when its session has ended",
        damaged,
    ),
    Both(
        "reconcile says what it did and does, as text and as JSON",
        says,
    ),
    Both(
        "list tells live, unrenewed and orphaned sessions and removed tokens apart",
        states,
    ),
    Both("end takes a token away and the session goes on", end_now),
    Both(
        "revoke-expr names the tokens that have not expired, of closed sessions too",
        revoke,
    ),
    Root(
        "neither records, audit, log nor output hold a key or a token across a renewal",
        no_secrets,
    ),
    Both(
        "with on_close = linger a process that is left keeps the token until it ends",
        linger,
    ),
];

const END: Step = End { silent: false };
/// Every reconcile renews every token: half of a second is no time at all.
const ALWAYS_DUE: &str = "lifetime = \"1s\"\n";

fn bobs_tokens_d(lab: &Lab) -> PathBuf {
    lab.path("home/bob/.condor/tokens.d")
}

/// Everything that is left of anybody.
fn left(lab: &Lab) -> Vec<String> {
    let mut left = lab.tokens();
    left.extend(names(&bobs_tokens_d(lab)));
    left.extend(lab.records());
    left.extend(names(&lab.path("state/sessions").join(BOB.to_string())));
    left
}

fn race() {
    let lab = Lab::new(Who::Root);
    lab.configure(&format!("{ALWAYS_DUE}timeout = \"20s\"\n"));
    lab.run(&[Open(0), Close, END]);
    lab.run_as("bob", "test", &[Open(0), Close, END]);
    lab.delay(Duration::from_micros(400));
    let (lab, done) = (&lab, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reconcilers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut renewed = 0;
                    while !done.load(Ordering::SeqCst) {
                        let said = lab.tool(&["reconcile"]).must().stdout;
                        renewed += said.matches("renewed: ").count();
                        assert!(!said.contains("removed by their user"), "{said}");
                        assert!(!said.contains("ended: "), "a live session: {said}");
                    }
                    renewed
                })
            })
            .collect();
        let hosts = [("alice", lab.tokens_d()), ("bob", bobs_tokens_d(lab))];
        let hosts = hosts.map(|(user, tokens_d)| {
            scope.spawn(move || lab.run_as(user, "test", &[Rounds(1000, tokens_d)]))
        });
        for host in hosts {
            let wrong = host.join().unwrap().answers.shell;
            done.store(wrong.len() > 3, Ordering::SeqCst);
            assert!(
                wrong.is_empty(),
                "{} rounds: {:#?}",
                wrong.len(),
                wrong.first()
            );
        }
        done.store(true, Ordering::SeqCst);
        let renewed: usize = reconcilers
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        assert!(renewed > 200, "only {renewed} renewals came in between");
    });
    assert_eq!(left(lab), Vec::<String>::new());
}

fn killed_anywhere() {
    let lab = Lab::new(Who::Root);
    lab.configure(&format!("{ALWAYS_DUE}timeout = \"20s\"\n"));
    lab.delay(Duration::from_millis(2));
    let live = lab.stay("bob", &[Open(0)]);
    let bobs = names(&bobs_tokens_d(&lab));
    assert_eq!(bobs.len(), 1);
    for round in 0..100_u64 {
        // Somewhere in 40 ms, which is about what an open and a close take.
        let moment = Duration::from_micros(round * 7919 % 40_000);
        let mut host = lab.spawn("alice", &[Open(0), Close, END]);
        let mut reconcile = lab.spawn_tool(&["reconcile"]);
        std::thread::sleep(moment);
        host.kill().unwrap();
        std::thread::sleep(Duration::from_micros(round * 104_729 % 10_000));
        reconcile.kill().unwrap();
        host.wait().unwrap();
        reconcile.wait().unwrap();
    }
    lab.delay(Duration::ZERO);
    let said = lab.tool(&["reconcile"]).must().stdout;
    assert_eq!((lab.tokens(), lab.records()), (vec![], vec![]), "{said}");
    assert_eq!(
        names(&bobs_tokens_d(&lab)),
        bobs,
        "a live session lost its token"
    );
    live.end();
    assert_eq!(left(&lab), Vec::<String>::new());
}

/// Bob's home on a server that can be stopped; alice's is as ever.
fn with_hung_home() -> (Lab, Mirror) {
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
    let started = Instant::now();
    let said = lab.tool(&["reconcile"]);
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(said.code, Some(3), "{}", said.all());
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
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Nobody may touch the session while its thread may still write.
    let said = lab.tool(&["reconcile"]);
    assert_eq!(said.code, Some(3), "{}", said.all());
    assert!(said.stdout.contains("stayed locked"), "{}", said.all());
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
    line(&seen.log, "did not answer within");
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
    assert!(took < Duration::from_secs(3), "{took:?}");
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
        let started = Instant::now();
        let said = lab.tool(&["reconcile"]);
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
        assert_eq!(said.code, Some(3), "{}", said.all());
        assert!(said.stdout.contains(why), "{}", said.all());
    }
    inner.go_on();
    wait_until(|| lab.tool(&["reconcile"]).stdout.contains("renewed: bob"));
    assert_eq!(on_disk(&lab), before);
    session.end();
    assert!(on_disk(&lab).is_empty());
    drop(outer);
}

#[track_caller]
fn wait_until(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn damaged(who: Who) {
    let lab = Lab::new(who);
    lab.run(&[Open(0), END]);
    let record = lab.records()[0].clone();
    let path = lab
        .path("state/sessions")
        .join(lab.alice_uid().to_string())
        .join(&record);
    fs::write(&path, "{\"version\":1,").unwrap();
    let said = lab.tool(&["reconcile"]).must().stdout;
    assert!(
        said.contains("set aside: ") && said.contains("ended: alice"),
        "{said}"
    );
    nothing_is_left(&lab);
    let kept = lab
        .path("state/damaged")
        .join(record.replace(".json", ".damaged"));
    assert_eq!(fs::read(kept).unwrap(), b"{\"version\":1,");
    assert_eq!(
        lab.tool(&["reconcile"]).must().stdout,
        "0 sessions, nothing to do\n"
    );
}

fn says(who: Who) {
    let lab = Lab::new(who);
    lab.run(&[Open(0), END]);
    let would = lab.tool(&["reconcile", "--dry-run"]).must().stdout;
    assert!(would.starts_with("would end: alice session "), "{would}");
    assert!(would.ends_with("1 session, 1 to end\n"), "{would}");
    assert_eq!(lab.tokens().len(), 1);
    let other = lab.tool(&["reconcile", "--user", "bob"]).must().stdout;
    assert_eq!(other, "0 sessions, nothing to do\n");
    let json = lab.tool(&["reconcile", "--json"]).must().stdout;
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["what"], "ended");
    assert_eq!(lines[0]["user"], "alice");
    assert_eq!(lines[1]["summary"]["sessions"], 1);
    assert_eq!(lines[1]["summary"]["done"]["ended"], 1);
    assert_eq!(lines[1]["summary"]["done"]["failed"], 0);
    nothing_is_left(&lab);
}

/// The one row of the list.
fn row(lab: &Lab) -> serde_json::Value {
    let list = lab.tool(&["list", "--json"]);
    serde_json::from_str(list.stdout.trim()).unwrap_or_else(|_| panic!("{}", list.all()))
}

fn states(who: Who) {
    let lab = Lab::new(who);
    let session = lab.stay("alice", &[Open(0)]);
    assert_eq!(row(&lab)["state"], "live");
    fs::remove_file(lab.path("run/reconciled")).unwrap();
    assert_eq!(row(&lab)["state"], "unrenewed");
    lab.promise();
    fs::remove_file(lab.tokens_d().join(&lab.tokens()[0])).unwrap();
    fs::write(lab.path("keys/POOL"), "the next key").unwrap();
    let said = lab.tool(&["reconcile"]).must().stdout;
    assert!(said.contains("removed by their user: alice"), "{said}");
    assert_eq!(row(&lab)["state"], "removed");
    session.end();
    lab.run(&[Open(0), END]);
    assert_eq!(row(&lab)["state"], "orphan");
    let list = lab.tool(&["list"]);
    assert!(list.stdout.contains(" orphan "), "{}", list.all());
    assert!(
        list.stderr.contains("1 of them ended without a close"),
        "{}",
        list.all()
    );
}

fn end_now(who: Who) {
    let lab = Lab::new(who);
    let session = lab.stay("alice", &[Open(0)]);
    let id = row(&lab)["session"].as_str().unwrap().to_owned();
    assert!(!lab.tool(&["end", "0123456789abcdef"]).ok);
    let said = lab.tool(&["end", &id]).must().stdout;
    assert!(
        said.contains("its token is gone") && said.contains("revoke-expr"),
        "{said}"
    );
    nothing_is_left(&lab);
    // Nobody brings it back, and its close is one like any other.
    lab.tool(&["reconcile"]).must();
    nothing_is_left(&lab);
    assert_eq!(session.end().codes("close"), [PAM_SUCCESS]);
    let two = [lab.stay("alice", &[Open(0)]), lab.stay("alice", &[Open(0)])];
    lab.tool(&["end", "--user", "alice"]).must();
    nothing_is_left(&lab);
    for session in two {
        session.end();
    }
}

fn revoke(who: Who) {
    let lab = Lab::new(who);
    assert!(!lab.tool(&["revoke-expr"]).ok, "there is nothing to revoke");
    lab.run(&[Open(0), Close, END]);
    let session = lab.stay("alice", &[Open(0)]);
    let row = row(&lab);
    let (id, jti) = (
        row["session"].as_str().unwrap(),
        row["jti"][0].as_str().unwrap(),
    );
    let said = lab.tool(&["revoke-expr", "--session", id]).must().stdout;
    let line = said.lines().last().unwrap();
    assert_eq!(
        line,
        format!("SEC_TOKEN_REVOCATION_EXPR = member(jti, {{\"{jti}\"}})")
    );
    // A renewal makes another token, and the first one works until it expires.
    fs::write(lab.path("keys/POOL"), "the next key").unwrap();
    lab.tool(&["reconcile"]).must();
    let of = |args: &[&str]| {
        let all = [&["revoke-expr"], args].concat();
        lab.tool(&all).stdout.matches('"').count() / 2
    };
    assert_eq!(of(&["--session", id]), 2);
    assert_eq!(
        (of(&[]), of(&["--user", "alice"]), of(&["--user", "bob"])),
        (3, 3, 0)
    );
    assert_eq!(
        (
            of(&["--since", "1h"]),
            of(&["--since", "2099-01-01T00:00:00Z"])
        ),
        (3, 0)
    );
    session.end();
    let audit = fs::read_to_string(lab.path("state/audit.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = audit
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(events, ["opened", "closed", "opened", "renewed", "closed"]);
}

fn no_secrets() {
    let lab = Lab::new(Who::Root);
    let keys = ["the first key of them", "the second key of them"];
    fs::write(lab.path("keys/POOL"), keys[0]).unwrap();
    let session = lab.stay("alice", &[Open(0)]);
    let signature = || {
        let token = fs::read_to_string(lab.tokens_d().join(&lab.tokens()[0])).unwrap();
        token.trim().rsplit('.').next().unwrap().to_owned()
    };
    let mut secrets = vec![signature()];
    fs::write(lab.path("keys/POOL"), keys[1]).unwrap();
    let mut seen = String::new();
    for args in [
        &["reconcile", "--json"][..],
        &["list", "--json"],
        &["revoke-expr"],
    ] {
        seen += &lab.tool(args).must().all();
    }
    secrets.push(signature());
    assert_ne!(secrets[0], secrets[1]);
    let state = || -> String {
        let all = format!("find {} -type f | xargs cat", lab.path("state").display());
        let output = Command::new("sh").args(["-c", &all]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    seen += &state();
    let outcome = session.end();
    seen += &outcome.log.join("\n");
    seen += &state();
    assert!(seen.contains("\"event\":\"renewed\"") && seen.contains("token renewed"));
    for secret in secrets.iter().map(String::as_str).chain(keys) {
        assert!(secret.len() > 20 && !seen.contains(secret), "{seen}");
    }
}

fn linger(who: Who) {
    let lab = Lab::new(who);
    lab.configure("on_close = \"linger\"\n");
    let left = lab.path("tmp/left");
    // The host ends; its process group does not.
    let uid = lab.alice_uid();
    let as_alice = match who {
        Who::Root => format!("setpriv --reuid {uid} --regid {uid} --clear-groups"),
        Who::Alice => String::new(),
    };
    let script = format!(
        "{as_alice} sleep 60 >/dev/null 2>&1 & echo $! >{}",
        left.display()
    );
    lab.run(&[Open(0), Sh(script), Close, END]);
    assert_eq!(lab.tokens().len(), 1);
    assert_eq!(row(&lab)["state"], "lingering");
    lab.tool(&["reconcile"]).must();
    // A login beside it leaves it alone.
    lab.run(&[Open(0), Close, END]);
    assert_eq!(lab.tokens().len(), 1);
    let pid = fs::read_to_string(left).unwrap();
    Command::new("kill").arg(pid.trim()).status().unwrap();
    wait_until(|| {
        lab.tool(&["reconcile"]).must();
        lab.tokens().is_empty()
    });
    nothing_is_left(&lab);
    // Without a process that is left it is as with delete.
    lab.run(&[Open(0), Close, END]);
    nothing_is_left(&lab);
}
