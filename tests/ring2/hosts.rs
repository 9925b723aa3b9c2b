//! What the host gets back, and hosts of every kind.

use pam_idtoken_tests::host::Step::{
    self, Close, DefaultSigpipe, End, IgnoreSigchld, Open, Snapshot, Start, Threads, Umask,
};
use pam_idtoken_tests::host::{Lab, Outcome, Who};

use crate::Test::{self, Both, Root};
use crate::{PAM_SUCCESS, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Both(
        "the host gets back everything that is its own",
        everything_back,
    ),
    Both(
        "the host gets back everything after a failure too",
        everything_back_after_a_failure,
    ),
    Both(
        "a threaded host opens and closes fifty sessions at once",
        fifty_at_once,
    ),
    Both("a host that ignores SIGCHLD goes on ignoring it", sigchld),
    Root("a host without /dev/log works all the same", without_log),
    Root(
        "a host whose log daemon is gone is not killed by SIGPIPE",
        dead_log,
    ),
    Root("sessions of two users do not touch each other", two_users),
    Both(
        "idtokenctl lists an open session and verifies its token",
        tool,
    ),
];

const END: Step = End { silent: false };

#[track_caller]
fn unchanged(lab: &Lab) {
    let steps = [
        Umask(0o027),
        Start,
        Snapshot,
        Open(0),
        Snapshot,
        Close,
        Snapshot,
        END,
        Snapshot,
    ];
    let seen = lab.run(&steps);
    let [before, opened, closed, ended] = &seen.answers.snapshots[..] else {
        panic!("{seen:?}")
    };
    for after in [opened, closed, ended] {
        assert_eq!(before, after);
    }
    assert_eq!(before.status["Umask"], "0027");
    assert_eq!(before.status["Threads"], "1");
    assert!(before.dumpable);
}

fn everything_back(who: Who) {
    unchanged(&Lab::new(who));
}

fn everything_back_after_a_failure(who: Who) {
    let lab = Lab::new(who);
    std::fs::write(lab.path("home/alice/.condor"), "in the way").unwrap();
    unchanged(&lab);
    std::fs::remove_file(lab.path("keys/POOL")).unwrap();
    unchanged(&lab);
}

/// What is said of each session.
const LINES: [&str; 2] = ["token opened", "token closed"];

fn fifty_at_once(who: Who) {
    let lab = Lab::new(who);
    lab.configure("timeout = \"20s\"\n");
    // Before the first snapshot libpam opens its own way to the log.
    let all_at_once = || lab.run(&[Start, END, Snapshot, Threads(50), Snapshot]);
    let said =
        |seen: &Outcome, part: &str| seen.log.iter().filter(|line| line.contains(part)).count();
    // A log that nobody reads for a fifth of a second loses lines.
    let has_all = |seen: &Outcome| {
        let is_usual = |line: &String| LINES.into_iter().any(|part| line.contains(part));
        assert!(seen.log.iter().all(is_usual), "{:#?}", seen.log);
        LINES.into_iter().all(|part| said(seen, part) >= 50)
    };
    let seen = (0..2)
        .map(|_| all_at_once())
        .find(|seen| who != Who::Root || has_all(seen))
        .unwrap_or_else(all_at_once);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS; 50]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS; 50]);
    nothing_is_left(&lab);
    let [before, after] = &seen.answers.snapshots[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(before, after);
    if who == Who::Root {
        for part in LINES {
            assert_eq!(said(&seen, part), 50, "{part}: {:#?}", seen.log);
        }
    }
}

fn sigchld(who: Who) {
    let lab = Lab::new(who);
    let seen = lab.run(&[
        IgnoreSigchld,
        Start,
        Snapshot,
        Open(0),
        Close,
        Snapshot,
        END,
    ]);
    let [before, after] = &seen.answers.snapshots[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(before, after);
    nothing_is_left(&lab);
}

fn without_log() {
    let mut lab = Lab::new(Who::Root);
    lab.without_log();
    let seen = lab.run(&[Open(0), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert!(seen.answers.messages.is_empty());
    nothing_is_left(&lab);
}

fn dead_log() {
    let mut lab = Lab::new(Who::Root);
    lab.without_log();
    // The socket is there and nobody has it open.
    drop(std::os::unix::net::UnixDatagram::bind(lab.path("dev/log")).unwrap());
    let seen = lab.run(&[DefaultSigpipe, Open(0), Close, END]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    nothing_is_left(&lab);
    // A stream whose other end is gone is what raises SIGPIPE.
    lab.with_log_that_hangs_up();
    for _ in 0..20 {
        let seen = lab.run(&[DefaultSigpipe, Open(0), Close, END]);
        assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    }
    nothing_is_left(&lab);
}

fn two_users() {
    let lab = Lab::new(Who::Root);
    lab.run(&[Open(0), END]);
    let alice = lab.tokens();
    assert_eq!(alice.len(), 1);
    lab.run_as("bob", "test", &[Open(0), Close, END]);
    assert_eq!(lab.tokens(), alice);
    assert_eq!(lab.records().len(), 1);
}

fn tool(who: Who) {
    let lab = Lab::new(who);
    let check = lab.tool(&["check", "--user", "alice", "--service", "test"]);
    assert!(check.stdout.contains("alice is served"), "{}", check.all());
    // The session stays after its host's end; its token is as good as before.
    lab.run(&[Open(0), END]);
    let file = lab.tokens_d().join(&lab.tokens()[0]);
    let verdict = lab.tool(&["verify", file.to_str().unwrap()]).must().stdout;
    assert!(
        verdict.contains("line 1: valid") && verdict.contains("alice@lab.test"),
        "{verdict}"
    );
    let list = lab.tool(&["list"]).must();
    assert!(
        list.stderr.contains("1 of them ended without a close"),
        "{}",
        list.all()
    );
}
