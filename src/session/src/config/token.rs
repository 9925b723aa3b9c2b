//! What goes into one token: the keys that a `[[token]]` table may have for itself.

use std::path::PathBuf;

use idtoken::{KeyForm, Kid, Lifetime, Scope, TrustDomain, UidDomain};

use super::Picker;
use super::remote::RemoteHost;
use super::value::{IssuerChoice, Value};
use crate::error::{Error, Result};

/// Where Debian's and Red Hat's packages put it.
const CONDOR_TOKEN_FETCH: &str = "/usr/bin/condor_token_fetch";
const PASSWORD_DIRECTORY: &str = "/etc/condor/passwords.d";

/// A token that sessions get: what it is, and which sessions.
#[derive(Debug, Clone)]
pub struct Table {
    /// Tells it from the session's other tokens; none for the only one.
    pub name: Option<String>,
    /// Which sessions.
    pub when: When,
    /// What it is.
    pub token: TokenSettings,
}

/// Which sessions a table is for: every list that is not empty has to name the
/// session's; no list at all means every session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// The user is in one of these groups.
    pub groups: Vec<String>,
    /// The user is one of these.
    pub users: Vec<String>,
    /// The PAM service is one of these.
    pub services: Vec<String>,
    /// The login comes from one of these.
    pub remote_hosts: Vec<RemoteHost>,
    /// The user proved who they are by one of these methods of SSH.
    pub ssh_auth_methods: Vec<String>,
}

/// Everything an administrator decides about one token.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// Who signs.
    pub issuer: IssuerChoice,
    /// The keys to sign with, one token each, in this order.
    pub kids: Vec<Kid>,
    /// Whether somebody wrote the kids down; else the schedd takes the one it likes.
    pub kids_are_given: bool,
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
    /// Whether somebody wrote it down; else it is what this host's HTCondor says.
    pub trust_domain_is_given: bool,
    /// The domain in `sub`.
    pub uid_domain: Option<UidDomain>,
    /// Whether somebody wrote it down.
    pub uid_domain_is_given: bool,
    /// `SEC_PASSWORD_DIRECTORY`: where the signing keys other than POOL are.
    pub password_directory: PathBuf,
    /// `SEC_TOKEN_POOL_SIGNING_KEY_FILE`: the signing key POOL.
    pub pool_signing_key_file: PathBuf,
    /// `SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD`.
    pub pool_signing_key_form: KeyForm,
    /// The configuration that HTCondor's tools read; none where they find it.
    pub condor_config: Option<PathBuf>,
    /// HTCondor's tool that asks a schedd for a token.
    pub condor_token_fetch: PathBuf,
    /// The schedd that is asked; none is this host's.
    pub schedd_name: Option<String>,
    /// The central manager that knows the schedd; none is this host's.
    pub schedd_pool: Option<String>,
    /// Why a domain is not known, if HTCondor was asked in vain.
    pub(super) why_unset: Option<String>,
    pub(super) file: PathBuf,
}

impl TokenSettings {
    /// What holds by all layers, the first that says something first.
    pub(super) fn merge(from: &mut Picker<'_>) -> Self {
        let (password_directory, pool_signing_key_file) = key_paths(from);
        Self {
            issuer: match from.pick("issuer") {
                Some(Value::Issuer(choice)) => *choice,
                _ => IssuerChoice::Auto,
            },
            kids: match from.pick("kid") {
                Some(Value::Kids(kids)) => kids.clone(),
                _ => vec![Kid::pool()],
            },
            kids_are_given: from.is_given("kid"),
            lifetime: from.lifetime("lifetime").unwrap_or(Lifetime::HOUR),
            lifetime_unrenewed: from.lifetime("lifetime_unrenewed").unwrap_or(Lifetime::DAY),
            token_max_age: from.lifetime("token_max_age"),
            issued_token_expiration: from.lifetime("issued_token_expiration"),
            scope: match from.pick("scope") {
                Some(Value::Scope(scope)) => scope.clone(),
                _ => None,
            },
            trust_domain: match from.pick("trust_domain") {
                Some(Value::TrustDomain(domain)) => Some(domain.clone()),
                _ => None,
            },
            trust_domain_is_given: from.is_given("trust_domain"),
            uid_domain: match from.pick("uid_domain") {
                Some(Value::UidDomain(domain)) => Some(domain.clone()),
                _ => None,
            },
            uid_domain_is_given: from.is_given("uid_domain"),
            password_directory,
            pool_signing_key_file,
            pool_signing_key_form: match from.pick("pool_signing_key_is_password") {
                Some(Value::Flag(true)) => KeyForm::Password,
                _ => KeyForm::Plain,
            },
            condor_config: from.path("condor_config"),
            condor_token_fetch: from.path_or("condor_token_fetch", CONDOR_TOKEN_FETCH),
            schedd_name: from.text("schedd_name"),
            schedd_pool: from.text("schedd_pool"),
            why_unset: from.layers.why_unset.map(str::to_owned),
            file: from.layers.path.to_owned(),
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
            why: self.why_unset.clone(),
        }
    }
}

/// The directory of the signing keys and the file of POOL.
///
/// Whoever names a directory and no file means the POOL in that directory.
fn key_paths(from: &mut Picker<'_>) -> (PathBuf, PathBuf) {
    let directory = from.path_or("password_directory", PASSWORD_DIRECTORY);
    let mut pool = directory.join("POOL");
    for (given, origin) in from.layers.all() {
        pool = match (
            given.get("pool_signing_key_file"),
            given.get("password_directory"),
        ) {
            (Some(Value::Path(file)), _) => file.clone(),
            (_, Some(Value::Path(directory))) => directory.join("POOL"),
            _ => continue,
        };
        from.origins.push(("pool_signing_key_file", origin));
        break;
    }
    (directory, pool)
}
