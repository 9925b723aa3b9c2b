//! HTCondor on this host: what it says, and where the configuration contradicts it.

use std::fmt::Display;
use std::path::Path;

use idtoken::KeyForm;
use session::config::{Config, Origin, Store};
use session::discovery::{Found, HTCondor, Why};

use super::finding::{Finding, Id};

/// The first release that is supported: tokens are read and named in 9.0 as they are today.
const OLDEST: u32 = 9;

/// Looks at the answer of HTCondor.
pub(super) fn look(config: &Config, found: &Found, findings: &mut Vec<Finding>) {
    let has_default = "what is not written down has its default";
    match found {
        Found::Fresh(said) => findings.push(Finding::ok(
            Id::HTCondor,
            format!(
                "HTCondor {} says trust domain {}, UID domain {}, kid {}",
                said.version.as_deref().unwrap_or("of an unknown version"),
                shown(said.trust_domain.as_ref()),
                shown(said.uid_domain.as_ref()),
                shown(said.issuer_key.as_ref()),
            ),
        )),
        Found::Old(_, why) => findings.push(Finding::warn(
            Id::HTCondor,
            format!("HTCondor can not be asked: {why}"),
            "until it can, what it said before is used",
        )),
        Found::Nothing(why @ Why::NotInstalled(_)) if config.has_domains() => {
            findings.push(Finding::note(Id::HTCondor, format!("{why}: {has_default}")));
        }
        Found::Nothing(why) if config.has_domains() => findings.push(Finding::warn(
            Id::HTCondor,
            format!("HTCondor can not be asked: {why}"),
            has_default,
        )),
        // Without its domains no token can be made, which is said with the reason.
        Found::Nothing(_) => {}
    }
    if let Some(said) = found.answer() {
        findings.push(version(said.version.as_deref()));
        let odd = said.odd.iter();
        findings.extend(odd.map(|odd| {
            let remedy = "correct it in HTCondor's configuration";
            Finding::warn(Id::HTCondorSettings, odd, remedy)
        }));
        contradictions(config, said, findings);
        findings.extend(token_directory(config, said));
    }
}

fn version(version: Option<&str>) -> Finding {
    let major = version.and_then(|text| text.split('.').next()?.parse::<u32>().ok());
    match (version, major) {
        (Some(version), Some(major)) if major < OLDEST => Finding::fail(
            Id::HTCondorVersion,
            format!("HTCondor {version} is older than 9.0 and does not use tokens as we make them"),
        )
        .with_remedy("install HTCondor 9.0 or later"),
        (Some(version), Some(_)) => Finding::ok(
            Id::HTCondorVersion,
            format!("HTCondor {version} takes such tokens"),
        ),
        _ => Finding::note(Id::HTCondorVersion, "the version of HTCondor is unknown")
            .with_remedy("run condor_version: it has to be 9.0 or later"),
    }
}

fn shown(value: Option<&impl Display>) -> String {
    value.map_or_else(|| "none".into(), ToString::to_string)
}

/// What is written down for this host's own pool and is not so.
fn contradictions(config: &Config, said: &HTCondor, findings: &mut Vec<Finding>) {
    let token = &config.token;
    let is_password = token.pool_signing_key_form == KeyForm::Password;
    for (key, setting, ours, theirs) in [
        (
            "trust_domain",
            "TRUST_DOMAIN",
            text(token.trust_domain.as_ref()),
            text(said.trust_domain.as_ref()),
        ),
        (
            "uid_domain",
            "UID_DOMAIN",
            text(token.uid_domain.as_ref()),
            text(said.uid_domain.as_ref()),
        ),
        (
            "password_directory",
            "SEC_PASSWORD_DIRECTORY",
            path(Some(&token.password_directory)),
            path(said.password_directory.as_deref()),
        ),
        (
            "pool_signing_key_file",
            "SEC_TOKEN_POOL_SIGNING_KEY_FILE",
            path(Some(&token.pool_signing_key_file)),
            path(said.pool_signing_key_file.as_deref()),
        ),
        (
            "pool_signing_key_is_password",
            "SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD",
            text(Some(&is_password)),
            text(said.pool_signing_key_is_password.as_ref()),
        ),
        (
            "token_max_age",
            "SEC_TOKEN_MAX_AGE",
            text(token.token_max_age.as_ref()),
            text(said.token_max_age.as_ref()),
        ),
        (
            "issued_token_expiration",
            "SEC_ISSUED_TOKEN_EXPIRATION",
            text(token.issued_token_expiration.as_ref()),
            text(said.issued_token_expiration.as_ref()),
        ),
    ] {
        let is_written = matches!(config.origin(key), Origin::File | Origin::Argument);
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            continue;
        };
        if is_written && ours != theirs {
            findings.push(Finding::warn(
                Id::HTCondorSettings,
                format!("{key} is {ours}, and {setting} of this host's HTCondor is {theirs}"),
                format!("remove {key} from the configuration, or correct one of the two"),
            ));
        }
    }
}

fn text(value: Option<&impl Display>) -> Option<String> {
    value.map(ToString::to_string)
}

fn path(value: Option<&Path>) -> Option<String> {
    text(value.map(Path::display).as_ref())
}

/// HTCondor's client looks at one directory only.
fn token_directory(config: &Config, said: &HTCondor) -> Option<Finding> {
    let directory = said.token_directory.as_ref()?;
    (config.store == Store::Home).then(|| {
        Finding::fail(
            Id::TokenDirectory,
            format!(
                "SEC_TOKEN_DIRECTORY of this host's HTCondor is {directory}: its commands look for \
                 tokens there and not in the home"
            ),
        )
        .with_remedy(
            "set store = \"private\", whose variable wins, or take SEC_TOKEN_DIRECTORY out",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    fn looked(text: &str, found: &Found) -> Vec<Finding> {
        let config = Config::parse(text, Path::new("/x.toml")).unwrap();
        let config = match found.answer() {
            Some(said) => config.with_htcondor(said),
            None => config,
        };
        let mut findings = Vec::new();
        look(&config, found, &mut findings);
        findings
    }

    fn said() -> HTCondor {
        HTCondor {
            version: Some("23.9.6".into()),
            trust_domain: Some("pool.lab".parse().unwrap()),
            uid_domain: Some("lab".parse().unwrap()),
            pool_signing_key_is_password: Some(false),
            ..HTCondor::default()
        }
    }

    #[test]
    fn what_agrees_is_good_and_what_contradicts_is_named() {
        let found = Found::Fresh(said());
        for text in [
            "",
            "trust_domain = \"pool.lab\"\npassword_directory = \"/k\"",
        ] {
            let findings = looked(text, &found);
            assert_eq!(findings.len(), 2, "{findings:?}");
            assert!(findings[1].is(Level::Ok, "takes such tokens"));
            assert!(findings[0].is(Level::Ok, "HTCondor 23.9.6 says trust domain pool.lab"));
        }
        let text = "uid_domain = \"else\"\npool_signing_key_is_password = true\n";
        let findings = looked(text, &found);
        assert!(findings[2].is(Level::Warn, "uid_domain is else, and UID_DOMAIN"));
        assert!(findings[3].is(Level::Warn, "pool_signing_key_is_password is true"));
        assert_eq!(findings.len(), 4);
    }

    #[test]
    fn a_directory_that_commands_do_not_look_into_is_a_failure_for_a_home() {
        let mut said = said();
        said.token_directory = Some("/etc/tokens".into());
        said.odd = vec!["TRUST_DOMAIN is odd".into()];
        let found = Found::Fresh(said);
        let findings = looked("", &found);
        assert!(findings[2].is(Level::Warn, "TRUST_DOMAIN is odd"));
        assert!(findings[3].is(Level::Fail, "SEC_TOKEN_DIRECTORY"));
        assert_eq!(looked("store = \"private\"", &found).len(), 3);
    }

    #[test]
    fn a_host_without_htcondor_is_fine_if_its_domains_are_written_down() {
        let domains = "trust_domain = \"a\"\nuid_domain = \"b\"";
        let gone = Found::Nothing(Why::NotInstalled("x is not there".into()));
        assert!(looked(domains, &gone)[0].is(Level::Note, "has its default"));
        assert!(looked("", &gone).is_empty());
        let broken = Found::Nothing(Why::Broken("x hangs".into()));
        assert!(looked(domains, &broken)[0].is(Level::Warn, "x hangs"));
        let old = Found::Old(said(), Why::Broken("x hangs".into()));
        assert!(looked("", &old)[0].is(Level::Warn, "can not be asked: x hangs"));
    }

    #[test]
    fn a_version_is_old_or_unknown_or_fine() {
        for (text, level) in [
            (Some("8.8.17"), Level::Fail),
            (Some("9.0.0"), Level::Ok),
            (Some("25.14.1"), Level::Ok),
            (Some("soon"), Level::Note),
            (None, Level::Note),
        ] {
            assert_eq!(version(text).level, level, "{text:?}");
        }
    }
}
