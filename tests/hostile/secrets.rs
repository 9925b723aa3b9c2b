//! Where secrets of others are not to be found.

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};

/// So many files are looked into.
const FILES: usize = 5000;
/// And so much of each.
const SIZE: u64 = 1 << 20;

/// The files below a directory that hold one of these secrets.
pub(crate) fn found(dir: &Path, secrets: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = FILES;
    let mut dirs: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            left = left.saturating_sub(1);
            let Ok(stat) = entry.metadata() else {
                continue;
            };
            if left == 0 {
                return found;
            }
            if stat.is_dir() {
                dirs.push(entry.path());
            } else if stat.is_file() && stat.len() <= SIZE {
                let text = fs::read(entry.path()).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let told = secrets.iter().filter(|secret| text.contains(*secret));
                found.extend(
                    told.map(|secret| format!("{secret} is in {}", entry.path().display())),
                );
            }
        }
    }
    found
}

/// What somebody panicked about.
pub(crate) fn panic(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload
            .downcast_ref::<&str>()
            .map_or_else(|| "a panic".to_owned(), |text| (*text).to_owned()),
    }
}
