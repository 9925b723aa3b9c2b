//! What a host of the tests said, in its log and otherwise, and the keys that it has had: looked through
//! when the host goes, whatever its test was about.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use super::{Audited, Found, Secrets};

/// What there was to look for and what was said.
#[derive(Default)]
pub struct Said {
    /// Kids, and the bytes of their files.
    keys: Vec<(String, Vec<u8>)>,
    tokens: Vec<String>,
    text: Vec<u8>,
}

/// All that was looked through by this process: hosts, bytes, secrets, and those of them that were found.
static CHECKED: Mutex<[usize; 4]> = Mutex::new([0; 4]);

/// How many hosts were looked through, how many bytes, for how many secrets, and how many were found.
pub fn checked() -> [usize; 4] {
    *CHECKED.lock().unwrap()
}

impl Said {
    /// Notes what was said.
    pub fn note(&mut self, text: impl AsRef<[u8]>) {
        self.text.extend_from_slice(text.as_ref());
        self.text.push(b'\n');
    }

    /// Notes a key.
    pub fn note_key(&mut self, kid: &str, raw: &[u8]) {
        if !self
            .keys
            .iter()
            .any(|(name, known)| name == kid && known == raw)
        {
            self.keys.push((kid.to_owned(), raw.to_vec()));
        }
    }

    /// Notes the keys in a directory.
    pub fn note_keys(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                self.note_key(&name, &fs::read(entry.path()).unwrap_or_default());
            }
        }
    }

    /// Notes tokens that others made, one a line.
    pub fn note_tokens(&mut self, text: &str) {
        for line in idtoken::lines(text) {
            if idtoken::decode(line).is_ok() && !self.tokens.iter().any(|known| known == line) {
                self.tokens.push(line.to_owned());
            }
        }
    }

    /// Notes all that is in the files of a directory and below it: records, the audit. What the audit
    /// says was made is looked for. In private stores tokens are where they belong.
    pub fn note_files(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            let is = |wanted: fn(&fs::FileType) -> bool| kind.as_ref().is_ok_and(wanted);
            if is(fs::FileType::is_dir) && entry.file_name() != "tokens" {
                self.note_files(&path);
            } else if is(fs::FileType::is_file) {
                let bytes = fs::read(&path).unwrap_or_default();
                if entry.file_name().to_string_lossy().starts_with("audit") {
                    let made = Audited::tokens(&String::from_utf8_lossy(&bytes), &self.keys);
                    self.note_tokens(&made.join("\n"));
                }
                self.note(path.to_string_lossy().as_bytes());
                self.note(bytes);
            }
        }
    }

    /// How many tokens are known.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Looks for all secrets in all that was said.
    pub fn check(&self) -> Found {
        self.secrets().find(&self.text)
    }

    /// The same when the host goes: it is counted, and where each secret is that was told is said.
    pub fn conclude(&self) -> Vec<String> {
        let secrets = self.secrets();
        let found = secrets.find(&self.text);
        let counts = [1, self.text.len(), secrets.count(), found.len()];
        let mut checked = CHECKED.lock().unwrap();
        checked
            .iter_mut()
            .zip(counts)
            .for_each(|(all, one)| *all += one);
        let place = |(what, (at, _)): (&String, &(usize, usize))| {
            format!("{what} in {:?}", self.around(*at))
        };
        found.iter().map(place).collect()
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        for (kid, raw) in &self.keys {
            secrets.add_key(kid, raw);
        }
        for token in &self.tokens {
            secrets.add_token(token);
        }
        secrets
    }

    /// Some of the text around a place, for whoever wonders.
    fn around(&self, at: usize) -> String {
        let range = at.saturating_sub(120)..self.text.len().min(at + 40);
        String::from_utf8_lossy(&self.text[range]).into_owned()
    }
}
