//! Is the module in the stack, and in the right place?

#[cfg(test)]
mod cases;
mod control;
pub(super) mod line;
mod reach;

use std::path::Path;

use session::config::{Config, OnClose};

use super::finding::{Finding, Id};
use crate::pamd::{Line, MODULE, mentions, session_stack};
use reach::{Reach, reach};

/// Modules that make the home, mount it, or decide what /tmp and the home are: a token
/// written before them is lost or in the wrong place.
const BEFORE_US: [&str; 8] = [
    "pam_mkhomedir.so",
    "pam_oddjob_mkhomedir.so",
    "pam_namespace.so",
    "pam_mount.so",
    "pam_ecryptfs.so",
    "pam_fscrypt.so",
    "pam_zfs_key.so",
    "pam_systemd_home.so",
];
/// Modules that say which processes belong to the session.
const MARKS_SESSION: [&str; 2] = ["pam_systemd.so", "pam_loginuid.so"];

/// The stack of a service that has the module.
pub(super) struct Seen {
    stack: Vec<Line>,
    at: usize,
}

impl Seen {
    /// The line that counts.
    pub(super) fn line(&self) -> &Line {
        &self.stack[self.at]
    }

    pub(super) fn before(&self) -> &[Line] {
        &self.stack[..self.at]
    }

    fn after(&self) -> &[Line] {
        &self.stack[self.at + 1..]
    }

    /// The line of another module, wherever it is.
    pub(super) fn other(&self, module: &str) -> Option<&Line> {
        self.stack.iter().find(|line| line.is(module))
    }
}

/// Looks at the session stack of a service; it is handed back if it has the module.
pub(super) fn look(dir: &Path, service: &str, findings: &mut Vec<Finding>) -> Option<Seen> {
    let stack = match session_stack(dir, service) {
        Ok(stack) => stack,
        Err(why) => {
            let finding = Finding::fail(Id::StackLine, why);
            findings.push(finding.with_remedy("name the right one with --service"));
            return None;
        }
    };
    let lines: Vec<&Line> = stack.iter().filter(|line| line.is(MODULE)).collect();
    let Some(first) = lines.first() else {
        findings.push(no_line(dir, service));
        return None;
    };
    let what = format!("{MODULE} is in the stack at {}", first.place);
    findings.push(Finding::ok(Id::StackLine, what).about(first.file()));
    if let [_, others @ ..] = &lines[..]
        && !others.is_empty()
    {
        let places: Vec<&str> = others.iter().map(|line| line.place.as_str()).collect();
        let what = format!(
            "{MODULE} is in the stack {} times; the first line counts, others are at {}",
            lines.len(),
            places.join(", ")
        );
        findings
            .push(Finding::warn(Id::StackTwice, what, "remove the others").about(others[0].file()));
    }
    let at = stack.iter().position(|line| line.is(MODULE))?;
    let seen = Seen { stack, at };
    order(&seen, findings);
    findings.push(reached(&seen));
    findings.push(line::file(seen.line()));
    Some(seen)
}

/// No line, and where there is one that does not help.
fn no_line(dir: &Path, service: &str) -> Finding {
    let file = dir.join(service);
    let mut what = format!("no session line for {MODULE} in the stack of {service}");
    let others = mentions(dir);
    let own = format!("{}:", file.display());
    let seen = others.iter().find(|(place, _)| place.starts_with(&own));
    if let Some((place, kind)) = seen.or_else(|| others.first()) {
        let why = match kind.as_str() {
            "session" => "for other services".to_owned(),
            kind => format!("of the type {kind}, which does nothing"),
        };
        what = format!("{what}; the one at {place} is {why}");
    }
    let finding = Finding::fail(Id::StackLine, what).about(&file);
    finding.with_remedy(format!(
        "add `session optional {MODULE}` at the end of {}",
        file.display()
    ))
}

fn order(seen: &Seen, findings: &mut Vec<Finding>) {
    let late = |line: &&Line| BEFORE_US.iter().any(|name| line.is(name));
    let before = findings.len();
    for later in seen.after().iter().filter(late) {
        let what = format!("{} comes after {MODULE} at {}", later.module, later.place);
        let finding = Finding::fail(Id::StackOrder, what).about(later.file());
        findings.push(finding.with_remedy(format!("move {MODULE} behind it")));
    }
    if findings.len() == before {
        let what = "nothing behind the line makes or mounts homes";
        findings.push(Finding::ok(Id::StackOrder, what));
    }
}

/// With `on_close = "linger"` the session has to be marked before its trace is taken.
pub(super) fn lingers(seen: &Seen, config: &Config) -> Option<Finding> {
    let marks = |line: &&Line| MARKS_SESSION.iter().any(|name| line.is(name));
    let later = seen.after().iter().find(marks)?;
    (config.on_close == OnClose::Linger).then(|| {
        let what = format!(
            "{} comes after {MODULE} at {}, and on_close is linger: processes that a session leaves \
             are not found by it",
            later.module, later.place
        );
        Finding::warn(Id::StackOrder, what, format!("move {MODULE} behind it")).about(later.file())
    })
}

fn reached(seen: &Seen) -> Finding {
    let words = |line: &Line| format!("{} {} at {}", line.control, line.module, line.place);
    let remedy = |line: &Line| format!("move {MODULE} in front of {}", line.place);
    match reach(&seen.stack, seen.at) {
        Reach::Always => Finding::ok(Id::StackReached, "no line before it passes it by"),
        Reach::Sometimes(line) => Finding::warn(
            Id::StackReached,
            format!(
                "{} passes {MODULE} by for some users: they get no token",
                words(line)
            ),
            format!("{}, unless that is meant", remedy(line)),
        )
        .about(line.file()),
        Reach::Never(line) => Finding::fail(
            Id::StackReached,
            format!("{} passes {MODULE} by: it is never reached", words(line)),
        )
        .with_remedy(remedy(line))
        .about(line.file()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::finding::Level;
    use std::fs;

    pub(in crate::check) fn look_at(text: &str) -> (Option<Seen>, Vec<Finding>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sshd"), text).unwrap();
        let mut findings = Vec::new();
        let seen = look(dir.path(), "sshd", &mut findings);
        (seen, findings)
    }

    fn has(findings: &[Finding], level: Level, part: &str) -> bool {
        findings.iter().any(|finding| finding.is(level, part))
    }

    #[test]
    fn a_stack_without_the_module_is_a_failure() {
        let (seen, findings) = look_at("session required pam_unix.so\n");
        assert!(seen.is_none() && has(&findings, Level::Fail, "no session line"));
    }

    #[test]
    fn a_line_of_another_type_or_service_is_named() {
        let (seen, findings) = look_at("auth optional pam_idtoken.so\n");
        assert!(seen.is_none() && has(&findings, Level::Fail, "sshd:1 is of the type auth"));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sshd"), "session required pam_unix.so\n").unwrap();
        fs::write(
            dir.path().join("login"),
            "session optional pam_idtoken.so\n",
        )
        .unwrap();
        let finding = no_line(dir.path(), "sshd");
        assert!(finding.is(Level::Fail, "login:1 is for other services"));
    }

    #[test]
    fn a_home_made_after_the_token_is_a_failure() {
        for module in BEFORE_US {
            let other = format!("session required {module}\n");
            let us = "session optional pam_idtoken.so\n";
            let (_, findings) = look_at(&format!("{us}{other}"));
            assert!(has(
                &findings,
                Level::Fail,
                &format!("{module} comes after")
            ));
            let (_, findings) = look_at(&format!("{other}{us}"));
            assert!(!has(&findings, Level::Fail, "comes after"));
        }
    }

    #[test]
    fn a_session_that_lingers_is_marked_before() {
        let text = "session optional pam_idtoken.so\nsession optional pam_systemd.so\n";
        let (seen, _) = look_at(text);
        let finding = |text: &str| {
            let config = Config::parse(text, Path::new("/x.toml")).unwrap();
            lingers(seen.as_ref().unwrap(), &config)
        };
        assert!(finding("").is_none());
        let found = finding("on_close = \"linger\"").unwrap();
        assert!(found.is(Level::Warn, "pam_systemd.so comes after"));
    }

    #[test]
    fn a_line_that_is_passed_by_or_twice_there_is_named() {
        let us = "session optional pam_idtoken.so\n";
        let (_, findings) = look_at(&format!("session sufficient pam_sss.so\n{us}"));
        assert!(has(&findings, Level::Fail, "it is never reached"));
        let condition = "session [success=1 default=ignore] pam_succeed_if.so user = x\n";
        let (_, findings) = look_at(&format!("{condition}{us}"));
        assert!(has(&findings, Level::Warn, "for some users"));
        let (seen, findings) = look_at(&format!("{us}{us}"));
        assert!(seen.unwrap().line().place.ends_with("sshd:1"));
        assert!(has(&findings, Level::Warn, "2 times"));
    }
}
