//! Homes on file systems of their own: they hang, lie, keep root out, or are the attacker's.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pam_idtoken_tests::host::{Mode, Squash};

use crate::attack::Attack::{self, Host};
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Host(
        "the home keeps root out, and .condor leads to root's",
        |siege| {
            let _home = siege.pool().serve_home("mallory", "ap1");
            siege.sessions();
            siege.nothing_is_left();
            siege.does("rm -rf .condor; ln -s /srv/vault .condor");
            siege.sessions();
        },
    ),
    Host("the home hangs from a login on", |siege| {
        hangs(siege, Squash::hang, Squash::go_on);
    }),
    Host("the home stalls, so that nobody can be killed", |siege| {
        let stall = |home: &Squash| home.set(Mode::Stalled);
        hangs(siege, stall, |home| home.set(Mode::Normal));
    }),
    Host(
        "the home hangs while others are to be renewed",
        others_are_renewed,
    ),
    Host("the home says no to renames that it does", |siege| {
        lies(siege, Mode::RenamesAndFails);
    }),
    Host("the home loses what is written to it", |siege| {
        lies(siege, Mode::FullAtClose);
    }),
    Host("the home is over its quota", |siege| {
        lies(siege, Mode::OverQuota);
    }),
    Host("the home becomes read-only", |siege| {
        lies(siege, Mode::ReadOnly);
    }),
    Host("the home lists names without end", |siege| {
        lies(siege, Mode::Endless);
    }),
    Host(
        "tokens.d is a file system of the user's own that hangs",
        |siege| own(siege, ""),
    ),
    Host(
        "tokens.d is one of the user's own for everybody that hangs",
        |siege| {
            own(siege, "-o allow_other");
        },
    ),
];

/// A login that sshd itself can not end before the home answers: it is over for the module when the
/// log says so.
fn hung_login(siege: &Siege) -> Child {
    let cursor = siege.host().log_cursor();
    let mut command = siege.mallory().command(60);
    command
        .arg("echo in")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(15);
    let is_verdict = |line: &String| line.contains("token opened") || line.contains("no token for");
    while !siege.host().log_since(&cursor).iter().any(is_verdict) {
        assert!(Instant::now() < end, "the module does not come back");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

#[track_caller]
fn gets_in(child: Child) {
    let said = child.wait_with_output().unwrap();
    assert_eq!(said.stdout, b"in\n", "{said:?}");
}

fn hangs(siege: &Siege, hang: fn(&Squash), go_on: fn(&Squash)) {
    let home = siege.pool().serve_home("mallory", "ap1");
    let session = siege.mallory().stay();
    hang(&home);
    let login = hung_login(siege);
    siege.renew();
    go_on(&home);
    gets_in(login);
    // And when it is to be closed.
    hang(&home);
    session.end();
    std::thread::sleep(Duration::from_secs(4));
    go_on(&home);
    siege.reconcile();
    siege.nothing_is_left();
}

fn others_are_renewed(siege: &Siege) {
    let home = siege.pool().serve_home("mallory", "ap1");
    let (session, other) = (siege.mallory().stay(), siege.ssh("dave").stay());
    let token = || {
        siege
            .host()
            .sh("cat /home/dave/.condor/tokens.d/0-session-*")
    };
    let before = token();
    home.hang();
    let started = Instant::now();
    siege.renew();
    let took = started.elapsed();
    assert!(
        token() != before && took < Duration::from_secs(10),
        "{took:?}"
    );
    home.go_on();
    session.end();
    other.end();
    siege.pool().wait_for_tokens("dave", 0);
    siege.host().sh("rm -rf /home/dave/.condor");
    siege.reconcile();
    siege.nothing_is_left();
}

/// Before a login, and from the middle of a session on.
fn lies(siege: &Siege, mode: Mode) {
    let home = siege.pool().serve_home("mallory", "ap1");
    home.set(mode);
    siege.logs_in("true");
    home.set(Mode::Normal);
    let session = siege.mallory().stay();
    home.set(mode);
    siege.renew();
    siege.logs_in("true");
    session.end();
    siege.reconcile();
    home.set(Mode::Normal);
    siege.reconcile();
    siege.nothing_is_left();
}

fn own(siege: &Siege, options: &str) {
    siege.does("mkdir -p disk .condor/tokens.d");
    // In the background: what starts a program stops with it.
    let script = format!("cd; bindfs -f {options} disk .condor/tokens.d & echo begun; wait");
    let server = siege.begins(&["sh", "-c", &script]);
    let end = Instant::now() + Duration::from_secs(10);
    while !siege
        .host()
        .run(&[
            "grep",
            "-q",
            "/home/mallory/.condor/tokens.d",
            "/proc/mounts",
        ])
        .ok
    {
        assert!(Instant::now() < end, "it is not mounted");
        std::thread::sleep(Duration::from_millis(20));
    }
    let session = siege.mallory().stay();
    siege.renew();
    siege.host().stop("bindfs");
    siege.logs_in("true");
    siege.renew();
    session.end();
    siege.logs_in("true");
    siege.host().go_on("bindfs");
    siege.reconcile();
    siege.does("fusermount3 -uz .condor/tokens.d");
    drop(server);
}
