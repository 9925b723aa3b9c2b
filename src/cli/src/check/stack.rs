//! Is the module in the stack, and in the right place?

use std::path::Path;

use session::config::{Config, OnFailure};

use super::Finding;
use crate::pamd::{Line, MODULE, session_stack};

/// Modules that make the home, or decide what /tmp and the home are: a token
/// written before them is lost or in the wrong place.
const BEFORE_US: [&str; 3] = [
    "pam_mkhomedir.so",
    "pam_oddjob_mkhomedir.so",
    "pam_namespace.so",
];

/// Directories in which some libpam looks for modules named without a path.
const MODULE_DIRS: [&str; 5] = [
    "/lib/x86_64-linux-gnu/security",
    "/lib/aarch64-linux-gnu/security",
    "/usr/lib64/security",
    "/lib64/security",
    "/lib/security",
];

/// Looks at the session stack of a service; the line of the module if there is one.
pub(super) fn look(dir: &Path, service: &str, findings: &mut Vec<Finding>) -> Option<Line> {
    let stack = match session_stack(dir, service) {
        Ok(stack) => stack,
        Err(why) => {
            findings.push(Finding::bad(why).with_remedy("name the right one with --service"));
            return None;
        }
    };
    let lines: Vec<usize> = (0..stack.len()).filter(|i| stack[*i].is(MODULE)).collect();
    let Some(&at) = lines.first() else {
        findings.push(
            Finding::bad(format!(
                "no session line for {MODULE} in the stack of {service}"
            ))
            .with_remedy(format!(
                "add `session optional {MODULE}` at the end of {}",
                dir.join(service).display()
            )),
        );
        return None;
    };
    let line = &stack[at];
    findings.push(Finding::good(format!(
        "{} is in the stack at {}",
        MODULE, line.place
    )));
    if lines.len() > 1 {
        findings.push(Finding::odd(
            format!(
                "{MODULE} is in the stack {} times; the first line counts",
                lines.len()
            ),
            "remove the others",
        ));
    }
    for later in stack
        .iter()
        .skip(at + 1)
        .filter(|l| BEFORE_US.iter().any(|name| l.is(name)))
    {
        findings.push(
            Finding::bad(format!(
                "{} comes after {MODULE} at {}",
                later.module, later.place
            ))
            .with_remedy(format!("move {MODULE} behind it")),
        );
    }
    findings.extend(file(line));
    Some(line.clone())
}

/// The module's file: libpam says nothing to the user when it is missing.
fn file(line: &Line) -> Option<Finding> {
    let named = Path::new(&line.module);
    let is_there = if named.is_absolute() {
        named.is_file()
    } else {
        // Where pam_permit.so is, this host's libpam looks.
        MODULE_DIRS
            .map(Path::new)
            .iter()
            .filter(|dir| dir.join("pam_permit.so").is_file())
            .any(|dir| dir.join(named).is_file())
    };
    (!is_there).then(|| {
        Finding::bad(format!(
            "{} is not in libpam's module directory",
            line.module
        ))
        .with_remedy("run make install with PAMDIR set to the directory of pam_permit.so")
    })
}

/// A refusal reaches sshd only if the line is one that can refuse.
pub(super) fn control(line: &Line, config: &Config) -> Option<Finding> {
    let can_refuse = ["required", "requisite"].contains(&line.control.as_str())
        || (line.control.starts_with('[') && !line.control.contains("default=ignore"));
    match (config.on_failure, can_refuse) {
        (OnFailure::Deny, false) => Some(
            Finding::bad(format!(
                "on_failure is deny, and the line at {} is {}: nobody is refused",
                line.place, line.control
            ))
            .with_remedy("write required in its place, or on_failure = \"ignore\""),
        ),
        _ => None,
    }
}

/// Tables may look at what sshd says of the login, and a user can say it first: pam_env
/// with `user_readenv=1` takes `SSH_AUTH_INFO_0` from a file in the home.
pub(super) fn environment(
    dir: &Path,
    service: &str,
    line: &Line,
    config: &Config,
) -> Option<Finding> {
    let mut tables = config.tables.iter();
    if !tables.any(|table| !table.when.ssh_auth_methods.is_empty()) {
        return None;
    }
    let stack = session_stack(dir, service).ok()?;
    let reads_home = |line: &Line| {
        let mut arguments = line.arguments.iter();
        let reads = |argument: &String| {
            let value = argument.strip_prefix("user_readenv=");
            value.is_some_and(|value| value.parse() != Ok(0))
        };
        line.is("pam_env.so") && arguments.any(reads)
    };
    let before = stack.iter().take_while(|other| *other != line);
    let env = before.into_iter().find(|line| reads_home(line))?;
    Some(
        Finding::bad(format!(
            "a [[token]] table looks at ssh_auth_methods, and users can claim any: {} at {} reads \
             variables from their homes",
            env.module, env.place
        ))
        .with_remedy(format!(
            "take user_readenv=1 out there, or move {MODULE} in front of it"
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use std::fs;

    fn look_at(text: &str) -> (Option<Line>, Vec<Finding>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sshd"), text).unwrap();
        let mut findings = Vec::new();
        let line = look(dir.path(), "sshd", &mut findings);
        (line, findings)
    }

    fn has(findings: &[Finding], level: Level, part: &str) -> bool {
        findings.iter().any(|finding| finding.is(level, part))
    }

    #[test]
    fn a_stack_without_the_module_is_bad() {
        let (line, findings) = look_at("session required pam_unix.so\n");
        assert!(line.is_none() && has(&findings, Level::Bad, "no session line"));
    }

    #[test]
    fn an_auth_line_is_no_session_line() {
        let (line, _) = look_at("auth optional pam_idtoken.so\n");
        assert!(line.is_none());
    }

    #[test]
    fn a_home_made_after_the_token_is_bad() {
        let (line, findings) =
            look_at("session optional pam_idtoken.so\nsession required pam_mkhomedir.so\n");
        assert!(line.is_some() && has(&findings, Level::Bad, "pam_mkhomedir.so comes after"));
        let (_, findings) =
            look_at("session required pam_mkhomedir.so\nsession optional pam_idtoken.so\n");
        assert!(!has(&findings, Level::Bad, "comes after"));
    }

    #[test]
    fn a_refusal_needs_a_line_that_can_refuse() {
        let config = |text: &str| Config::parse(text, Path::new("/x.toml")).unwrap();
        let finding = |control: &str, text: &str| {
            let (line, _) = look_at(&format!("session {control} pam_idtoken.so\n"));
            super::control(&line.unwrap(), &config(text))
        };
        let deny = "on_failure = \"deny\"";
        assert!(
            finding("optional", deny)
                .unwrap()
                .is(Level::Bad, "nobody is refused")
        );
        assert!(finding("[success=ok default=ignore]", deny).is_some());
        assert!(finding("required", deny).is_none());
        assert!(finding("optional", "").is_none());
    }

    #[test]
    fn a_method_that_users_can_claim_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        let config = |text: &str| Config::parse(text, Path::new("/x.toml")).unwrap();
        let finding = |stack: &str, text: &str| {
            fs::write(dir.path().join("sshd"), stack).unwrap();
            let line = crate::pamd::module_line(dir.path(), "sshd").unwrap();
            environment(dir.path(), "sshd", &line, &config(text))
        };
        let by_method = "[[token]]\nssh_auth_methods = [\"publickey\"]\n";
        let us = "session optional pam_idtoken.so\n";
        let env = "session required pam_env.so user_readenv=1\n";
        let plain = "session required pam_env.so\n";
        let after = format!("{env}{us}");
        assert!(
            finding(&after, by_method)
                .unwrap()
                .is(Level::Bad, "users can claim any")
        );
        assert!(finding(&after, "[[token]]\n").is_none());
        assert!(finding(&format!("{plain}{us}"), by_method).is_none());
        assert!(finding(&format!("{us}{env}"), by_method).is_none());
    }

    #[test]
    fn a_module_that_is_not_there_is_bad() {
        let (_, findings) = look_at("session optional /no/such/pam_idtoken.so\n");
        assert!(has(
            &findings,
            Level::Bad,
            "not in libpam's module directory"
        ));
    }
}
