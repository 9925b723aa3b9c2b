//! Reading tokens and telling why one is not valid.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::crypto;
use crate::domain::TrustDomain;
use crate::key::SigningKey;
use crate::stack;

/// A token file larger than this is none, in bytes.
pub const TOKEN_FILE_LIMIT: u64 = 64 * 1024;
/// A token longer than this is none, in bytes.
const TOKEN_LIMIT: usize = 16 * 1024;

/// Header and claims of a token. The signature is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The algorithm that the header names.
    pub alg: String,
    /// The key id; HTCondor takes no token without one.
    pub kid: Option<String>,
    /// Issued at, in seconds since 1970 UTC.
    pub iat: Option<u64>,
    /// Expires, in seconds since 1970 UTC.
    pub exp: Option<u64>,
    /// The trust domain.
    pub iss: Option<String>,
    /// The token's id.
    pub jti: Option<String>,
    /// The identity.
    pub sub: Option<String>,
    /// What it may be used for.
    pub scope: Option<String>,
}

/// Why a token is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no IDTOKEN at all; the text says what is wrong.
    NotAToken(&'static str),
    /// None of the keys has its key id.
    UnknownKid(String),
    /// The key of its key id did not sign it.
    BadSignature,
    /// It is of another trust domain.
    WrongIssuer(String),
    /// It was valid until then.
    Expired {
        /// For how many seconds it has been expired.
        since: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAToken(why) => write!(f, "not a token: {why}"),
            Self::UnknownKid(kid) => write!(f, "signed with the key {kid:?}, which is not known"),
            Self::BadSignature => f.write_str(
                "the signature does not verify: it was signed with another key, such as one that \
                 has been replaced, or changed since",
            ),
            Self::WrongIssuer(issuer) => write!(f, "of another trust domain, {issuer:?}"),
            Self::Expired { since } => write!(f, "expired for {since} s"),
        }
    }
}

impl std::error::Error for Refusal {}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

/// Claims of a wrong type make a token unusable; unknown ones do not.
#[derive(Deserialize)]
struct Payload {
    iat: Option<u64>,
    exp: Option<u64>,
    iss: Option<String>,
    jti: Option<String>,
    sub: Option<String>,
    scope: Option<String>,
}

/// The lines of a token file that HTCondor takes for tokens: neither blank nor
/// a comment (`findToken` in condor_io/condor_auth_passwd.cpp).
pub fn lines(contents: &str) -> impl Iterator<Item = &str> {
    contents
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Reads a token without verifying anything: its signature is base64url, whoever made it.
pub fn decode(token: &str) -> Result<Decoded, Refusal> {
    let (message, signature) = split(token)?;
    if URL_SAFE_NO_PAD.decode(signature).is_err() {
        return Err(NO_SIGNATURE);
    }
    let (header, payload) = message.split_once('.').ok_or(NOT_THREE_PARTS)?;
    let header: Header = part(header, "its header can not be read")?;
    let payload: Payload = part(payload, "its claims can not be read")?;
    let Payload {
        iat,
        exp,
        iss,
        jti,
        sub,
        scope,
    } = payload;
    Ok(Decoded {
        alg: header.alg,
        kid: header.kid,
        iat,
        exp,
        iss,
        jti,
        sub,
        scope,
    })
}

/// Says whether HTCondor would accept the token.
///
/// `now` is in seconds since 1970 UTC, and a token is refused as soon as it is
/// later than `exp`, as HTCondor does, with no leeway. The issuer is compared
/// if one is given. Only a token with a good signature is said to be expired.
pub fn verify(
    token: &str,
    keys: &[&SigningKey],
    issuer: Option<&TrustDomain>,
    now: u64,
) -> Result<Decoded, Refusal> {
    let token = token.trim();
    let seen = decode(token)?;
    if seen.alg != "HS256" {
        return Err(Refusal::NotAToken("its algorithm is not HS256"));
    }
    let kid = seen
        .kid
        .as_deref()
        .ok_or(Refusal::NotAToken("it names no key"))?;
    let key = keys
        .iter()
        .find(|key| key.kid().as_str() == kid)
        .ok_or_else(|| Refusal::UnknownKid(kid.to_owned()))?;
    if !is_signed_by(token, key)? {
        return Err(Refusal::BadSignature);
    }
    if seen.sub.as_deref().is_none_or(str::is_empty) {
        return Err(Refusal::NotAToken("it names nobody"));
    }
    let iss = seen.iss.as_deref().filter(|iss| !iss.is_empty());
    let iss = iss.ok_or(Refusal::NotAToken("it names no issuer"))?;
    if issuer.is_some_and(|issuer| issuer.as_str() != iss) {
        return Err(Refusal::WrongIssuer(iss.to_owned()));
    }
    match seen.exp {
        Some(exp) if now > exp => Err(Refusal::Expired { since: now - exp }),
        _ => Ok(seen),
    }
}

const NO_SIGNATURE: Refusal = Refusal::NotAToken("its signature can not be read");
const NOT_THREE_PARTS: Refusal = Refusal::NotAToken("it has not three parts");

fn is_signed_by(token: &str, key: &SigningKey) -> Result<bool, Refusal> {
    crypto::install();
    let (message, signature) = split(token)?;
    let secret = DecodingKey::from_secret(key.secret());
    let verify =
        || jsonwebtoken::crypto::verify(signature, message.as_bytes(), &secret, Algorithm::HS256);
    stack::wiped(verify).map_err(|_| NO_SIGNATURE)
}

fn split(token: &str) -> Result<(&str, &str), Refusal> {
    if token.len() > TOKEN_LIMIT {
        return Err(Refusal::NotAToken("it is too long"));
    }
    let (message, signature) = token.rsplit_once('.').ok_or(NOT_THREE_PARTS)?;
    if message.matches('.').count() == 1 {
        Ok((message, signature))
    } else {
        Err(NOT_THREE_PARTS)
    }
}

fn part<T: DeserializeOwned>(text: &str, why: &'static str) -> Result<T, Refusal> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Refusal::NotAToken(why))?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::NotAToken(why))
}

#[cfg(test)]
mod tests;
