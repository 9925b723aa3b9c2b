//! Tokens as a schedd of the lab's signs them, and what is in one.

use std::fs;
use std::time::SystemTime;

use idtoken::{Claims, Decoded, Jti, KeyForm, Kid, Scope, SigningKey, Subject};
use pam_idtoken_tests::host::Lab;

/// What a token is to say; by default what alice's has to.
pub(crate) struct Asked {
    kid: Kid,
    subject: String,
    issuer: String,
    expires: Option<u64>,
    scope: Option<&'static str>,
}

/// In seconds since 1970 UTC.
pub(crate) fn now() -> u64 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    time.unwrap().as_secs()
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            kid: Kid::pool(),
            subject: "alice".into(),
            issuer: "pool.lab.test".into(),
            expires: Some(now() + 60),
            scope: None,
        }
    }
}

impl Asked {
    /// Of another user.
    pub(crate) fn subject(mut self, user: &str) -> Self {
        user.clone_into(&mut self.subject);
        self
    }

    /// Of another trust domain.
    pub(crate) fn issuer(mut self, domain: &str) -> Self {
        domain.clone_into(&mut self.issuer);
        self
    }

    /// Signed with another key, or what calls itself so.
    pub(crate) fn kid(mut self, kid: &str) -> Self {
        self.kid = kid.parse().unwrap();
        self
    }

    pub(crate) fn expires(mut self, at: u64) -> Self {
        self.expires = Some(at);
        self
    }

    pub(crate) fn never_expires(mut self) -> Self {
        self.expires = None;
        self
    }

    pub(crate) fn scope(mut self, word: &'static str) -> Self {
        self.scope = Some(word);
        self
    }

    pub(crate) fn no_scope(mut self) -> Self {
        self.scope = None;
        self
    }

    /// Signs it with what the lab has as its key now.
    pub(crate) fn token(self, lab: &Lab) -> String {
        let raw = fs::read(lab.path("keys/POOL")).unwrap();
        let key = SigningKey::from_bytes(&self.kid, &raw, KeyForm::Plain).unwrap();
        let claims = Claims {
            iat: now(),
            exp: self.expires,
            iss: self.issuer.parse().unwrap(),
            jti: Jti::random().unwrap(),
            sub: Subject::new(&self.subject, &"lab.test".parse().unwrap()).unwrap(),
            scope: self.scope.and_then(|word| Scope::parse(&[word]).unwrap()),
        };
        key.mint(&claims).unwrap().as_str().to_owned()
    }
}

/// What the first token of a file says.
#[track_caller]
pub(crate) fn claims(file: &str) -> Decoded {
    idtoken::decode(idtoken::lines(file).next().expect("no token")).unwrap()
}
