//! What can not be run as it is written, and what words of the documents stand for.

/// What is done in place of running a command as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nothing, for this reason.
    Not(&'static str),
    /// It is a part of a command, or asks somebody: this is run.
    As(&'static str),
    /// Root runs this first.
    After(&'static str),
    /// It ends with this code, as its document says.
    Code(i32),
}

use Way::{After, As, Code, Not};

const JUPYTER: &str = "JupyterHub was not run, and its guide says so";

/// Every exception, by its text in the document.
pub const WAYS: &[(&str, Way)] = &[
    // Not for a shell.
    (
        "kill -9",
        Not("names how a process ends, and whose is for the reader"),
    ),
    (
        "ssh HOST COMMAND",
        Not("names a form of login; tests of private stores log in so"),
    ),
    (
        "systemd-run --user",
        Not("names what is no part of a session"),
    ),
    (
        "... |",
        Not("HTCondor's sign for a configuration that a command prints"),
    ),
    (
        "area: imperative",
        Not("the form of the first line of a commit"),
    ),
    (
        "[\"READ\", \"WRITE\"]",
        Not("a value in the table of keys, which ring 1 reads"),
    ),
    (
        "\"your administrator\"",
        Not("a value in the table of keys, which ring 1 reads"),
    ),
    (
        "sshd ── libpam ── src/pam ──> src/session ──> src/idtoken",
        Not("a picture"),
    ),
    (
        "no token for user=...",
        Not("a message with its first field"),
    ),
    ("The token", Not("a heading of the page")),
    ("c.PAMAuthenticator.open_sessions = True", Not(JUPYTER)),
    ("c.PAMAuthenticator.service = \"jupyterhub\"", Not(JUPYTER)),
    (
        "session include postlogin",
        Not("of Enterprise Linux, which was not run"),
    ),
    // What runs this test.
    (".ci/run", Not("what CI runs, this test with it")),
    (
        "cargo test --profile tests -p pam_idtoken_tests --test ring3 -- \"killed session\"",
        Not("how ring 3 is run, this test with it"),
    ),
    // Parts of commands, and what asks somebody.
    ("chmod 0600", As("chmod 0600 /etc/condor/passwords.d/POOL")),
    ("chown root", As("chown root /etc/condor/passwords.d/POOL")),
    (
        "--service NAME",
        As("idtokenctl --service sshd show-config"),
    ),
    (
        "--config PATH",
        As("touch PATH; idtokenctl --config PATH list"),
    ),
    ("-type collector", As("condor_ping -type collector WRITE")),
    ("condor_rm -name HOST", As("condor_rm -name HOST 41579")),
    (
        "condor_token_fetch -lifetime ...",
        As("condor_token_fetch -lifetime 600"),
    ),
    (
        "@include common-session",
        As("grep -x '@include common-session' /etc/pam.d/sshd"),
    ),
    ("idtokenctl end", As("idtokenctl end --help")),
    // What has to be there first.
    (
        "rm ~/.condor/tokens.d/idtokentest",
        After("touch /home/alice/.condor/tokens.d/idtokentest"),
    ),
    (
        "idtokenctl check --service jupyterhub --user alice",
        After(
            "cp /etc/pam.d/sshd /etc/pam.d/jupyterhub
               echo 'services = [\"sshd\", \"jupyterhub\"]' >/etc/security/pam_idtoken.toml",
        ),
    ),
    (
        "journalctl SYSLOG_FACILITY=10 -p err | grep pam_idtoken",
        After(
            "echo 'lifetme = 3' >/etc/security/pam_idtoken.toml
             idtokenctl reconcile || rm /etc/security/pam_idtoken.toml",
        ),
    ),
    // Not for success.
    ("systemctl is-failed pam_idtoken-reconcile.service", Code(1)),
];

/// Programs of Enterprise Linux and Fedora, which were not run, as the guide says.
const ENTERPRISE_LINUX: &[&str] = &[
    "/usr/libexec/pam_idtoken/authselect-feature",
    "ausearch",
    "authselect-feature",
    "dnf",
    "runuser",
    "semanage",
    "semodule",
    "setsebool",
];

/// The way of a text.
pub fn of(text: &str) -> Option<Way> {
    let way = WAYS.iter().find(|(known, _)| *known == text);
    way.map(|(_, way)| *way)
}

/// Whether it is for hosts of Enterprise Linux alone: one of their programs, or a line that
/// authselect makes a line of a stack from.
pub fn is_of_enterprise_linux(text: &str) -> bool {
    let first = text.split(' ').next().unwrap_or_default();
    ENTERPRISE_LINUX.contains(&first) || text.contains("{include if ")
}

/// The whole command, where a sentence has only its end; with an editor that writes by itself.
pub fn whole(text: &str) -> String {
    let with = |before: &str| format!("idtokenctl {before}{text}");
    if let Some(unit) = text.strip_prefix("systemctl edit ") {
        return format!(
            "echo \"sed -i '2a [Unit]' \\${{@: -1}}\" >/root/editor
             export SYSTEMD_EDITOR='bash /root/editor'
             script -qec 'systemctl edit {unit}' /dev/null
             systemctl cat {unit} | grep override.conf"
        );
    }
    match text.split(' ').next() {
        Some("check" | "end" | "list" | "reconcile" | "verify") => with(""),
        Some("--since") => with("revoke-expr "),
        _ => text.to_owned(),
    }
}

/// Puts words in place of those that stand for something, where they are words.
pub fn fill(text: &str, stands_for: &[(&str, String)]) -> String {
    let is_part = |c: char| c.is_alphanumeric() || "_.-/".contains(c);
    let mut filled = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if is_part(c) {
            word.push(c);
            continue;
        }
        match stands_for.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => filled += value,
            None => filled += &word,
        }
        word.clear();
        filled.push(c);
    }
    filled.pop();
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::kind::pieces;
    use crate::documents::passages;

    #[test]
    fn every_exception_is_in_a_document() {
        let pieces: Vec<String> = passages()
            .iter()
            .flat_map(pieces)
            .map(|piece| piece.text)
            .collect();
        for (text, _) in WAYS {
            assert!(
                pieces.iter().any(|piece| piece == text),
                "{text} is in no document any more"
            );
        }
    }

    #[test]
    fn once_there_are_commands_of_enterprise_linux_each_program_is_in_one() {
        let texts: Vec<String> = passages()
            .iter()
            .flat_map(pieces)
            .map(|piece| piece.text)
            .filter(|text| is_of_enterprise_linux(text))
            .collect();
        let is_there = |program: &&&str| texts.iter().any(|text| text.starts_with(**program));
        let there = ENTERPRISE_LINUX.iter().filter(is_there).count();
        assert!(there == 0 || there == ENTERPRISE_LINUX.len(), "{texts:#?}");
    }

    #[test]
    fn words_are_filled_in_where_they_are_whole() {
        let stands_for = [("NAME", "alice".to_owned()), ("ID", "7".to_owned())];
        let filled = fill("x --user NAME ID.0 ~/NAME (ID)", &stands_for);
        assert_eq!(filled, "x --user alice ID.0 ~/NAME (7)");
    }
}
