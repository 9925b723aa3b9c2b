//! What HTCondor's own condor_token_create made, this crate verifies, and what
//! this crate makes looks the same.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::{Claims, KeyForm, Refusal, Scope, SigningKey, Subject, verify};
use serde_json::Value;

struct Vector {
    token: &'static str,
    key: &'static [u8],
    kid: &'static str,
    form: KeyForm,
}

macro_rules! vector {
    ($token:literal, $key:literal, $kid:literal, $form:ident) => {
        Vector {
            token: include_str!(concat!("vectors/", $token)),
            key: include_bytes!(concat!("vectors/", $key)),
            kid: $kid,
            form: KeyForm::$form,
        }
    };
}

const VECTORS: [Vector; 5] = [
    vector!("pool.token", "pool.key", "POOL", Plain),
    vector!("pool-with-nuls.token", "pool-with-nuls.key", "POOL", Plain),
    vector!(
        "pool-password.token",
        "pool-with-nuls.key",
        "POOL",
        Password
    ),
    vector!("pool-scope.token", "pool.key", "POOL", Plain),
    vector!("named.token", "named.key", "vector", Plain),
];

impl Vector {
    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.kid.parse().unwrap(), self.key, self.form).unwrap()
    }

    fn claims(&self) -> Claims {
        let seen = idtoken::decode(self.token.trim()).unwrap();
        let words: Vec<String> = seen
            .scope
            .iter()
            .flat_map(|scope| scope.split(' '))
            .map(|entry| entry.trim_start_matches("condor:/").to_owned())
            .collect();
        Claims {
            iat: seen.iat.unwrap(),
            exp: seen.exp,
            iss: seen.iss.unwrap().parse().unwrap(),
            jti: seen.jti.unwrap().parse().unwrap(),
            sub: Subject::new("alice", &"lab.test".parse().unwrap()).unwrap(),
            scope: Scope::parse(&words).unwrap(),
        }
    }
}

fn part(token: &str, index: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(token.trim().split('.').nth(index).unwrap())
        .unwrap()
}

#[test]
fn htcondors_tokens_verify_with_the_keys_that_signed_them() {
    for vector in &VECTORS {
        let key = vector.signing_key();
        let now = vector.claims().iat;
        let seen = verify(
            vector.token,
            &[&key],
            Some(&"lab.test".parse().unwrap()),
            now,
        )
        .unwrap();
        assert_eq!(seen.sub.as_deref(), Some("alice@lab.test"));
        assert_eq!(seen.kid.as_deref(), Some(vector.kid));
    }
}

#[test]
fn htcondors_tokens_verify_with_no_other_key() {
    for vector in &VECTORS {
        let raw = [vector.key, b"x"].concat();
        // What follows a NUL is no part of a password.
        let form = KeyForm::Plain;
        let other = SigningKey::from_bytes(&vector.kid.parse().unwrap(), &raw, form).unwrap();
        let now = vector.claims().iat;
        assert_eq!(
            verify(vector.token, &[&other], None, now),
            Err(Refusal::BadSignature)
        );
    }
}

#[test]
fn our_header_is_htcondors_byte_for_byte() {
    for vector in &VECTORS {
        let ours = vector.signing_key().mint(&vector.claims()).unwrap();
        assert_eq!(part(ours.as_str(), 0), part(vector.token, 0));
    }
}

#[test]
fn our_claims_are_htcondors_in_name_type_value_and_order() {
    for vector in &VECTORS {
        let ours = vector.signing_key().mint(&vector.claims()).unwrap();
        let theirs: Value = serde_json::from_slice(&part(vector.token, 1)).unwrap();
        let mine: Value = serde_json::from_slice(&part(ours.as_str(), 1)).unwrap();
        assert_eq!(mine, theirs);
        // HTCondor's library writes a slash as `\/`, which is the same text in JSON.
        let theirs = String::from_utf8(part(vector.token, 1))
            .unwrap()
            .replace("\\/", "/");
        assert_eq!(String::from_utf8(part(ours.as_str(), 1)).unwrap(), theirs);
    }
}

#[test]
fn a_token_of_ours_with_htcondors_claims_is_htcondors_token() {
    for vector in &VECTORS {
        let claims = vector.claims();
        if claims.scope.is_none() {
            let ours = vector.signing_key().mint(&claims).unwrap();
            assert_eq!(ours.as_str(), vector.token.trim());
        }
    }
}
