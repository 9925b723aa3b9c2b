use super::*;

use proptest::prelude::*;

use crate::{Claims, Jti, KeyForm, Kid, Scope, Subject};

fn key(kid: &str, raw: &[u8]) -> SigningKey {
    SigningKey::from_bytes(&kid.parse().unwrap(), raw, KeyForm::Plain).unwrap()
}

fn pool() -> SigningKey {
    key("POOL", b"the pool's key")
}

fn domain() -> TrustDomain {
    "lab.test".parse().unwrap()
}

fn claims() -> Claims {
    Claims {
        iat: 1000,
        exp: Some(2000),
        iss: domain(),
        jti: Jti::random().unwrap(),
        sub: Subject::new("alice", &"lab.test".parse().unwrap()).unwrap(),
        scope: None,
    }
}

fn token() -> String {
    pool().mint(&claims()).unwrap().as_str().to_owned()
}

/// A token of ours with another header and other claims, signed all the same.
fn forged(header: &str, payload: &str) -> String {
    crypto::install();
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let secret = jsonwebtoken::EncodingKey::from_secret(pool().secret());
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn refusal(token: &str) -> Refusal {
    verify(token, &[&pool()], Some(&domain()), 1500).unwrap_err()
}

#[test]
fn a_token_is_valid_until_its_last_second() {
    let (pool, token) = (pool(), token());
    assert!(verify(&token, &[&pool], Some(&domain()), 2000).is_ok());
    assert_eq!(
        verify(&token, &[&pool], None, 2001),
        Err(Refusal::Expired { since: 1 })
    );
    assert!(
        verify(&token, &[&pool], None, 0).is_ok(),
        "a clock behind harms nobody"
    );
}

#[test]
fn a_token_of_an_unknown_key_is_told_from_one_of_a_replaced_key() {
    let replaced = key("POOL", b"another");
    assert_eq!(
        verify(&token(), &[&replaced], None, 1),
        Err(Refusal::BadSignature)
    );
    let named = key("site", b"the pool's key");
    assert_eq!(
        verify(&token(), &[&named], None, 1),
        Err(Refusal::UnknownKid("POOL".into()))
    );
    assert!(verify(&token(), &[&named, &pool()], None, 1).is_ok());
}

#[test]
fn an_expired_token_with_a_bad_signature_is_not_said_to_be_expired() {
    assert_eq!(
        verify(&token(), &[&key("POOL", b"x")], None, 9999),
        Err(Refusal::BadSignature)
    );
}

#[test]
fn another_trust_domain_is_refused_if_asked_for() {
    let other = "other.test".parse().unwrap();
    assert_eq!(
        verify(&token(), &[&pool()], Some(&other), 1),
        Err(Refusal::WrongIssuer("lab.test".into()))
    );
}

#[test]
fn what_htcondor_would_not_take_is_not_a_token() {
    let payload = r#"{"iss":"lab.test","sub":"a@b"}"#;
    let header = r#"{"alg":"HS256","kid":"POOL"}"#;
    assert!(verify(&forged(header, payload), &[&pool()], None, 1).is_ok());
    for (header, payload) in [
        (r#"{"alg":"HS256"}"#, payload),
        (r#"{"alg":"none","kid":"POOL"}"#, payload),
        (r#"{"alg":"HS512","kid":"POOL"}"#, payload),
        (header, r#"{"iss":"lab.test"}"#),
        (header, r#"{"iss":"","sub":"a@b"}"#),
        (header, r#"{"sub":"a@b"}"#),
        (header, r#"{"iss":"lab.test","sub":"a@b","exp":"2000"}"#),
        (header, r#"{"iss":"lab.test","sub":"a@b","exp":-1}"#),
        (header, "[]"),
        ("", ""),
    ] {
        let refusal = refusal(&forged(header, payload));
        assert!(
            matches!(refusal, Refusal::NotAToken(_)),
            "{header} {payload}: {refusal:?}"
        );
    }
}

#[test]
fn texts_that_are_no_tokens_say_so() {
    let long = "a".repeat(TOKEN_LIMIT + 1);
    let padded = format!("{}=", token());
    for bad in ["", ".", "..", "a.b", "a.b.c.d", "no token", &long, &padded] {
        assert!(matches!(refusal(bad), Refusal::NotAToken(_)), "{bad:?}");
    }
}

#[test]
fn a_signature_that_can_not_be_one_is_no_tokens_whoever_has_the_key() {
    let token = token();
    for bad in ["*", "\u{1b}", "é", "="] {
        let refused = decode(&format!("{token}{bad}"));
        assert_eq!(refused, Err(NO_SIGNATURE), "{bad:?}");
    }
    assert!(decode(&token).is_ok());
}

#[test]
fn blank_lines_and_comments_of_a_file_are_skipped() {
    let found: Vec<&str> = lines("# old\n\n  a.b.c \r\n\t\n#x\nd.e.f").collect();
    assert_eq!(found, ["a.b.c", "d.e.f"]);
}

#[test]
fn a_refusal_never_shows_the_signature() {
    let token = token();
    let signature = token.rsplit('.').next().unwrap();
    let seen = verify(&token, &[&pool()], None, 1).unwrap();
    assert!(!format!("{seen:?}").contains(signature));
    let refusal = verify(&token, &[&key("POOL", b"x")], None, 1).unwrap_err();
    assert!(!format!("{refusal:?}{refusal}").contains(signature));
}

proptest! {
    #[test]
    fn what_is_minted_verifies_and_reads_back(
        raw in proptest::collection::vec(any::<u8>(), 1..200), kid in "[A-Za-z0-9][A-Za-z0-9._-]{0,30}",
        iat in 0..u64::from(u32::MAX), lives in 1..1_000_000_u64, user in "[a-z][a-z0-9@._\\\\-]{3,20}x",
        write in any::<bool>(),
    ) {
        let key = key(&kid, &raw);
        let scope = if write { Scope::parse(&["WRITE"]).unwrap() } else { None };
        let claims = Claims {
            iat,
            exp: Some(iat + lives),
            iss: domain(),
            jti: Jti::random().unwrap(),
            sub: match Subject::new(&user, &"lab.test".parse().unwrap()) {
                Ok(subject) => subject,
                Err(_) => return Ok(()),
            },
            scope: scope.clone(),
        };
        let token = key.mint(&claims).unwrap();
        let seen = verify(token.as_str(), &[&key], Some(&domain()), iat).unwrap();
        prop_assert_eq!(seen.kid.unwrap(), kid);
        prop_assert_eq!(seen.sub.unwrap(), claims.sub.to_string());
        prop_assert_eq!(seen.jti.unwrap(), claims.jti.to_string());
        prop_assert_eq!((seen.iat, seen.exp), (Some(iat), Some(iat + lives)));
        prop_assert_eq!(seen.scope, scope.map(|s| s.claim()));
    }

    #[test]
    fn a_token_with_one_bit_changed_never_verifies(at in 0..10_000_usize, bit in 0..7_u8) {
        let mut bytes = token().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let text = String::from_utf8(bytes).unwrap();
        // Only what a trim takes away may change.
        prop_assert!(verify(&text, &[&pool()], None, 1).is_err() || text.trim() == token());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*", parts in "[A-Za-z0-9_.-]{0,200}") {
        let _ = verify(&text, &[&pool()], None, 1);
        let _ = verify(&parts, &[&pool()], None, 1);
        let _ = decode(&parts);
    }
}

#[test]
fn a_kid_of_the_pool_is_pool() {
    assert_eq!(
        decode(&token()).unwrap().kid.as_deref(),
        Some(Kid::pool().as_str())
    );
}
