//! Who signs: this process with the keys of the pool, or the schedd.

pub mod key;
pub mod schedd;

use std::sync::Arc;

use idtoken::{KeyError, KeyFault, Lifetime, SigningKey, TrustDomain};
use zeroize::Zeroizing;

use crate::config::{IssuerChoice, TokenSettings};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::record::Minted;
use crate::user::User;

pub use key::Signer;
pub use schedd::Schedd;

/// What makes the tokens of one table.
pub enum Issuer {
    /// The signing keys, in this process.
    Key(Signer),
    /// The schedd.
    Schedd(Box<Schedd>),
}

/// The contents of a token file and what is known of them.
pub struct Batch {
    /// The bytes of the token file: one token a line.
    pub contents: Zeroizing<Vec<u8>>,
    /// What is known of the tokens, in the order of the lines.
    pub tokens: Vec<Minted>,
}

/// Whom tokens are for, and until when they have to be there.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The user.
    pub user: &'a User,
    /// The effective uid of this process; 0 in sshd.
    pub euid: u32,
    /// Seconds since 1970 UTC.
    pub now: u64,
    /// How long they are to live.
    pub lifetime: Lifetime,
    /// A schedd has to answer before it.
    pub deadline: Deadline,
}

/// Why the tokens of a session have to be made anew before half of their life is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A signing key was replaced.
    Key,
    /// A key came to this host or into the configuration, left the configuration, or
    /// their order changed.
    Kids,
    /// Trust domain, subject or scope are others now.
    Claims,
}

impl Issuer {
    /// What the settings ask for; `owner` is the uid that key files must belong to, 0 in sshd.
    ///
    /// `auto` is the key if it can be read, else the schedd. Not so an empty key: HTCondor
    /// signs with it, and refuses what it has signed.
    pub fn new(settings: &TokenSettings, owner: u32) -> Result<Self> {
        let schedd = |why: Option<KeyError>| Self::Schedd(Box::new(Schedd::new(settings, why)));
        match settings.issuer {
            IssuerChoice::Key => Signer::new(settings, owner).map(Self::Key),
            IssuerChoice::Schedd => Ok(schedd(None)),
            IssuerChoice::Auto => match Signer::new(settings, owner) {
                Ok(signer) => Ok(Self::Key(signer)),
                Err(Error::Key(why)) if may_ask(settings, &why) => Ok(schedd(Some(why))),
                Err(error) => Err(error),
            },
        }
    }

    /// Makes the tokens of a user.
    pub fn issue(&self, request: Request<'_>) -> Result<Batch> {
        match self {
            Self::Key(signer) => {
                let Request {
                    user,
                    now,
                    lifetime,
                    ..
                } = request;
                signer.sign(&user.name, now, lifetime)
            }
            Self::Schedd(schedd) => schedd.fetch(request),
        }
    }

    /// What has changed since the tokens of a user were made; none if they are as they
    /// would be made today.
    pub fn change(&self, user: &str, tokens: &[Minted]) -> Result<Option<Change>> {
        match self {
            Self::Key(signer) => signer.change(user, tokens),
            Self::Schedd(schedd) => Ok(schedd.change(user, tokens)),
        }
    }

    /// Whether somebody else is asked, who may not answer.
    pub fn may_wait(&self) -> bool {
        matches!(self, Self::Schedd(_))
    }

    /// Why the schedd is asked though there is a signing key; nothing if there is none, which
    /// is what `auto` is for.
    pub fn why_not_key(&self) -> Option<&str> {
        match self {
            Self::Schedd(schedd) if schedd.has_bad_key() => schedd.why_not_key(),
            _ => None,
        }
    }

    /// Whether nobody asks it any more in this process.
    pub fn is_given_up(&self) -> bool {
        matches!(self, Self::Schedd(schedd) if schedd.is_given_up())
    }

    /// By how many seconds a token may live longer than it was asked for: a schedd has a
    /// clock of its own.
    pub fn slack(&self) -> u64 {
        match self {
            Self::Key(_) => 0,
            Self::Schedd(_) => schedd::SKEW,
        }
    }

    /// The keys of this host by which other tokens of the trust domain can be judged.
    pub fn share_keys(&self) -> Option<(TrustDomain, Arc<[SigningKey]>)> {
        match self {
            Self::Key(signer) => Some(signer.share_keys()),
            Self::Schedd(_) => None,
        }
    }
}

/// Whether the schedd may have what this process has not.
///
/// Only on a local file system it is looked whether there is anybody to ask: another may not
/// answer, and whoever is asked in vain says so.
fn may_ask(settings: &TokenSettings, why: &KeyError) -> bool {
    let tool = &settings.condor_token_fetch;
    let is_there = !tool.starts_with("/usr/bin") || tool.exists();
    !matches!(why.fault, KeyFault::Empty) && is_there
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn auto_asks_the_schedd_without_a_key_and_not_because_of_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "trust_domain = \"lab\"\nuid_domain = \"lab\"\ncondor_token_fetch = \"/bin/sh\"\n\
             password_directory = {:?}",
            dir.path()
        );
        let settings = Config::parse(&text, Path::new("/x.toml")).unwrap().token;
        let auto = || Issuer::new(&settings, nix::unistd::geteuid().as_raw());
        assert!(matches!(auto(), Ok(Issuer::Schedd(_))));
        let key = dir.path().join("POOL");
        fs::write(&key, "").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let error = auto().err().unwrap().to_string();
        assert!(error.contains("is empty"), "{error}");
        fs::write(&key, "a key").unwrap();
        assert!(matches!(auto(), Ok(Issuer::Key(_))));
    }
}
