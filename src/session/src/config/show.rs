//! The effective configuration as text, for `idtokenctl show-config`.

use std::path::Path;

use idtoken::KeyForm;

use super::{Config, IssuerChoice, KEYS, OnClose, OnFailure, Origin, Store};

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
    /// Every key with its value and origin, in the order of [`KEYS`].
    pub fn settings(&self) -> Vec<Setting> {
        KEYS.iter()
            .map(|(key, _)| Setting {
                key,
                value: self.value(key),
                origin: self.origins.get(key).copied().unwrap_or(Origin::Default),
            })
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
            "issuer" => text(match self.issuer {
                IssuerChoice::Auto => "auto",
                IssuerChoice::Key => "key",
            }),
            "kid" => list(&self.kids),
            "lifetime" => text(self.lifetime),
            "lifetime_unrenewed" => text(self.lifetime_unrenewed),
            "token_max_age" => text(self.token_max_age?),
            "issued_token_expiration" => text(self.issued_token_expiration?),
            "scope" => {
                let claim = self.scope.as_ref()?.claim();
                list(
                    &claim
                        .split(' ')
                        .map(|s| s.trim_start_matches("condor:/"))
                        .collect::<Vec<_>>(),
                )
            }
            "trust_domain" => text(self.trust_domain.as_ref()?),
            "uid_domain" => text(self.uid_domain.as_ref()?),
            "store" => text(match self.store {
                Store::Home => "home",
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
            "password_directory" => path(&self.password_directory),
            "pool_signing_key_file" => path(&self.pool_signing_key_file),
            "pool_signing_key_is_password" => {
                (self.pool_signing_key_form == KeyForm::Password).to_string()
            }
            "state_dir" => path(&self.state_dir),
            "run_dir" => path(&self.run_dir),
            "audit_keep" => text(self.audit_keep),
            "contact" => text(&self.contact),
            _ => return None,
        })
    }
}

fn text(value: impl std::fmt::Display) -> String {
    quoted(&value.to_string())
}

/// The text as a string of TOML: what JSON writes as a string, TOML reads as the same.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
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
                     issued_token_expiration = 600\non_close = \"linger\"\n";
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
        assert_eq!(again.scope.unwrap().claim(), "condor:/READ condor:/WRITE");
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
                "scope",
                "trust_domain",
                "uid_domain"
            ]
        );
    }
}
