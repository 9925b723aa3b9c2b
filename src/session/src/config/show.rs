//! The effective configuration as text, for `idtokenctl show-config`.

use std::fmt::Write;
use std::path::Path;

use idtoken::{KeyForm, Scope};

use super::value::UNRESTRICTED;
use super::{
    Config, IssuerChoice, KEYS, OnClose, OnFailure, Origin, Origins, Store, TOKEN_KEYS, Table,
    TokenSettings, origin_of,
};

/// One key with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// The value as it would stand in the file, or nothing when it is not set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
}

impl Config {
    /// Every key at the top of the file with its value and origin, in the order of [`KEYS`].
    pub fn settings(&self) -> Vec<Setting> {
        let value = |key: &str| self.value(key).or_else(|| self.token.value(key));
        let keys = KEYS.iter().map(|(key, _)| *key);
        keys.map(|key| setting(key, value(key), &self.origins))
            .collect()
    }

    /// The keys of each `[[token]]` table, those first that say whose it is; nothing if
    /// the file has no table.
    pub fn table_settings(&self) -> Vec<Vec<Setting>> {
        if self.given.tables.is_empty() {
            return Vec::new();
        }
        let tables = self.tables.iter().zip(&self.table_origins);
        tables
            .map(|(table, origins)| table.settings(origins))
            .collect()
    }

    fn value(&self, key: &str) -> Option<String> {
        Some(match key {
            "services" => list(&self.services),
            "min_uid" => self.min_uid.to_string(),
            "allow_groups" => list(&self.allow_groups),
            "deny_groups" => list(&self.deny_groups),
            "allow_users" => list(&self.allow_users),
            "deny_users" => list(&self.deny_users),
            "store" => text(match self.store {
                Store::Home => "home",
                Store::Private => "private",
            }),
            "on_close" => text(match self.on_close {
                OnClose::Delete => "delete",
                OnClose::Linger => "linger",
            }),
            "on_failure" => text(match self.on_failure {
                OnFailure::Ignore => "ignore",
                OnFailure::Deny => "deny",
            }),
            "timeout" => text(format!("{}ms", self.timeout.as_millis())),
            "condor_config_val" => path(&self.condor_config_val),
            "state_dir" => path(&self.state_dir),
            "run_dir" => path(&self.run_dir),
            "audit_keep" => text(self.audit_keep),
            "contact" => text(&self.contact),
            _ => return None,
        })
    }
}

impl Table {
    fn settings(&self, origins: &Origins) -> Vec<Setting> {
        let when = &self.when;
        let some = |values: &[String]| (!values.is_empty()).then(|| list(values));
        let hosts = (!when.remote_hosts.is_empty()).then(|| list(&when.remote_hosts));
        let whose = [
            ("name", self.name.as_ref().map(text)),
            ("groups", some(&when.groups)),
            ("users", some(&when.users)),
            ("services", some(&when.services)),
            ("remote_hosts", hosts),
            ("ssh_auth_methods", some(&when.ssh_auth_methods)),
        ];
        let whose = whose.into_iter().filter(|(_, value)| value.is_some());
        let whose = whose.map(|(key, value)| Setting {
            key,
            value,
            origin: Origin::File,
        });
        let what = TOKEN_KEYS.iter();
        let what = what.map(|key| setting(key, self.token.value(key), origins));
        whose.chain(what).collect()
    }
}

impl TokenSettings {
    fn value(&self, key: &str) -> Option<String> {
        Some(match key {
            "issuer" => text(match self.issuer {
                IssuerChoice::Auto => "auto",
                IssuerChoice::Key => "key",
                IssuerChoice::Schedd => "schedd",
            }),
            "kid" => list(&self.kids),
            "lifetime" => text(self.lifetime),
            "lifetime_unrenewed" => text(self.lifetime_unrenewed),
            "token_max_age" => text(self.token_max_age?),
            "issued_token_expiration" => text(self.issued_token_expiration?),
            "scope" => scope(self.scope.as_ref()),
            "trust_domain" => text(self.trust_domain.as_ref()?),
            "uid_domain" => text(self.uid_domain.as_ref()?),
            "password_directory" => path(&self.password_directory),
            "pool_signing_key_file" => path(&self.pool_signing_key_file),
            "pool_signing_key_is_password" => {
                (self.pool_signing_key_form == KeyForm::Password).to_string()
            }
            "condor_config" => path(self.condor_config.as_ref()?),
            "condor_token_fetch" => path(&self.condor_token_fetch),
            "schedd_name" => text(self.schedd_name.as_ref()?),
            "schedd_pool" => text(self.schedd_pool.as_ref()?),
            _ => return None,
        })
    }
}

fn setting(key: &'static str, value: Option<String>, origins: &Origins) -> Setting {
    let origin = origin_of(origins, key);
    Setting { key, value, origin }
}

fn scope(scope: Option<&Scope>) -> String {
    let Some(scope) = scope else {
        return list(&[UNRESTRICTED]);
    };
    let claim = scope.claim();
    let words = claim.split(' ').map(|s| s.trim_start_matches("condor:/"));
    list(&words.collect::<Vec<_>>())
}

fn text(value: impl std::fmt::Display) -> String {
    quoted(&value.to_string())
}

/// The text as a string of TOML: what JSON writes as a string, TOML reads as the same, but for the
/// control characters from U+007F on, which JSON writes as they are.
fn quoted(text: &str) -> String {
    let as_json = serde_json::Value::from(text).to_string();
    let mut quoted = String::with_capacity(as_json.len());
    for c in as_json.chars() {
        if c.is_control() {
            let _ = write!(quoted, "\\u{:04X}", u32::from(c));
        } else {
            quoted.push(c);
        }
    }
    quoted
}

fn path(value: &Path) -> String {
    text(value.display())
}

fn list<T: std::fmt::Display>(values: &[T]) -> String {
    let parts: Vec<String> = values.iter().map(text).collect();
    format!("[{}]", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_shown_and_reads_back_as_shown() {
        let given = "services = [\"sshd\", \"login\"]\nscope = [\"WRITE\"]\ntrust_domain = \"a\"\n\
                     uid_domain = \"b.c\"\nkid = [\"x\", \"POOL\"]\ntimeout = \"500ms\"\n\
                     allow_users = [\"a\\\"b\"]\ntoken_max_age = \"2h\"\n\
                     issued_token_expiration = 600\non_close = \"linger\"\n\
                     store = \"private\"\nissuer = \"schedd\"\non_failure = \"deny\"\n\
                     condor_config = \"/c\"\nschedd_name = \"a@b\"\nschedd_pool = \"cm\"\n";
        let config = Config::parse(given, Path::new("/x")).unwrap();
        let settings = config.settings();
        assert_eq!(settings.len(), KEYS.len());
        let lines: Vec<String> = settings
            .iter()
            .map(|s| format!("{} = {}", s.key, s.value.as_deref().unwrap()))
            .collect();
        let again = Config::parse(&lines.join("\n"), Path::new("/x")).unwrap();
        for (a, b) in settings.iter().zip(again.settings()) {
            assert_eq!((a.key, &a.value), (b.key, &b.value));
        }
        let scope = again.token.scope.unwrap();
        assert_eq!(scope.claim(), "condor:/READ condor:/WRITE");
    }

    #[test]
    fn no_control_character_is_shown_as_it_is() {
        let given = "allow_users = [\"a\\u007f\\u009b\\u001b\"]\n";
        let config = Config::parse(given, Path::new("/x")).unwrap();
        let settings = config.settings();
        let shown = settings.iter().find(|s| s.key == "allow_users").unwrap();
        let shown = shown.value.as_ref().unwrap();
        assert_eq!(shown, "[\"a\\u007F\\u009B\\u001b\"]");
        let again = Config::parse(&format!("allow_users = {shown}\n"), Path::new("/x")).unwrap();
        assert_eq!(again.allow_users, config.allow_users);
    }

    #[test]
    fn what_is_not_set_has_no_value() {
        let config = Config::parse("", Path::new("/x")).unwrap();
        let unset: Vec<_> = config
            .settings()
            .into_iter()
            .filter(|s| s.value.is_none())
            .map(|s| s.key)
            .collect();
        assert_eq!(
            unset,
            [
                "token_max_age",
                "issued_token_expiration",
                "trust_domain",
                "uid_domain",
                "condor_config",
                "schedd_name",
                "schedd_pool"
            ]
        );
    }

    #[test]
    fn tables_are_shown_with_what_they_inherit_and_read_back() {
        let text = "lifetime = \"2h\"\nscope = [\"READ\"]\n[[token]]\nname = \"other\"\n\
                    groups = [\"a\"]\nremote_hosts = [\"10.0.0.0/8\", \".lab.test\"]\n\
                    scope = [\"unrestricted\"]\n[[token]]\nssh_auth_methods = [\"password\"]\n";
        let config = Config::parse(text, Path::new("/x")).unwrap();
        let tables = config.table_settings();
        let value = |table: usize, key: &str| {
            let found = tables[table].iter().find(|s| s.key == key).unwrap();
            (found.value.clone().unwrap_or_default(), found.origin)
        };
        assert_eq!(
            value(0, "scope"),
            ("[\"unrestricted\"]".into(), Origin::File)
        );
        assert_eq!(value(1, "scope"), ("[\"READ\"]".into(), Origin::File));
        assert_eq!(value(1, "lifetime").0, "\"2h\"");
        assert_eq!(value(1, "issuer").1, Origin::Default);
        let mut shown = String::new();
        for table in &tables {
            shown += "[[token]]\n";
            for setting in table.iter().filter(|s| s.value.is_some()) {
                let value = setting.value.as_ref().unwrap();
                shown += &[setting.key, " = ", value, "\n"].concat();
            }
        }
        let again = Config::parse(&shown, Path::new("/x")).unwrap();
        let names = |config: &Config| -> Vec<_> {
            config
                .tables
                .iter()
                .map(|t| (t.name.clone(), t.when.clone()))
                .collect()
        };
        assert_eq!(names(&again), names(&config));
        assert!(
            Config::parse("", Path::new("/x"))
                .unwrap()
                .table_settings()
                .is_empty()
        );
    }
}
