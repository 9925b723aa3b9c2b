//! The arguments of a PAM line, one a line, and behind an empty line a configuration file. What an
//! argument says is what the same key says in a file; it is stronger than the file, and spoils
//! nothing that it does not name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use session::config::{Arguments, Config, KEYS, Origin, Setting, fuzz};

fuzz_target!(|input: &str| {
    let (line, file) = input.split_once("\n\n").unwrap_or((input, ""));
    let words: Vec<&str> = line.lines().collect();
    let arguments = Arguments::parse(&words);
    assert_eq!(arguments.debug, words.contains(&"debug"));
    assert!(
        arguments
            .config
            .as_ref()
            .is_none_or(|path| path.is_absolute())
    );
    for unknown in &arguments.unknown {
        let key = unknown.split_once('=').map(|(key, _)| key);
        assert!(
            key.is_none_or(|key| key != "config" && KEYS.iter().all(|(known, _)| *known != key))
        );
    }

    // With a file that can not be used a login is judged by these.
    let fallback = Config::fallback(&arguments);
    let settings = fallback.settings();
    if let Some(choice) = arguments.on_failure() {
        assert_eq!(fallback.on_failure, choice);
    }
    for setting in &settings {
        let is_named = words.iter().any(|word| {
            let key = word.split_once('=').map_or("", |(key, _)| key);
            let goes_along = setting.key == "pool_signing_key_file" && key == "password_directory";
            key == setting.key || goes_along
        });
        assert!(is_named || setting.origin == Origin::Default);
        assert!(setting.origin == Origin::Default || setting.origin == Origin::Argument);
    }
    let twice = Arguments::parse(words.iter().chain(&words));
    assert_eq!(
        values(&Config::fallback(&twice).settings()),
        values(&settings)
    );

    let as_file: String = settings
        .iter()
        .filter(|setting| setting.origin == Origin::Argument)
        .filter_map(|setting| Some(format!("{} = {}\n", setting.key, setting.value.as_ref()?)))
        .collect();
    let by_file = fuzz::load(&Arguments::default(), &as_file)
        .unwrap_or_else(|error| panic!("{error}:\n{as_file}"));
    assert_eq!(values(&by_file.settings()), values(&settings));

    let Ok(alone) = fuzz::load(&Arguments::default(), file) else {
        assert!(fuzz::load(&arguments, file).is_err());
        return;
    };
    if let Ok(both) = fuzz::load(&arguments, file) {
        for ((both, alone), line) in both.settings().iter().zip(alone.settings()).zip(&settings) {
            let stronger = if line.origin == Origin::Argument {
                line
            } else {
                &alone
            };
            assert_eq!(
                (both.key, &both.value, both.origin),
                (stronger.key, &stronger.value, stronger.origin)
            );
        }
        assert_eq!(both.tables.len(), alone.tables.len());
    }
});

fn values(settings: &[Setting]) -> Vec<(&'static str, Option<String>)> {
    settings
        .iter()
        .map(|setting| (setting.key, setting.value.clone()))
        .collect()
}
