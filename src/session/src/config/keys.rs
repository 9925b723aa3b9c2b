//! Every key of the configuration: its name, its kind and what a file or an
//! argument may say about it.
//!
//! [`KEYS`] is the one list; arguments, `idtokenctl show-config` and the tests
//! that compare the documentation with the code all read it.

use std::path::PathBuf;
use std::time::Duration;

use idtoken::{Kid, Lifetime, Scope, TrustDomain, UidDomain};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::remote::RemoteHost;

/// The shortest `timeout`: below it, no home would answer in time.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// The longest `timeout`: nothing else bounds a login, see the design's I1.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// How the value of a key is written as a module argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `key=value`.
    Text,
    /// `key=7`.
    Number,
    /// `key=true` or `key=false`.
    Flag,
    /// `key=one,two`.
    List,
}

/// Every key, in the order in which the documentation names them.
pub const KEYS: &[(&str, Kind)] = &[
    ("services", Kind::List),
    ("min_uid", Kind::Number),
    ("allow_groups", Kind::List),
    ("deny_groups", Kind::List),
    ("allow_users", Kind::List),
    ("deny_users", Kind::List),
    ("issuer", Kind::Text),
    ("kid", Kind::List),
    ("lifetime", Kind::Text),
    ("lifetime_unrenewed", Kind::Text),
    ("token_max_age", Kind::Text),
    ("issued_token_expiration", Kind::Text),
    ("scope", Kind::List),
    ("trust_domain", Kind::Text),
    ("uid_domain", Kind::Text),
    ("store", Kind::Text),
    ("on_close", Kind::Text),
    ("on_failure", Kind::Text),
    ("timeout", Kind::Text),
    ("password_directory", Kind::Text),
    ("pool_signing_key_file", Kind::Text),
    ("pool_signing_key_is_password", Kind::Flag),
    ("condor_config_val", Kind::Text),
    ("condor_config", Kind::Text),
    ("condor_token_fetch", Kind::Text),
    ("schedd_name", Kind::Text),
    ("schedd_pool", Kind::Text),
    ("state_dir", Kind::Text),
    ("run_dir", Kind::Text),
    ("audit_keep", Kind::Text),
    ("contact", Kind::Text),
];

/// The keys that a `[[token]]` table may set for its own token.
pub const TOKEN_KEYS: &[&str] = &[
    "issuer",
    "kid",
    "lifetime",
    "lifetime_unrenewed",
    "token_max_age",
    "issued_token_expiration",
    "scope",
    "trust_domain",
    "uid_domain",
    "password_directory",
    "pool_signing_key_file",
    "pool_signing_key_is_password",
    "condor_config",
    "condor_token_fetch",
    "schedd_name",
    "schedd_pool",
];

/// The keys of a `[[token]]` table that say which token it is, and whose.
pub const MATCH_KEYS: &[&str] = &[
    "name",
    "groups",
    "users",
    "services",
    "remote_hosts",
    "ssh_auth_methods",
];

/// What a file, one of its `[[token]]` tables, or the arguments of a PAM line set.
///
/// One type for all three, since each key reads the same everywhere; what is out of
/// place is refused by [`super::table`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    pub(super) services: Option<Vec<String>>,
    pub(super) min_uid: Option<u32>,
    pub(super) allow_groups: Option<Vec<String>>,
    pub(super) deny_groups: Option<Vec<String>>,
    pub(super) allow_users: Option<Vec<String>>,
    pub(super) deny_users: Option<Vec<String>>,
    pub(super) issuer: Option<IssuerChoice>,
    pub(super) kid: Option<Kids>,
    pub(super) lifetime: Option<Lifetime>,
    pub(super) lifetime_unrenewed: Option<Lifetime>,
    pub(super) token_max_age: Option<Lifetime>,
    pub(super) issued_token_expiration: Option<Lifetime>,
    pub(super) scope: Option<GivenScope>,
    pub(super) trust_domain: Option<TrustDomain>,
    pub(super) uid_domain: Option<UidDomain>,
    pub(super) store: Option<Store>,
    pub(super) on_close: Option<OnClose>,
    pub(super) on_failure: Option<OnFailure>,
    pub(super) timeout: Option<Timeout>,
    pub(super) password_directory: Option<AbsolutePath>,
    pub(super) pool_signing_key_file: Option<AbsolutePath>,
    pub(super) pool_signing_key_is_password: Option<bool>,
    pub(super) condor_config_val: Option<AbsolutePath>,
    pub(super) condor_config: Option<AbsolutePath>,
    pub(super) condor_token_fetch: Option<AbsolutePath>,
    pub(super) schedd_name: Option<Address>,
    pub(super) schedd_pool: Option<Address>,
    pub(super) state_dir: Option<AbsolutePath>,
    pub(super) run_dir: Option<AbsolutePath>,
    pub(super) audit_keep: Option<Lifetime>,
    pub(super) contact: Option<Contact>,
    // Only in a table.
    pub(super) name: Option<TableName>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) users: Option<Vec<String>>,
    pub(super) remote_hosts: Option<Vec<RemoteHost>>,
    pub(super) ssh_auth_methods: Option<Vec<String>>,
    // Only at the top of a file.
    #[serde(default)]
    pub(super) token: Vec<Given>,
}

/// Does something with each key of [`Given`] that has one value.
macro_rules! for_each_key {
    ($apply:ident) => {
        $apply!(
            services,
            min_uid,
            allow_groups,
            deny_groups,
            allow_users,
            deny_users,
            issuer,
            kid,
            lifetime,
            lifetime_unrenewed,
            token_max_age,
            issued_token_expiration,
            scope,
            trust_domain,
            uid_domain,
            store,
            on_close,
            on_failure,
            timeout,
            password_directory,
            pool_signing_key_file,
            pool_signing_key_is_password,
            condor_config_val,
            condor_config,
            condor_token_fetch,
            schedd_name,
            schedd_pool,
            state_dir,
            run_dir,
            audit_keep,
            contact,
            name,
            groups,
            users,
            remote_hosts,
            ssh_auth_methods
        )
    };
}

impl Given {
    /// The keys that are set, [`Given::token`] apart.
    pub(super) fn set_keys(&self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        macro_rules! note {
            ($($key:ident),*) => {
                $( if self.$key.is_some() { keys.push(stringify!($key)); } )*
            };
        }
        for_each_key!(note);
        keys
    }

    /// Takes over what `other` sets.
    pub(super) fn take_from(&mut self, other: Self) {
        macro_rules! take {
            ($($key:ident),*) => { $( if other.$key.is_some() { self.$key = other.$key; } )* };
        }
        for_each_key!(take);
    }
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssuerChoice {
    /// The signing key if it can be read, else the schedd.
    Auto,
    /// The signing key of the pool, read by root.
    Key,
    /// The schedd, asked by condor_token_fetch as the user.
    Schedd,
}

/// Where the token goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// `~/.condor/tokens.d`, or a private one when the home can not take it.
    Home,
    /// A directory of the session's own in `run_dir`.
    Private,
}

/// What becomes of the token when its session closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnClose {
    /// It is deleted.
    Delete,
    /// It stays while processes of the session live.
    Linger,
}

/// What a login costs that could not have its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing: it is logged, the user is told and let in.
    Ignore,
    /// The session is refused with `PAM_SESSION_ERR`.
    Deny,
}

/// One kid or a list of kids, never an empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kids(pub(super) Vec<Kid>);

impl<'de> Deserialize<'de> for Kids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Kids;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a kid such as \"POOL\", or a list of kids")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Kids, E> {
                text.parse().map(|kid| Kids(vec![kid])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kids, A::Error> {
                let mut kids: Vec<Kid> = Vec::new();
                while let Some(kid) = list.next_element()? {
                    if kids.contains(&kid) {
                        return Err(de::Error::custom(format!("the kid {kid} is named twice")));
                    }
                    kids.push(kid);
                }
                if kids.is_empty() {
                    return Err(de::Error::custom("a list of kids must name at least one"));
                }
                Ok(Kids(kids))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// A scope of at least one authorization, or none if it is to be unrestricted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenScope(pub(super) Option<Scope>);

/// How a table, or an argument, says that its token is unrestricted though the file has a scope.
pub(super) const UNRESTRICTED: &str = "unrestricted";

impl<'de> Deserialize<'de> for GivenScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        if words == [UNRESTRICTED] {
            return Ok(Self(None));
        }
        match Scope::parse(&words).map_err(de::Error::custom)? {
            Some(scope) => Ok(Self(Some(scope))),
            // HTCondor takes an empty scope for all rights: nobody gets those by a slip.
            None => Err(de::Error::custom(
                "a scope must name at least one authorization; leave the key out for \
                 unrestricted tokens",
            )),
        }
    }
}

/// A path from `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AbsolutePath(pub(super) PathBuf);

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::from(String::deserialize(deserializer)?);
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(de::Error::custom(format!(
                "{} must be a path that starts with /",
                path.display()
            )))
        }
    }
}

/// The name of a schedd, or the address of a central manager, as condor_token_fetch
/// takes them: one word that is no option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(pub(super) String);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_wrong = |c: char| c.is_control() || c.is_whitespace();
        if text.is_empty() || text.len() > 255 || text.starts_with('-') || text.contains(is_wrong) {
            return Err(de::Error::custom(format!(
                "{text:?} is not the name of a daemon: 1 to 255 bytes without blanks, and no \
                 '-' in front"
            )));
        }
        Ok(Self(text))
    }
}

/// The name of a `[[token]]` table: it becomes part of the names of its token files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableName(pub(super) String);

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if crate::name::is_label(&text) {
            return Ok(Self(text));
        }
        Err(de::Error::custom(format!(
            "{text:?} is not the name of a token: 1 to 32 of a-z, 0-9 and '_', not 16 hex digits"
        )))
    }
}

/// A time to wait, between [`TIMEOUT_MIN`] and [`TIMEOUT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) Duration);

impl Timeout {
    fn parse(text: &str) -> Option<Duration> {
        let (digits, unit) = text.split_at(
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len()),
        );
        let number: u64 = digits.parse().ok()?;
        match unit {
            "ms" => Some(Duration::from_millis(number)),
            "" | "s" => Some(Duration::from_secs(number)),
            _ => None,
        }
        .filter(|time| (TIMEOUT_MIN..=TIMEOUT_MAX).contains(time))
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrSeconds;
        impl Visitor<'_> for TextOrSeconds {
            type Value = Timeout;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time from 10ms to 60s, such as \"3s\" or \"500ms\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timeout, E> {
                Timeout::parse(text)
                    .map(Timeout)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timeout, E> {
                Timeout::parse(&seconds.to_string())
                    .map(Timeout)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(seconds), &self))
            }
        }
        deserializer.deserialize_any(TextOrSeconds)
    }
}

/// Whom a user asks: it goes to their terminal, so it is short and has no
/// control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contact(pub(super) String);

impl<'de> Deserialize<'de> for Contact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
            return Err(de::Error::custom(
                "contact must be 1 to 200 bytes without control characters",
            ));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Given, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_kid_is_one_or_a_list_without_doubles() {
        assert_eq!(parse("kid = \"POOL\"").unwrap().kid.unwrap().0.len(), 1);
        assert_eq!(
            parse("kid = [\"new\", \"POOL\"]").unwrap().kid.unwrap().0[1],
            Kid::pool()
        );
        for bad in [
            "kid = []",
            "kid = [\"a\", \"a\"]",
            "kid = \"../x\"",
            "kid = 3",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_timeout_has_bounds_and_units() {
        let timeout =
            |text: &str| parse(&format!("timeout = {text}")).map(|g| g.timeout.unwrap().0);
        assert_eq!(timeout("\"500ms\"").unwrap(), Duration::from_millis(500));
        assert_eq!(timeout("\"3s\"").unwrap(), timeout("3").unwrap());
        for bad in [
            "0", "-1", "61", "\"1h\"", "\"9ms\"", "\"s\"", "\"\"", "true",
        ] {
            assert!(timeout(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_choices_and_relative_paths_are_refused() {
        for bad in [
            "issuer = \"magic\"",
            "store = \"ram\"",
            "on_close = \"keep\"",
            "on_failure = \"panic\"",
            "state_dir = \"var/lib\"",
            "contact = \"\"",
            "contact = \"a\\u001b[2J\"",
            "min_uid = -1",
            "services = \"sshd\"",
            "lifetime = \"0s\"",
            "scope = []",
            "scope = [\"REED\"]",
            "scope = \"READ\"",
            "scope = [\"READ\", \"unrestricted\"]",
            "schedd_name = \"-debug\"",
            "schedd_pool = \"a b\"",
            "name = \"a-b\"",
            "name = \"0123456789abcdef\"",
            "remote_hosts = [\"10.0.0.0/33\"]",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
