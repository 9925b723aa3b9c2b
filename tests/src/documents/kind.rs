//! What a passage is, and with it what has to be done with it.

use super::Passage;
use super::ways::{self, Way};
use super::words;

/// What a piece of a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Typed into a shell.
    Shell,
    /// The module's configuration, or a key of it.
    Toml,
    /// A line of a stack in /etc/pam.d, or the end of one.
    Pam,
    /// A line of a crontab with a user.
    Cron,
    /// A line of the module in the log.
    Log,
    /// An object that idtokenctl prints or the audit has.
    Json,
    /// A drop-in of a unit of systemd.
    Unit,
    /// A setting of sshd_config.
    Sshd,
    /// A setting of HTCondor.
    Condor,
    /// What a program says, or the name of a test: quoted, and compared with the code.
    Words,
    /// Nothing that is typed or written anywhere, for the reason in [`ways`].
    Excepted,
}

/// A piece of a passage that is run, parsed or compared by itself.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Where it is from.
    pub passage: Passage,
    /// What it is; nobody knows if it is none.
    pub kind: Option<Kind>,
    /// What it says.
    pub text: String,
}

/// The programs that the documents tell a reader to run, and HTCondor's.
const PROGRAMS: &[&str] = &[
    ".ci/run",
    "apt",
    "apt-get",
    "cargo",
    "chmod",
    "chown",
    "cp",
    "dpkg",
    "grep",
    "idtokenctl",
    "install",
    "jq",
    "journalctl",
    "ls",
    "make",
    "man",
    "pam-auth-update",
    "rm",
    "sha256sum",
    "ssh",
    "systemctl",
    "systemd-run",
];

/// The pieces of a passage: a configuration is one, and a drop-in; of all else each line is.
pub fn pieces(passage: &Passage) -> Vec<Piece> {
    let piece = |kind, text: &str| Piece {
        passage: passage.clone(),
        kind,
        text: text.to_owned(),
    };
    if is_toml(&passage.text) {
        return vec![piece(Some(Kind::Toml), &passage.text)];
    }
    if is_of_a_unit(&passage.text) {
        return vec![piece(Some(Kind::Unit), &passage.text)];
    }
    let lines = passage.text.replace("\\\n", "");
    let lines = lines.lines().filter(|line| !is_explanation(line));
    lines
        .map(|line| {
            let text = typed(line);
            piece(kind(passage, &text), &text)
        })
        .collect()
}

/// A comment, or what stands behind the line above it.
fn is_explanation(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with("        ")
}

/// A line without the explanation behind it.
fn typed(line: &str) -> String {
    let is_shell = line.split(' ').next().is_some_and(is_program);
    let end = if is_shell { line.find("  ") } else { None };
    line[..end.unwrap_or(line.len())].trim().to_owned()
}

fn kind(passage: &Passage, text: &str) -> Option<Kind> {
    let is_in = |columns: &[&str]| {
        let column = passage.column.as_deref().unwrap_or_default();
        columns.iter().any(|head| column.starts_with(head))
    };
    // Ring 1 compares these columns with the code, word by word.
    if is_in(&["message", "line in the log", "shown by"]) {
        return Some(Kind::Words);
    }
    match ways::of(text) {
        Some(Way::Not(_)) => return Some(Kind::Excepted),
        Some(_) => return Some(Kind::Shell),
        None if ways::is_of_enterprise_linux(text) => return Some(Kind::Excepted),
        None => {}
    }
    let first = text.split(' ').find(|word| !is_variable(word))?;
    match text {
        _ if is_toml(text) => Some(Kind::Toml),
        _ if text.starts_with("session ") || text.starts_with("pam_idtoken.so ") => Some(Kind::Pam),
        _ if text.starts_with('[') && text.ends_with(']') && text.contains('=') => Some(Kind::Pam),
        _ if text.starts_with("* ") => Some(Kind::Cron),
        _ if text.starts_with("pam_idtoken(") => Some(Kind::Log),
        _ if text.starts_with("{\"") => Some(Kind::Json),
        _ if is_program(first) || is_the_end_of_a_command(text) => Some(Kind::Shell),
        _ if is_setting_of_sshd(text) => Some(Kind::Sshd),
        _ if is_setting_of_condor(text) => Some(Kind::Condor),
        _ if words::are_said(text) || words::name_a_test(text) => Some(Kind::Words),
        _ => None,
    }
}

fn is_program(word: &str) -> bool {
    PROGRAMS.contains(&word) || word.starts_with("condor_") && is_name(word)
}

/// `list --json`, `--since 2h`: see [`ways::whole`].
fn is_the_end_of_a_command(text: &str) -> bool {
    text.contains("--") && ways::whole(text) != text
}

fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// `NAME=value` in front of a command.
fn is_variable(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// Whether the first line is a table, or a key with a value.
fn is_toml(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        let key = line.split_once(" = ").map(|(key, _)| key);
        line == "[[token]]" || key.is_some_and(is_name)
    })
}

/// Whether it begins with a section that a unit of systemd may have.
fn is_of_a_unit(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    ["[Service]", "[Path]", "[Timer]", "[Mount]"].contains(&first)
}

/// `UsePAM yes`: a word in mixed case and its value.
fn is_setting_of_sshd(text: &str) -> bool {
    let Some((name, value)) = text.split_once(' ') else {
        return false;
    };
    let is_mixed = name.chars().all(|c| c.is_ascii_alphabetic())
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.contains(|c: char| c.is_ascii_lowercase());
    is_mixed && !value.contains(' ')
}

/// `USER_CONFIG_FILE =`.
fn is_setting_of_condor(text: &str) -> bool {
    let name = text.split(" =").next().unwrap_or_default();
    text.contains(" =") && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::passages;

    fn kinds(text: &str) -> Vec<(Option<Kind>, String)> {
        let passage = Passage {
            text: text.to_owned(),
            ..Passage::default()
        };
        let pieces = pieces(&passage).into_iter();
        pieces.map(|piece| (piece.kind, piece.text)).collect()
    }

    #[test]
    fn nothing_is_in_the_documents_that_nobody_knows() {
        let passages = passages();
        assert!(passages.len() > 100, "{}", passages.len());
        let pieces = passages.iter().flat_map(pieces);
        let unknown: Vec<String> = pieces
            .filter(|piece| piece.kind.is_none())
            .map(|piece| format!("{}: {}", piece.passage.place(), piece.text))
            .collect();
        assert!(
            unknown.is_empty(),
            "this is neither a command, nor configuration, nor what a program says. If it is \
             typed, name its program in PROGRAMS of {}, and it will be run; else give the reason \
             in WAYS of ways.rs:\n{}",
            file!(),
            unknown.join("\n")
        );
    }

    #[test]
    fn an_unknown_program_a_wrong_key_and_a_message_nobody_says_are_found_out() {
        let none = [
            "frobnicate --all",
            "no token for: the moon is full",
            "zypper remove x",
        ];
        for text in none {
            assert_eq!(kinds(text), [(None, text.to_owned())]);
        }
        // The parser says that it is none.
        assert_eq!(kinds("lifetme = 3")[0].0, Some(Kind::Toml));
    }

    #[test]
    fn a_line_is_what_it_looks_like() {
        for (text, kind) in [
            ("[[token]]\n\nname = \"x\"", Kind::Toml),
            ("[Service]\nPrivateIPC=no", Kind::Unit),
            ("session    optional     pam_idtoken.so", Kind::Pam),
            ("* * * * * root /bin/true", Kind::Cron),
            ("_CONDOR_X=1 condor_ping READ", Kind::Shell),
            ("list --json", Kind::Shell),
            ("UsePAM yes", Kind::Sshd),
            ("USER_CONFIG_FILE =", Kind::Condor),
            ("This host is ready.", Kind::Words),
        ] {
            assert_eq!(kinds(text), [(Some(kind), text.to_owned())]);
        }
    }

    #[test]
    fn the_pages_for_users_show_the_same_in_both_languages() {
        let shown = |document: &str| -> Vec<String> {
            let passages = passages().into_iter();
            let here = passages.filter(|passage| passage.document == document);
            here.map(|passage| passage.text).collect()
        };
        let english = shown("docs/users.en.md");
        assert!(english.len() > 6, "{english:?}");
        assert_eq!(english, shown("docs/users.fr.md"));
    }

    #[test]
    fn what_explains_a_line_is_not_typed() {
        let text = "idtokenctl list  # all\nidtokenctl check [--user NAME]\n\
                    \x20                                  is it ready?\n# so\nmake lint     # x\n";
        let typed: Vec<String> = kinds(text).into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            typed,
            [
                "idtokenctl list",
                "idtokenctl check [--user NAME]",
                "make lint"
            ]
        );
    }
}
