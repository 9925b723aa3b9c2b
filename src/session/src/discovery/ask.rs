//! Asking condor_config_val.
//!
//! With `-config` it prints its sources on stdout, each behind a tab, files that
//! were included and files that are not there among them (`PrintConfigSources` in
//! condor_tools/config_val.cpp); what is a command ends with `|`. With `-macro`
//! it then prints each further argument with its macros expanded, and a macro
//! that is not defined is empty. One call gives both, from 9.0 to 25.14. Asking
//! for names instead would not do: undefined ones are told on stderr only, and a
//! value may have several lines.

use std::path::Path;

use super::{Source, Why, is_short, too_late};
use crate::child::{self, ChildError, Program};
use crate::deadline::Deadline;

/// What is asked for.
pub(super) const NAMES: [&str; 15] = [
    "CONDOR_VERSION",
    "TRUST_DOMAIN",
    "UID_DOMAIN",
    "COLLECTOR_HOST",
    "SEC_PASSWORD_DIRECTORY",
    "SEC_TOKEN_POOL_SIGNING_KEY_FILE",
    "SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD",
    "SEC_TOKEN_ISSUER_KEY",
    "SEC_TOKEN_DIRECTORY",
    "SEC_ISSUED_TOKEN_EXPIRATION",
    "SEC_TOKEN_MAX_AGE",
    "LOCAL_CONFIG_DIR_EXCLUDE_REGEXP",
    "LOCAL_CONFIG_DIR",
    "PERSISTENT_CONFIG_DIR",
    "TILDE",
];
/// What a value begins with, at the beginning of a line.
const MARK: &str = "pam_idtoken:";
/// The last thing that is asked for.
const END: &str = "end";
/// More than any pool's sources and the values need, in bytes.
const LIMIT: usize = 128 * 1024;

/// Where HTCondor looks for its first file (`find_file` in
/// condor_utils/condor_config.cpp), and what its idea of the host's name comes from.
const USUAL: [&str; 5] = [
    "/etc/condor/condor_config",
    "/usr/local/etc/condor_config",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
];

/// What the tool answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// A value for each of [`NAMES`]; empty if not defined.
    pub(super) values: Vec<String>,
    /// The files and directories they come from.
    pub(super) paths: Vec<String>,
    /// Whether something else had a part in it.
    pub(super) unwatched: bool,
}

/// The value of that name.
pub(super) fn value<'a>(values: &'a [String], name: &str) -> &'a str {
    let mut values = NAMES.iter().zip(values);
    let found = values.find(|(known, _)| **known == name);
    found.map_or("", |(_, value)| value)
}

/// Adds what has a part in every answer: the tool and the files where HTCondor
/// begins.
pub(super) fn add_usual(paths: &mut Vec<String>, source: &Source<'_>) {
    let own = [Some(source.tool), source.condor_config];
    let own = own
        .into_iter()
        .flatten()
        .map(|p| p.to_string_lossy().into_owned());
    for path in own.chain(USUAL.map(str::to_owned)) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
}

/// condor_config_val as it is asked: as this process's own user and with nothing of its environment;
/// more than `limit` bytes are no answer.
pub fn program<'a>(
    tool: &'a Path,
    condor_config: Option<&Path>,
    args: Vec<String>,
    limit: usize,
) -> Program<'a> {
    let mut env = vec![("PATH", "/usr/bin:/bin".to_owned())];
    if let Some(path) = condor_config {
        env.push(("CONDOR_CONFIG", path.to_string_lossy().into_owned()));
    }
    Program {
        path: tool,
        args,
        env,
        user: None,
        limit,
    }
}

/// Asks once.
pub(super) fn ask(source: &Source<'_>, deadline: Deadline) -> Result<Asked, Why> {
    let mut args: Vec<String> = ["-subsystem", "SCHEDD", "-config", "-macro"]
        .map(str::to_owned)
        .into();
    args.extend(NAMES.map(|name| format!("{MARK}{name}=$({name})")));
    args.push(format!("{MARK}{END}"));
    let program = program(source.tool, source.condor_config, args, LIMIT);
    let in_time = !is_short(deadline);
    let said = child::run(&program, deadline.from_now()).map_err(|e| match e {
        ChildError::Deadline { .. } if !in_time => too_late(),
        e => e.into(),
    })?;
    let tool = source.tool.display();
    if !said.status.success() {
        let first = said
            .stderr
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty());
        return Err(Why::Broken(format!(
            "{tool} ended with {} and said: {}; run it by hand and correct HTCondor's \
             configuration",
            said.status,
            first.unwrap_or("nothing"),
        )));
    }
    parse(&String::from_utf8_lossy(&said.stdout)).ok_or_else(|| {
        Why::Broken(format!(
            "{tool} printed something else than it was asked for; is it HTCondor's?"
        ))
    })
}

/// Takes sources and values apart; none if anything is not where it has to be.
pub(super) fn parse(text: &str) -> Option<Asked> {
    let mut values = Vec::with_capacity(NAMES.len());
    // Every mark is at the beginning of a line, so a first line is needed.
    let text = format!("\n{text}");
    let mark = format!("\n{MARK}");
    let mut parts = text.split(mark.as_str());
    let sources = parts.next()?;
    for name in NAMES {
        let value = parts.next()?.strip_prefix(name)?.strip_prefix('=')?;
        values.push(value.trim().to_owned());
    }
    if parts.next()?.trim_end() != END || parts.next().is_some() {
        return None;
    }
    let mut paths = Vec::new();
    let mut unwatched = false;
    for source in sources.lines().map(str::trim).filter(|s| !s.is_empty()) {
        // The second is what stands for bytes that are not UTF-8.
        if source.ends_with('|') || source.contains('\u{FFFD}') {
            unwatched = true;
        } else {
            paths.push(from_root(source));
        }
    }
    let list = |name: &str| value(&values, name);
    let separators = |c: char| c == ',' || c.is_whitespace();
    for name in ["LOCAL_CONFIG_DIR", "PERSISTENT_CONFIG_DIR"] {
        let dirs = list(name).split(separators).filter(|dir| !dir.is_empty());
        paths.extend(dirs.map(from_root));
    }
    // condor's home is the last place where HTCondor looks for its first file.
    if list("TILDE").starts_with('/') {
        paths.push(format!("{}/condor_config", list("TILDE")));
    }
    Some(Asked {
        values,
        paths,
        unwatched,
    })
}

/// The tool runs in `/`.
fn from_root(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(sources: &str, value: impl Fn(&str) -> String) -> String {
        let line = |name: &str| format!("{MARK}{name}={}\n", value(name));
        let values: Vec<_> = NAMES.into_iter().map(line).collect();
        format!("{sources}{}{MARK}{END}\n", values.concat())
    }

    #[test]
    fn sources_and_values_are_told_apart_whatever_a_value_holds() {
        let sources = "\t/etc/condor/condor_config\n\t/c/a b\n\techo A=1 |\n\trelative\n";
        let asked = parse(&printed(sources, |name| match name {
            "TRUST_DOMAIN" => "a\nUID_DOMAIN=spoof\nNot defined: X".into(),
            "UID_DOMAIN" => " lab.test ".into(),
            "LOCAL_CONFIG_DIR" => "/d1, /d2".into(),
            "TILDE" => "/var/lib/condor".into(),
            _ => String::new(),
        }))
        .unwrap();
        assert_eq!(
            value(&asked.values, "TRUST_DOMAIN"),
            "a\nUID_DOMAIN=spoof\nNot defined: X"
        );
        assert_eq!(value(&asked.values, "UID_DOMAIN"), "lab.test");
        assert_eq!(value(&asked.values, "SEC_TOKEN_MAX_AGE"), "");
        let paths = [
            "/etc/condor/condor_config",
            "/c/a b",
            "/relative",
            "/d1",
            "/d2",
            "/var/lib/condor/condor_config",
        ];
        assert_eq!(asked.paths, paths);
        assert!(asked.unwatched);
        assert!(
            !parse(&printed("\t/a\n", |_| String::new()))
                .unwrap()
                .unwatched
        );
        assert!(
            parse(&printed("", |_| String::new()))
                .unwrap()
                .paths
                .is_empty()
        );
    }

    #[test]
    fn an_answer_that_is_not_to_the_question_is_none() {
        let good = printed("\t/a\n", |_| String::new());
        let forged = |name: &str| match name {
            "UID_DOMAIN" => format!("a\n{MARK}COLLECTOR_HOST=b"),
            _ => String::new(),
        };
        let twice = format!("{good}{good}");
        let cut = &good[..good.len() - 5];
        for bad in ["", "lab.test\n", cut, &twice, &printed("", forged)] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn a_value_comes_out_as_it_went_in(value in "[ -~\n]{0,40}") {
            prop_assume!(!value.contains(MARK));
            let asked = parse(&printed("", |_| value.clone())).unwrap();
            prop_assert!(asked.values.iter().all(|v| v == value.trim()));
        }
    }
}
