//! The schedd issuer: condor_token_fetch, run as the user.
//!
//! The schedd signs for the identity of the connection, so root never asks: it would be
//! given `condor@...`, an administrator's token. What is printed is read with suspicion:
//! it has to be one token, of this user, that expires in time.

mod answer;
#[cfg(fuzzing)]
pub mod fuzz;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use idtoken::{KeyError, KeyFault, Kid, Scope};
use zeroize::Zeroizing;

use super::{Batch, Change, Request};
use crate::aside::lock;
use crate::child::{self, ChildError, Program, Said};
use crate::config::TokenSettings;
use crate::error::{Error, Result};
use crate::record::Minted;

/// More than any token, in bytes of output.
const OUTPUT_LIMIT: usize = 64 * 1024;
/// By how many seconds the clock of a schedd may be ahead.
pub(super) const SKEW: u64 = 120;
/// All that condor_token_fetch starts is below these.
const PATH: &str = "/usr/bin:/bin";

/// What asks the schedd.
pub struct Schedd {
    settings: TokenSettings,
    /// Why the signing key is not used, if it was to be.
    why_not_key: Option<String>,
    /// Whether there is a signing key that can not be used.
    has_bad_key: bool,
    /// The users who waited in vain since somebody got a token.
    failed: Mutex<Vec<u32>>,
}

/// When so many users waited in vain, nobody else is held up. One user alone proves nothing:
/// what condor_token_fetch does is in the user's own hands, too. What fails at once holds up
/// nobody.
const PATIENCE: usize = 3;

impl Schedd {
    /// Asks nobody yet.
    pub fn new(settings: &TokenSettings, why_not_key: Option<KeyError>) -> Self {
        let is_missing = |error: &KeyError| matches!(error.fault, KeyFault::Missing);
        Self {
            settings: settings.clone(),
            has_bad_key: why_not_key.as_ref().is_some_and(|error| !is_missing(error)),
            why_not_key: why_not_key.map(|error| error.to_string()),
            failed: Mutex::default(),
        }
    }

    /// Whether nobody asks it any more, for as long as this value is used.
    pub fn is_given_up(&self) -> bool {
        self.failed().len() >= PATIENCE
    }

    /// Why the signing key is not used, if it was to be.
    pub fn why_not_key(&self) -> Option<&str> {
        self.why_not_key.as_deref()
    }

    /// Whether there is a signing key that can not be used.
    pub(super) fn has_bad_key(&self) -> bool {
        self.has_bad_key
    }

    fn failed(&self) -> MutexGuard<'_, Vec<u32>> {
        lock(&self.failed)
    }

    /// Asks for one token per kid that somebody wrote down, or for one of the kid that
    /// the schedd likes best.
    ///
    /// Of several kids those that the schedd refuses are left out, unless it refuses all.
    pub fn fetch(&self, request: Request<'_>) -> Result<Batch> {
        if self.is_given_up() {
            return Err(self.error("it gave other users none a moment ago"));
        }
        let kids: Vec<Option<&Kid>> = if self.settings.kids_are_given {
            self.settings.kids.iter().map(Some).collect()
        } else {
            vec![None]
        };
        let mut contents = Zeroizing::new(Vec::with_capacity(kids.len() * 4096));
        let mut tokens = Vec::with_capacity(kids.len());
        let mut refused = None;
        for kid in kids {
            match self.fetch_one(kid, request) {
                Ok((line, token)) => {
                    contents.extend_from_slice(line.as_bytes());
                    contents.push(b'\n');
                    tokens.push(token);
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(error) if tokens.is_empty() => Err(error),
            _ => {
                let mut failed = self.failed();
                // Who was passed over meanwhile is to be counted, so it stays given up.
                if failed.len() < PATIENCE {
                    failed.clear();
                }
                Ok(Batch { contents, tokens })
            }
        }
    }

    fn fetch_one(
        &self,
        kid: Option<&Kid>,
        request: Request<'_>,
    ) -> Result<(Zeroizing<String>, Minted)> {
        let said = self.run(kid, request);
        let said = said.map_err(|error| {
            let uid = request.user.uid;
            let mut failed = self.failed();
            if matches!(error, ChildError::Deadline { .. }) && !failed.contains(&uid) {
                failed.push(uid);
            }
            self.error(&error.to_string())
        })?;
        self.take(&said, kid, request)
    }

    /// The token in what was printed, or an error that says what is wrong with it.
    fn take(
        &self,
        said: &Said,
        kid: Option<&Kid>,
        request: Request<'_>,
    ) -> Result<(Zeroizing<String>, Minted)> {
        self.read(said, kid, request).map_err(|why| {
            let printed = said.stderr.trim();
            self.error(&if printed.is_empty() {
                why
            } else {
                format!("{why}; it says: {printed}")
            })
        })
    }

    fn run(
        &self,
        kid: Option<&Kid>,
        request: Request<'_>,
    ) -> std::result::Result<Said, ChildError> {
        let Request { user, euid, .. } = request;
        let settings = &self.settings;
        let mut env = vec![
            ("HOME", user.home.display().to_string()),
            ("USER", user.name.clone()),
            ("PATH", PATH.to_owned()),
        ];
        if let Some(path) = &settings.condor_config {
            env.push(("CONDOR_CONFIG", path.display().to_string()));
        }
        let program = Program {
            path: &settings.condor_token_fetch,
            args: arguments(settings, kid, request.lifetime.as_secs()),
            env,
            // Who is not root can only be themself, and is refused otherwise.
            user: (euid != user.uid).then_some(user),
            limit: OUTPUT_LIMIT,
        };
        child::run(&program, request.deadline)
    }

    /// What has changed since these tokens were fetched, as far as it can be told from here.
    pub fn change(&self, user: &str, tokens: &[Minted]) -> Option<Change> {
        let settings = &self.settings;
        let is_replaced = |token: &Minted| {
            let key = identity(&settings.key_file(&token.kid));
            // Of a token that was signed here before nothing can be told.
            let can_tell = token.key.starts_with(FILE) && key.len() > FILE.len();
            can_tell && key != token.key
        };
        if tokens.iter().any(is_replaced) {
            return Some(Change::Key);
        }
        let is_wanted = |token: &Minted| settings.kids.contains(&token.kid);
        if settings.kids_are_given && !tokens.iter().all(is_wanted) {
            return Some(Change::Kids);
        }
        let scope = settings.scope.as_ref().map(Scope::claim);
        let domain = settings.uid_domain.as_ref();
        let subject = domain
            .filter(|_| settings.uid_domain_is_given)
            .map(|domain| format!("{user}@{domain}"));
        let issuer = settings.trust_domain.as_ref();
        let issuer = issuer.filter(|_| settings.trust_domain_is_given);
        let is_as_today = |token: &Minted| {
            token.scope == scope
                && subject
                    .as_ref()
                    .is_none_or(|wanted| *wanted == token.subject)
                && issuer.is_none_or(|wanted| wanted.as_str() == token.issuer)
        };
        (!tokens.iter().all(is_as_today)).then_some(Change::Claims)
    }

    fn error(&self, why: &str) -> Error {
        Error::Fetch {
            program: self.settings.condor_token_fetch.clone(),
            why: why.to_owned(),
            why_not_key: self.why_not_key.clone(),
        }
    }
}

fn arguments(settings: &TokenSettings, kid: Option<&Kid>, lifetime: u64) -> Vec<String> {
    // Without a positive lifetime the token would never expire.
    let mut args = vec!["-lifetime".to_owned(), lifetime.to_string()];
    let mut option = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
    if let Some(name) = &settings.schedd_name {
        option("-name", name);
    }
    if let Some(pool) = &settings.schedd_pool {
        option("-pool", pool);
    }
    if let Some(kid) = kid {
        option("-key", kid.as_str());
    }
    for word in settings.scope.iter().flat_map(Scope::iter) {
        option("-authz", word.as_str());
    }
    args
}

/// What [`identity`] begins with, unlike the fingerprint of a key.
const FILE: &str = "file-";

/// Tells a key file from what replaces it, without reading it; empty if it is not there, and nothing
/// but [`FILE`] if it could not be looked at: it is another one then as soon as it can.
///
/// Unlike [`crate::identity`] it is kept in records, and a key whose mode or owner was changed
/// is no other key.
fn identity(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(meta) => format!(
            "{FILE}{:x}-{:x}-{:x}-{:x}",
            meta.ino(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec()
        ),
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        Err(_) => FILE.to_owned(),
    }
}

#[cfg(test)]
mod tests;
