//! Minting.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::claims::Claims;
use crate::crypto;
use crate::error::MintError;
use crate::key::SigningKey;
use crate::stack;

/// A signed token: as good as its user's password. Wiped when dropped, never printable.
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token in the compact form of RFC 7515, as it stands in a token file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The header as HTCondor writes it: no `typ`.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
}

/// The claims in the order in which HTCondor's JSON library writes them: by name.
#[derive(Serialize)]
struct Payload<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    iat: u64,
    iss: &'a str,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    sub: &'a str,
}

impl SigningKey {
    /// Signs the claims.
    pub fn mint(&self, claims: &Claims) -> Result<Token, MintError> {
        crypto::install();
        let header = Header {
            alg: "HS256",
            kid: self.kid().as_str(),
        };
        let payload = Payload {
            exp: claims.exp,
            iat: claims.iat,
            iss: claims.iss.as_str(),
            jti: claims.jti.as_str(),
            scope: claims.scope.as_ref().map(crate::Scope::claim),
            sub: claims.sub.as_str(),
        };
        let message = format!("{}.{}", part(&header)?, part(&payload)?);
        let key = EncodingKey::from_secret(self.secret());
        let sign = || jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
        let signature = stack::wiped(sign)
            .map(Zeroizing::new)
            .map_err(|error| MintError(error.to_string()))?;
        // Sized first, so that no part of the token stays behind in an outgrown buffer.
        let mut token = Zeroizing::new(String::with_capacity(message.len() + 1 + signature.len()));
        token.push_str(&message);
        token.push('.');
        token.push_str(&signature);
        Ok(Token(token))
    }
}

fn part(value: &impl Serialize) -> Result<String, MintError> {
    let json = serde_json::to_vec(value).map_err(|error| MintError(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Jti, KeyForm, Kid, Scope, Subject};

    fn claims() -> Claims {
        Claims {
            iat: 100,
            exp: Some(200),
            iss: "lab.test".parse().unwrap(),
            jti: Jti::random().unwrap(),
            sub: Subject::new("alice", &"lab.test".parse().unwrap()).unwrap(),
            scope: Scope::parse(&["WRITE"]).unwrap(),
        }
    }

    fn json(token: &Token, index: usize) -> serde_json::Value {
        let part = token.as_str().split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn header_and_claims_are_those_of_htcondor() {
        let key = SigningKey::from_bytes(&Kid::pool(), b"k", KeyForm::Plain).unwrap();
        let claims = claims();
        let token = key.mint(&claims).unwrap();
        assert_eq!(
            json(&token, 0),
            serde_json::json!({"alg": "HS256", "kid": "POOL"})
        );
        assert_eq!(
            json(&token, 1),
            serde_json::json!({
                "exp": 200, "iat": 100, "iss": "lab.test", "jti": claims.jti.as_str(),
                "scope": "condor:/READ condor:/WRITE", "sub": "alice@lab.test",
            })
        );
        assert!(!token.as_str().contains(['=', '+', '/', '\n']));
    }

    #[test]
    fn a_claim_that_is_not_set_is_left_out() {
        let key = SigningKey::from_bytes(&Kid::pool(), b"k", KeyForm::Plain).unwrap();
        let token = key
            .mint(&Claims {
                exp: None,
                scope: None,
                ..claims()
            })
            .unwrap();
        let payload = json(&token, 1);
        assert!(payload.get("exp").is_none() && payload.get("scope").is_none());
    }

    #[test]
    fn a_token_is_never_printed() {
        let key = SigningKey::from_bytes(&Kid::pool(), b"k", KeyForm::Plain).unwrap();
        assert_eq!(format!("{:?}", key.mint(&claims()).unwrap()), "Token(..)");
    }
}
