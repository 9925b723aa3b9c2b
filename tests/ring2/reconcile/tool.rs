//! What idtokenctl says of sessions and does to them.

use std::fs;
use std::process::Command;

use pam_idtoken_tests::host::Step::{Close, Open, Sh};
use pam_idtoken_tests::host::{Lab, Who};

use super::{END, wait_until};
use crate::Test::{self, Both, Root};
use crate::{PAM_SUCCESS, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
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
    assert!(!lab.tool(&["end", "--user", "bob"]).ok);
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
    // An account that was removed is known by its records, any by its number.
    let uid = lab.alice_uid().to_string();
    for wanted in ["removed", &uid] {
        let session = lab.stay("alice", &[Open(0)]);
        let record = lab
            .path("state/sessions")
            .join(&uid)
            .join(&lab.records()[0]);
        let text = fs::read_to_string(&record).unwrap();
        let text = text.replace("\"name\":\"alice\"", "\"name\":\"removed\"");
        fs::write(&record, text).unwrap();
        lab.tool(&["revoke-expr", "--user", "alice"]).must();
        lab.tool(&["end", "--user", wanted]).must();
        nothing_is_left(&lab);
        session.end();
    }
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
    // Until it is alice's it does not count.
    let script = format!(
        "{as_alice} sleep 60 >/dev/null 2>&1 & echo $! >{};
         until [ $(stat -c %u /proc/$!) = {uid} ]; do :; done",
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
