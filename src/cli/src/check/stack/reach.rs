//! Does libpam get as far as the module's line?
//!
//! A line before it may end the stack, or jump over it: `sufficient`, `[success=done ...]`,
//! `[success=1 ...]`. What libpam does is in pam.conf(5) and in `_pam_dispatch_aux` of
//! libpam/pam_dispatch.c: a jump counts a substack as one line and never leaves its own
//! substack, and `done` ends the substack that it is in.

use super::control::{Action, action};
use crate::pamd::Line;

/// Modules that are there to say yes to some and no to others.
const CONDITIONS: [&str; 6] = [
    "pam_access.so",
    "pam_group.so",
    "pam_listfile.so",
    "pam_localuser.so",
    "pam_succeed_if.so",
    "pam_usertype.so",
];

/// Whether a line is reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach<'a> {
    /// In every session that is not refused.
    Always,
    /// Not in those in which this line decides so.
    Sometimes(&'a Line),
    /// In none, because of this line.
    Never(&'a Line),
}

/// What a module may say that is there to say yes to some and no to others.
const RESULTS: [&str; 4] = ["success", "auth_err", "perm_denied", "user_unknown"];

/// Whether the line number `at` is reached when each module before it succeeds, but for those
/// that are conditions, which may say anything of [`RESULTS`].
pub(super) fn reach(stack: &[Line], at: usize) -> Reach<'_> {
    let seen = RESULTS.map(|result| skipped(stack, at, result));
    let all = seen.iter().all(Option::is_some);
    match seen.into_iter().flatten().next() {
        None => Reach::Always,
        Some(line) if all => Reach::Never(line),
        Some(line) => Reach::Sometimes(line),
    }
}

/// The line that makes libpam pass the line number `at` by, in a session that is let in.
fn skipped<'a>(stack: &'a [Line], at: usize, of_conditions: &str) -> Option<&'a Line> {
    let mut next = 0;
    while next < at {
        let line = &stack[next];
        let is_condition = CONDITIONS.iter().any(|name| line.is(name));
        let result = if is_condition {
            of_conditions
        } else {
            "success"
        };
        let to = match action(&line.control, result) {
            Action::GoOn => next + 1,
            Action::Done if result == "success" => behind(stack, next, usize::MAX),
            Action::Jump(count) => behind(stack, next, count),
            Action::Done | Action::Bad | Action::Die => return None,
        };
        if to > at {
            return Some(line);
        }
        next = to;
    }
    None
}

/// The line that comes next if `count` lines of the same substack are left out.
fn behind(stack: &[Line], from: usize, count: usize) -> usize {
    let own = &stack[from].within;
    let is_in = |at: usize| {
        stack
            .get(at)
            .is_some_and(|line| line.within.starts_with(own))
    };
    let mut at = from + 1;
    for _ in 0..count {
        if !is_in(at) {
            break;
        }
        at += 1;
        // All lines of an inner substack go with the one that names it.
        while is_in(at) && stack[at].within.len() > own.len() {
            at += 1;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::stack::cases;
    use crate::pamd::{MODULE, session_stack};
    use std::fs;

    /// How a line at the end of `sshd` is reached, and the module that decides it.
    fn reached(files: &[(&str, &str)]) -> (&'static str, String) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let stack = session_stack(dir.path(), "sshd").unwrap();
        let at = stack.iter().position(|line| line.is(MODULE)).unwrap();
        match reach(&stack, at) {
            Reach::Always => ("always", String::new()),
            Reach::Sometimes(line) => ("sometimes", line.module.clone()),
            Reach::Never(line) => ("never", line.module.clone()),
        }
    }

    fn before_us(text: &str) -> (&'static str, String) {
        reached(&[("sshd", &format!("{text}session optional {MODULE}\n"))])
    }

    #[test]
    fn lines_pass_ours_by_as_libpam_says_in_ring_2() {
        for (before, sub, expected) in cases::CASES {
            let asks = |text: &str| text.replace("ASK", "pam_succeed_if.so");
            let stack = format!("{}session optional {MODULE}\n", asks(before));
            let sub = asks(sub);
            let files = [
                ("sshd", &*stack),
                ("sub", &*sub),
                ("none", "auth required a.so\n"),
            ];
            let passed = match reached(&files).0 {
                "always" => "never",
                "never" => "always",
                other => other,
            };
            assert_eq!(passed, *expected, "{before}{sub}");
        }
    }

    #[test]
    fn a_line_behind_debians_and_red_hats_own_is_reached() {
        let debian = "session [default=1] pam_permit.so\nsession requisite pam_deny.so\n\
                      session required pam_permit.so\nsession optional pam_systemd.so\n";
        assert_eq!(before_us(debian).0, "always");
        let red_hat = "session optional pam_keyinit.so revoke\nsession required pam_limits.so\n\
                       -session optional pam_systemd.so\n\
                       session [success=1 default=ignore] pam_succeed_if.so service in crond\n\
                       session required pam_unix.so\n";
        assert_eq!(before_us(red_hat).0, "always");
    }

    #[test]
    fn what_ends_the_stack_or_jumps_over_the_line_is_named() {
        for text in [
            "session sufficient pam_sss.so\n",
            "session [success=done default=ignore] pam_sss.so\n",
            "session [default=1] pam_sss.so\n",
        ] {
            assert_eq!(before_us(text), ("never", "pam_sss.so".into()), "{text}");
        }
        let condition = "session [success=1 default=ignore] pam_succeed_if.so user = root\n";
        let named = ("sometimes", "pam_succeed_if.so".to_owned());
        assert_eq!(before_us(condition), named);
        let condition = "session [success=ignore default=1] pam_succeed_if.so uid >= 1000\n";
        assert_eq!(before_us(condition), named);
        // Whoever does not fulfil it is refused.
        let condition = "session requisite pam_access.so\n";
        assert_eq!(before_us(condition).0, "always");
    }

    #[test]
    fn a_substack_ends_alone_and_counts_as_one() {
        let us = format!("session substack sub\nsession optional {MODULE}\n");
        let sub = ("sub", "session sufficient a.so\nsession optional b.so\n");
        assert_eq!(reached(&[("sshd", &us), sub]).0, "always");
        let included = us.replace("substack", "include");
        assert_eq!(reached(&[("sshd", &included), sub]).0, "never");
        let jump = format!("session [default=1] c.so\n{us}");
        assert_eq!(reached(&[("sshd", &jump), sub]).0, "always");
        let jump = format!("session [default=2] c.so\n{us}");
        assert_eq!(reached(&[("sshd", &jump), sub]), ("never", "c.so".into()));
        let inner = ("sub", "session [default=9] a.so\nsession optional b.so\n");
        assert_eq!(reached(&[("sshd", &us), inner]).0, "always");
    }
}
