//! The module's own line: its file, what it can do, and what comes before it.

use std::path::Path;

use session::config::{Config, OnFailure};

use super::Seen;
use super::control::{Action, action};
use crate::check::finding::{Finding, Id, table_number};
use crate::pamd::{Line, MODULE};

/// Directories in which some libpam looks for modules named without a path.
const MODULE_DIRS: [&str; 5] = [
    "/lib/x86_64-linux-gnu/security",
    "/lib/aarch64-linux-gnu/security",
    "/usr/lib64/security",
    "/lib64/security",
    "/lib/security",
];

/// The module's file: libpam says nothing to the user when it is missing.
pub(super) fn file(line: &Line) -> Finding {
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
    if is_there {
        return Finding::ok(
            Id::ModuleFile,
            format!("{} is where libpam looks", line.module),
        );
    }
    let what = format!("{} is not in libpam's module directory", line.module);
    Finding::fail(Id::ModuleFile, what).with_remedy(
        "install the package again, or run make install with PAMDIR set to the directory of \
         pam_permit.so",
    )
}

/// A refusal reaches sshd only if the line is one that can refuse, and one that can refuses
/// everybody when its module is missing.
pub(crate) fn control(seen: &Seen, config: &Config) -> Finding {
    let line = seen.line();
    // What the module says that refuses, and what libpam says of one that is not there.
    let result = match config.on_failure {
        OnFailure::Deny => "session_err",
        OnFailure::Ignore => "module_unknown",
    };
    let can_refuse = matches!(action(&line.control, result), Action::Bad | Action::Die);
    // pam-auth-update writes these for all services, and would undo it.
    let is_common = line
        .file()
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"common-"));
    let remedy_of_deny = if is_common {
        "run pam-auth-update --disable idtoken, and add `session required pam_idtoken.so` at the \
         end of /etc/pam.d/sshd"
    } else {
        "write required in its place, or on_failure = \"ignore\""
    };
    let finding = match (config.on_failure, can_refuse) {
        (OnFailure::Deny, false) => Finding::fail(
            Id::StackControl,
            format!(
                "on_failure is deny, and the line at {} is {}: nobody is refused",
                line.place, line.control
            ),
        )
        .with_remedy(remedy_of_deny),
        (OnFailure::Ignore, true) => Finding::warn(
            Id::StackControl,
            format!(
                "on_failure is ignore, and the line at {} is {}: without the module's file nobody \
                 could log in",
                line.place, line.control
            ),
            "write optional in its place",
        ),
        (OnFailure::Ignore, false) => {
            Finding::ok(Id::StackControl, "a failure of the module refuses nobody")
        }
        (OnFailure::Deny, true) => Finding::ok(
            Id::StackControl,
            "a session without a token is refused, as on_failure says",
        ),
    };
    finding.about(line.file())
}

/// Tables may look at what sshd says of the login, and a user can say it first: pam_env
/// with `user_readenv=1` takes `SSH_AUTH_INFO_0` from a file in the home.
pub(crate) fn environment(seen: &Seen, config: &Config) -> Option<Finding> {
    let mut tables = config.tables.iter();
    let table = tables.position(|table| !table.when.ssh_auth_methods.is_empty())?;
    let reads_home = |line: &&Line| {
        let mut arguments = line.arguments.iter();
        let reads = |argument: &String| {
            let value = argument.strip_prefix("user_readenv=");
            value.is_some_and(|value| value.parse() != Ok(0))
        };
        line.is("pam_env.so") && arguments.any(reads)
    };
    let env = seen.before().iter().find(reads_home)?;
    let what = format!(
        "a [[token]] table looks at ssh_auth_methods, and users can claim any: {} at {} reads \
         variables from their homes",
        env.module, env.place
    );
    let mut finding = Finding::fail(Id::StackEnvironment, what).with_remedy(format!(
        "take user_readenv=1 out there, or move {MODULE} in front of it"
    ));
    finding.table = table_number(config, table);
    Some(finding.about(env.file()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;
    use crate::check::stack::tests::look_at;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/x.toml")).unwrap()
    }

    #[test]
    fn a_refusal_needs_a_line_that_can_refuse_and_nothing_else_does() {
        let finding = |controls: &str, text: &str| {
            let (seen, _) = look_at(&format!("session {controls} pam_idtoken.so\n"));
            control(&seen.unwrap(), &config(text))
        };
        let deny = "on_failure = \"deny\"";
        assert!(finding("optional", deny).is(Level::Fail, "nobody is refused"));
        let ignored = finding("[success=ok default=ignore]", deny);
        assert_eq!(ignored.level, Level::Fail);
        assert_eq!(
            finding("[ success = ok default = ignore ]", deny).level,
            Level::Fail
        );
        assert_eq!(
            finding("[success=ok session_err=die default=ignore]", deny).level,
            Level::Ok
        );
        assert_eq!(
            finding("[success=ok session_err=die default=ignore]", "").level,
            Level::Ok
        );
        assert_eq!(finding("Required", deny).level, Level::Ok);
        assert_eq!(finding("required", deny).level, Level::Ok);
        assert_eq!(finding("optional", "").level, Level::Ok);
        assert!(finding("required", "").is(Level::Warn, "nobody could log in"));
    }

    #[test]
    fn nobody_is_told_to_write_required_into_a_file_of_all_services() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("sshd", "@include common-session\n");
        write("common-session", "session optional pam_idtoken.so\n");
        let seen = crate::check::stack::look(dir.path(), "sshd", &mut Vec::new()).unwrap();
        let finding = control(&seen, &config("on_failure = \"deny\""));
        assert_eq!(finding.level, Level::Fail);
        let remedy = finding.remedy.unwrap();
        assert!(
            remedy.contains("pam-auth-update --disable idtoken"),
            "{remedy}"
        );
    }

    #[test]
    fn a_method_that_users_can_claim_is_a_failure() {
        let finding = |stack: &str, text: &str| {
            let (seen, _) = look_at(stack);
            environment(&seen.unwrap(), &config(text))
        };
        let by_method = "[[token]]\nssh_auth_methods = [\"publickey\"]\n";
        let us = "session optional pam_idtoken.so\n";
        let env = "session required pam_env.so user_readenv=1\n";
        let plain = "session required pam_env.so\n";
        let after = format!("{env}{us}");
        let found = finding(&after, by_method).unwrap();
        assert!(found.is(Level::Fail, "users can claim any") && found.table.is_none());
        let second = format!("[[token]]\nusers = [\"a\"]\n{by_method}");
        assert_eq!(finding(&after, &second).unwrap().table, Some(2));
        assert!(finding(&after, "[[token]]\n").is_none());
        assert!(finding(&format!("{plain}{us}"), by_method).is_none());
        assert!(finding(&format!("{us}{env}"), by_method).is_none());
    }

    #[test]
    fn a_module_that_is_not_there_is_a_failure() {
        let (seen, _) = look_at("session optional /no/such/pam_idtoken.so\n");
        let found = file(seen.unwrap().line());
        assert!(found.is(Level::Fail, "not in libpam's module directory"));
    }
}
