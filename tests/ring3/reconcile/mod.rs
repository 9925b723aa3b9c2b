//! Tokens follow their sessions: hosts with the units of `make install` enabled.
//!
//! The session of five minutes is sampled while the tests before it run; they
//! leave its host's configuration as it is.

mod ends;
mod keys;
mod sampler;
mod stores;

use std::sync::Mutex;
use std::time::Duration;

use pam_idtoken_tests::clock::{wait_for, wait_until_none};
use pam_idtoken_tests::command::Answer;
use pam_idtoken_tests::pool::{Build, DOMAIN, Host, Pool};

use crate::Test;
use crate::check::{levels, report};
use sampler::{Sampler, good};

pub(crate) const TESTS: &[Test] = &[
    (
        "with a reconciler a token lives an hour, and it makes no noise",
        units,
    ),
    (
        "a killed session's token is gone within one period of the timer",
        ends::killed,
    ),
    (
        "the unit for private stores does not hide those that are there",
        stores::mounted,
    ),
    (
        "the units renew what the schedd signs, and private stores",
        stores::renewed,
    ),
    (
        "fifty sessions killed at random leave nothing after one reconcile",
        ends::killed_at_random,
    ),
    (
        "with a broken configuration a killed session's token goes, and the journal says why",
        ends::broken_configuration,
    ),
    (
        "tmux left behind keeps a valid token across renewals until it ends",
        ends::lingering,
    ),
    (
        "a copy of a token is refused at most its lifetime after logout",
        ends::stolen,
    ),
    (
        "a session of five minutes with tokens of one minute fails at no second",
        five_minutes,
    ),
    (
        "POOL replaced on all hosts: every session works again, and not by the timer alone",
        keys::pool_replaced,
    ),
    (
        "a named key replaced host by host fails no command",
        keys::named_key_replaced,
    ),
    (
        "a home that stops answering holds up no other and is returned to",
        keys::stopped_home,
    ),
    (
        "what revoke-expr prints makes the pool refuse that session and no other",
        keys::revoked,
    ),
    (
        "after a power cut a host's tokens are gone and another's are not",
        ends::power_cut,
    ),
];

/// The timer's period, with what a run takes and a margin for a busy machine: less than two periods.
const PERIOD: Duration = Duration::from_secs(15 + 13);
const MINUTE: &str = "lifetime = \"60s\"\non_close = \"linger\"\n";

/// As `prepared`, with the session of five minutes under way.
fn ready(pool: &Pool) {
    prepared(pool);
    Sampler::start(pool);
}

/// Two access points with reconcilers; ap1 has tokens of a minute.
fn prepared(pool: &Pool) {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap();
    if !*done {
        pool.install(&Build::find());
        pool.host("ap1").configure(MINUTE);
        pool.install_units("ap1");
        pool.install_units("ap2");
        *done = true;
    }
    drop(done);
    wait_for("the first reconcile", Duration::from_secs(30), || {
        let seen = |host| {
            pool.host(host)
                .run(&["test", "-e", "/run/pam_idtoken/reconciled"])
                .ok
        };
        seen("ap1") && seen("ap2")
    });
}

/// After the session of five minutes ap1 is as ap2.
fn ready_for_changes(pool: &Pool) {
    prepared(pool);
    Sampler::finish();
    for host in ["ap1", "ap2"] {
        pool.host(host).configure("");
    }
}

/// The sessions of a user, as idtokenctl lists them.
fn rows(host: &Host, user: &str) -> Vec<serde_json::Value> {
    let list = host.run(&["idtokenctl", "list", "--json"]).must().stdout;
    list.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|row: &serde_json::Value| row["user"] == user)
        .collect()
}

/// The record of a session goes after its token.
#[track_caller]
fn wait_until_it_has_none(host: &Host, user: &str) {
    wait_until_none(Duration::from_secs(10), || {
        let rows = rows(host, user);
        (!rows.is_empty()).then_some(rows)
    });
}

/// Units of the reconciler that are stopped on a host until the value is dropped.
struct Without<'a>(&'a Host, Vec<String>);

impl<'a> Without<'a> {
    #[track_caller]
    fn units(host: &'a Host, kinds: &[&str]) -> Self {
        let name = |kind: &&str| format!("pam_idtoken-reconcile.{kind}");
        let stopped = Self(host, kinds.iter().map(name).collect());
        stopped.systemctl("stop").must();
        stopped
    }

    fn systemctl(&self, what: &str) -> Answer {
        let names = self.1.iter().map(String::as_str);
        let args: Vec<&str> = ["systemctl", what].into_iter().chain(names).collect();
        self.0.run(&args)
    }
}

impl Drop for Without<'_> {
    fn drop(&mut self) {
        let _ = self.systemctl("start");
    }
}

/// The user's token of a session of this host commands the pool, without a login of its own.
fn commands_the_pool(host: &Host, user: &str) -> bool {
    let ping = format!("condor_ping -type schedd -name ap2.{DOMAIN} WRITE");
    let answer = host.run(&["runuser", "-u", user, "--", "sh", "-c", &ping]);
    answer.all().contains("succeeded")
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn units(pool: &Pool) {
    ready(pool);
    let ap2 = pool.host("ap2");
    let session = pool.ssh("dave", "ap2").stay();
    let row = &rows(ap2, "dave")[0];
    let lives = row["expires"].as_u64().unwrap() - now();
    assert!((3500..=3600).contains(&lives), "{row}");
    assert_eq!(row["state"], "live");
    session.end();
    pool.wait_for_tokens("dave", 0);
    let check = ap2
        .run(&["idtokenctl", "check", "--user", "bob"])
        .must()
        .stdout;
    assert!(
        check.contains("a reconciler runs: tokens live 1h"),
        "{check}"
    );
    a_stopped_timer_is_seen_at_once(ap2);
    // Three runs and more.
    let runs = || {
        let text = ap2.sh("stat -c %Y.%y /run/pam_idtoken/reconciled");
        text.trim().to_owned()
    };
    let first = runs();
    wait_for("another run", PERIOD, || runs() != first);
    let second = runs();
    wait_for("one more run", PERIOD, || runs() != second);
    let noise = ap2.sh("journalctl -q --no-pager -o cat -b -u pam_idtoken-reconcile.service");
    assert_eq!(noise, "");
    assert_eq!(
        ap2.sh("systemctl list-units --failed -q 'pam_idtoken*'"),
        ""
    );
}

/// Long before anybody misses a reconcile.
fn a_stopped_timer_is_seen_at_once(host: &Host) {
    let checked = || report(&host.run(&["idtokenctl", "check", "--json"]));
    // A run that is under way has not ended well yet.
    let mut before = serde_json::Value::Null;
    wait_for("the last run is told", Duration::from_secs(10), || {
        before = checked();
        levels(&before, "reconciler-run")[0].0 == "ok"
    });
    let timer = Without::units(host, &["timer"]);
    let stopped = checked();
    drop(timer);
    for unit in ["timer", "path", "boot", "run"].map(|name| format!("reconciler-{name}")) {
        assert_eq!(levels(&before, &unit)[0].0, "ok", "{before}");
    }
    assert_eq!(levels(&before, "private-mount")[0].0, "ok", "{before}");
    assert_eq!(
        levels(&stopped, "reconciler-timer")[0].0,
        "fail",
        "{stopped}"
    );
    assert_eq!(levels(&stopped, "reconciler")[0].0, "ok", "{stopped}");
}

fn five_minutes(pool: &Pool) {
    ready(pool);
    let said = Sampler::finish().unwrap();
    let good = good(&said);
    // None was bad; a second in which the machine stood still has no sample.
    assert!((60..=301).contains(&good), "{said}");
    let renewals = pool
        .host("ap1")
        .sh("grep '\"event\":\"renewed\"' /var/lib/pam_idtoken/audit.jsonl | grep -c '\"alice\"'");
    let renewals: u32 = renewals.trim().parse().unwrap();
    assert!(
        (6..=12).contains(&renewals),
        "{renewals} renewals in five minutes"
    );
}
