//! What the documents say is what the code does.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod configuration;
mod links;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// A path of the repository.
fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// The README and what is beside the example, each with its path.
fn documents() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root("docs")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    paths.sort();
    paths.push(root("README.md"));
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    paths.into_iter().map(read).collect()
}

fn document(name: &str) -> String {
    fs::read_to_string(root(name)).unwrap()
}

/// The rows of every table whose first column has this head, as cells.
fn rows(text: &str, head: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix('|') else {
            is_inside = false;
            continue;
        };
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        if is_inside && !cells[0].starts_with("---") {
            rows.push(cells);
        } else if cells[0].starts_with(head) {
            is_inside = true;
        }
    }
    rows
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The sources below a directory without their tests, with strings that go on in the next line
/// in one piece.
fn sources(dir: &Path, with_tests: bool, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if is_test && !with_tests {
            continue;
        }
        if path.is_dir() {
            sources(&path, with_tests, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = match text.split_once("#[cfg(test)]\nmod tests {") {
                Some((code, _)) if !with_tests => code,
                _ => &text,
            };
            let mut pieces = code.split("\\\n");
            all.push_str(pieces.next().unwrap_or_default());
            for piece in pieces {
                all.push_str(piece.trim_start());
            }
        }
    }
}
