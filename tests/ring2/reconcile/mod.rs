//! Sessions and tokens stay in step, whatever runs beside what and whatever is killed.

pub(crate) mod hung;
pub(crate) mod tool;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pam_idtoken_tests::clock::wait_for;
use pam_idtoken_tests::host::Step::{Close, End, Open, Rounds};
use pam_idtoken_tests::host::lab::{BOB, names};
use pam_idtoken_tests::host::{Lab, Step, Who};

use crate::Test::{self, Root};
use crate::is_sanitized;

pub(crate) const TESTS: &[Test] = &[
    Root(
        "2,000 sessions that close beside reconciles neither lose nor keep a token",
        race,
    ),
    Root(
        "whatever is killed in open, close and reconcile, one more reconcile leaves nothing",
        killed_anywhere,
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
        // A reconcile with sanitizers in it takes several times as long.
        let enough = if is_sanitized() { 20 } else { 200 };
        assert!(renewed > enough, "only {renewed} renewals came in between");
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

#[track_caller]
pub(crate) fn wait_until(holds: impl Fn() -> bool) {
    wait_for("what is waited for", Duration::from_secs(10), holds);
}
