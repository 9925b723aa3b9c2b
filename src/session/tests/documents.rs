//! What the documents say about the configuration is what the code does.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use session::audit::{Entry, Event};
use session::config::{Config, KEYS};

const EXAMPLE: &str = include_str!("../../../docs/pam_idtoken.toml");
const README: &str = include_str!("../../../README.md");

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("/etc/security/pam_idtoken.toml")).unwrap()
}

fn values(config: &Config) -> Vec<(&'static str, Option<String>)> {
    config
        .settings()
        .into_iter()
        .map(|setting| (setting.key, setting.value))
        .collect()
}

/// The lines of the example that are keys behind a comment sign.
fn commented() -> impl Iterator<Item = &'static str> {
    EXAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| {
            line.split_once(" = ")
                .is_some_and(|(key, _)| KEYS.iter().any(|(name, _)| *name == key))
        })
}

#[test]
fn the_example_can_be_used_as_it_is() {
    assert_eq!(values(&parse(EXAMPLE)), values(&parse("")));
}

#[test]
fn the_tables_of_the_example_can_be_used() {
    let tables: Vec<&str> = EXAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .collect();
    let config = parse(&tables.join("\n"));
    let names: Vec<Option<&str>> = config.tables.iter().map(|t| t.name.as_deref()).collect();
    assert_eq!(names, [None, None, None, Some("other")]);
    assert_eq!(config.tables[2].token.lifetime_of(false).as_secs(), 7200);
    let other = &config.tables[3].token;
    assert_eq!(other.issuer_name().unwrap().as_str(), "pool.other.org");
}

#[test]
fn the_example_names_every_key() {
    let named: Vec<&str> = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with("# "))
        .filter_map(|line| line.trim_start_matches('#').split_once(" = "))
        .map(|(key, _)| key)
        .collect();
    for (key, _) in KEYS {
        assert_eq!(named.iter().filter(|name| *name == key).count(), 1, "{key}");
    }
    assert_eq!(named.len(), KEYS.len());
}

#[test]
fn what_is_commented_out_in_the_example_is_the_default() {
    let plain = values(&parse(EXAMPLE));
    for line in commented() {
        let spelled_out = values(&parse(&format!("{EXAMPLE}\n{line}\n")));
        // What has no default, or has it from HTCondor, is shown with a value.
        if line.contains("# default: ") {
            assert_ne!(spelled_out, plain);
        } else {
            assert_eq!(spelled_out, plain, "{line}");
        }
    }
}

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

/// The indented blocks of a document.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(line) => {
                if let Some(block) = blocks.last_mut() {
                    *block += line;
                    block.push('\n');
                }
            }
            None if line.is_empty() => {
                if let Some(block) = blocks.last_mut() {
                    block.push('\n');
                }
            }
            None => blocks.push(String::new()),
        }
    }
    blocks
}

/// Whether a block is a configuration, by its first line.
fn is_configuration(block: &str) -> bool {
    let first = block.trim_start().lines().next().unwrap_or_default();
    let key = first.split(" = ").next().unwrap_or_default();
    first == "[[token]]" || first.contains(" = ") && KEYS.iter().any(|(name, _)| *name == key)
}

#[test]
fn every_configuration_in_the_documents_can_be_used() {
    let mut found = 0;
    for (path, text) in documents() {
        for block in blocks(&text).iter().filter(|block| is_configuration(block)) {
            found += 1;
            if let Err(error) = Config::parse(block, &path) {
                panic!("{error}: {block}");
            }
        }
    }
    assert!(found >= 6, "{found}");
    let with_tables = blocks(README);
    let with_tables = with_tables
        .iter()
        .filter(|block| block.contains("[[token]]"));
    let with_tables: Vec<&String> = with_tables.collect();
    assert!(with_tables.len() >= 2, "{with_tables:?}");
    for block in with_tables {
        assert!(!parse(block).tables.is_empty());
    }
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

/// So short a piece of a message proves nothing.
const SHORTEST: usize = 8;

/// The pieces of a quoted message that have to be in the sources: `...` stands for what
/// differs, and the rest may be put together from several strings.
fn missing_in(code: &str, message: &str) -> Vec<String> {
    let is_there = |piece: &str| piece.len() < SHORTEST || code.contains(piece);
    let trimmed = |piece: &str| {
        let piece = piece.trim_matches([' ', ':', ',', ';', '.']);
        piece.strip_prefix("could not ").unwrap_or(piece).to_owned()
    };
    let mut missing = Vec::new();
    for piece in message.split("...").map(trimmed) {
        if !is_there(&piece) {
            let parts = piece.split(": ").flat_map(|part| part.split("; "));
            missing.extend(parts.map(trimmed).filter(|part| !is_there(part)));
        }
    }
    missing
}

#[test]
fn every_message_in_the_documents_is_one_of_the_code() {
    let mut code = String::new();
    sources(&root("src"), false, &mut code);
    assert!(missing_in(&code, "no token for").is_empty());
    assert_eq!(
        missing_in(&code, "no token for: the moon is full").len(),
        1,
        "a message that nobody says is found out"
    );
    let mut found = 0;
    for (path, text) in documents() {
        let in_tables = rows(&text, "message")
            .into_iter()
            .chain(rows(&text, "line"));
        let in_tables = in_tables.map(|cells| {
            let message = quoted(&cells[0]).next().map(str::to_owned);
            message.unwrap_or_else(|| panic!("{}: {cells:?}", path.display()))
        });
        let on_terminal = text.lines().filter_map(|line| line.strip_prefix("    "));
        let on_terminal = on_terminal.filter(|line| line.starts_with("HTCondor: "));
        for message in in_tables.chain(on_terminal.map(str::to_owned)) {
            found += 1;
            let missing = missing_in(&code, &message);
            assert!(
                missing.is_empty() && message.len() >= SHORTEST,
                "{}: nobody says {missing:?} of {message:?}",
                path.display()
            );
        }
    }
    assert!(found >= 70, "{found}");
}

#[test]
fn the_events_are_said_in_the_words_of_the_guide() {
    let guide = document("docs/admin.md");
    let rows = rows(&guide, "line in the log");
    assert_eq!(rows.len(), 10);
    for cells in rows {
        let words = quoted(&cells[0]).next().unwrap();
        let event = format!("\"{}\"", quoted(&cells[1]).next().unwrap());
        let event: Event = serde_json::from_str(&event).unwrap();
        assert_eq!(event.words(), words);
    }
}

#[test]
fn the_line_of_the_audit_in_the_guide_is_one() {
    let guide = document("docs/admin.md");
    let mut lines = guide.lines().map(str::trim);
    let line = lines.find(|line| line.starts_with("{\"time\"")).unwrap();
    let entry: Entry = serde_json::from_str(line).unwrap();
    assert_eq!(serde_json::to_string(&entry).unwrap(), line);
    let fields = rows(&guide, "field");
    let fields: Vec<&str> = fields.iter().flat_map(|cells| quoted(&cells[0])).collect();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    for key in value.as_object().unwrap().keys() {
        assert!(fields.contains(&key.as_str()), "{key}");
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let mut code = String::new();
    for dir in ["src", "tests/ring2", "tests/ring3"] {
        sources(&root(dir), true, &mut code);
    }
    let model = document("docs/THREAT-MODEL.md");
    let rows = rows(&model, "invariant");
    assert_eq!(rows.len(), 8);
    for cells in rows {
        let names: Vec<&str> = quoted(&cells[2]).collect();
        assert!(names.len() >= 3, "{cells:?}");
        for name in names {
            let is_there =
                code.contains(&format!("\"{name}\"")) || code.contains(&format!("fn {name}()"));
            assert!(is_there, "{name}");
        }
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut found = 0;
    for (path, text) in documents() {
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            found += 1;
            let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            let there = fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {target}: {error}", path.display()));
            let mut headings = there.lines().filter(|line| line.starts_with('#'));
            let is_there = wanted.is_empty() || headings.any(|line| anchor(line) == wanted);
            assert!(is_there, "{}: {target}", path.display());
        }
    }
    assert!(found >= 20, "{found}");
}

#[test]
fn the_table_of_the_readme_has_every_key_and_its_default() {
    let defaults = values(&parse(""));
    for (key, default) in defaults {
        let quoted = format!("`{key}`");
        let row = README
            .lines()
            .find(|line| {
                line.split('|')
                    .nth(1)
                    .is_some_and(|cell| cell.contains(&quoted))
            })
            .unwrap_or_else(|| panic!("{key} is not in the table"));
        let shown = row.split('|').nth(2).unwrap().trim().trim_matches('`');
        // A default in words is another key's, or none.
        if row.split('|').nth(2).unwrap().contains('`') && !shown.contains('`') {
            let spelled_out = values(&parse(&format!("{key} = {shown}")));
            let value = spelled_out
                .into_iter()
                .find(|(name, _)| *name == key)
                .unwrap()
                .1;
            assert_eq!(value, default, "{key}");
        }
    }
}
