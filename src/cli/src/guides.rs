//! What the documents say of the command line is what it takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use crate::args::Args;
use crate::check::finding::{Finding, Id};
use crate::check::report::{Report, VERSION};

/// README and docs, each with its name.
pub(crate) fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    paths.push(root.join("README.md"));
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    paths.into_iter().map(read).collect()
}

/// The commands of a text: what stands behind `idtokenctl` in a line of code or between
/// backticks.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for line in text.lines() {
        let spans: Vec<&str> = match line.strip_prefix("    ") {
            Some(code) => vec![code],
            None => line.split('`').skip(1).step_by(2).collect(),
        };
        for span in spans {
            let Some((before, command)) = span.split_once("idtokenctl ") else {
                continue;
            };
            // A table of the shell or of cron, not a word in a sentence or a line of the log.
            if before.is_empty() || before.ends_with('/') {
                let ends = ["  ", " >", " | ", " #"];
                let end = ends.iter().filter_map(|end| command.find(end)).min();
                commands.push(command[..end.unwrap_or(command.len())].to_owned());
            }
        }
    }
    commands
}

/// The words of a command, with an example for each place that is to be filled in.
fn words(command: &str) -> Vec<String> {
    let plain = command.replace(['[', ']'], "");
    let word = |word: &str| match word {
        "SESSION" | "ID" => "0123456789abcdef".to_owned(),
        "WHEN" => "2h".to_owned(),
        other => other.to_owned(),
    };
    plain.split_whitespace().map(word).collect()
}

#[test]
fn every_command_in_the_documents_is_one() {
    let mut found = 0;
    for (path, text) in documents() {
        for command in commands(&text) {
            let words = words(&command);
            found += 1;
            // One word names a subcommand, whatever else that takes.
            if let [name] = &words[..]
                && Args::command().find_subcommand(name).is_some()
            {
                continue;
            }
            let line = ["idtokenctl".to_owned()].into_iter().chain(words);
            if let Err(error) = Args::try_parse_from(line) {
                let is_answer = error.exit_code() == 0;
                assert!(is_answer, "{}: {command}: {error}", path.display());
            }
        }
    }
    assert!(found >= 25, "{found}");
}

#[test]
fn a_command_that_is_none_is_found_out() {
    let text = "    idtokenctl lst  # all\n`idtokenctl end --user NAME` and `see idtokenctl x`";
    assert_eq!(commands(text), ["lst", "end --user NAME"]);
    assert!(Args::try_parse_from(["idtokenctl", "lst"]).is_err());
}

/// What stands between the first backticks of each row of the guide's table with this head.
fn first_column(head: &str) -> Vec<String> {
    let (_, text) = documents()
        .into_iter()
        .find(|(path, _)| path.ends_with("docs/admin.md"))
        .unwrap();
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with(head))
        .skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cell = |row: &str| row.split('`').nth(1).unwrap().to_owned();
    rows.map(cell).collect()
}

#[test]
fn the_guide_lists_every_finding_of_check() {
    let ids: Vec<&str> = Id::ALL.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(first_column("| id of a finding |"), ids);
}

#[test]
fn every_finding_is_one_that_check_can_have() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut code = fs::read_to_string(dir.join("check.rs")).unwrap();
    let mut dirs = vec![dir.join("check")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let text = fs::read_to_string(path).unwrap();
                code.push_str(text.split("#[cfg(test)]\nmod tests").next().unwrap());
            }
        }
    }
    for (id, name) in Id::ALL {
        let used = [",", ")", ";"].map(|end| format!("Id::{name}{end}"));
        let is_used = used.iter().any(|used| code.contains(used));
        assert!(is_used, "{} is never found", id.as_str());
    }
}

#[test]
fn the_guide_names_every_field_of_the_report_of_check() {
    let args = Args::parse_from(["idtokenctl", "check", "--json"]);
    let crate::args::Command::Check(options) = &args.command else {
        unreachable!();
    };
    let findings = [Finding::ok(Id::Clock, "x")];
    let report = Report::new(&args, options, "ap1".into(), 7, &findings);
    let value = serde_json::to_value(&report).unwrap();
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    for (head, value) in [
        ("| field of the report |", &value),
        ("| field of a finding |", &value["findings"][0]),
    ] {
        let mut named = first_column(head);
        named.sort();
        assert_eq!(named, keys(value), "{head}");
    }
    assert_eq!(value["version"], VERSION);
}
