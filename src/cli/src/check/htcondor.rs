//! HTCondor on this host: what it says, and where the configuration contradicts it.

use std::fmt::Display;

use idtoken::KeyForm;
use session::config::{Config, Origin, Store};
use session::discovery::{Found, HTCondor, Why};

use super::Finding;

/// Looks at the answer of HTCondor.
pub(super) fn look(config: &Config, found: &Found, findings: &mut Vec<Finding>) {
    match found {
        Found::Fresh(said) => findings.push(Finding::good(format!(
            "HTCondor {} says trust domain {}, UID domain {}, kid {}",
            said.version.as_deref().unwrap_or("of an unknown version"),
            shown(said.trust_domain.as_ref()),
            shown(said.uid_domain.as_ref()),
            shown(said.issuer_key.as_ref()),
        ))),
        Found::Old(_, why) => findings.push(Finding::odd(
            format!("HTCondor can not be asked: {why}"),
            "until it can, what it said before is used",
        )),
        Found::Nothing(why) if config.has_domains() => {
            findings.push(match why {
                Why::NotInstalled(_) => {
                    Finding::good(format!("{why}: what is not written down has its default"))
                }
                Why::Broken(_) | Why::Unasked(_) => Finding::odd(
                    format!("HTCondor can not be asked: {why}"),
                    "what is not written down has its default",
                ),
            });
        }
        // Without its domains no token can be made, which is said with the reason.
        Found::Nothing(_) => {}
    }
    if let Some(said) = found.answer() {
        let odd = said.odd.iter();
        findings.extend(odd.map(|odd| Finding::odd(odd, "correct it in HTCondor's configuration")));
        contradictions(config, said, findings);
        findings.extend(token_directory(config, said));
    }
}

fn shown(value: Option<&impl Display>) -> String {
    value.map_or_else(|| "none".into(), ToString::to_string)
}

/// What is written down for this host's own pool and is not so.
fn contradictions(config: &Config, said: &HTCondor, findings: &mut Vec<Finding>) {
    let token = &config.token;
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let is_password = token.pool_signing_key_form == KeyForm::Password;
    let text = |value: Option<&dyn Display>| value.map(ToString::to_string);
    for (key, setting, ours, theirs) in [
        (
            "trust_domain",
            "TRUST_DOMAIN",
            text(token.trust_domain.as_ref().map(|v| v as &dyn Display)),
            text(said.trust_domain.as_ref().map(|v| v as &dyn Display)),
        ),
        (
            "uid_domain",
            "UID_DOMAIN",
            text(token.uid_domain.as_ref().map(|v| v as &dyn Display)),
            text(said.uid_domain.as_ref().map(|v| v as &dyn Display)),
        ),
        (
            "password_directory",
            "SEC_PASSWORD_DIRECTORY",
            Some(path(&token.password_directory)),
            said.password_directory.as_ref().map(path),
        ),
        (
            "pool_signing_key_file",
            "SEC_TOKEN_POOL_SIGNING_KEY_FILE",
            Some(path(&token.pool_signing_key_file)),
            said.pool_signing_key_file.as_ref().map(path),
        ),
        (
            "pool_signing_key_is_password",
            "SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD",
            Some(is_password.to_string()),
            said.pool_signing_key_is_password.map(|is| is.to_string()),
        ),
        (
            "token_max_age",
            "SEC_TOKEN_MAX_AGE",
            text(token.token_max_age.as_ref().map(|v| v as &dyn Display)),
            text(said.token_max_age.as_ref().map(|v| v as &dyn Display)),
        ),
        (
            "issued_token_expiration",
            "SEC_ISSUED_TOKEN_EXPIRATION",
            text(
                token
                    .issued_token_expiration
                    .as_ref()
                    .map(|v| v as &dyn Display),
            ),
            text(
                said.issued_token_expiration
                    .as_ref()
                    .map(|v| v as &dyn Display),
            ),
        ),
    ] {
        let is_written = matches!(config.origin(key), Origin::File | Origin::Argument);
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            continue;
        };
        if is_written && ours != theirs {
            findings.push(Finding::odd(
                format!("{key} is {ours}, and {setting} of this host's HTCondor is {theirs}"),
                format!("remove {key} from the configuration, or correct one of the two"),
            ));
        }
    }
}

/// HTCondor's client looks at one directory only.
fn token_directory(config: &Config, said: &HTCondor) -> Option<Finding> {
    let directory = said.token_directory.as_ref()?;
    (config.store == Store::Home).then(|| {
        Finding::bad(format!(
            "SEC_TOKEN_DIRECTORY of this host's HTCondor is {directory}: its commands look for \
             tokens there and not in the home"
        ))
        .with_remedy(
            "set store = \"private\", whose variable wins, or take SEC_TOKEN_DIRECTORY out",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use std::path::Path;

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
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(findings[0].is(Level::Good, "HTCondor 23.9.6 says trust domain pool.lab"));
        }
        let text = "uid_domain = \"else\"\npool_signing_key_is_password = true\n";
        let findings = looked(text, &found);
        assert!(findings[1].is(Level::Odd, "uid_domain is else, and UID_DOMAIN"));
        assert!(findings[2].is(Level::Odd, "pool_signing_key_is_password is true"));
        assert_eq!(findings.len(), 3);
    }

    #[test]
    fn a_directory_that_commands_do_not_look_into_is_bad_for_a_home() {
        let mut said = said();
        said.token_directory = Some("/etc/tokens".into());
        said.odd = vec!["TRUST_DOMAIN is odd".into()];
        let found = Found::Fresh(said);
        let findings = looked("", &found);
        assert!(findings[1].is(Level::Odd, "TRUST_DOMAIN is odd"));
        assert!(findings[2].is(Level::Bad, "SEC_TOKEN_DIRECTORY"));
        assert_eq!(looked("store = \"private\"", &found).len(), 2);
    }

    #[test]
    fn a_host_without_htcondor_is_fine_if_its_domains_are_written_down() {
        let domains = "trust_domain = \"a\"\nuid_domain = \"b\"";
        let gone = Found::Nothing(Why::NotInstalled("x is not there".into()));
        assert!(looked(domains, &gone)[0].is(Level::Good, "has its default"));
        assert!(looked("", &gone).is_empty());
        let broken = Found::Nothing(Why::Broken("x hangs".into()));
        assert!(looked(domains, &broken)[0].is(Level::Odd, "x hangs"));
        let old = Found::Old(said(), Why::Broken("x hangs".into()));
        assert!(looked("", &old)[0].is(Level::Odd, "can not be asked: x hangs"));
    }
}
