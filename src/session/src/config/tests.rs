use super::*;

fn parsed(text: &str) -> Config {
    Config::parse(text, Path::new("/x.toml")).unwrap()
}

#[test]
fn an_empty_file_gives_the_defaults_of_the_design() {
    let config = parsed("");
    assert_eq!(config.services, ["sshd"]);
    assert_eq!(
        (config.min_uid, config.kids.as_slice()),
        (1000, &[Kid::pool()][..])
    );
    assert_eq!(
        (
            config.lifetime.as_secs(),
            config.lifetime_unrenewed.as_secs()
        ),
        (3600, 86400)
    );
    assert_eq!(config.timeout, Duration::from_secs(3));
    assert_eq!(config.on_failure, OnFailure::Ignore);
    assert!(config.scope.is_none());
}

#[test]
fn an_argument_wins_over_the_file_and_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "min_uid = 5\nlifetime = \"2h\"\n").unwrap();
    let path = format!("config={}", path.display());
    let arguments = Arguments::parse([path.as_str(), "min_uid=7"]);
    let config = Config::load(&arguments, nix::unistd::geteuid().as_raw()).unwrap();
    assert_eq!((config.min_uid, config.lifetime.as_secs()), (7, 7200));
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
    assert_eq!(config.key_file(&Kid::pool()), Path::new("/k/POOL"));
    assert_eq!(
        config.key_file(&"site".parse().unwrap()),
        Path::new("/k/site")
    );
    let config = parsed("pool_signing_key_file = \"/p\"");
    assert_eq!(config.key_file(&Kid::pool()), Path::new("/p"));
    assert_eq!(
        config.key_file(&"a".parse().unwrap()),
        Path::new("/etc/condor/passwords.d/a")
    );
}

#[test]
fn the_pools_own_limits_bound_every_lifetime() {
    let seconds = |text: &str| {
        let config = parsed(text);
        [true, false].map(|renewed| config.lifetime_of(renewed).as_secs())
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
    let text = config.issuer_name().unwrap_err().to_string();
    assert!(
        text.contains("trust_domain") && text.contains("TRUST_DOMAIN"),
        "{text}"
    );
    let text = config.subject_domain().unwrap_err().to_string();
    assert!(
        text.contains("UID_DOMAIN") && text.contains("/x.toml"),
        "{text}"
    );
}
