//! Signing keys and how HTCondor derives them (`getTokenSigningKey` in
//! condor_io/condor_auth_passwd.cpp, `read_secure_file` and `simple_scramble`
//! in condor_utils).

use std::fmt;
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{KeyError, KeyFault};
use crate::keyfile;
use crate::kid::Kid;
use crate::stack;

const SCRAMBLE: [u8; 4] = [0xDE, 0xAD, 0xBE, 0xEF];

/// What is in the file of the key POOL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Bytes of any value.
    Plain,
    /// A password, which ends at its first NUL:
    /// SEC_TOKEN_POOL_SIGNING_KEY_IS_PASSWORD. Has a meaning for POOL alone.
    Password,
}

/// A key that signs and verifies tokens. Wiped when dropped, never printable.
pub struct SigningKey {
    kid: Kid,
    /// Where it is moved without its bytes, see [`crate::stack`].
    derived: Box<Zeroizing<[u8; 32]>>,
}

impl SigningKey {
    /// Reads the key file of a kid.
    ///
    /// `owner` is the uid that the file has to belong to, 0 on a host whose
    /// daemons run as root. The file must have no bits for group and others:
    /// HTCondor's daemons would not use it otherwise. The error names the file,
    /// what is wrong with it and the remedy.
    pub fn read(path: &Path, kid: &Kid, form: KeyForm, owner: u32) -> Result<Self, KeyError> {
        let raw = keyfile::read(path, owner)?;
        Self::from_bytes(kid, &raw, form).map_err(|KeyError { fault, .. }| KeyError {
            path: path.to_owned(),
            fault,
        })
    }

    /// The key of a file with these bytes. Fails if nothing of them counts.
    pub fn from_bytes(kid: &Kid, raw: &[u8], form: KeyForm) -> Result<Self, KeyError> {
        stack::wiped(|| Self::derive(kid, raw, form))
    }

    fn derive(kid: &Kid, raw: &[u8], form: KeyForm) -> Result<Self, KeyError> {
        let empty = || KeyError {
            path: PathBuf::from(kid.as_str()),
            fault: KeyFault::Empty,
        };
        let is_password = kid.is_pool() && form == KeyForm::Password;
        let raw = if is_password { up_to_nul(raw) } else { raw };
        let plain = unscramble(raw);
        let plain = if is_password {
            up_to_nul(&plain)
        } else {
            &plain
        };
        if plain.is_empty() {
            return Err(empty());
        }
        // The pool password is used twice over; nobody remembers why, every daemon does it.
        let times = if kid.is_pool() { 2 } else { 1 };
        let mut material = Zeroizing::new(Vec::with_capacity(plain.len() * times));
        for _ in 0..times {
            material.extend_from_slice(plain);
        }
        derive(&material)
            .map(|derived| Self {
                kid: kid.clone(),
                derived,
            })
            .ok_or_else(empty)
    }

    /// Its name.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// Tells this key from a later one of the same kid, and nothing else about
    /// it: a digest of the derived key under a name of its own.
    pub fn fingerprint(&self) -> [u8; 8] {
        stack::wiped(|| {
            let mut digest = Sha256::new();
            digest.update(b"pam_idtoken key fingerprint v1");
            digest.update(self.derived.as_slice());
            let digest = digest.finalize();
            let mut first = [0; 8];
            first.copy_from_slice(&digest[..8]);
            first
        })
    }

    /// The key of HMAC-SHA256.
    pub(crate) fn secret(&self) -> &[u8] {
        self.derived.as_slice()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

fn up_to_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

fn unscramble(raw: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(raw.len()));
    plain.extend(
        raw.iter()
            .zip(SCRAMBLE.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    plain
}

fn derive(material: &[u8]) -> Option<Box<Zeroizing<[u8; 32]>>> {
    let mut derived = Box::new(Zeroizing::new([0; 32]));
    Hkdf::<Sha256>::new(Some(b"htcondor"), material)
        .expand(b"master jwt", derived.as_mut_slice())
        .ok()?;
    Some(derived)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(kid: &str, raw: &[u8], form: KeyForm) -> Vec<u8> {
        SigningKey::from_bytes(&kid.parse().unwrap(), raw, form)
            .unwrap()
            .secret()
            .to_vec()
    }

    #[test]
    fn the_scramble_is_its_own_inverse() {
        assert_eq!(
            unscramble(&[0xDE, 0xAD, 0xBE, 0xEF, 0xDE]).as_slice(),
            [0; 5]
        );
        assert_eq!(
            unscramble(&unscramble(b"any bytes")).as_slice(),
            b"any bytes"
        );
    }

    #[test]
    fn pool_is_doubled_and_a_named_key_is_not() {
        let once = unscramble(b"12345678");
        assert_eq!(
            secret("POOL", b"1234", KeyForm::Plain),
            secret("site", b"12341234", KeyForm::Plain)
        );
        assert_eq!(
            secret("site", b"12345678", KeyForm::Plain),
            derive(&once).unwrap().to_vec()
        );
    }

    #[test]
    fn nuls_count_unless_the_key_is_a_password() {
        let raw = b"ab\0cd";
        assert_ne!(
            secret("POOL", raw, KeyForm::Plain),
            secret("POOL", b"ab", KeyForm::Plain)
        );
        assert_eq!(
            secret("POOL", raw, KeyForm::Password),
            secret("POOL", b"ab", KeyForm::Plain)
        );
        // 0xAD unscrambles to NUL at the second place.
        assert_eq!(
            secret("POOL", &[b'a', 0xAD, b'c'], KeyForm::Password),
            secret("POOL", b"a", KeyForm::Plain)
        );
        assert_eq!(
            secret("site", raw, KeyForm::Password),
            secret("site", raw, KeyForm::Plain)
        );
    }

    #[test]
    fn a_key_of_nothing_is_refused() {
        for (raw, form) in [
            (&b""[..], KeyForm::Plain),
            (b"\0ab", KeyForm::Password),
            (&[0xDE], KeyForm::Password),
        ] {
            assert!(SigningKey::from_bytes(&Kid::pool(), raw, form).is_err());
        }
    }

    #[test]
    fn a_fingerprint_tells_keys_apart_and_is_no_part_of_the_key() {
        let key = |raw: &[u8]| SigningKey::from_bytes(&Kid::pool(), raw, KeyForm::Plain).unwrap();
        assert_eq!(key(b"a").fingerprint(), key(b"a").fingerprint());
        assert_ne!(key(b"a").fingerprint(), key(b"b").fingerprint());
        let found = key(b"a")
            .secret()
            .windows(8)
            .any(|part| part == key(b"a").fingerprint());
        assert!(!found);
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = SigningKey::from_bytes(&Kid::pool(), b"secret", KeyForm::Plain).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey { kid: Kid(\"POOL\"), .. }");
    }

    /// RFC 5869, test case 1, for the library we rely on.
    #[test]
    fn the_derivation_is_hkdf_sha256() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let mut out = [0; 8];
        Hkdf::<Sha256>::new(Some(&salt), &[0x0b; 22])
            .expand(&info, &mut out)
            .unwrap();
        assert_eq!(out, [0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a]);
    }
}
