//! Ring 3: a real pool, real logins.
//!
//! One pool is booted for all tests. They run one after the other, since some
//! of them change a host; each leaves it as it was.

mod check;
mod condor;
mod deb;
mod discovery;
mod documents;
mod failures;
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

use libtest_mimic::{Arguments, Trial};
use pam_idtoken_tests::pool::{Build, Pool};
use pam_idtoken_tests::proof;

type Test = (&'static str, fn(&Pool));

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let tests: Vec<Test> = [
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
        releases::TESTS,
        pools::TESTS,
        deb::TESTS,
        documents::TESTS,
        // Last: from here on hosts have reconcilers.
        reconcile::TESTS,
    ]
    .concat();
    let pool: Option<&'static Pool> =
        (!arguments.list).then(|| &*Box::leak(Box::new(Pool::boot())));
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                let pool = pool.ok_or("only listed")?;
                // Installing again is harmless; any test can run alone.
                let prepare_themselves = [
                    condor::BEFORE,
                    deb::TESTS,
                    documents::TESTS,
                    reconcile::TESTS,
                ];
                if !prepare_themselves
                    .concat()
                    .iter()
                    .any(|(own, _)| *own == name)
                {
                    pool.install(&Build::find());
                }
                test(pool);
                Ok(())
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(pool) = pool {
        // SAFETY: the pool was leaked above and no test runs any more.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(pool).cast_mut()) });
    }
    proof::told("ring 3");
    conclusion.exit_code()
}
