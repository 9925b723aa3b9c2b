//! Tokens follow their sessions: hosts with the units of `make install` enabled.
//!
//! The session of five minutes is sampled while the tests before it run; they
//! leave its host's configuration as it is.

mod ends;
mod keys;
mod sampler;
mod stores;

use std::sync::Mutex;
use std::time::{Duration, Instant};

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
        "POOL replaced on all hosts: every session works again within two seconds",
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

/// The timer's period, with what a run takes and a margin for a busy machine.
const PERIOD: Duration = Duration::from_secs(15 + 5);
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
    wait_for("the first reconcile", Duration::from_secs(5), || {
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

#[track_caller]
fn wait_for(what: &str, longest: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < longest,
            "{what}: not within {longest:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

/// The sessions of a user, as idtokenctl lists them.
fn rows(host: &Host, user: &str) -> Vec<serde_json::Value> {
    let list = host.run(&["idtokenctl", "list", "--json"]).must().stdout;
    list.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|row: &serde_json::Value| row["user"] == user)
        .collect()
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
    let timer = "pam_idtoken-reconcile.timer";
    let checked = || report(&host.run(&["idtokenctl", "check", "--json"]));
    let before = checked();
    host.run(&["systemctl", "stop", timer]).must();
    let stopped = checked();
    host.run(&["systemctl", "start", timer]).must();
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
    assert!((280..=301).contains(&good), "{said}");
    let renewals = pool
        .host("ap1")
        .sh("grep '\"event\":\"renewed\"' /var/lib/pam_idtoken/audit.jsonl | grep -c '\"alice\"'");
    let renewals: u32 = renewals.trim().parse().unwrap();
    assert!(
        (6..=12).contains(&renewals),
        "{renewals} renewals in five minutes"
    );
}
