//! Faults at every system call: open, close and reconcile are run once for each call that they make
//! and each error that it can give, and once more with SIGKILL there.
//!
//!     cargo test --release -p pam_idtoken_tests --test faults -- [PART OF A CASE'S NAME]...
//!
//! What has to hold after each is in [`judged`]; what is run is in [`cases`].

mod cases;
mod inventory;
mod judged;
mod report;
mod schedd;
mod stand;
#[allow(dead_code, reason = "ring 2 asks for more kinds of tokens")]
#[path = "../ring2/tokens.rs"]
mod tokens;
mod work;

use std::process::ExitCode;

use pam_idtoken_tests::host::lab::{is_root, tool};

fn main() -> ExitCode {
    assert!(is_root(), "a host of root's needs root");
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let cases: Vec<_> = cases::all()
        .into_iter()
        .filter(|case| is_wanted(&case.name()))
        .collect();
    // Copies programs: a thread that starts another one meanwhile would keep them from being run.
    tool();
    let results = work::run(&cases);
    report::write(&results)
}
