//! Every key of the configuration, and what a file or an argument says about it.
//!
//! [`KEYS`] is the one list; arguments, `idtokenctl show-config` and the tests
//! that compare the documentation with the code all read it.

use super::value::{Kind, Value};
use crate::discovery::HTCondor;

/// Every key, in the order in which the documentation names them.
pub const KEYS: &[(&str, Kind)] = &[
    ("services", Kind::Names),
    ("min_uid", Kind::Uid),
    ("allow_groups", Kind::Names),
    ("deny_groups", Kind::Names),
    ("allow_users", Kind::Names),
    ("deny_users", Kind::Names),
    ("issuer", Kind::Issuer),
    ("kid", Kind::Kids),
    ("lifetime", Kind::Lifetime),
    ("lifetime_unrenewed", Kind::Lifetime),
    ("token_max_age", Kind::Lifetime),
    ("issued_token_expiration", Kind::Lifetime),
    ("scope", Kind::Scope),
    ("trust_domain", Kind::TrustDomain),
    ("uid_domain", Kind::UidDomain),
    ("store", Kind::Store),
    ("on_close", Kind::OnClose),
    ("on_failure", Kind::OnFailure),
    ("timeout", Kind::Timeout),
    ("password_directory", Kind::Path),
    ("pool_signing_key_file", Kind::Path),
    ("pool_signing_key_is_password", Kind::Flag),
    ("condor_config_val", Kind::Path),
    ("condor_config", Kind::Path),
    ("condor_token_fetch", Kind::Path),
    ("schedd_name", Kind::Address),
    ("schedd_pool", Kind::Address),
    ("state_dir", Kind::Path),
    ("run_dir", Kind::Path),
    ("audit_keep", Kind::Lifetime),
    ("contact", Kind::Contact),
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
pub const MATCH_KEYS: &[(&str, Kind)] = &[
    ("name", Kind::TableName),
    ("groups", Kind::Names),
    ("users", Kind::Names),
    ("services", Kind::Names),
    ("remote_hosts", Kind::Hosts),
    ("ssh_auth_methods", Kind::Names),
];

/// The key of that name, and what its value is.
pub(super) fn find(keys: &[(&'static str, Kind)], name: &str) -> Option<(&'static str, Kind)> {
    keys.iter().copied().find(|(key, _)| *key == name)
}

/// What a file, one of its `[[token]]` tables, the arguments of a PAM line or
/// HTCondor's configuration set.
///
/// One type for all, since each key reads the same everywhere; what is out of place is
/// refused by [`super::table`].
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// Each of the kind that its key has.
    values: Vec<(&'static str, Value)>,
    /// Only in a file.
    pub(super) tables: Vec<Self>,
}

impl Given {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let mut values = self.values.iter();
        values.find_map(|(name, value)| (*name == key).then_some(value))
    }

    /// Sets a key, in place of what it was before.
    pub(super) fn set(&mut self, key: &'static str, value: Value) {
        self.values.retain(|(name, _)| *name != key);
        self.values.push((key, value));
    }

    /// The keys that are set.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(key, _)| *key)
    }

    /// A list, empty if it is not set.
    pub(super) fn names(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(Value::Names(names)) => names.clone(),
            _ => Vec::new(),
        }
    }
}

impl From<&HTCondor> for Given {
    fn from(said: &HTCondor) -> Self {
        let said = said.clone();
        let lifetime = Value::Lifetime;
        let values = [
            ("trust_domain", said.trust_domain.map(Value::TrustDomain)),
            ("uid_domain", said.uid_domain.map(Value::UidDomain)),
            (
                "password_directory",
                said.password_directory.map(Value::Path),
            ),
            (
                "pool_signing_key_file",
                said.pool_signing_key_file.map(Value::Path),
            ),
            (
                "pool_signing_key_is_password",
                said.pool_signing_key_is_password.map(Value::Flag),
            ),
            ("kid", said.issuer_key.map(|kid| Value::Kids(vec![kid]))),
            ("token_max_age", said.token_max_age.map(lifetime)),
            (
                "issued_token_expiration",
                said.issued_token_expiration.map(lifetime),
            ),
        ];
        let mut given = Self::default();
        for (key, value) in values {
            given.values.extend(value.map(|value| (key, value)));
        }
        given
    }
}
