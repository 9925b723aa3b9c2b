//! What the documents say about the configuration is what the code does.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

use std::path::Path;

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

#[test]
fn every_configuration_in_the_readme_can_be_used() {
    let mut blocks = vec![String::new()];
    for line in README.lines() {
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
    let is_configuration = |block: &&String| block.contains("[[token]]");
    let found: Vec<&String> = blocks.iter().filter(is_configuration).collect();
    assert!(found.len() >= 2, "{found:?}");
    for block in found {
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
