//! What passes a line of the session stack by, as the real libpam does it.

use std::fs;

use pam_idtoken_tests::host::pam::Transaction;

use crate::PAM_SUCCESS;
use crate::Test::{self, Files};

#[path = "../../src/cli/src/check/stack/cases.rs"]
mod cases;

pub(crate) const TESTS: &[Test] = &[Files(
    "libpam passes lines by as check says it does",
    passes_by,
)];

/// What a module says that is there to tell some users from others.
const RESULTS: [&str; 4] = ["success", "auth_err", "perm_denied", "user_unknown"];

fn passes_by() {
    let mut wrong = Vec::new();
    for (before, sub, expected) in cases::CASES {
        let passed = RESULTS
            .iter()
            .filter(|result| is_passed_by(before, sub, result));
        let seen = match passed.count() {
            0 => "never",
            count if count == RESULTS.len() => "always",
            _ => "sometimes",
        };
        if seen != *expected {
            wrong.push((before, sub, seen));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a session that is let in has not come to the last line.
fn is_passed_by(before: &str, sub: &str, result: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let says = format!("pam_debug.so open_session={result}");
    let confdir = dir.path().to_str().unwrap();
    // What is included libpam looks for in /etc/pam.d if it has no whole path.
    let write = |name: &str, text: &str| {
        let text = text.replace("ASK", &says);
        let text = ["sub", "none"].iter().fold(text, |text, name| {
            text.replace(&format!(" {name}\n"), &format!(" {confdir}/{name}\n"))
        });
        fs::write(dir.path().join(name), text).unwrap();
    };
    write("sub", sub);
    write("none", "auth required pam_permit.so\n");
    let last = "session optional pam_echo.so reached\nsession required pam_permit.so\n";
    write(
        "stack",
        &format!("session required pam_permit.so\n{before}{last}"),
    );
    let started = Transaction::start(confdir, "stack", "root", None);
    let mut handle = started.unwrap_or_else(|code| panic!("{code} for {before}{sub}"));
    let code = handle.open(0);
    let reached = handle.messages().iter().any(|(_, text)| text == "reached");
    handle.end(code);
    code == PAM_SUCCESS && !reached
}
