//! `make load`: what an open and a close cost while others hold sessions open.
//!
//!     load-held SESSIONS
//!
//! The sessions are of 100 users, each held by a process of its own that opened it through libpam.
//! The user who is measured has none of them. Both measurements are of one run, in turns.

use std::process::ExitCode;
use std::time::Duration;

use pam_idtoken_tests::bench::median;
use pam_idtoken_tests::host::{Lab, Step, Who};

const USERS: u32 = 100;
const TURNS: usize = 5;
const ROUNDS: usize = 200;
/// More than this, and it would not be the same cost.
const SAME: f64 = 1.5;

fn main() -> ExitCode {
    let sessions: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let (none, many) = (Lab::new(Who::Root), Lab::new(Who::Root));
    many.add_users(USERS);
    let users = USERS as usize;
    let held = many.stay("alice", &[Step::Hold { sessions, users }]);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.extend(times(&none));
        beside.extend(times(&many));
    }
    let (alone, beside) = (median(&alone), median(&beside));
    let ratio = beside / alone;
    println!("\nan open and a close through libpam, medians:");
    println!("  with no other session          {alone:>8.1} us");
    println!("  with {sessions:>6} others held open  {beside:>8.1} us");
    println!("  ratio                          {ratio:>8.2}");
    drop(held);
    if ratio < SAME {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn times(lab: &Lab) -> Vec<Duration> {
    let answers = lab.run(&[Step::Timed(ROUNDS)]).answers;
    assert!(answers.codes.iter().all(|(_, code)| *code == 0));
    assert_eq!(answers.times.len(), ROUNDS);
    let both = answers.times.iter().map(|(open, close)| *open + *close);
    both.collect()
}
