//! Homes that stop answering, at login, at logout and in between.

use std::fs;
use std::time::Instant;

use pam_idtoken_tests::host::Step::{Close, Open, PamEnv, Snapshot, Start};
use pam_idtoken_tests::host::snapshot;
use pam_idtoken_tests::host::{Mode, Outcome, Squash};

use super::END;
use super::fallback::{SLACK, Served, TIMEOUT, logs_out, was_private};
use crate::Test::{self, Root};
use crate::line;
use crate::reconcile::wait_until;

pub(crate) const TESTS: &[Test] = &[
    Root(
        "a home that hangs at login costs the timeout, and the session has its token",
        hangs_at_login,
    ),
    Root(
        "a login and logout while a home hangs leave nothing, then or later",
        hangs_all_the_time,
    ),
    Root(
        "a token that a home took after all goes when it answers again",
        strays,
    ),
    Root(
        "a home that hangs later keeps no private token from its renewal or its end",
        hangs_later,
    ),
];

/// Nothing of the host's has changed but its threads and what they have open.
#[track_caller]
fn alike_but_for_threads(seen: &Outcome) {
    let known = |snapshot: &snapshot::Snapshot| {
        let mut snapshot = snapshot.clone();
        snapshot.status.remove("Threads");
        snapshot.descriptors.clear();
        snapshot
    };
    let [before, after @ ..] = &seen.answers.snapshots[..] else {
        panic!("{seen:?}")
    };
    for after in after {
        assert_eq!(known(before), known(after));
    }
}

fn hangs_at_login() {
    let hang = |server: &Squash| server.hang();
    let stall = |server: &Squash| server.set(Mode::Stalled);
    for stop in [hang, stall] {
        let served = Served::new("");
        stop(&served.server);
        let session = served.login();
        served.token_is_good();
        served.server.go_on();
        served.server.set(Mode::Normal);
        served.reconciles();
        let before = served.token_is_good();
        // From now on it is renewed where it is.
        fs::write(served.lab().path("keys/POOL"), "the next key").unwrap();
        served.lab().tool(&["reconcile"]).must();
        assert_ne!(served.token_is_good(), before);
        assert_eq!(served.on_disk(), ["hers"]);
        let seen = logs_out(session);
        was_private(&seen);
        alike_but_for_threads(&seen);
        // The thread that waited for the home has gone.
        let [first, _, later, last] = &seen.answers.snapshots[..] else {
            panic!("{seen:?}")
        };
        assert_eq!((first, first), (later, last));
        served.stores.nothing_is_left();
        assert_eq!(served.on_disk(), ["hers"]);
    }
}

fn hangs_all_the_time() {
    let served = Served::new("");
    served.server.hang();
    let session = served.login();
    served.token_is_good();
    let seen = logs_out(session);
    was_private(&seen);
    alike_but_for_threads(&seen);
    // The token is gone; that nothing strays in the home is not known yet.
    assert_eq!(served.stores.all(), Vec::<String>::new());
    served.server.go_on();
    served.reconciles();
    served.stores.nothing_is_left();
    assert_eq!(served.on_disk(), ["hers"]);
}

fn strays() {
    // Whoever asked such a server can not even be killed before it answers, so the host
    // that has closed its session waits for its end.
    for close in [&[][..], &[Close]] {
        let served = Served::new("");
        served.server.set(Mode::StalledAtRename);
        let first = [Start, Snapshot, Open(0), PamEnv];
        let steps = [&first[..], close].concat();
        let session = served
            .lab()
            .stay_and("alice", &steps, &[Close, Snapshot, PamEnv, END]);
        let has_closed = !close.is_empty();
        assert_eq!(served.stores.all().is_empty(), has_closed);
        served.server.set(Mode::Normal);
        wait_until(|| served.on_disk()[0].starts_with("0-session-"));
        served.reconciles();
        assert_eq!(served.on_disk(), ["hers"]);
        if !has_closed {
            served.token_is_good();
        }
        let started = Instant::now();
        let seen = session.end();
        assert!(started.elapsed() < TIMEOUT + SLACK);
        was_private(&seen);
        alike_but_for_threads(&seen);
        served.stores.nothing_is_left();
        assert_eq!(served.on_disk(), ["hers"]);
    }
}

fn hangs_later() {
    let served = Served::new("store = \"private\"\n");
    let session = served.login();
    let before = served.token_is_good();
    served.server.hang();
    fs::write(served.lab().path("keys/POOL"), "the next key").unwrap();
    let said = served.lab().tool(&["reconcile"]);
    assert!(said.stdout.contains("renewed: alice"), "{}", said.all());
    assert_ne!(served.token_is_good(), before);
    let started = Instant::now();
    // Its links can not be looked after, which holds up nobody.
    served.lab().tool(&["reconcile"]);
    assert!(started.elapsed() < TIMEOUT + SLACK);
    let seen = logs_out(session);
    alike_but_for_threads(&seen);
    line(&seen.log, "token closed");
    served.stores.nothing_is_left();
    // The same where it hangs from the beginning.
    let session = served.login();
    served.token_is_good();
    let seen = logs_out(session);
    alike_but_for_threads(&seen);
    line(
        &seen.log,
        "the user's own tokens are not in the private store",
    );
    assert_eq!(served.stores.all(), Vec::<String>::new());
    served.server.go_on();
    served.reconciles();
    served.stores.nothing_is_left();
}
