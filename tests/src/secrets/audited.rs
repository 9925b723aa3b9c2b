//! Tokens that were made, from the audit file: it says everything that is in a token, and with the key
//! the same token is made once more.

use idtoken::{Claims, KeyForm, Scope, SigningKey, Subject};
use serde::Deserialize;

/// One line, as far as it is about tokens.
#[derive(Deserialize)]
pub struct Audited {
    tokens: Vec<Minted>,
}

#[derive(Deserialize)]
struct Minted {
    jti: String,
    kid: String,
    key: String,
    subject: String,
    issuer: String,
    scope: Option<String>,
    issued: u64,
    expires: u64,
}

impl Audited {
    /// The tokens of an audit file that these keys signed, each a kid and the bytes of its file.
    pub fn tokens(file: &str, keys: &[(String, Vec<u8>)]) -> Vec<String> {
        let lines = file
            .lines()
            .filter_map(|line| serde_json::from_str::<Self>(line).ok());
        let minted = lines.flat_map(|line| line.tokens);
        minted
            .filter_map(|token| {
                let keys = keys.iter().filter(|(kid, _)| *kid == token.kid);
                let forms = [KeyForm::Plain, KeyForm::Password];
                keys.flat_map(|(kid, raw)| {
                    let kid = kid.parse().ok();
                    forms.map(|form| SigningKey::from_bytes(kid.as_ref()?, raw, form).ok())
                })
                .flatten()
                .find(|key| fingerprint(key) == token.key)
                .and_then(|key| token.again(&key))
            })
            .collect()
    }
}

impl Minted {
    fn again(&self, key: &SigningKey) -> Option<String> {
        let (user, domain) = self.subject.rsplit_once('@')?;
        let scope = self.scope.as_deref().unwrap_or_default();
        let words: Vec<&str> = scope
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("condor:/"))
            .collect();
        let claims = Claims {
            iat: self.issued,
            exp: Some(self.expires),
            iss: self.issuer.parse().ok()?,
            jti: self.jti.parse().ok()?,
            sub: Subject::new(user, &domain.parse().ok()?).ok()?,
            scope: Scope::parse(&words).ok()?,
        };
        Some(key.mint(&claims).ok()?.as_str().to_owned())
    }
}

/// As a record has it.
fn fingerprint(key: &SigningKey) -> String {
    let bytes = key.fingerprint();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
