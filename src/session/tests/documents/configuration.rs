//! The configuration: what the example, the table of the README and every block say.

use std::path::Path;

use session::config::{Config, KEYS};

use crate::documents;

const EXAMPLE: &str = include_str!("../../../../docs/pam_idtoken.toml");
const README: &str = include_str!("../../../../README.md");

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

#[test]
fn the_example_can_be_used_with_everything_that_is_commented_out_in_it() {
    let keys: Vec<&str> = commented().collect();
    assert_eq!(keys.len(), KEYS.len());
    // One subject at a time, as its heading has it, then all of them.
    let subjects = EXAMPLE.split("\n\n").map(|subject| {
        let lines = subject.lines().filter_map(|line| line.strip_prefix('#'));
        lines.filter(|line| keys.contains(line)).collect::<Vec<_>>()
    });
    for lines in subjects.chain([keys.clone()]) {
        parse(&lines.join("\n"));
    }
    let tables = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#   "));
    let everything: Vec<&str> = keys.iter().copied().chain(tables).collect();
    assert_eq!(parse(&everything.join("\n")).tables.len(), 4);
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
