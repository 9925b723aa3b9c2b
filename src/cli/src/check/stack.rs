//! Is the module in the stack, and in the right place?

use std::path::Path;

use super::Finding;
use crate::pamd::{Line, session_stack};

const MODULE: &str = "pam_idtoken.so";

/// Modules that make the home, or decide what /tmp and the home are: a token
/// written before them is lost or in the wrong place.
const BEFORE_US: [&str; 3] = [
    "pam_mkhomedir.so",
    "pam_oddjob_mkhomedir.so",
    "pam_namespace.so",
];

/// Directories in which libpam looks for modules named without a path.
const MODULE_DIRS: [&str; 5] = [
    "/lib/x86_64-linux-gnu/security",
    "/lib/aarch64-linux-gnu/security",
    "/usr/lib/x86_64-linux-gnu/security",
    "/usr/lib64/security",
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
        MODULE_DIRS
            .iter()
            .any(|dir| Path::new(dir).join(named).is_file())
    };
    (!is_there).then(|| {
        Finding::bad(format!(
            "{} is not in libpam's module directory",
            line.module
        ))
        .with_remedy("run make install with the right PAMDIR")
    })
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
    fn a_module_that_is_not_there_is_bad() {
        let (_, findings) = look_at("session optional /no/such/pam_idtoken.so\n");
        assert!(has(
            &findings,
            Level::Bad,
            "not in libpam's module directory"
        ));
    }
}
