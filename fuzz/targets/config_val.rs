//! What condor_config_val printed, and what is kept of it. An answer is taken whole or not at all,
//! says the same when it is printed again, and gives only values that can be used.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use session::discovery::fuzz::{Answer, NAMES, answer, kept};
use session::discovery::{HTCondor, Source};

fuzz_target!(|text: &str| {
    if let Some(answer) = answer(text) {
        look(&answer);
    }
    let source = Source {
        tool: Path::new("/t"),
        condor_config: None,
        run_dir: Path::new("/run"),
    };
    if let Some((again, meaning)) = kept(text, &source) {
        let (twice, same) = kept(&again, &source).unwrap();
        assert_eq!((&again, &meaning), (&twice, &same));
        if let Some(meaning) = &meaning {
            is_usable(meaning);
        }
        let other = Source {
            condor_config: Some(Path::new("/c")),
            ..source
        };
        assert!(kept(text, &other).is_none());
    }
});

fn look(said: &Answer) {
    assert_eq!(said.values.len(), NAMES.len());
    assert!(said.paths.iter().all(|path| path.starts_with('/')));
    let mut printed: String = said
        .paths
        .iter()
        .map(|path| format!("\t{path}\n"))
        .collect();
    for (name, value) in NAMES.iter().zip(&said.values) {
        printed += &format!("pam_idtoken:{name}={value}\n");
    }
    printed += "pam_idtoken:end\n";
    let again = answer(&printed).unwrap();
    assert_eq!(again.values, said.values);
    assert_eq!(again.meaning, said.meaning);
    is_usable(&said.meaning);
}

fn is_usable(said: &HTCondor) {
    let one_word = |text: &str| !text.contains([' ', ',', '@', '\n', '\t']) && !text.is_empty();
    assert!(
        said.trust_domain
            .as_ref()
            .is_none_or(|domain| one_word(domain.as_str()))
    );
    assert!(
        said.uid_domain
            .as_ref()
            .is_none_or(|domain| one_word(domain.as_str()))
    );
    for path in [&said.password_directory, &said.pool_signing_key_file] {
        assert!(path.as_ref().is_none_or(|path| path.is_absolute()));
    }
    for text in [&said.version, &said.token_directory, &said.exclude_regexp] {
        assert!(
            text.as_ref()
                .is_none_or(|text| !text.chars().any(char::is_control))
        );
    }
    assert!(
        said.issuer_key
            .as_ref()
            .is_none_or(|kid| !kid.as_str().contains('/'))
    );
    // Each goes into the log.
    for odd in &said.odd {
        assert!(!odd.chars().any(char::is_control), "{odd:?}");
    }
}
