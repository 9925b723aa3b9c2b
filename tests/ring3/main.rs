//! Ring 3: a real pool, real logins.
//!
//! One pool is booted for most tests. They run one after the other, since some
//! of them change a host; each leaves it as it was. Those that boot hosts of their own run beside
//! them.

mod check;
mod condor;
mod deb;
mod discovery;
mod documents;
mod failures;
mod lanes;
mod planted;
mod policy;
mod pools;
mod private;
mod reconcile;
mod releases;
mod schedd;
mod scopes;
mod sessions;
mod support;
mod surroundings;
mod tool;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use lanes::Lanes;
use libtest_mimic::{Arguments, Trial};
use pam_idtoken_tests::pool::{Build, Pool};
use pam_idtoken_tests::proof;

/// A test on the pool of all.
type Test = (&'static str, fn(&Pool));
/// A test on hosts of its own.
type OwnTest = (&'static str, fn());

fn shared() -> Vec<Test> {
    [
        // First, while no host has the module.
        condor::BEFORE,
        sessions::TESTS,
        condor::TESTS,
        planted::TESTS,
        policy::TESTS,
        scopes::TESTS,
        discovery::TESTS,
        schedd::TESTS,
        private::TESTS,
        failures::TESTS,
        tool::TESTS,
        check::TESTS,
        surroundings::TESTS,
        pools::TESTS,
        // Last: from here on hosts have reconcilers.
        reconcile::TESTS,
    ]
    .concat()
}

fn own() -> Vec<OwnTest> {
    [releases::TESTS, deb::TESTS, documents::TESTS].concat()
}

/// Whether a test finds the module installed; any can run alone, and installing again is harmless.
fn needs_module(name: &str) -> bool {
    let prepare_themselves = [condor::BEFORE, reconcile::TESTS].concat();
    prepare_themselves.iter().all(|(own, _)| *own != name)
}

/// The pool of all, once it was wanted.
static POOL: Mutex<Option<Pool>> = Mutex::new(None);

fn on_the_pool((name, test): Test) -> Trial {
    Trial::test(name, move || {
        // A test that failed has left it as it is.
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pool.get_or_insert_with(Pool::boot);
        if needs_module(name) {
            pool.install(&Build::find());
        }
        test(pool);
        Ok(())
    })
}

fn on_its_own((name, test): OwnTest) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let lanes = Lanes::of(&arguments);
    let mut trials = Vec::new();
    if lanes.has_shared() {
        trials.extend(shared().into_iter().map(on_the_pool));
    }
    if lanes.has_own() {
        trials.extend(own().into_iter().map(on_its_own));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(POOL.lock().unwrap_or_else(PoisonError::into_inner).take());
    proof::told(lanes.name());
    lanes.join(conclusion.exit_code())
}
