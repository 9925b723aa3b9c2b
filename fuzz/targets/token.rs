//! A token and a token file: parse and verify. What verifies is what its key signed, and says what
//! another parser reads in it; minted once more it is the same; changed anywhere it does not verify.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::{Claims, Decoded, KeyForm, Kid, Refusal, Scope, SigningKey, Subject};
use libfuzzer_sys::fuzz_target;
use pam_idtoken_fuzz::{derived, is_signed, json, written_out};

const RAW: &[u8] = b"a scratch key";
const NOW: u64 = 1_000_000;

fuzz_target!(|input: &[u8]| {
    let secret = derived(RAW, true, false).unwrap();
    let key = SigningKey::from_bytes(&Kid::pool(), RAW, KeyForm::Plain).unwrap();
    let text = written_out(input, &secret);
    let Ok(text) = std::str::from_utf8(&text) else {
        return;
    };
    for line in idtoken::lines(text) {
        assert!(!line.is_empty() && !line.starts_with('#') && line.trim() == line);
    }
    for token in [text].into_iter().chain(idtoken::lines(text)) {
        look(token, &key, &secret);
    }
});

fn look(token: &str, key: &SigningKey, secret: &[u8; 32]) {
    let decoded = idtoken::decode(token.trim());
    match idtoken::verify(token, &[key], None, NOW) {
        Ok(seen) => {
            let token = token.trim();
            assert_eq!(decoded, Ok(seen.clone()));
            assert!(is_signed(token, secret), "nobody signed {token}");
            assert_eq!(seen.alg, "HS256");
            assert_eq!(seen.kid.as_deref(), Some("POOL"));
            assert!(seen.exp.is_none_or(|exp| exp >= NOW));
            assert_says(token, &seen);
            assert_no_change_verifies(token, key);
            assert_minted_again(token, &seen, key, secret);
        }
        Err(refusal) => {
            let is_late = matches!(refusal, Refusal::Expired { since } if since > 0);
            let is_expired = decoded
                .as_ref()
                .is_ok_and(|seen| seen.exp.is_some_and(|exp| exp < NOW));
            assert!(!is_late || (is_expired && is_signed(token.trim(), secret)));
            if refusal == Refusal::BadSignature {
                assert!(!is_signed(token.trim(), secret), "{token} was signed");
            }
            assert!(!refusal.to_string().chars().any(char::is_control));
        }
    }
}

/// The claims are those that another parser reads.
fn assert_says(token: &str, seen: &Decoded) {
    let (Some(header), Some(claims)) = (json(token, 0), json(token, 1)) else {
        return;
    };
    assert_eq!(header["alg"], *seen.alg);
    for (name, value) in [
        ("iss", &seen.iss),
        ("jti", &seen.jti),
        ("sub", &seen.sub),
        ("scope", &seen.scope),
    ] {
        assert_eq!(claims[name].as_str(), value.as_deref(), "{name}");
    }
    for (name, value) in [("iat", seen.iat), ("exp", seen.exp)] {
        assert_eq!(claims[name].as_u64(), value, "{name}");
    }
}

/// One bit of one character, each in turn of a few.
fn assert_no_change_verifies(token: &str, key: &SigningKey) {
    let step = (token.len() / 8).max(1);
    for at in (0..token.len()).step_by(step) {
        let mut changed = token.as_bytes().to_vec();
        changed[at] ^= 1;
        if let Ok(changed) = std::str::from_utf8(&changed) {
            let refused = idtoken::verify(changed, &[key], None, NOW).is_err();
            assert!(refused, "{token} changed at {at} verifies");
        }
    }
}

/// What can be minted reads back the same, and is signed with the same key.
fn assert_minted_again(token: &str, seen: &Decoded, key: &SigningKey, secret: &[u8; 32]) {
    let Some(claims) = claims(seen) else {
        return;
    };
    let minted = key.mint(&claims).unwrap();
    assert!(is_signed(minted.as_str(), secret));
    assert_eq!(
        idtoken::verify(minted.as_str(), &[key], Some(&claims.iss), NOW).as_ref(),
        Ok(seen)
    );
    // What HTCondor would have written is written to the byte.
    if json(token, 1) == json(minted.as_str(), 1) && is_compact(token) {
        assert_eq!(token, minted.as_str());
    }
    assert_eq!(format!("{minted:?}"), "Token(..)");
}

/// The claims, if they are some that this project mints.
fn claims(seen: &Decoded) -> Option<Claims> {
    let (user, domain) = seen.sub.as_deref()?.rsplit_once('@')?;
    let words: Vec<&str> = seen
        .scope
        .iter()
        .flat_map(|scope| scope.split(' '))
        .map(|word| word.strip_prefix("condor:/").unwrap_or_default())
        .collect();
    let scope = Scope::parse(&words).ok()?;
    Some(Claims {
        iat: seen.iat?,
        exp: seen.exp,
        iss: seen.iss.as_deref()?.parse().ok()?,
        jti: seen.jti.as_deref()?.parse().ok()?,
        sub: Subject::new(user, &domain.parse().ok()?).ok()?,
        scope,
    })
    .filter(|claims| claims.scope.as_ref().map(Scope::claim) == seen.scope)
}

/// Whether header and claims are written as HTCondor writes them: by name, without a blank.
fn is_compact(token: &str) -> bool {
    let written = |part| json(token, part).map(|value| URL_SAFE_NO_PAD.encode(value.to_string()));
    let parts = token.split('.').take(2).map(str::to_owned);
    parts.map(Some).eq([written(0), written(1)])
        && json(token, 0)
            .is_some_and(|header| header.as_object().is_some_and(|header| header.len() == 2))
}
