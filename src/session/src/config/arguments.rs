//! The arguments of a PAM line: `config=PATH`, `debug`, and `key=value` for any
//! key of the configuration.

use std::path::{Path, PathBuf};

use super::DEFAULT_FILE;
use super::keys::{self, Given, KEYS};
use super::value::{OnFailure, Value};

/// What the PAM line says.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// Another configuration file than the default one.
    pub config: Option<PathBuf>,
    /// Whether lines for finding a fault are logged.
    pub debug: bool,
    /// Arguments that mean nothing; they are logged and ignored.
    pub unknown: Vec<String>,
    pub(super) given: Given,
    /// The first argument that has a meaning but no usable value.
    pub(super) wrong: Option<String>,
}

impl Arguments {
    /// Reads the arguments; never fails, so that a typing error in `pam.d`
    /// locks nobody out. A wrong value is an error of the configuration later.
    pub fn parse<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut parsed = Self::default();
        for argument in arguments {
            parsed.take(argument.as_ref());
        }
        parsed
    }

    /// The file that the configuration is looked for in.
    pub(super) fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    /// What the line itself says about a failure, whatever the file says.
    pub fn on_failure(&self) -> Option<OnFailure> {
        match self.given.get("on_failure") {
            Some(Value::OnFailure(choice)) => Some(*choice),
            _ => None,
        }
    }

    fn take(&mut self, argument: &str) {
        if argument == "debug" {
            self.debug = true;
            return;
        }
        let Some((key, value)) = argument.split_once('=') else {
            self.unknown.push(argument.to_owned());
            return;
        };
        if key == "config" {
            self.take_config(value);
        } else if let Some((key, kind)) = keys::find(KEYS, key) {
            // A wrong value spoils only itself; the last one counts.
            match kind.read(&kind.argument(value)) {
                Ok(value) => self.given.set(key, value),
                Err(why) => self.complain(format!(
                    "the argument {argument} can not be used: {why}; correct the line in /etc/pam.d"
                )),
            }
        } else {
            self.unknown.push(argument.to_owned());
        }
    }

    fn take_config(&mut self, value: &str) {
        if value.starts_with('/') {
            self.config = Some(PathBuf::from(value));
        } else {
            self.complain(format!(
                "the argument config={value} can not be used: write a path that starts with / in /etc/pam.d"
            ));
        }
    }

    fn complain(&mut self, text: String) {
        self.wrong.get_or_insert(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Origin};

    #[test]
    fn known_arguments_are_taken_and_unknown_ones_kept_apart() {
        let args = Arguments::parse(["debug", "config=/x.toml", "min_uid=500", "bogus", "x=y"]);
        assert!(args.debug);
        assert_eq!(args.config, Some(PathBuf::from("/x.toml")));
        assert_eq!(args.given.get("min_uid"), Some(&Value::Uid(500)));
        assert_eq!(args.unknown, ["bogus", "x=y"]);
        assert_eq!(args.wrong, None);
    }

    #[test]
    fn a_list_is_written_with_commas() {
        let args = Arguments::parse(["services=sshd,login", "kid=new,POOL", "deny_users="]);
        assert_eq!(args.given.names("services"), ["sshd", "login"]);
        let kids = ["new", "POOL"].map(|kid| kid.parse().unwrap());
        assert_eq!(args.given.get("kid"), Some(&Value::Kids(kids.into())));
        assert_eq!(args.given.get("deny_users"), Some(&Value::Names(vec![])));
    }

    #[test]
    fn a_wrong_value_is_named_and_spoils_only_itself() {
        let args = Arguments::parse(["min_uid=many", "on_failure=deny", "lifetime=never"]);
        assert!(args.wrong.as_deref().unwrap().contains("min_uid=many"));
        assert_eq!(args.on_failure(), Some(OnFailure::Deny));
        let args = Arguments::parse(["lifetime=never", "on_failure=deny"]);
        assert!(
            args.wrong.as_deref().unwrap().contains("lifetime"),
            "{args:?}"
        );
        assert_eq!(args.on_failure(), Some(OnFailure::Deny));
        assert!(Arguments::parse(["config=x.toml"]).wrong.is_some());
    }

    #[test]
    fn a_value_stays_inside_its_key() {
        for value in ["a\"\nmin_uid = 0\n#", "a\\", "\u{7f}", "'", "]"] {
            let args =
                Arguments::parse([format!("contact={value}"), format!("allow_users={value}")]);
            assert_eq!(args.given.get("min_uid"), None, "{value}");
            assert_eq!(args.given.names("allow_users"), [value]);
        }
    }

    #[test]
    fn every_key_can_be_an_argument() {
        for (key, kind) in KEYS {
            let args = Arguments::parse([format!("{key}=1")]);
            assert!(args.unknown.is_empty(), "{key} {kind:?}");
        }
    }

    #[test]
    fn every_key_an_argument_sets_reaches_the_configuration() {
        let values = [
            ("issuer", "key"),
            ("store", "private"),
            ("on_close", "linger"),
            ("on_failure", "deny"),
            ("password_directory", "/p"),
            ("pool_signing_key_file", "/p/POOL"),
            ("pool_signing_key_is_password", "true"),
            ("state_dir", "/s"),
            ("run_dir", "/r"),
            ("trust_domain", "lab.test"),
            ("uid_domain", "lab.test"),
            ("lifetime", "60s"),
            ("lifetime_unrenewed", "60s"),
            ("token_max_age", "60s"),
            ("issued_token_expiration", "60s"),
            ("audit_keep", "60s"),
            ("timeout", "1s"),
            ("min_uid", "1"),
            ("condor_config_val", "/b/condor_config_val"),
            ("condor_config", "/c"),
            ("condor_token_fetch", "/b/condor_token_fetch"),
            ("schedd_name", "ap1"),
            ("schedd_pool", "cm"),
        ];
        for (key, _) in KEYS {
            let value = values
                .iter()
                .find(|(k, _)| k == key)
                .map_or("READ", |(_, v)| v);
            let args = Arguments::parse([format!("{key}={value}")]);
            assert_eq!(args.wrong, None);
            let shown = |args: &Arguments| {
                let settings = Config::fallback(args).settings();
                settings.into_iter().find(|s| s.key == *key).unwrap()
            };
            let (set, default) = (shown(&args), shown(&Arguments::default()));
            assert_eq!(set.origin, Origin::Argument, "{key}");
            assert_ne!(set.value, default.value, "{key} is lost");
        }
    }
}
