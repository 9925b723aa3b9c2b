//! What the targets share: HTCondor's derivation and signature once more, written from the RFCs and
//! independent of the product's, and texts that are made into tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// HMAC-SHA256 (RFC 2104).
pub fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The key of HS256 that is derived from a file with these bytes; none if nothing of them counts.
pub fn derived(raw: &[u8], is_pool: bool, is_password: bool) -> Option<[u8; 32]> {
    let cut = |bytes: &[u8]| -> Vec<u8> {
        let end = bytes.iter().position(|byte| *byte == 0);
        let end = end.filter(|_| is_pool && is_password);
        bytes[..end.unwrap_or(bytes.len())].to_vec()
    };
    let mut plain = cut(raw);
    for (at, byte) in plain.iter_mut().enumerate() {
        *byte ^= [0xde, 0xad, 0xbe, 0xef][at % 4];
    }
    let mut plain = cut(&plain);
    if plain.is_empty() {
        return None;
    }
    if is_pool {
        plain.extend_from_within(..);
    }
    // RFC 5869: extract, and the first block of expand.
    let extracted = mac(b"htcondor", &plain);
    Some(mac(&extracted, b"master jwt\x01"))
}

/// What tells a derived key from another.
pub fn fingerprint(derived: &[u8; 32]) -> [u8; 8] {
    let mut digest = Sha256::new();
    digest.update(b"pam_idtoken key fingerprint v1");
    digest.update(derived);
    digest.finalize()[..8].try_into().unwrap()
}

/// The signature of a message, as it stands in a token.
pub fn signature(key: &[u8; 32], message: &str) -> String {
    URL_SAFE_NO_PAD.encode(mac(key, message.as_bytes()))
}

/// Begins what is to be encoded, in [`written_out`].
const BEGIN: u8 = 1;
/// Ends it.
const END: u8 = 2;
/// Stands for the signature of the word before it.
const SIGN: u8 = 3;

/// The bytes with what stands between 1 and 2 encoded as base64url, and a signature by the key in
/// place of each 3: so a mutation of a claim is one of a token, and one that verifies.
pub fn written_out(bytes: &[u8], key: &[u8; 32]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(2 * bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            BEGIN => {
                let end = rest.iter().position(|byte| *byte == END);
                let end = end.unwrap_or(rest.len());
                out.extend(URL_SAFE_NO_PAD.encode(&rest[..end]).bytes());
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            SIGN => {
                let is_between =
                    |byte: &u8| !byte.is_ascii_alphanumeric() && !b"-_.".contains(byte);
                let start = out.iter().rposition(is_between).map_or(0, |at| at + 1);
                let word = String::from_utf8_lossy(&out[start..]).into_owned();
                out.extend(format!(".{}", signature(key, &word)).bytes());
            }
            byte => out.push(byte),
        }
    }
    out
}

/// Header or claims of a token, read whole; none if something is wrong with what nobody asks for.
pub fn json(token: &str, part: usize) -> Option<Value> {
    let part = token.split('.').nth(part)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Whether the key signed the token.
pub fn is_signed(token: &str, key: &[u8; 32]) -> bool {
    token
        .rsplit_once('.')
        .is_some_and(|(message, signed)| signature(key, message) == signed)
}

/// The words of a text that may be tokens.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
        .filter(|word| idtoken::decode(word).is_ok())
}

/// The characters of an HMAC-SHA256 in base64url: what has fewer in place of its signature is nobody's
/// secret.
const SIGNATURE: usize = 43;

/// Asserts that no token of `from` is in a text that somebody reads, and none of the key's signatures.
pub fn assert_no_token(text: &str, from: &str, key: &[u8; 32]) {
    for token in words(from) {
        let (_, signed) = token.rsplit_once('.').unwrap();
        let is_secret = signed.len() >= SIGNATURE;
        assert!(
            !is_secret || !text.contains(token),
            "a token is in {text:?}"
        );
        assert!(
            !is_signed(token, key) || !text.contains(signed),
            "a signature is in {text:?}"
        );
    }
}
