//! Ring 2: the real libpam, without HTCondor and without a booted host.
//!
//! Tests that need a host of root's are ignored for other users; CI runs as root.

mod binary;
mod calls;
mod codes;
mod cores;
mod discovery;
mod documents;
mod failures;
mod homes;
mod hosts;
mod issuers;
mod leaks;
mod lessons;
mod reconcile;
mod squash;
mod stack;
mod stores;
mod tables;
mod tokens;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use pam_idtoken_tests::host::lab::{is_root, names};
use pam_idtoken_tests::host::{Lab, Who};
use pam_idtoken_tests::proof;

/// A test of the module in a host.
enum Test {
    /// Holds for a host of root's and for one of an ordinary user's.
    Both(&'static str, fn(Who)),
    /// Needs a host of root's.
    Root(&'static str, fn()),
    /// Looks at the built files.
    Files(&'static str, fn()),
}

const PAM_SUCCESS: i32 = 0;
const PAM_SESSION_ERR: i32 = 14;
const PAM_TEXT_INFO: i32 = 4;
const PAM_SILENT: i32 = 0x8000;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let hosts = [
        calls::TESTS,
        codes::TESTS,
        discovery::TESTS,
        discovery::trouble::TESTS,
        documents::TESTS,
        failures::TESTS,
        homes::TESTS,
        hosts::TESTS,
        issuers::TESTS,
        issuers::answers::TESTS,
        leaks::FOUND,
        lessons::TESTS,
        reconcile::TESTS,
        reconcile::tool::TESTS,
        squash::TESTS,
        stack::TESTS,
        stores::TESTS,
        stores::fallback::TESTS,
        stores::hostile::TESTS,
        tables::TESTS,
        tables::several::TESTS,
    ];
    let with_hung_homes = [reconcile::hung::TESTS, stores::hung::TESTS];
    let of_what_is_installed = [binary::TESTS, cores::TESTS, leaks::TESTS];
    let sets = match std::env::var("IDTOKEN_SANITIZED").as_deref() {
        Ok("leaks") => hosts.to_vec(),
        // Leaks are looked for with all threads stopped, and one that a home holds can not be.
        Ok(_) => with_hung_homes.to_vec(),
        Err(_) => [&hosts[..], &with_hung_homes, &of_what_is_installed].concat(),
    };
    let tests = sets.into_iter().flatten();
    let mut trials = Vec::new();
    for test in tests {
        match *test {
            Test::Both(name, test) => {
                trials.push(trial(format!("{name}, as a user"), move || {
                    test(Who::Alice);
                }));
                let as_root = trial(format!("{name}, as root"), move || test(Who::Root));
                trials.push(as_root.with_ignored_flag(!is_root()));
            }
            Test::Root(name, test) => {
                trials.push(trial(name.to_owned(), test).with_ignored_flag(!is_root()));
            }
            Test::Files(name, test) => trials.push(trial(name.to_owned(), test)),
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    proof::told("ring 2");
    conclusion.exit_code()
}

/// Whether the build has sanitizers in it, see `tools/sanitize`.
fn is_sanitized() -> bool {
    std::env::var_os("IDTOKEN_SANITIZED").is_some()
}

fn trial(name: String, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// The one line of the log that has this part.
#[track_caller]
fn line<'a>(log: &'a [String], part: &str) -> &'a str {
    let found: Vec<&String> = log.iter().filter(|line| line.contains(part)).collect();
    assert_eq!(found.len(), 1, "lines with {part:?}: {log:#?}");
    found[0]
}

/// Asserts that alice's home and the records are empty.
#[track_caller]
fn nothing_is_left(lab: &Lab) {
    assert_eq!((lab.tokens(), lab.records()), (vec![], vec![]));
}

/// The processes that have this argument.
fn running(marker: &str) -> Vec<String> {
    let processes = names(Path::new("/proc"));
    let has_it = |pid: &String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|b| *b == 0).any(|arg| arg == marker.as_bytes())
    };
    processes.into_iter().filter(has_it).collect()
}
