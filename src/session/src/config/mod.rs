//! The configuration: the file, the arguments over it, defaults under both.

mod arguments;
mod file;
mod keys;
mod show;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use idtoken::{KeyForm, Kid, Lifetime, Scope, TrustDomain, UidDomain};

pub use arguments::Arguments;
pub use keys::{IssuerChoice, KEYS, Kind, OnClose, OnFailure, Store, TIMEOUT_MAX, TIMEOUT_MIN};
pub use show::Setting;

use crate::error::{Error, Result};
use keys::{AbsolutePath, Contact, Given, Kids, Timeout};

/// The configuration file when the PAM line names none.
pub const DEFAULT_FILE: &str = "/etc/security/pam_idtoken.toml";

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// An argument of the PAM line, or an option of idtokenctl.
    Argument,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Argument => "argument",
        })
    }
}

/// Everything an administrator decides, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was looked for in, and whether it was there.
    pub file: PathBuf,
    /// Whether that file exists.
    pub file_exists: bool,
    /// PAM services that are served.
    pub services: Vec<String>,
    /// The lowest uid that is served.
    pub min_uid: u32,
    /// If this or `allow_users` is not empty, nobody else is served.
    pub allow_groups: Vec<String>,
    /// Members are not served, whatever else holds.
    pub deny_groups: Vec<String>,
    /// If this or `allow_groups` is not empty, nobody else is served.
    pub allow_users: Vec<String>,
    /// These are not served, whatever else holds.
    pub deny_users: Vec<String>,
    /// Who signs.
    pub issuer: IssuerChoice,
    /// The keys to sign with, one token each, in this order.
    pub kids: Vec<Kid>,
    /// How long a token lives that is renewed.
    pub lifetime: Lifetime,
    /// How long a token lives that nobody will renew.
    pub lifetime_unrenewed: Lifetime,
    /// `SEC_TOKEN_MAX_AGE`: servers refuse tokens that are older.
    pub token_max_age: Option<Lifetime>,
    /// `SEC_ISSUED_TOKEN_EXPIRATION`: no daemon of the pool issues longer ones.
    pub issued_token_expiration: Option<Lifetime>,
    /// What a token may be used for; none is everything its user may do.
    pub scope: Option<Scope>,
    /// `iss`.
    pub trust_domain: Option<TrustDomain>,
    /// The domain in `sub`.
    pub uid_domain: Option<UidDomain>,
    /// Where the token goes.
    pub store: Store,
    /// What becomes of it when the session closes.
    pub on_close: OnClose,
    /// What a failure means for the login.
    pub on_failure: OnFailure,
    /// The bound on everything that may wait.
    pub timeout: Duration,
    /// `SEC_PASSWORD_DIRECTORY`: where the signing keys other than POOL are.
    pub password_directory: PathBuf,
    /// `SEC_TOKEN_POOL_SIGNING_KEY_FILE`: the signing key POOL.
    pub pool_signing_key_file: PathBuf,
    /// `SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD`.
    pub pool_signing_key_form: KeyForm,
    /// Where the records of sessions are.
    pub state_dir: PathBuf,
    /// What does not outlive a boot.
    pub run_dir: PathBuf,
    /// How long the audit is kept.
    pub audit_keep: Lifetime,
    /// Whom a user is told to ask.
    pub contact: String,
    origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// Reads the file and lays the arguments over it.
    ///
    /// `euid` is the effective uid of this process. A missing default file
    /// means defaults; a missing file that the PAM line names is an error, as
    /// is everything in the file or the arguments that has no meaning.
    pub fn load(arguments: &Arguments, euid: u32) -> Result<Self> {
        if let Some(wrong) = &arguments.wrong {
            return Err(Error::Config(wrong.clone()));
        }
        let path = arguments
            .config
            .as_deref()
            .unwrap_or(Path::new(DEFAULT_FILE));
        let given = file::read(path, euid)?;
        if given.is_none() && arguments.config.is_some() {
            return Err(Error::Config(format!(
                "{0} is not there, though config={0} names it; create the file or correct the name",
                path.display()
            )));
        }
        let exists = given.is_some();
        let given = given.unwrap_or_default();
        Ok(Self::merge(arguments.given.clone(), given, path, exists))
    }

    /// What holds when [`Config::load`] failed: arguments and defaults alone.
    ///
    /// It says who would have been served and what a failure means for them,
    /// and where the records are. Nothing is signed with it.
    pub fn fallback(arguments: &Arguments) -> Self {
        let path = arguments
            .config
            .as_deref()
            .unwrap_or(Path::new(DEFAULT_FILE));
        Self::merge(arguments.given.clone(), Given::default(), path, false)
    }

    /// Parses a configuration text as [`Config::load`] would; for examples in documents.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let given = file::parse(text, path)?;
        Ok(Self::merge(Given::default(), given, path, true))
    }

    fn merge(args: Given, file: Given, path: &Path, file_exists: bool) -> Self {
        let mut from = Origins::default();
        macro_rules! pick {
            ($key:ident, $default:expr) => {
                from.pick(stringify!($key), args.$key, file.$key)
                    .unwrap_or_else(|| $default)
            };
        }
        let AbsolutePath(password_directory) = pick!(
            password_directory,
            AbsolutePath("/etc/condor/passwords.d".into())
        );
        let AbsolutePath(pool_signing_key_file) = pick!(
            pool_signing_key_file,
            AbsolutePath(password_directory.join("POOL"))
        );
        Self {
            file: path.to_owned(),
            file_exists,
            services: pick!(services, vec!["sshd".into()]),
            min_uid: pick!(min_uid, 1000),
            allow_groups: pick!(allow_groups, vec![]),
            deny_groups: pick!(deny_groups, vec![]),
            allow_users: pick!(allow_users, vec![]),
            deny_users: pick!(deny_users, vec![]),
            issuer: pick!(issuer, IssuerChoice::Auto),
            kids: pick!(kid, Kids(vec![Kid::pool()])).0,
            lifetime: pick!(lifetime, Lifetime::HOUR),
            lifetime_unrenewed: pick!(lifetime_unrenewed, Lifetime::DAY),
            token_max_age: from.pick("token_max_age", args.token_max_age, file.token_max_age),
            issued_token_expiration: from.pick(
                "issued_token_expiration",
                args.issued_token_expiration,
                file.issued_token_expiration,
            ),
            scope: from
                .pick("scope", args.scope, file.scope)
                .map(|given| given.0),
            trust_domain: from.pick("trust_domain", args.trust_domain, file.trust_domain),
            uid_domain: from.pick("uid_domain", args.uid_domain, file.uid_domain),
            store: pick!(store, Store::Home),
            on_close: pick!(on_close, OnClose::Delete),
            on_failure: pick!(on_failure, OnFailure::Ignore),
            timeout: pick!(timeout, Timeout(Duration::from_secs(3))).0,
            password_directory,
            pool_signing_key_file,
            pool_signing_key_form: if pick!(pool_signing_key_is_password, false) {
                KeyForm::Password
            } else {
                KeyForm::Plain
            },
            state_dir: pick!(state_dir, AbsolutePath("/var/lib/pam_idtoken".into())).0,
            run_dir: pick!(run_dir, AbsolutePath("/run/pam_idtoken".into())).0,
            audit_keep: pick!(audit_keep, Lifetime::QUARTER),
            contact: pick!(contact, Contact("your administrator".into())).0,
            origins: from.0,
        }
    }

    /// How long a token lives at most that is renewed, or that is not.
    ///
    /// No server takes a token that is older than SEC_TOKEN_MAX_AGE, and the pool
    /// wants none that lives longer than SEC_ISSUED_TOKEN_EXPIRATION.
    pub fn lifetime_of(&self, renewed: bool) -> Lifetime {
        let wanted = if renewed {
            self.lifetime
        } else {
            self.lifetime_unrenewed
        };
        let caps = [self.token_max_age, self.issued_token_expiration];
        caps.into_iter().flatten().fold(wanted, Lifetime::min)
    }

    /// The file that holds the signing key of a kid.
    pub fn key_file(&self, kid: &Kid) -> PathBuf {
        if kid.is_pool() {
            self.pool_signing_key_file.clone()
        } else {
            self.password_directory.join(kid.as_str())
        }
    }

    /// `iss`, or an error that says how to set it.
    pub fn issuer_name(&self) -> Result<&TrustDomain> {
        self.trust_domain
            .as_ref()
            .ok_or_else(|| self.unset("trust_domain", "TRUST_DOMAIN"))
    }

    /// The domain in `sub`, or an error that says how to set it.
    pub fn subject_domain(&self) -> Result<&UidDomain> {
        self.uid_domain
            .as_ref()
            .ok_or_else(|| self.unset("uid_domain", "UID_DOMAIN"))
    }

    fn unset(&self, key: &'static str, htcondor: &'static str) -> Error {
        Error::Unset {
            key,
            htcondor,
            file: self.file.clone(),
        }
    }
}

#[derive(Default)]
struct Origins(BTreeMap<&'static str, Origin>);

impl Origins {
    fn pick<T>(&mut self, key: &'static str, args: Option<T>, file: Option<T>) -> Option<T> {
        let origin = match (&args, &file) {
            (Some(_), _) => Origin::Argument,
            (None, Some(_)) => Origin::File,
            (None, None) => Origin::Default,
        };
        self.0.insert(key, origin);
        args.or(file)
    }
}

#[cfg(test)]
mod tests;
