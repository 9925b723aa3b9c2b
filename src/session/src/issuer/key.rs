//! The `key` issuer: tokens signed in this process with the keys of the pool.

use std::fmt::Write as _;
use std::sync::Arc;

use idtoken::{
    Claims, Jti, KeyError, KeyForm, Kid, Lifetime, Scope, SigningKey, Subject, Token, TrustDomain,
    UidDomain,
};
use zeroize::Zeroizing;

use super::{Batch, Change};
use crate::config::TokenSettings;
use crate::error::{Error, Result};
use crate::record::Minted;

/// What signs: the keys that can be read now and what goes into every token.
pub struct Signer {
    issuer: TrustDomain,
    domain: UidDomain,
    scope: Option<Scope>,
    kids: Vec<Kid>,
    keys: Arc<[SigningKey]>,
    /// The keys of a list that could not be used, while others could.
    pub skipped: Vec<KeyError>,
}

impl Signer {
    /// Reads the keys; `owner` is the uid a key file must belong to, 0 in sshd.
    ///
    /// Of a list of kids those whose key is not on this host yet are skipped,
    /// as HTCondor's client skips lines whose key a server does not know; when
    /// no key can be used, that is an error.
    pub fn new(settings: &TokenSettings, owner: u32) -> Result<Self> {
        let issuer = settings.issuer_name()?.clone();
        let domain = settings.subject_domain()?.clone();
        let (keys, skipped) = read_keys(settings, owner)?;
        Ok(Self {
            issuer,
            domain,
            scope: settings.scope.clone(),
            kids: settings.kids.clone(),
            keys: keys.into(),
            skipped,
        })
    }

    /// The keys, in the order of the configuration.
    pub fn keys(&self) -> &[SigningKey] {
        &self.keys
    }

    /// The trust domain and its keys, for whoever looks at other tokens.
    pub fn share_keys(&self) -> (TrustDomain, Arc<[SigningKey]>) {
        (self.issuer.clone(), Arc::clone(&self.keys))
    }

    /// Signs one token per key for a user; `now` is in seconds since 1970 UTC and becomes `iat`.
    pub fn sign(&self, user: &str, now: u64, lifetime: Lifetime) -> Result<Batch> {
        let subject = Subject::new(user, &self.domain)?;
        let expires = now.saturating_add(lifetime.as_secs());
        let mut signed = Vec::with_capacity(self.keys.len());
        let mut tokens = Vec::with_capacity(self.keys.len());
        for key in self.keys.iter() {
            let claims = Claims {
                iat: now,
                exp: Some(expires),
                iss: self.issuer.clone(),
                jti: Jti::random().map_err(|e| Error::Random(e.to_string()))?,
                sub: subject.clone(),
                scope: self.scope.clone(),
            };
            signed.push(key.mint(&claims)?);
            tokens.push(describe(key, claims, expires));
        }
        Ok(Batch {
            contents: join(&signed),
            tokens,
        })
    }

    /// What has changed since the tokens of a user were signed; none if they are
    /// as they would be signed today.
    ///
    /// A key that can not be read just now is no change: its token may work on
    /// other hosts, and is left alone until it is due by time.
    pub fn change(&self, user: &str, tokens: &[Minted]) -> Result<Option<Change>> {
        let of = |kid: &Kid| tokens.iter().position(|token| token.kid == *kid);
        let mut last = None;
        for key in self.keys.iter() {
            let Some(at) = of(key.kid()) else {
                return Ok(Some(Change::Kids));
            };
            if tokens[at].key != fingerprint(key) {
                return Ok(Some(Change::Key));
            }
            if last.is_some_and(|last| last > at) {
                return Ok(Some(Change::Kids));
            }
            last = Some(at);
        }
        if tokens.iter().any(|token| !self.kids.contains(&token.kid)) {
            return Ok(Some(Change::Kids));
        }
        let subject = Subject::new(user, &self.domain)?.to_string();
        let scope = self.scope.as_ref().map(Scope::claim);
        let is_as_today = |token: &Minted| {
            token.subject == subject && token.issuer == self.issuer.as_str() && token.scope == scope
        };
        Ok((!tokens.iter().all(is_as_today)).then_some(Change::Claims))
    }
}

/// The keys that can be read, in the order of the configuration; the first
/// error when there is none.
pub fn read_keys(settings: &TokenSettings, owner: u32) -> Result<(Vec<SigningKey>, Vec<KeyError>)> {
    let mut keys = Vec::with_capacity(settings.kids.len());
    let mut errors = Vec::new();
    for kid in &settings.kids {
        match read_key(settings, kid, owner) {
            Ok(key) => keys.push(key),
            Err(error) => errors.push(error),
        }
    }
    if keys.is_empty() && !errors.is_empty() {
        return Err(errors.swap_remove(0).into());
    }
    Ok((keys, errors))
}

/// The key of one kid; `owner` is the uid its file must belong to.
pub fn read_key(
    settings: &TokenSettings,
    kid: &Kid,
    owner: u32,
) -> std::result::Result<SigningKey, KeyError> {
    SigningKey::read(&settings.key_file(kid), kid, form(settings, kid), owner)
}

/// The rule of passwords holds for POOL alone.
fn form(settings: &TokenSettings, kid: &Kid) -> KeyForm {
    if kid.is_pool() {
        settings.pool_signing_key_form
    } else {
        KeyForm::Plain
    }
}

fn fingerprint(key: &SigningKey) -> String {
    let mut text = String::with_capacity(16);
    for byte in key.fingerprint() {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn describe(key: &SigningKey, claims: Claims, expires: u64) -> Minted {
    Minted {
        jti: claims.jti,
        kid: key.kid().clone(),
        key: fingerprint(key),
        subject: claims.sub.to_string(),
        issuer: claims.iss.to_string(),
        scope: claims.scope.as_ref().map(Scope::claim),
        issued: claims.iat,
        expires,
    }
}

/// One token a line; sized first, so that no part is left behind by growing.
fn join(tokens: &[Token]) -> Zeroizing<Vec<u8>> {
    let size = tokens.iter().map(|token| token.as_str().len() + 1).sum();
    let mut contents = Zeroizing::new(Vec::with_capacity(size));
    for token in tokens {
        contents.extend_from_slice(token.as_str().as_bytes());
        contents.push(b'\n');
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn owner() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn keys(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs::write(&path, format!("secret of {name}")).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        dir
    }

    fn config(dir: &Path, more: &str) -> TokenSettings {
        let text = format!(
            "password_directory = {:?}\ntrust_domain = \"lab.test\"\nuid_domain = \"lab.test\"\n{more}",
            dir.to_str().unwrap()
        );
        crate::config::Config::parse(&text, Path::new("/x.toml"))
            .unwrap()
            .token
    }

    fn hour() -> Lifetime {
        "1h".parse().unwrap()
    }

    fn signer(config: &TokenSettings) -> Signer {
        Signer::new(config, owner()).unwrap()
    }

    fn batch(config: &TokenSettings) -> Batch {
        signer(config).sign("alice", 1_000_000, hour()).unwrap()
    }

    #[test]
    fn a_token_says_who_until_when_and_verifies() {
        let dir = keys(&["POOL"]);
        let config = config(dir.path(), "scope = [\"WRITE\"]");
        let batch = batch(&config);
        let text = std::str::from_utf8(&batch.contents).unwrap();
        let issuer = "lab.test".parse().unwrap();
        let signer = signer(&config);
        let seen =
            idtoken::verify(text.trim(), &[&signer.keys()[0]], Some(&issuer), 1_000_001).unwrap();
        assert_eq!(seen.sub.as_deref(), Some("alice@lab.test"));
        assert_eq!(seen.scope.as_deref(), Some("condor:/READ condor:/WRITE"));
        assert_eq!(
            (seen.exp, batch.tokens[0].expires),
            (Some(1_003_600), 1_003_600)
        );
        assert_eq!(batch.tokens[0].jti.to_string(), seen.jti.unwrap());
    }

    #[test]
    fn a_list_of_kids_gives_one_token_a_line_in_its_order() {
        let dir = keys(&["POOL", "new"]);
        let batch = batch(&config(dir.path(), "kid = [\"new\", \"POOL\"]"));
        let kids: Vec<String> = std::str::from_utf8(&batch.contents)
            .unwrap()
            .lines()
            .map(|line| idtoken::decode(line).unwrap().kid.unwrap())
            .collect();
        assert_eq!(kids, ["new", "POOL"]);
        assert_ne!(batch.tokens[0].jti, batch.tokens[1].jti);
        assert_ne!(batch.tokens[0].key, batch.tokens[1].key);
    }

    #[test]
    fn a_key_that_is_not_here_yet_is_skipped_unless_it_is_the_only_one() {
        let dir = keys(&["POOL"]);
        let both = signer(&config(dir.path(), "kid = [\"new\", \"POOL\"]"));
        assert_eq!((both.keys().len(), both.skipped.len()), (1, 1));
        let config = config(dir.path(), "kid = \"new\"");
        let error = Signer::new(&config, owner()).err().unwrap();
        assert!(error.to_string().contains("/new"), "{error}");
    }

    #[test]
    fn nobody_gets_an_administrators_name() {
        let dir = keys(&["POOL"]);
        let config = config(dir.path(), "");
        for name in ["root", "condor", "condor_pool", ""] {
            assert!(signer(&config).sign(name, 1, hour()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_domain_that_is_not_set_gives_no_token() {
        let dir = keys(&["POOL"]);
        let mut config = config(dir.path(), "");
        config.trust_domain = None;
        let error = Signer::new(&config, owner()).err().unwrap();
        assert!(error.to_string().contains("trust_domain"), "{error}");
    }

    #[test]
    fn tokens_are_signed_anew_when_a_key_a_kid_or_a_claim_changed_and_only_then() {
        let dir = keys(&["POOL", "new"]);
        let list = "kid = [\"new\", \"POOL\"]";
        let tokens = batch(&config(dir.path(), list)).tokens;
        let change = |more: &str| {
            let signer = signer(&config(dir.path(), more));
            signer.change("alice", &tokens).unwrap()
        };
        assert_eq!(change(list), None);
        assert_eq!(change("kid = [\"POOL\", \"new\"]"), Some(Change::Kids));
        assert_eq!(change(""), Some(Change::Kids));
        let scope = format!("{list}\nscope = [\"READ\"]");
        assert_eq!(change(&scope), Some(Change::Claims));
        fs::remove_file(dir.path().join("new")).unwrap();
        assert_eq!(
            change(list),
            None,
            "a key that can not be read is no change"
        );
        let other = keys(&["new"]);
        fs::copy(other.path().join("new"), dir.path().join("new")).unwrap();
        assert_eq!(change(list), None, "the same key is back");
        fs::write(dir.path().join("new"), "another secret").unwrap();
        assert_eq!(change(list), Some(Change::Key));
    }

    #[test]
    fn a_key_that_came_to_this_host_is_a_change() {
        let dir = keys(&["POOL"]);
        let list = config(dir.path(), "kid = [\"new\", \"POOL\"]");
        let tokens = batch(&list).tokens;
        assert_eq!(signer(&list).change("alice", &tokens).unwrap(), None);
        let arrived = keys(&["new"]);
        fs::copy(arrived.path().join("new"), dir.path().join("new")).unwrap();
        let change = signer(&list).change("alice", &tokens).unwrap();
        assert_eq!(change, Some(Change::Kids));
    }
}
