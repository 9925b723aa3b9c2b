use idtoken::Kid;

use super::*;

fn parsed(text: &str) -> Config {
    Config::parse(text, Path::new("/x.toml")).unwrap()
}

#[test]
fn an_empty_file_gives_the_defaults_of_the_design() {
    let config = parsed("");
    assert_eq!(config.services, ["sshd"]);
    assert_eq!(
        (config.min_uid, config.token.kids.as_slice()),
        (1000, &[Kid::pool()][..])
    );
    assert_eq!(
        (
            config.token.lifetime.as_secs(),
            config.token.lifetime_unrenewed.as_secs()
        ),
        (3600, 86400)
    );
    assert_eq!(config.timeout, Duration::from_secs(3));
    assert_eq!(config.on_failure, OnFailure::Ignore);
    assert!(config.token.scope.is_none());
}

#[test]
fn an_argument_wins_over_the_file_and_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "min_uid = 5\nlifetime = \"2h\"\n").unwrap();
    let path = format!("config={}", path.display());
    let arguments = Arguments::parse([path.as_str(), "min_uid=7"]);
    let config = Config::load(&arguments, nix::unistd::geteuid().as_raw()).unwrap();
    assert_eq!((config.min_uid, config.token.lifetime.as_secs()), (7, 7200));
    let origin = |key: &str| {
        config
            .settings()
            .iter()
            .find(|s| s.key == key)
            .unwrap()
            .origin
    };
    assert_eq!(origin("min_uid"), Origin::Argument);
    assert_eq!(origin("lifetime"), Origin::File);
    assert_eq!(origin("timeout"), Origin::Default);
}

#[test]
fn a_file_that_the_pam_line_names_must_be_there() {
    let arguments = Arguments::parse(["config=/no/such/file.toml"]);
    let text = Config::load(&arguments, 0).unwrap_err().to_string();
    assert!(
        text.contains("/no/such/file.toml") && text.contains("config="),
        "{text}"
    );
}

#[test]
fn a_wrong_argument_is_an_error_and_the_fallback_keeps_the_others() {
    let arguments = Arguments::parse(["min_uid=x", "on_failure=deny", "services=login"]);
    assert!(Config::load(&arguments, 0).is_err());
    let fallback = Config::fallback(&arguments);
    assert_eq!(fallback.on_failure, OnFailure::Deny);
    assert_eq!(fallback.services, ["login"]);
    for wrong in ["scope=", "scope=,", "scope=NONSENSE"] {
        let arguments = Arguments::parse(["scope=READ", "on_failure=deny", wrong]);
        let text = Config::load(&arguments, 0).unwrap_err().to_string();
        assert!(
            text.contains(wrong) && text.contains("/etc/pam.d"),
            "{text}"
        );
        assert_eq!(Config::fallback(&arguments).on_failure, OnFailure::Deny);
    }
}

#[test]
fn keys_are_where_htcondor_has_them() {
    let config = parsed("password_directory = \"/k\"");
    assert_eq!(config.token.key_file(&Kid::pool()), Path::new("/k/POOL"));
    assert_eq!(
        config.token.key_file(&"site".parse().unwrap()),
        Path::new("/k/site")
    );
    let config = parsed("pool_signing_key_file = \"/p\"");
    assert_eq!(config.token.key_file(&Kid::pool()), Path::new("/p"));
    assert_eq!(
        config.token.key_file(&"a".parse().unwrap()),
        Path::new("/etc/condor/passwords.d/a")
    );
}

#[test]
fn the_pools_own_limits_bound_every_lifetime() {
    let seconds = |text: &str| {
        let config = parsed(text);
        [true, false].map(|renewed| config.token.lifetime_of(renewed).as_secs())
    };
    assert_eq!(seconds(""), [3600, 86400]);
    assert_eq!(seconds("token_max_age = \"2h\""), [3600, 7200]);
    assert_eq!(
        seconds("token_max_age = 1800\nissued_token_expiration = \"10m\""),
        [600, 600]
    );
    assert_eq!(seconds("issued_token_expiration = \"7d\""), [3600, 86400]);
}

#[test]
fn a_bad_scope_is_refused_with_the_key() {
    let error = Config::parse("scope = [\"REED\"]", Path::new("/x.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/x.toml line 1, key scope: \"REED\" is not an authorization"),
        "{error}"
    );
}

#[test]
fn a_domain_that_is_not_set_says_what_to_ask_htcondor() {
    let config = parsed("");
    let text = config.token.issuer_name().unwrap_err().to_string();
    assert!(
        text.contains("trust_domain") && text.contains("TRUST_DOMAIN"),
        "{text}"
    );
    let text = config.token.subject_domain().unwrap_err().to_string();
    assert!(
        text.contains("UID_DOMAIN") && text.contains("/x.toml"),
        "{text}"
    );
}

fn htcondor() -> HTCondor {
    HTCondor {
        trust_domain: Some("pool.lab".parse().unwrap()),
        uid_domain: Some("lab".parse().unwrap()),
        password_directory: Some("/h/keys".into()),
        pool_signing_key_file: Some("/h/pool".into()),
        pool_signing_key_is_password: Some(true),
        issuer_key: Some("site".parse().unwrap()),
        token_max_age: Lifetime::from_secs(600),
        ..HTCondor::default()
    }
}

#[test]
fn what_nobody_writes_down_is_what_htcondor_says() {
    let config = parsed("uid_domain = \"mine\"\n").with_htcondor(&htcondor());
    let token = &config.token;
    assert_eq!(token.issuer_name().unwrap().as_str(), "pool.lab");
    assert_eq!(token.subject_domain().unwrap().as_str(), "mine");
    assert_eq!(token.kids[0].as_str(), "site");
    assert!(!token.kids_are_given);
    assert_eq!(token.key_file(&Kid::pool()), Path::new("/h/pool"));
    assert_eq!(token.key_file(&token.kids[0]), Path::new("/h/keys/site"));
    assert_eq!(token.pool_signing_key_form, idtoken::KeyForm::Password);
    assert_eq!(token.lifetime_of(true).as_secs(), 600);
    let origin = |key| config.origin(key);
    assert_eq!(origin("trust_domain"), Origin::HTCondor);
    assert_eq!(origin("kid"), Origin::HTCondor);
    assert_eq!(origin("uid_domain"), Origin::File);
    assert_eq!(origin("lifetime"), Origin::Default);
    // Whoever names a directory means the POOL in it.
    let moved = parsed("password_directory = \"/k\"").with_htcondor(&htcondor());
    assert_eq!(moved.token.key_file(&Kid::pool()), Path::new("/k/POOL"));
}

#[test]
fn why_htcondor_could_not_be_asked_is_part_of_what_is_missing() {
    let config = parsed("").without_htcondor("it is not there");
    assert!(!config.has_domains());
    let text = config.tables[0]
        .token
        .issuer_name()
        .unwrap_err()
        .to_string();
    assert!(text.contains("it is not there"), "{text}");
}

#[test]
fn a_table_changes_what_it_names_and_an_argument_everything() {
    let text = "lifetime = \"2h\"\nkid = \"a\"\n[[token]]\nname = \"two\"\nkid = \"b\"\n\
                trust_domain = \"two.lab\"\n[[token]]\n";
    let config = parsed(text).with_htcondor(&htcondor());
    let [two, rest] = &config.tables[..] else {
        panic!("{:?}", config.tables)
    };
    assert_eq!(
        (two.name.as_deref(), rest.name.as_deref()),
        (Some("two"), None)
    );
    assert_eq!(two.token.issuer_name().unwrap().as_str(), "two.lab");
    assert_eq!(rest.token.issuer_name().unwrap().as_str(), "pool.lab");
    assert_eq!(two.token.kids[0].as_str(), "b");
    assert_eq!(two.token.lifetime.as_secs(), 7200);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text).unwrap();
    let path = format!("config={}", path.display());
    let arguments = Arguments::parse([path.as_str(), "kid=c"]);
    let config = Config::load(&arguments, nix::unistd::geteuid().as_raw()).unwrap();
    assert!(
        config
            .tables
            .iter()
            .all(|t| t.token.kids[0].as_str() == "c")
    );
}

#[test]
fn what_is_out_of_place_is_named_with_its_table() {
    for (text, part) in [
        ("groups = [\"a\"]", "groups belongs into a [[token]] table"),
        (
            "[[token]]\nmin_uid = 3",
            "min_uid in [[token]] table 1 belongs to the top",
        ),
        (
            "[[token]]\n[[token]]\n",
            "[[token]] table 2 is never reached",
        ),
        (
            "[[token]]\nname = \"default\"\n[[token]]\n",
            "table 2 is never reached",
        ),
        (
            "[[token]]\ngroups = []",
            "groups in [[token]] table 1 is an empty list",
        ),
        (
            "[[token]]\n[[token.token]]\n",
            "table 1 has a [[token]] table inside",
        ),
        (
            "[[token]]\nlifetme = 3\n",
            "line 2, key lifetme: unknown field `lifetme`: there is no",
        ),
    ] {
        let text = Config::parse(text, Path::new("/x"))
            .unwrap_err()
            .to_string();
        assert!(text.contains(part) && text.starts_with("/x"), "{text}");
    }
    let fine = "[[token]]\ngroups = [\"a\"]\n[[token]]\n[[token]]\nname = \"b\"\n";
    assert_eq!(parsed(fine).tables.len(), 3);
}
