//! What a token says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::{Subject, TrustDomain};
use crate::error::ClaimError;
use crate::scope::Scope;

/// The claims of a token, in the order and with the names of HTCondor
/// (`Condor_Auth_Passwd::generate_token` in condor_io/condor_auth_passwd.cpp).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// When it is issued, as seconds since 1970 UTC.
    pub iat: u64,
    /// When it expires, as seconds since 1970 UTC: HTCondor refuses it from the
    /// next second on.
    pub exp: Option<u64>,
    /// The trust domain.
    pub iss: TrustDomain,
    /// Its own id. Required since HTCondor 25.6.1.
    pub jti: Jti,
    /// Whose identity it carries.
    pub sub: Subject,
    /// What it may be used for; none is everything the identity may do.
    pub scope: Option<Scope>,
}

/// A token's id: 16 random bytes, written as 32 lower-case hex digits.
///
/// HTCondor records it in every job that the token submits, as AuthTokenId.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Jti(String);

impl Jti {
    /// A new id; fails when the system gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Jti {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 32 && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClaimError::Jti)
        }
    }
}

impl TryFrom<String> for Jti {
    type Error = ClaimError;

    fn try_from(text: String) -> Result<Self, ClaimError> {
        text.parse()
    }
}

impl From<Jti> for String {
    fn from(jti: Jti) -> Self {
        jti.0
    }
}

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_differ_and_have_32_digits() {
        let (a, b) = (Jti::random().unwrap(), Jti::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse(), Ok(a.clone()));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for bad in ["", "xyz", &"A".repeat(32), &"a".repeat(31), &"a".repeat(33)] {
            assert_eq!(bad.parse::<Jti>(), Err(ClaimError::Jti));
        }
    }
}
