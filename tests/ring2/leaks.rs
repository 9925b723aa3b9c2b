//! Nothing is lost: a host that opens and closes sessions for months does not grow.
//!
//! `make leaks` runs these with many more sessions, and all of ring 2 with sanitizers.

use pam_idtoken_tests::host::Step::{Close, End, Lose, Open, Repeat};
use pam_idtoken_tests::host::growth::Size;
use pam_idtoken_tests::host::{Lab, Step, Who};
use pam_idtoken_tests::proof;

use crate::Test::{self, Both, Root};
use crate::stores::Stores;
use crate::{is_sanitized, issuers, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Both("a session leaks nothing that valgrind finds", clean),
    Root(
        "a session in a private store leaks nothing that valgrind finds",
        clean_in_private,
    ),
    Root(
        "a session that a schedd signs for leaks nothing that valgrind finds",
        clean_by_schedd,
    ),
    Root("sessions without end leak nothing", endless),
    Root(
        "sessions without end in private stores leak nothing",
        endless_in_private,
    ),
    Root(
        "sessions without end that a schedd signs for leak nothing",
        endless_by_schedd,
    ),
    Root("what a host leaks with each session is seen", growing),
];

/// Whatever looks for leaks, see `tools/sanitize`.
pub(crate) const FOUND: &[Test] = &[Root("what a host leaks is found", found)];

const END: Step = End { silent: false };
/// What it finds is on stderr, where nothing may be.
const VALGRIND: [&str; 5] = [
    "valgrind",
    "--quiet",
    "--leak-check=full",
    "--errors-for-leak-kinds=definite,indirect,possible",
    "--show-leak-kinds=definite,indirect,possible",
];
/// By so many KiB a host may be larger after many sessions than after the first ones: what the
/// system's allocator does not give back.
const SLACK: u64 = 128;

/// How many sessions; a schedd's cost a process each.
fn rounds() -> usize {
    let text = std::env::var("IDTOKEN_ROUNDS");
    text.map_or(2_000, |text| text.parse().unwrap())
}

fn clean(who: Who) {
    no_errors(&mut Lab::new(who), "in the home");
}

fn clean_in_private() {
    let mut stores = Stores::private();
    no_errors(&mut stores.lab, "in a private store");
}

fn clean_by_schedd() {
    let more = "timeout = \"30s\"\n";
    no_errors(
        &mut issuers::patient_lab(Who::Root, "cat $answer", more),
        "by a schedd",
    );
}

/// Of sessions that are opened and closed, again with the same handle, and of one that fails.
fn no_errors(lab: &mut Lab, which: &str) {
    lab.run_under(&VALGRIND);
    let seen = lab.run(&[Open(0), Close, Open(0), Close, END, Open(0), Close, END]);
    assert_eq!(
        (seen.codes("open"), seen.codes("close")),
        (vec![0; 3], vec![0; 3])
    );
    nothing_is_left(lab);
    lab.configure("colour = \"blue\"\n");
    lab.run(&[Open(0), Close, END]);
    proof::row(
        &format!("valgrind: sessions {which}"),
        "4 opened and closed",
        0,
    );
}

fn found() {
    let mut lab = Lab::new(Who::Root);
    let wanted = if is_sanitized() {
        "LeakSanitizer: detected memory leaks\n\nDirect leak of 4321 byte(s) in 1 object(s)"
    } else {
        lab.run_under(&VALGRIND);
        "4,321 bytes in 1 blocks are definitely lost"
    };
    let complaint = lab.complaint(&[Open(0), Lose(4321), Close, END]);
    assert!(complaint.contains(wanted), "{complaint}");
}

fn endless() {
    does_not_grow(&Lab::new(Who::Root), "in the home", rounds());
}

fn endless_in_private() {
    let stores = Stores::private();
    does_not_grow(&stores.lab, "in private stores", rounds() / 4);
}

fn endless_by_schedd() {
    let lab = issuers::patient_lab(Who::Root, "cat $answer", "");
    does_not_grow(&lab, "by a schedd", rounds() / 20);
}

fn does_not_grow(lab: &Lab, which: &str, rounds: usize) {
    let sizes = sizes(
        lab,
        &[Repeat {
            rounds,
            between: rounds / 20,
        }],
    );
    let (first, last) = (&sizes[2], sizes.last().unwrap());
    let wrong = sizes[2..]
        .iter()
        .filter(|size| has_grown(first, size))
        .count();
    proof::row(
        &format!("growth: sessions {which}"),
        &format!(
            "{rounds} in one process: {} to {} KiB, {} descriptors",
            first.resident, last.resident, last.descriptors
        ),
        wrong,
    );
    assert_eq!(wrong, 0, "{sizes:#?}");
    nothing_is_left(lab);
}

/// What the host had while all of its sessions were opened and closed without a fault.
#[track_caller]
fn sizes(lab: &Lab, steps: &[Step]) -> Vec<Size> {
    let answers = lab.run(steps).answers;
    assert_eq!(answers.shell, Vec::<String>::new());
    answers.sizes
}

fn has_grown(first: &Size, later: &Size) -> bool {
    later.resident > first.resident + SLACK
        || (later.descriptors, later.threads) != (first.descriptors, first.threads)
}

/// 4 KiB, 40 times, is more than the slack.
fn growing() {
    let lab = Lab::new(Who::Root);
    let session = || {
        let step = Repeat {
            rounds: 1,
            between: 1,
        };
        [step, Lose(4096)]
    };
    let steps: Vec<Step> = (0..80).flat_map(|_| session()).collect();
    let sizes = sizes(&lab, &steps);
    assert!(has_grown(&sizes[2], sizes.last().unwrap()), "{sizes:#?}");
}
