//! Hostile users: whatever a user does to the module, to idtokenctl and to reconcile, nothing of
//! anybody else's is written, removed, changed or read, everybody logs in, and in time.
//!
//! Most attacks are a user's own processes on a booted host, beside real logins of theirs by ssh;
//! what a login by ssh can not express goes through the real libpam in a host of ring 2. All are
//! judged in one way, which is in `siege/judge` and `cell`.

mod accounts;
mod attack;
mod between;
mod cell;
mod crowds;
mod guesses;
mod journal;
mod links;
mod manifest;
mod mischief;
mod modes;
mod processes;
mod score;
mod secrets;
mod servers;
mod siege;
mod surroundings;
mod swaps;
mod watch;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use attack::Attack;
use libtest_mimic::{Arguments, Trial};
use siege::Siege;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let attacks = [
        links::ATTACKS,
        between::ATTACKS,
        modes::ATTACKS,
        crowds::ATTACKS,
        servers::ATTACKS,
        processes::ATTACKS,
        surroundings::ATTACKS,
        accounts::ATTACKS,
        guesses::ATTACKS,
        swaps::ATTACKS,
        // Last: it ends the sessions that were open all the while.
        attack::LAST,
    ];
    let siege: Arc<Mutex<Option<Siege>>> = Arc::default();
    let trials = attacks.concat().into_iter().map(|attack: Attack| {
        let siege = Arc::clone(&siege);
        let trial = Trial::test(attack.name(), move || {
            let violations = attack.run(&siege);
            score::attack(violations.len());
            if violations.is_empty() {
                return Ok(());
            }
            Err(violations.join("\n").into())
        });
        trial.with_kind("attack")
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    siege
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take();
    if !arguments.list {
        score::tell();
    }
    conclusion.exit_code()
}
