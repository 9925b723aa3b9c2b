//! What a signing key is on its way from its file to a signature, by the RFCs.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sha2::block_api::compress256;

const BLOCK: usize = 64;
/// FIPS 180-4, 5.3.3.
const BEGIN: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Each form with its name.
pub(super) fn of(raw: &[u8], is_pool: bool) -> Vec<(&'static str, Vec<u8>)> {
    let mask = [0xde, 0xad, 0xbe, 0xef].iter().cycle();
    let plain: Vec<u8> = raw
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let material = plain.repeat(if is_pool { 2 } else { 1 });
    // RFC 5869.
    let extracted = mac(b"htcondor", &material);
    let derived = mac(&extracted, b"master jwt\x01");
    let mut forms = vec![
        ("bytes", raw.to_vec()),
        ("unscrambled bytes", plain),
        ("words of the unscrambled bytes", swapped(&material)),
        ("extracted key", extracted.to_vec()),
        ("words of the extracted key", swapped(&extracted)),
        ("derived key", derived.to_vec()),
        ("words of the derived key", swapped(&derived)),
        (
            "hash of the doubled bytes",
            state(&material_before(&material)),
        ),
    ];
    if is_pool {
        forms.push(("doubled bytes", material));
    }
    for (names, key) in [
        (
            [
                "inner block of the extracted key",
                "outer block of the extracted key",
            ],
            extracted,
        ),
        (
            [
                "inner block of the derived key",
                "outer block of the derived key",
            ],
            derived,
        ),
    ] {
        for (name, pad) in names.into_iter().zip([0x36, 0x5c]) {
            let block: Vec<u8> = key.iter().map(|byte| byte ^ pad).collect();
            forms.push((name, swapped(&block)));
            forms.push((name, block));
        }
    }
    for (names, key) in [
        (
            [
                "inner state of the extracted key",
                "outer state of the extracted key",
            ],
            extracted,
        ),
        (
            [
                "inner state of the derived key",
                "outer state of the derived key",
            ],
            derived,
        ),
    ] {
        for (name, pad) in names.into_iter().zip([0x36, 0x5c]) {
            forms.push((name, state(&padded(&key, pad))));
        }
    }
    forms
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The block that HMAC hashes before a message (RFC 2104).
fn padded(key: &[u8], pad: u8) -> Vec<u8> {
    let mut block = [pad; BLOCK];
    block
        .iter_mut()
        .zip(key)
        .for_each(|(byte, key)| *byte ^= key);
    block.to_vec()
}

/// The whole blocks of what is hashed first when the key is extracted.
fn material_before(material: &[u8]) -> Vec<u8> {
    let whole = material.len() / BLOCK * BLOCK;
    [&padded(b"htcondor", 0x36), &material[..whole]].concat()
}

/// What SHA-256 has in its hands after these blocks, as this machine keeps it.
fn state(blocks: &[u8]) -> Vec<u8> {
    let mut state = BEGIN;
    let (blocks, []) = blocks.as_chunks::<BLOCK>() else {
        panic!("not whole blocks");
    };
    compress256(&mut state, blocks);
    state.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// As SHA-256 reads bytes: as words, big-endian.
fn swapped(bytes: &[u8]) -> Vec<u8> {
    let words = bytes.as_chunks::<4>().0.iter();
    words
        .flat_map(|word| u32::from_be_bytes(*word).to_ne_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use idtoken::{KeyForm, Kid, SigningKey};
    use sha2::Digest;

    #[test]
    fn the_derived_key_is_the_products() {
        for kid in ["POOL", "site"] {
            let forms = of(b"a scratch key", kid == "POOL");
            let derived = &forms
                .iter()
                .find(|(name, _)| *name == "derived key")
                .unwrap()
                .1;
            let mut digest = Sha256::new();
            digest.update(b"pam_idtoken key fingerprint v1");
            digest.update(derived);
            let kid: Kid = kid.parse().unwrap();
            let key = SigningKey::from_bytes(&kid, b"a scratch key", KeyForm::Plain).unwrap();
            assert_eq!(digest.finalize()[..8], key.fingerprint());
        }
    }

    #[test]
    fn a_state_is_what_hashing_goes_on_from() {
        // One block of padding makes the digest of an empty message of it.
        let mut block = [0; BLOCK];
        block[0] = 0x80;
        let wanted = swapped(&Sha256::digest(b""));
        assert_eq!(state(&block), wanted);
    }
}
