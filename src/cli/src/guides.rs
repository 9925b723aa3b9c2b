//! What the documents say of the command line is what it takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use crate::args::Args;

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
