//! The key id: the name of a signing key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ClaimError;

/// The name of a signing key, the `kid` of a token's header.
///
/// `POOL` is the key of SEC_TOKEN_POOL_SIGNING_KEY_FILE; any other is a file of
/// that name in SEC_PASSWORD_DIRECTORY (`getTokenSigningKey` in
/// condor_utils/secure_file.cpp and condor_io/condor_auth_passwd.cpp). So it is
/// one file name and never a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kid(String);

impl Kid {
    /// `POOL`.
    pub fn pool() -> Self {
        Self("POOL".to_owned())
    }

    /// Whether it is `POOL`, whose key is found and derived in its own way.
    pub fn is_pool(&self) -> bool {
        self.0 == "POOL"
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Kid {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=200).contains(&text.len()) && !text.starts_with('.');
        if fits && text.bytes().all(safe) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClaimError::Kid(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Kid {
    type Error = ClaimError;

    fn try_from(text: String) -> Result<Self, ClaimError> {
        text.parse()
    }
}

impl From<Kid> for String {
    fn from(kid: Kid) -> Self {
        kid.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kid_is_one_file_name() {
        for good in ["POOL", "site-2026", "a.b_c"] {
            assert_eq!(good.parse::<Kid>().unwrap().as_str(), good);
        }
        let long = "a".repeat(201);
        for bad in [
            "", ".", "..", ".hidden", "../POOL", "a/b", "a b", "a\n", "é", "a\0", &long,
        ] {
            assert!(bad.parse::<Kid>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_pool_is_pool() {
        assert!("POOL".parse::<Kid>().unwrap().is_pool());
        assert!(!"pool".parse::<Kid>().unwrap().is_pool());
    }
}
