//! What must be nowhere but where it belongs: signing keys, in every form that they take on their way
//! to a signature, and tokens. Looked for in cores and in whatever is written or said.

mod audited;
mod forms;
mod said;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

pub use audited::Audited;
pub use said::{Said, checked};

/// So many bytes in a row of something random are no coincidence.
const PIECE: usize = 8;
/// And so many characters of it in another spelling, where a character says less.
const SPELLED: usize = 16;

/// Secrets, and every piece of them that is worth looking for.
#[derive(Default)]
pub struct Secrets {
    /// What each is, and its bytes.
    needles: Vec<(String, Vec<u8>)>,
    /// Which needles have these bytes, at which place, and how many more have to follow.
    pieces: HashMap<[u8; PIECE], Vec<Piece>>,
    /// The first two bytes of the pieces, since most places have none.
    beginnings: BTreeSet<u16>,
    known: BTreeSet<Vec<u8>>,
}

struct Piece {
    needle: usize,
    at: usize,
    length: usize,
}

/// Where each secret was found that was, by what it is: the first place, and how many there are.
pub type Found = BTreeMap<String, (usize, usize)>;

impl Secrets {
    /// A signing key file with these bytes, and all that is made of it.
    pub fn add_key(&mut self, kid: &str, raw: &[u8]) {
        if raw.is_empty() || !self.known.insert([kid.as_bytes(), b"/", raw].concat()) {
            return;
        }
        for (form, bytes) in forms::of(raw, kid == "POOL") {
            let what = format!("{form} of the key {kid}");
            self.add_spellings(&what, &bytes);
            self.add(what, bytes, PIECE);
        }
    }

    /// A token: its signature, as text and as bytes, and its claims as they are signed.
    pub fn add_token(&mut self, token: &str) {
        if !self.known.insert(token.as_bytes().to_vec()) {
            return;
        }
        let parts: Vec<&str> = token.split('.').collect();
        let [_, claims, signature] = parts[..] else {
            return;
        };
        let id = idtoken::decode(token).ok().and_then(|seen| seen.jti);
        let what = |part: &str| format!("{part} of the token {}", id.as_deref().unwrap_or("?"));
        self.add(what("signature"), signature.into(), PIECE);
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        self.add(what("signature, as bytes,"), bytes, PIECE);
        // Other tokens begin as it does, and end so.
        let middle = claims.len() / 2;
        let claims = &claims[middle..claims.len().min(middle + 64)];
        self.add(what("claims"), claims.into(), claims.len());
    }

    /// How many there are to look for, each form by itself.
    pub fn count(&self) -> usize {
        self.needles.len()
    }

    /// What people and programs make of bytes when they print them.
    fn add_spellings(&mut self, what: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers = format!("{bytes:?}");
        for (how, text) in [
            ("hex", hex.to_uppercase()),
            ("hex", hex),
            ("base64", STANDARD.encode(bytes)),
            ("base64url", URL_SAFE_NO_PAD.encode(bytes)),
            ("numbers", numbers.trim_matches(['[', ']']).to_owned()),
        ] {
            self.add(format!("{what}, in {how},"), text.into(), SPELLED);
        }
    }

    /// Each piece of that length; of what is short, such as a password, only the whole.
    fn add(&mut self, what: String, bytes: Vec<u8>, length: usize) {
        let is_short = bytes.len() < 32;
        let length = if is_short { bytes.len() } else { length };
        if length < PIECE {
            return;
        }
        let needle = self.needles.len();
        for (at, piece) in bytes.windows(length).enumerate() {
            let first: [u8; PIECE] = piece[..PIECE].try_into().unwrap();
            // Padding, and whatever else says nothing.
            if first.iter().collect::<BTreeSet<_>>().len() < 3 {
                continue;
            }
            self.beginnings.insert(beginning(&first));
            let pieces = self.pieces.entry(first).or_default();
            pieces.push(Piece { needle, at, length });
        }
        self.needles.push((what, bytes));
    }

    /// Looks for all of them.
    pub fn find(&self, bytes: &[u8]) -> Found {
        let mut table = vec![false; 1 << 16];
        for beginning in &self.beginnings {
            table[usize::from(*beginning)] = true;
        }
        let mut found = Found::new();
        for (at, first) in bytes.windows(PIECE).enumerate() {
            if !table[usize::from(beginning(first))] {
                continue;
            }
            for piece in self.pieces.get(first).into_iter().flatten() {
                let (what, needle) = &self.needles[piece.needle];
                let wanted = &needle[piece.at..piece.at + piece.length];
                if bytes[at..].starts_with(wanted) {
                    found.entry(what.clone()).or_insert((at, 0)).1 += 1;
                }
            }
        }
        found
    }
}

fn beginning(bytes: &[u8]) -> u16 {
    u16::from_ne_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let mut secrets = Secrets::default();
        let raw: Vec<u8> = (0..64_u8).map(|n| n.wrapping_mul(151) ^ 0x5a).collect();
        secrets.add_key("POOL", &raw);
        secrets.add_token(&format!(
            "eyJhbGciOiJIUzI1NiIsImtpZCI6IlBPT0wifQ.{}.{}",
            URL_SAFE_NO_PAD.encode(r#"{"sub":"alice@lab.test"}"#),
            URL_SAFE_NO_PAD.encode(&raw[..32])
        ));
        secrets
    }

    #[test]
    fn every_secret_is_found_wherever_it_is() {
        let secrets = secrets();
        assert!(secrets.count() > 60, "{}", secrets.count());
        for (what, bytes) in &secrets.needles {
            for before in 0..9 {
                let text = [&vec![0; before][..], bytes, b"xyz"].concat();
                assert!(secrets.find(&text).contains_key(what), "{what}");
            }
        }
        assert_eq!(secrets.find(&[0; 9999]), Found::new());
        assert_eq!(secrets.find(b""), Found::new());
    }

    #[test]
    fn a_part_of_a_secret_is_enough() {
        let secrets = secrets();
        let (what, derived) = &secrets.needles[secrets
            .needles
            .iter()
            .position(|(what, _)| *what == "derived key of the key POOL")
            .unwrap()];
        let text = [b"abc", &derived[11..11 + PIECE], b"xyz"].concat();
        assert_eq!(secrets.find(&text)[what], (3, 1));
        assert!(
            !secrets
                .find(&derived[11..11 + PIECE - 1])
                .contains_key(what)
        );
    }
}
