//! What goes wrong around a host: file servers and daemons that are not as they should be.

use std::cell::Cell;
use std::process::Stdio;
use std::time::Duration;

use pam_idtoken_tests::clock::{once_within, timed};
use pam_idtoken_tests::host::Mode;
use pam_idtoken_tests::pool::{DOMAIN, Pool};

use crate::Test;
use crate::discovery::TOOL;
use crate::support::{PRIVATE, RECORDS, Replaced, Stopped, wait_until_it_finds_nothing};

pub(crate) const TESTS: &[Test] = &[
    (
        "a home that root may not enter has its token while the session lives",
        squashed_home,
    ),
    (
        "with a home on a server that takes nothing the token is in the private store",
        useless_home,
    ),
    (
        "a home that does not answer costs a login at most the timeout, and not its token",
        silent_home,
    ),
    (
        "a schedd that is stopped answers nobody until it goes on",
        stopped_schedd,
    ),
];

const PING: &str = "condor_ping -type schedd -name ap2";
/// The module's `timeout`.
const TIMEOUT: Duration = Duration::from_secs(3);
/// By how much a login may take longer on a busy machine.
const MARGIN: Duration = Duration::from_secs(1);

fn squashed_home(pool: &Pool) {
    let _home = pool.serve_home("nfs", "ap1");
    let ap1 = pool.host("ap1");
    let root = ap1.run(&["ls", "/home/nfs"]);
    assert!(root.stderr.contains("Permission denied"), "{}", root.all());
    let nfs = pool.ssh("nfs", "ap1");
    let said = nfs.run(&format!(
        "set -e; df . | grep -c squash-home; ls ~/.condor/tokens.d; {PING}.{DOMAIN} WRITE"
    ));
    let said = said.must().stdout;
    assert!(said.contains("0-session-"), "{said}");
    assert!(said.contains(&format!("nfs@{DOMAIN}")), "{said}");
    pool.wait_for_tokens("nfs", 0);
    // A renewal, and the logout after it.
    let session = nfs.stay();
    let token = || {
        let dir = pool.home("nfs").join(".condor/tokens.d");
        std::fs::read_to_string(dir.join(&pool.tokens("nfs")[0])).unwrap()
    };
    let first = token();
    ap1.configure("scope = [\"READ\"]\n");
    let said = ap1.run(&["idtokenctl", "reconcile"]).must().stdout;
    assert!(token() != first, "{said}");
    let ping = format!("{PING}.{DOMAIN} READ");
    let works = ap1.run(&["runuser", "-u", "nfs", "--", "sh", "-c", &ping]);
    assert!(works.all().contains("succeeded"), "{}", works.all());
    session.end();
    pool.wait_for_tokens("nfs", 0);
}

/// What a session says whose token is in the private store, and works.
const IN_PRIVATE: &str = "ls $_CONDOR_SEC_TOKEN_DIRECTORY; condor_q -global && echo COMMANDED";

#[track_caller]
fn is_in_private(pool: &Pool, said: &str) {
    assert!(
        said.starts_with("0-session-") && said.contains("COMMANDED"),
        "{said}"
    );
    pool.wait_for_tokens("nfs", 0);
    let ap1 = pool.host("ap1");
    wait_until_it_finds_nothing(ap1, &format!("find {PRIVATE} -mindepth 1; {RECORDS}"));
}

fn useless_home(pool: &Pool) {
    let home = pool.serve_home("nfs", "ap1");
    let (ap1, nfs) = (pool.host("ap1"), pool.ssh("nfs", "ap1"));
    let (_, usual) = timed(|| nfs.run(IN_PRIVATE));
    pool.wait_for_tokens("nfs", 0);
    for (mode, why) in [
        (Mode::Full, "No space left on device"),
        (Mode::FullAtClose, "No space left on device"),
        (Mode::ReadOnly, "Read-only file system"),
    ] {
        once_within(usual + MARGIN, || {
            home.set(mode);
            let cursor = ap1.log_cursor();
            let (said, took) = timed(|| nfs.run(IN_PRIVATE));
            home.set(Mode::Normal);
            is_in_private(pool, &said.must().stdout);
            let line = ap1.wait_for_log(&cursor, "the tokens are in the private store");
            assert!(line.contains(why), "{mode:?}: {line}");
            println!("{mode:?}: {took:?} and not {usual:?}");
            took
        });
    }
}

fn silent_home(pool: &Pool) {
    let home = pool.serve_home("nfs", "ap1");
    hung_login(pool, || home.hang(), || home.go_on());
    hung_login(pool, || home.set(Mode::Stalled), || home.set(Mode::Normal));
    // HTCondor's tool, which is asked before, does not answer either: both together have the timeout.
    pool.host("ap1").unconfigure();
    let replaced = Cell::new(None);
    let hang = || {
        let tool = Replaced::by(pool.host("ap1"), TOOL, Some("exec sleep 1000"));
        replaced.set(Some(tool));
        home.hang();
    };
    let go_on = || {
        replaced.take();
        home.go_on();
    };
    hung_login(pool, hang, go_on);
}

/// Both the login that finds a home that hangs and the one before it are measured.
#[track_caller]
fn hung_login(pool: &Pool, hang: impl Fn(), go_on: impl Fn()) {
    once_within(TIMEOUT + MARGIN, || {
        let (usual, took) = hung_and_usual(pool, &hang, &go_on);
        println!("{took:?} and not {usual:?}");
        took.saturating_sub(usual)
    });
}

/// sshd itself waits for the home after the module did, so that the home has to answer then.
#[track_caller]
fn hung_and_usual(pool: &Pool, hang: impl Fn(), go_on: impl Fn()) -> (Duration, Duration) {
    let (ap1, nfs) = (pool.host("ap1"), pool.ssh("nfs", "ap1"));
    let login = || {
        let cursor = ap1.log_cursor();
        let mut command = nfs.command(60);
        command.arg(IN_PRIVATE).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (child, took) = timed(|| {
            let child = command.spawn().unwrap();
            ap1.wait_for_log(&cursor, "token opened");
            child
        });
        (cursor, child, took)
    };
    let (_, child, usual) = login();
    child.wait_with_output().unwrap();
    // Else its close is the one that hangs.
    pool.wait_for_tokens("nfs", 0);
    hang();
    let (cursor, child, took) = login();
    go_on();
    let said = child.wait_with_output().unwrap();
    let lines = ap1.log_since(&cursor);
    let opened = lines
        .iter()
        .find(|line| line.contains("token opened"))
        .unwrap();
    assert!(opened.contains(&format!("file={PRIVATE}/")), "{lines:#?}");
    ap1.wait_for_log(&cursor, "the home /home/nfs did not answer within");
    is_in_private(pool, &String::from_utf8_lossy(&said.stdout));
    (usual, took)
}

fn stopped_schedd(pool: &Pool) {
    let alice = pool.ssh("alice", "ap1");
    let ping = |seconds| format!("timeout {seconds} {PING}.{DOMAIN} WRITE; echo code $?");
    let schedd = Stopped::of(pool.host("ap2"), "condor_schedd");
    let stopped = alice.run(&ping(2)).must().stdout;
    drop(schedd);
    assert!(stopped.ends_with("code 124\n"), "{stopped}");
    let went_on = alice.run(&ping(20)).must().stdout;
    assert!(went_on.ends_with("code 0\n"), "{went_on}");
    pool.wait_for_tokens("alice", 0);
}
