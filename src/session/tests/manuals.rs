//! What the manual pages say of module and configuration is what the code does.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use session::close::VARIABLE;
use session::config::{Arguments, Config, DEFAULT_FILE, KEYS, MATCH_KEYS, TOKEN_KEYS};

const MODULE_PAGE: &str = include_str!("../../../packaging/man/pam_idtoken.8");
const FILE_PAGE: &str = include_str!("../../../packaging/man/pam_idtoken.toml.5");
const MODULE: &str = include_str!("../../pam/src/module.rs");

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new(DEFAULT_FILE)).unwrap()
}

fn values(config: &Config) -> Vec<(&'static str, Option<String>)> {
    let settings = config.settings().into_iter();
    settings
        .map(|setting| (setting.key, setting.value))
        .collect()
}

/// What a reader sees of a line, as far as these pages use roff.
fn plain(line: &str) -> String {
    let text = [
        ("\\(dq", "\""),
        ("\\-", "-"),
        ("\\fB", ""),
        ("\\fP", ""),
        ("\\fR", ""),
    ]
    .iter()
    .fold(line.to_owned(), |text, (roff, seen)| {
        text.replace(roff, seen)
    });
    assert!(!text.contains('\\'), "{line} is not known here");
    text
}

/// The lines of a section, or of a subsection, by its heading.
fn section(page: &'static str, heading: &str) -> Vec<&'static str> {
    let is_heading = |line: &&str| line.starts_with(".SH ") || line.starts_with(".SS ");
    let mut lines = page.lines();
    lines
        .find(|line| is_heading(line) && line[4..] == *heading)
        .unwrap();
    lines.take_while(|line| !is_heading(line)).collect()
}

/// What a section documents: the line behind each `.TP`.
fn entries(page: &'static str, heading: &str) -> Vec<String> {
    let lines = section(page, heading);
    let pairs = lines.windows(2).filter(|pair| pair[0] == ".TP");
    let heads = pairs.map(|pair| {
        let macros = [".B ", ".I "];
        plain(
            macros
                .iter()
                .find_map(|name| pair[1].strip_prefix(name))
                .unwrap(),
        )
    });
    heads.collect()
}

/// The keys of such entries, without their defaults.
fn keys(page: &'static str, heading: &str) -> Vec<String> {
    let entries = entries(page, heading).into_iter();
    entries
        .map(|entry| entry.split(" = ").next().unwrap().to_owned())
        .collect()
}

/// The blocks of a section that are shown as they are typed.
fn examples(page: &'static str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = section(page, "EXAMPLES").into_iter();
    while lines.any(|line| line == ".EX") {
        let block: Vec<String> = lines
            .by_ref()
            .take_while(|line| *line != ".EE")
            .map(plain)
            .collect();
        found.push(block.join("\n"));
    }
    found
}

#[test]
fn every_key_is_documented_once_and_no_other() {
    let tables = keys(FILE_PAGE, "The token");
    assert_eq!(tables, TOKEN_KEYS);
    let parts = ["Who is served", "The token", "The session"];
    let all: Vec<String> = parts
        .iter()
        .flat_map(|part| keys(FILE_PAGE, part))
        .collect();
    let (mut all, mut known): (Vec<&str>, Vec<&str>) = (
        all.iter().map(String::as_str).collect(),
        KEYS.iter().map(|(key, _)| *key).collect(),
    );
    all.sort_unstable();
    known.sort_unstable();
    assert_eq!(all, known);
    let own: Vec<&str> = MATCH_KEYS.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys(FILE_PAGE, "TABLES"), own);
}

#[test]
fn every_default_is_the_one_that_holds() {
    let defaults = values(&parse(""));
    let parts = ["Who is served", "The token", "The session"];
    for entry in parts.iter().flat_map(|part| entries(FILE_PAGE, part)) {
        let key = entry.split(" = ").next().unwrap();
        let (_, default) = defaults.iter().find(|(name, _)| *name == key).unwrap();
        assert_eq!(entry.contains(" = "), default.is_some(), "{entry}");
        if default.is_some() {
            assert_eq!(values(&parse(&entry)), defaults, "{entry}");
        }
    }
}

#[test]
fn every_example_of_a_configuration_can_be_used() {
    let examples = examples(FILE_PAGE);
    assert!(examples.len() >= 4, "{examples:?}");
    let plain = values(&parse(""));
    for example in &examples {
        let config = parse(example);
        assert!(
            config.tables.len() > 1 || values(&config) != plain,
            "{example}"
        );
    }
}

#[test]
fn every_argument_of_the_module_page_has_a_meaning() {
    let listed = entries(MODULE_PAGE, "OPTIONS");
    let lines = examples(MODULE_PAGE);
    let lines = lines
        .iter()
        .filter_map(|line| line.split_once("pam_idtoken.so"));
    let shown: Vec<&str> = lines.map(|(_, arguments)| arguments.trim()).collect();
    assert!(
        shown.len() >= 3 && listed.len() >= 3,
        "{shown:?} {listed:?}"
    );
    for line in shown.into_iter().chain(listed.iter().map(String::as_str)) {
        // In brackets blanks are part of an argument; it is the last one in these lines.
        let (words, last) = line.split_once('[').unwrap_or((line, ""));
        let last = last.trim_end_matches(']');
        let words = words.split_whitespace();
        let words = words.chain(Some(last).filter(|last| !last.is_empty()));
        let given: Vec<&str> = words.filter(|word| !word.starts_with("config=")).collect();
        let arguments = Arguments::parse(&given);
        assert_eq!(arguments.unknown, [""; 0], "{line}");
        // A value that can not be used changes nothing.
        let is_set = arguments.debug
            || values(&Config::fallback(&arguments)) != values(&parse(""))
            || given.is_empty();
        assert!(is_set, "{line}");
    }
}

#[test]
fn the_module_page_names_every_code_that_the_module_answers_with() {
    let listed = entries(MODULE_PAGE, "RETURN VALUES");
    // Of the types that the module leaves to its bindings.
    let mut codes = vec!["PAM_IGNORE"];
    for after in MODULE.split("PamResultCode::").skip(1) {
        let end = after.find(|c: char| !c.is_ascii_uppercase() && c != '_');
        let code = &after[..end.unwrap_or(after.len())];
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes.sort_unstable();
    let mut sorted: Vec<&str> = listed.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, codes);
}

#[test]
fn the_module_page_names_the_files_and_the_variable() {
    let files = entries(MODULE_PAGE, "FILES");
    let defaults = parse("");
    let has = |start: &Path| {
        files
            .iter()
            .any(|file| file.starts_with(start.to_str().unwrap()))
    };
    for place in [
        Path::new(DEFAULT_FILE),
        &defaults.state_dir,
        &defaults.run_dir,
        &defaults.token.password_directory,
    ] {
        assert!(has(place), "{} is not in {files:?}", place.display());
    }
    let variables = entries(MODULE_PAGE, "ENVIRONMENT");
    assert_eq!(variables, [VARIABLE, "SSH_AUTH_INFO_0"]);
}

#[test]
fn both_pages_are_of_this_version() {
    for page in [MODULE_PAGE, FILE_PAGE] {
        let source = concat!("\"pam_idtoken ", env!("CARGO_PKG_VERSION"), "\"");
        assert!(page.lines().next().unwrap().contains(source));
    }
}
