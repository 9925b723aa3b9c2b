//! The `key` issuer: tokens signed in this process with the keys of the pool.

use std::fmt::Write as _;

use idtoken::{Claims, Jti, KeyError, KeyForm, Kid, Lifetime, SigningKey, Subject, Token};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::record::Minted;

/// What was signed for one session.
pub struct Batch {
    /// The bytes of the token file: one token a line.
    pub contents: Zeroizing<Vec<u8>>,
    /// What is known of each token.
    pub minted: Vec<Minted>,
    /// When they expire, as seconds since 1970 UTC.
    pub expires: u64,
    /// The keys they were signed with.
    pub keys: Vec<SigningKey>,
    /// The keys of a list that could not be used, while others could.
    pub skipped: Vec<KeyError>,
}

/// Signs one token per kid for a user.
///
/// `now` is in seconds since 1970 UTC and becomes `iat`; `owner` is the uid a
/// key file must belong to, 0 in sshd. Of a list of kids those whose key is not
/// on this host yet are skipped, as HTCondor's client skips lines whose key a
/// server does not know; when no key can be used, that is an error.
pub fn sign(
    config: &Config,
    user: &str,
    now: u64,
    lifetime: Lifetime,
    owner: u32,
) -> Result<Batch> {
    let issuer = config.issuer_name()?;
    let subject = Subject::new(user, config.subject_domain()?)?;
    let (keys, skipped) = read_keys(config, owner)?;
    let expires = now.saturating_add(lifetime.as_secs());
    let mut tokens = Vec::with_capacity(keys.len());
    let mut minted = Vec::with_capacity(keys.len());
    for key in &keys {
        let claims = Claims {
            iat: now,
            exp: Some(expires),
            iss: issuer.clone(),
            jti: Jti::random().map_err(|e| Error::Random(e.to_string()))?,
            sub: subject.clone(),
            scope: config.scope.clone(),
        };
        tokens.push(key.mint(&claims)?);
        minted.push(describe(key, claims));
    }
    Ok(Batch {
        contents: join(&tokens),
        minted,
        expires,
        keys,
        skipped,
    })
}

/// The keys that can be read, in the order of the configuration; the first
/// error when there is none.
pub fn read_keys(config: &Config, owner: u32) -> Result<(Vec<SigningKey>, Vec<KeyError>)> {
    let mut keys = Vec::with_capacity(config.kids.len());
    let mut errors = Vec::new();
    for kid in &config.kids {
        match SigningKey::read(&config.key_file(kid), kid, form(config, kid), owner) {
            Ok(key) => keys.push(key),
            Err(error) => errors.push(error),
        }
    }
    if keys.is_empty() && !errors.is_empty() {
        return Err(errors.swap_remove(0).into());
    }
    Ok((keys, errors))
}

/// The rule of passwords holds for POOL alone.
fn form(config: &Config, kid: &Kid) -> KeyForm {
    if kid.is_pool() {
        config.pool_signing_key_form
    } else {
        KeyForm::Plain
    }
}

fn describe(key: &SigningKey, claims: Claims) -> Minted {
    let mut fingerprint = String::with_capacity(16);
    for byte in key.fingerprint() {
        // Writing to a String does not fail.
        let _ = write!(fingerprint, "{byte:02x}");
    }
    Minted {
        jti: claims.jti,
        kid: key.kid().clone(),
        key: fingerprint,
        subject: claims.sub.to_string(),
        issuer: claims.iss.to_string(),
        scope: claims.scope.as_ref().map(idtoken::Scope::claim),
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

    fn config(dir: &Path, more: &str) -> Config {
        let text = format!(
            "password_directory = {:?}\ntrust_domain = \"lab.test\"\nuid_domain = \"lab.test\"\n{more}",
            dir.to_str().unwrap()
        );
        Config::parse(&text, Path::new("/x.toml")).unwrap()
    }

    fn hour() -> Lifetime {
        "1h".parse().unwrap()
    }

    fn batch(config: &Config) -> Batch {
        sign(config, "alice", 1_000_000, hour(), owner()).unwrap()
    }

    #[test]
    fn a_token_says_who_until_when_and_verifies() {
        let dir = keys(&["POOL"]);
        let batch = batch(&config(dir.path(), "scope = [\"WRITE\"]"));
        let text = std::str::from_utf8(&batch.contents).unwrap();
        let issuer = "lab.test".parse().unwrap();
        let seen =
            idtoken::verify(text.trim(), &[&batch.keys[0]], Some(&issuer), 1_000_001).unwrap();
        assert_eq!(seen.sub.as_deref(), Some("alice@lab.test"));
        assert_eq!(seen.scope.as_deref(), Some("condor:/READ condor:/WRITE"));
        assert_eq!((seen.exp, batch.expires), (Some(1_003_600), 1_003_600));
        assert_eq!(batch.minted[0].jti.to_string(), seen.jti.unwrap());
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
        assert_ne!(batch.minted[0].jti, batch.minted[1].jti);
        assert_ne!(batch.minted[0].key, batch.minted[1].key);
    }

    #[test]
    fn a_key_that_is_not_here_yet_is_skipped_unless_it_is_the_only_one() {
        let dir = keys(&["POOL"]);
        let both = batch(&config(dir.path(), "kid = [\"new\", \"POOL\"]"));
        assert_eq!((both.minted.len(), both.skipped.len()), (1, 1));
        let config = config(dir.path(), "kid = \"new\"");
        let error = sign(&config, "alice", 1, hour(), owner()).err().unwrap();
        assert!(error.to_string().contains("/new"), "{error}");
    }

    #[test]
    fn nobody_gets_an_administrators_name() {
        let dir = keys(&["POOL"]);
        let config = config(dir.path(), "");
        for name in ["root", "condor", "condor_pool", ""] {
            assert!(sign(&config, name, 1, hour(), owner()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_domain_that_is_not_set_gives_no_token() {
        let dir = keys(&["POOL"]);
        let mut config = config(dir.path(), "");
        config.trust_domain = None;
        let error = sign(&config, "alice", 1, hour(), owner()).err().unwrap();
        assert!(error.to_string().contains("trust_domain"), "{error}");
    }
}
