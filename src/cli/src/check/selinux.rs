//! SELinux: does its policy let sshd write tokens?

use std::fs;
use std::io;

use super::ask::ask;
use super::finding::{Finding, Id};

const ENFORCE: &str = "/sys/fs/selinux/enforce";
const SEMODULE: &str = "/usr/sbin/semodule";
/// The policy module that comes with the packages.
const MODULE: &str = "pam_idtoken";

/// Asks the kernel, and for the modules of the policy only if it enforces one or could.
pub(super) fn look() -> Finding {
    let state = fs::read_to_string(ENFORCE);
    let is_on = state.is_ok();
    judge(state, || {
        if is_on {
            ask(SEMODULE, &["-l"])
        } else {
            Ok(String::new())
        }
    })
}

fn judge(state: io::Result<String>, modules: impl FnOnce() -> Result<String, String>) -> Finding {
    let is_enforcing = match state {
        Ok(text) => text.trim() == "1",
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::ok(Id::SELinux, "SELinux is not on");
        }
        Err(error) => {
            let what =
                format!("the state of SELinux is unknown: could not read {ENFORCE}: {error}");
            return Finding::note(Id::SELinux, what);
        }
    };
    let state = if is_enforcing {
        "enforcing"
    } else {
        "permissive"
    };
    let remedy = "load the policy module pam_idtoken, see admin.md, Enterprise Linux; denials are \
                  shown by `ausearch -m avc -ts recent`";
    // Before 3.0 a version stands behind the name.
    let has_module = |text: &String| {
        text.lines()
            .any(|line| line.split_whitespace().next() == Some(MODULE))
    };
    match modules().as_ref().map(has_module) {
        Ok(true) => {
            let what = format!("SELinux is {state}, and the policy module {MODULE} is loaded");
            Finding::ok(Id::SELinux, what)
        }
        Ok(false) if is_enforcing => {
            let what = format!(
                "SELinux is enforcing without the policy module {MODULE}: sshd may not be let write \
                 tokens"
            );
            Finding::warn(Id::SELinux, what, remedy)
        }
        Ok(false) => {
            let what =
                format!("SELinux is permissive, and the policy module {MODULE} is not loaded");
            Finding::note(Id::SELinux, what).with_remedy(remedy)
        }
        Err(why) => {
            let what = format!("SELinux is {state}, and its policy modules are unknown: {why}");
            if is_enforcing {
                Finding::warn(
                    Id::SELinux,
                    what,
                    "run `semodule -l | grep pam_idtoken` as root",
                )
            } else {
                Finding::note(Id::SELinux, what)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    #[test]
    fn a_policy_that_is_enforced_needs_the_module() {
        let of = |state: &str, modules: Result<&str, &str>| {
            let modules = modules.map(str::to_owned).map_err(str::to_owned);
            judge(Ok(state.to_owned()), || modules)
        };
        let others = Ok("pam_idtoken_other\nsshd\n");
        assert!(of("1", others).is(Level::Warn, "enforcing without"));
        assert!(of("0\n", others).is(Level::Note, "permissive"));
        assert!(of("1\n", Ok("a\npam_idtoken\n")).is(Level::Ok, "is loaded"));
        assert!(of("1", Ok("pam_idtoken\t1.0\n")).is(Level::Ok, "is loaded"));
        assert!(of("1", Err("it hangs")).is(Level::Warn, "unknown: it hangs"));
        let off = judge(Err(io::ErrorKind::NotFound.into()), || unreachable!());
        assert!(off.is(Level::Ok, "not on"));
    }
}
