//! What the values mean; each that can not be used is named and left out.

use std::path::PathBuf;

use idtoken::{Kid, Lifetime, TrustDomain, UidDomain};

use super::ask;

/// How much of an odd value is shown.
const SHOWN: usize = 60;

/// What HTCondor's configuration says, as far as it says it and it can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HTCondor {
    /// Its version, as in `23.9.6`.
    pub version: Option<String>,
    /// TRUST_DOMAIN.
    pub trust_domain: Option<TrustDomain>,
    /// UID_DOMAIN.
    pub uid_domain: Option<UidDomain>,
    /// SEC_PASSWORD_DIRECTORY.
    pub password_directory: Option<PathBuf>,
    /// SEC_TOKEN_POOL_SIGNING_KEY_FILE.
    pub pool_signing_key_file: Option<PathBuf>,
    /// SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD; false is HTCondor's default.
    pub pool_signing_key_is_password: Option<bool>,
    /// SEC_TOKEN_ISSUER_KEY.
    pub issuer_key: Option<Kid>,
    /// SEC_TOKEN_DIRECTORY, as it is written. Where it is set HTCondor's client
    /// looks for tokens nowhere else.
    pub token_directory: Option<String>,
    /// SEC_ISSUED_TOKEN_EXPIRATION, in whole seconds.
    pub issued_token_expiration: Option<Lifetime>,
    /// SEC_TOKEN_MAX_AGE, in whole seconds.
    pub token_max_age: Option<Lifetime>,
    /// LOCAL_CONFIG_DIR_EXCLUDE_REGEXP: what a token file may not be called.
    pub exclude_regexp: Option<String>,
    /// One sentence for each value that can not be used and so is none.
    pub odd: Vec<String>,
}

impl HTCondor {
    /// Reads the values; one that is empty is not defined, as it is for HTCondor.
    pub(super) fn new(values: &[String]) -> Self {
        let mut values = Values {
            values,
            odd: Vec::new(),
        };
        let version = values.read("CONDOR_VERSION", "no version", version);
        let domain = "no domain of one word";
        let path = "no path from /";
        let number = "no number of seconds";
        Self {
            trust_domain: {
                let name = trust_domain_name(&values, version.as_deref());
                values.read(name, domain, |text| first_word(text).parse().ok())
            },
            uid_domain: values.read("UID_DOMAIN", domain, |text| text.parse().ok()),
            password_directory: values.read("SEC_PASSWORD_DIRECTORY", path, absolute),
            pool_signing_key_file: values.read("SEC_TOKEN_POOL_SIGNING_KEY_FILE", path, absolute),
            pool_signing_key_is_password: values.read(
                "SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD",
                "neither true nor false",
                boolean,
            ),
            issuer_key: values.read("SEC_TOKEN_ISSUER_KEY", "no name of a key", |text| {
                text.parse().ok()
            }),
            token_directory: values.read("SEC_TOKEN_DIRECTORY", "no path", one_line),
            issued_token_expiration: values
                .read("SEC_ISSUED_TOKEN_EXPIRATION", number, limit)
                .flatten(),
            token_max_age: values.read("SEC_TOKEN_MAX_AGE", number, limit).flatten(),
            exclude_regexp: values.read("LOCAL_CONFIG_DIR_EXCLUDE_REGEXP", "no pattern", one_line),
            version,
            odd: values.odd,
        }
    }
}

struct Values<'a> {
    values: &'a [String],
    odd: Vec<String>,
}

impl Values<'_> {
    fn text(&self, name: &str) -> &str {
        ask::value(self.values, name)
    }

    fn read<T>(&mut self, name: &str, not: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let value = read(text);
        if value.is_none() {
            self.refuse(name, not);
        }
        value
    }

    fn refuse(&mut self, name: &str, not: &str) {
        let shown: String = self.text(name).chars().take(SHOWN).collect();
        self.odd.push(format!(
            "HTCondor's {name} is {shown:?}, which is {not}; see where `condor_config_val \
             -verbose {name}` says it is set"
        ));
    }
}

/// Where the trust domain is. Its default is COLLECTOR_HOST up to 9.x and
/// UID_DOMAIN from 10.0 on (condor_utils/param_info.in); condor_config_val tells
/// the default too, so it is missing only if somebody set it to nothing.
fn trust_domain_name(values: &Values<'_>, version: Option<&str>) -> &'static str {
    let major = version.and_then(|version| version.split('.').next());
    let major: Option<u32> = major.and_then(|major| major.parse().ok());
    match (values.text("TRUST_DOMAIN"), major) {
        ("", Some(..=9)) => "COLLECTOR_HOST",
        ("", Some(_)) => "UID_DOMAIN",
        _ => "TRUST_DOMAIN",
    }
}

/// HTCondor cuts the trust domain at the first of `", \t"`, a port stays
/// (`generateToken` in condor_io/condor_auth_passwd.cpp).
fn first_word(text: &str) -> &str {
    text.split([',', ' ', '\t']).next().unwrap_or_default()
}

fn version(text: &str) -> Option<String> {
    let fits = text.len() <= 40 && text.starts_with(|c: char| c.is_ascii_digit());
    let known = |c: char| c.is_ascii_digit() || c == '.';
    (fits && text.chars().all(known)).then(|| text.to_owned())
}

fn one_line(text: &str) -> Option<String> {
    (!text.contains(char::is_control)).then(|| text.to_owned())
}

fn absolute(text: &str) -> Option<PathBuf> {
    one_line(text)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The literals of `string_is_boolean_param` in condor_utils/condor_config.cpp.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// A number of seconds that limits something; 0, a negative one and one beyond
/// ten years limit nothing. HTCondor reads an expression: a product is one that
/// people write.
#[allow(clippy::option_option)]
fn limit(text: &str) -> Option<Option<Lifetime>> {
    let mut product: i64 = 1;
    for factor in text.split('*') {
        product = product.checked_mul(factor.trim().parse().ok()?)?;
    }
    Some(u64::try_from(product).ok().and_then(Lifetime::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(values: &[(&str, &str)]) -> HTCondor {
        let value = |name| {
            let found = values.iter().rfind(|(key, _)| *key == name);
            found.map_or_else(String::new, |(_, value)| (*value).to_owned())
        };
        HTCondor::new(&ask::NAMES.map(value))
    }

    fn trust_domain(values: &[(&str, &str)]) -> Option<String> {
        read(values).trust_domain.map(Into::into)
    }

    #[test]
    fn values_become_what_they_mean() {
        let found = read(&[
            ("CONDOR_VERSION", "23.9.6"),
            ("TRUST_DOMAIN", "lab.test"),
            ("UID_DOMAIN", "uid.test"),
            ("SEC_PASSWORD_DIRECTORY", "/etc/condor/passwords.d"),
            ("SEC_TOKEN_POOL_SIGNING_KEY_FILE", "/k/POOL"),
            ("SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD", "True"),
            ("SEC_TOKEN_ISSUER_KEY", "site"),
            ("SEC_TOKEN_DIRECTORY", "/t"),
            ("SEC_ISSUED_TOKEN_EXPIRATION", "3600 * 24"),
            ("SEC_TOKEN_MAX_AGE", "600"),
            ("LOCAL_CONFIG_DIR_EXCLUDE_REGEXP", "^x$"),
        ]);
        let wanted = HTCondor {
            version: Some("23.9.6".into()),
            trust_domain: "lab.test".parse().ok(),
            uid_domain: "uid.test".parse().ok(),
            password_directory: Some("/etc/condor/passwords.d".into()),
            pool_signing_key_file: Some("/k/POOL".into()),
            pool_signing_key_is_password: Some(true),
            issuer_key: "site".parse().ok(),
            token_directory: Some("/t".into()),
            issued_token_expiration: Some(Lifetime::DAY),
            token_max_age: Lifetime::from_secs(600),
            exclude_regexp: Some("^x$".into()),
            odd: vec![],
        };
        assert_eq!(found, wanted);
        assert_eq!(read(&[("UID_DOMAIN", "")]), HTCondor::default());
    }

    #[test]
    fn a_trust_domain_ends_where_htcondor_cuts_it() {
        let cut = |text: &str| trust_domain(&[("TRUST_DOMAIN", text)]);
        assert_eq!(cut("cm1:9618, cm2").unwrap(), "cm1:9618");
        assert_eq!(cut("cm1 cm2").unwrap(), "cm1");
        assert_eq!(cut("cm1\tcm2").unwrap(), "cm1");
        assert_eq!(cut("a\nb"), None);
        assert_eq!(cut(","), None);
    }

    #[test]
    fn a_trust_domain_that_is_set_to_nothing_is_found_by_version() {
        let by_version = |version: &str| {
            trust_domain(&[
                ("CONDOR_VERSION", version),
                ("TRUST_DOMAIN", ""),
                ("COLLECTOR_HOST", "cm:9618,cm2"),
                ("UID_DOMAIN", "uid.test"),
            ])
        };
        assert_eq!(by_version("9.0.17").unwrap(), "cm:9618");
        assert_eq!(by_version("10.0.0").unwrap(), "uid.test");
        assert_eq!(by_version("25.14.1").unwrap(), "uid.test");
        assert_eq!(by_version("garbage"), None);
    }

    #[test]
    fn a_value_that_can_not_be_used_is_named_and_spoils_no_other() {
        for (name, bad) in [
            ("CONDOR_VERSION", "twenty"),
            ("TRUST_DOMAIN", "a@b"),
            ("COLLECTOR_HOST", ""),
            ("UID_DOMAIN", "a, b"),
            ("SEC_PASSWORD_DIRECTORY", "passwords.d"),
            ("SEC_TOKEN_POOL_SIGNING_KEY_FILE", "/a\n/b"),
            ("SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD", "yes"),
            ("SEC_TOKEN_ISSUER_KEY", "../x"),
            ("SEC_TOKEN_DIRECTORY", "/a\u{1b}"),
            ("SEC_ISSUED_TOKEN_EXPIRATION", "1 day"),
            ("SEC_TOKEN_MAX_AGE", "9223372036854775807 * 2"),
            ("LOCAL_CONFIG_DIR_EXCLUDE_REGEXP", "a\nb"),
        ] {
            let wanted = usize::from(!bad.is_empty());
            let good = ("SEC_TOKEN_ISSUER_KEY", "site");
            let found = read(&[good, (name, bad)]);
            assert_eq!(found.odd.len(), wanted, "{name}");
            assert!(
                found
                    .odd
                    .iter()
                    .all(|odd| odd.contains(name) && !odd.contains('\n'))
            );
            assert!(found.issuer_key.is_some() || name == good.0);
        }
    }

    #[test]
    fn a_number_that_limits_nothing_is_none_and_not_odd() {
        for text in ["0", "-1", "-5", "99999999999", "0 * 5"] {
            let found = read(&[("SEC_TOKEN_MAX_AGE", text)]);
            assert_eq!((found.token_max_age, found.odd.len()), (None, 0), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(text in "\\PC*", which in 0..ask::NAMES.len()) {
            let found = read(&[(ask::NAMES[which], &text)]);
            prop_assert!(found.odd.len() <= 1);
        }
    }
}
