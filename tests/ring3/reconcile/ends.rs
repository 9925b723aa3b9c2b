//! The ends of sessions, expected and not.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pam_idtoken_tests::clock::wait_for;
use pam_idtoken_tests::pool::{DOMAIN, Host, Pool};

use super::{
    PERIOD, Without, commands_the_pool, ready, ready_for_changes, rows, wait_until_it_has_none,
};
use crate::support::{PRIVATE, RECORDS, wait_until_it_finds_nothing};

pub(super) fn killed(pool: &Pool) {
    ready(pool);
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    let session = pool.ssh("dave", "ap1").stay();
    let row = rows(ap1, "dave").remove(0);
    ap1.sh(&format!("kill -9 {}", row["pid"]));
    session.end();
    wait_for("the token goes", PERIOD, || pool.tokens("dave").is_empty());
    let line = ap1.wait_for_log(&cursor, "ended without a close");
    assert!(line.starts_with("pam_idtoken(reconcile): "), "{line}");
    assert!(line.contains(row["jti"][0].as_str().unwrap()), "{line}");
    wait_until_it_has_none(ap1, "dave");
}

pub(super) fn killed_at_random(pool: &Pool) {
    ready(pool);
    let ap2 = pool.host("ap2");
    let stopped = Without::units(ap2, &["timer", "path"]);
    // sshd's privileged process and the one that is the user.
    let title = "sshd-session: dave";
    let none_is_left = || {
        wait_for("the last login is over", Duration::from_secs(10), || {
            ap2.processes(title).is_empty()
        });
    };
    let (mut killed, mut round) = (0, 0_u64);
    while killed < 50 {
        round += 1;
        assert!(round < 300, "only {killed} of 300 logins were killed");
        none_is_left();
        let mut login = pool
            .ssh("dave", "ap2")
            .command(60)
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Opening and closing are within some 100 ms of the first's having its title.
        wait_for("a login", Duration::from_secs(10), || {
            !ap2.processes(title).is_empty() || login.try_wait().unwrap().is_some()
        });
        std::thread::sleep(Duration::from_micros(round * 7919 % 120_000));
        let pids = ap2.processes(title);
        let hits = pids
            .iter()
            .map(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL));
        killed += u32::from(hits.flatten().count() > 0);
        login.wait().unwrap();
    }
    none_is_left();
    let said = ap2.run(&["idtokenctl", "reconcile"]).must().stdout;
    assert_eq!(pool.tokens("dave"), Vec::<String>::new(), "{said}");
    let left = ap2.sh(RECORDS);
    assert_eq!(left, "", "{said}");
    drop(stopped);
}

pub(super) fn broken_configuration(pool: &Pool) {
    ready(pool);
    let ap2 = pool.host("ap2");
    let session = pool.ssh("dave", "ap2").stay();
    ap2.configure("lifetme = \"1h\"\n");
    ap2.sh(&format!("kill -9 {}", rows_by_pid(ap2)));
    session.end();
    wait_for("the token goes", PERIOD, || pool.tokens("dave").is_empty());
    // It is said at the end of the run.
    let errors = "journalctl -q --no-pager -o cat -p err -u pam_idtoken-reconcile.service";
    wait_for("the reason", Duration::from_secs(20), || {
        let said = ap2.sh(errors);
        said.contains("unknown field `lifetme`") && said.contains("nothing was renewed")
    });
    ap2.configure("");
    wait_for("all is well", PERIOD, || {
        ap2.run(&["systemctl", "start", "pam_idtoken-reconcile.service"])
            .ok
    });
}

/// The process of dave's session, whatever the configuration.
fn rows_by_pid(host: &Host) -> String {
    host.sh("basename /var/lib/pam_idtoken/sessions/*/*.json | cut -d- -f2")
}

pub(super) fn lingering(pool: &Pool) {
    ready(pool);
    let ap1 = pool.host("ap1");
    let start = "LC_ALL=C.UTF-8 tmux new-session -d 'sleep 1000'";
    pool.ssh("bob", "ap1").run(start).must();
    // The client of ssh may be back before sshd has closed the session.
    wait_for("the session lingers", Duration::from_secs(20), || {
        rows(ap1, "bob")
            .iter()
            .any(|row| row["state"] == "lingering")
    });
    let expires = || rows(ap1, "bob")[0]["expires"].as_u64().unwrap();
    let (mut renewed, mut last, started) = (0, expires(), Instant::now());
    // Each renewal comes within a period of half of the minute that a token lives.
    while renewed < 2 {
        let elapsed = started.elapsed();
        assert!(commands_the_pool(ap1, "bob"), "after {elapsed:?}");
        assert!(
            elapsed < 2 * (Duration::from_secs(30) + PERIOD),
            "renewed {renewed} times in {elapsed:?}"
        );
        std::thread::sleep(Duration::from_secs(1));
        let now = expires();
        renewed += u32::from(now > last);
        last = now;
    }
    // Another session of the same user ends without a trace and changes nothing.
    pool.ssh("bob", "ap1").run("true").must();
    pool.wait_for_tokens("bob", 1);
    ap1.sh("runuser -u bob -- tmux kill-server");
    wait_for("the token goes", PERIOD, || pool.tokens("bob").is_empty());
    wait_until_it_has_none(ap1, "bob");
}

pub(super) fn stolen(pool: &Pool) {
    ready(pool);
    let ap1 = pool.host("ap1");
    let copy = "mkdir -m 700 stolen; cp ~/.condor/tokens.d/0-session-* stolen/copy";
    pool.ssh("dave", "ap1").run(copy).must();
    pool.wait_for_tokens("dave", 0);
    let logout = Instant::now();
    let works = || {
        let ping = format!(
            "_CONDOR_SEC_TOKEN_DIRECTORY=/home/dave/stolen \
             condor_ping -type schedd -name ap2.{DOMAIN} WRITE"
        );
        let answer = ap1.run(&["runuser", "-u", "dave", "--", "sh", "-c", &ping]);
        answer.all().contains("succeeded")
    };
    assert!(works(), "a copy works until it expires");
    let until = Duration::from_secs(62).saturating_sub(logout.elapsed());
    wait_for("the copy is refused", until, || !works());
    ap1.sh("rm -r /home/dave/stolen");
}

/// When the first line with this part was sent to the journal since the boot, in microseconds: what comes
/// to it in two ways is not kept in the order in which it was sent.
#[track_caller]
fn first_told(host: &Host, part: &str) -> u64 {
    let told = host.sh(&format!(
        "journalctl -b -q --no-pager -o json --output-fields=MESSAGE,_SOURCE_REALTIME_TIMESTAMP -g '{part}'"
    ));
    let sent = |line: &str| -> Option<u64> {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["_SOURCE_REALTIME_TIMESTAMP"].as_str()?.parse().ok()
    };
    let first = told.lines().filter_map(sent).min();
    first.unwrap_or_else(|| panic!("when was {part:?} sent? {told}"))
}

pub(super) fn power_cut(pool: &Pool) {
    ready_for_changes(pool);
    let here = pool.ssh("alice", "ap1").stay();
    let there = pool.ssh("alice", "ap2").stay();
    pool.wait_for_tokens("alice", 2);
    let ap1 = pool.host("ap1");
    // In memory: its token is gone with the power, its record is not.
    ap1.configure("store = \"private\"\n");
    let private = pool.ssh("bob", "ap1").stay();
    assert_eq!(rows(ap1, "bob").len(), 1);
    ap1.power_off();
    drop((here, private));
    assert_eq!(
        pool.tokens("alice").len(),
        2,
        "nobody was there to remove it"
    );
    ap1.power_on();
    wait_for("its token goes", Duration::from_secs(90), || {
        pool.tokens("alice").len() == 1
    });
    assert!(pool.tokens("alice")[0].contains("-ap2-"));
    pool.wait_until_it_answers();
    wait_for("the boot", Duration::from_secs(60), || {
        let state = ap1.run(&["systemctl", "is-system-running"]).stdout;
        ["running\n", "degraded\n"].contains(&state.as_str())
    });
    // Before anybody could log in.
    for unit in ["pam_idtoken-reconcile", "systemd-user-sessions"] {
        // It is 0 while a run is under way.
        let show = format!("systemctl show -P ExecMainExitTimestampMonotonic {unit}");
        let has_ended = |at: &str| at.trim().parse::<u64>().is_ok_and(|at| at > 0);
        wait_for(unit, PERIOD, || has_ended(&ap1.sh(&show)));
    }
    let ended = first_told(ap1, "ended without a close");
    let may_log_in = first_told(ap1, "user-sessions");
    assert!(ended < may_log_in, "{ended} and not before {may_log_in}");
    assert!(commands_the_pool(pool.host("ap2"), "alice"));
    there.end();
    pool.wait_for_tokens("alice", 0);
    ap1.sh(&format!(
        "findmnt -t tmpfs --mountpoint {PRIVATE}; test -z \"$(ls -A {PRIVATE})\""
    ));
    wait_until_it_finds_nothing(ap1, RECORDS);
}
