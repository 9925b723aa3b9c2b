//! A configuration file. What is accepted can be shown, and what is shown reads as the same
//! configuration; within the bounds that keep a login safe.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use session::config::{Config, KEYS, Setting, TIMEOUT_MAX, TIMEOUT_MIN};

fuzz_target!(|text: &str| {
    let path = Path::new("/x.toml");
    let config = match Config::parse(text, path) {
        Ok(config) => config,
        Err(error) => {
            let error = error.to_string();
            assert!(
                error.starts_with("/x.toml") && error.ends_with("; correct the file"),
                "{error}"
            );
            assert!(!error.chars().any(char::is_control), "{error:?}");
            return;
        }
    };
    assert!((TIMEOUT_MIN..=TIMEOUT_MAX).contains(&config.timeout));
    assert!(!config.tables.is_empty() && config.tables.len() <= 64);
    assert!(config.shortest_lifetime() <= config.longest_lifetime());
    assert!(config.state_dir.is_absolute() && config.run_dir.is_absolute());
    for table in &config.tables {
        assert!(!table.token.kids.is_empty());
        assert!(
            table
                .token
                .scope
                .as_ref()
                .is_none_or(|scope| scope.iter().next().is_some())
        );
    }

    let settings = config.settings();
    assert_eq!(settings.len(), KEYS.len());
    let shown = shown(&config);
    let again = Config::parse(&shown, path).unwrap_or_else(|error| panic!("{error}:\n{shown}"));
    assert_eq!(values(&settings), values(&again.settings()));
    let tables = |config: &Config| -> Vec<_> {
        config
            .table_settings()
            .iter()
            .map(|table| values(table))
            .collect::<Vec<_>>()
    };
    assert_eq!(tables(&config), tables(&again));
    // Debug output is for a log: it has no line of its own.
    assert!(!format!("{config:?}").contains('\n'));
});

/// As `idtokenctl show-config` prints it.
fn shown(config: &Config) -> String {
    let mut text = String::new();
    let mut print = |settings: &[Setting]| {
        for setting in settings {
            if let Some(value) = &setting.value {
                text += &format!("{} = {value}  # from somewhere\n", setting.key);
            }
        }
    };
    print(&config.settings());
    let mut all = text;
    for table in config.table_settings() {
        all += "[[token]]\n";
        for setting in &table {
            if let Some(value) = &setting.value {
                all += &format!("{} = {value}\n", setting.key);
            }
        }
    }
    all
}

fn values(settings: &[Setting]) -> Vec<(&'static str, Option<String>)> {
    settings
        .iter()
        .map(|setting| (setting.key, setting.value.clone()))
        .collect()
}
