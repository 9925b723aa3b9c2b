//! The documents, taken apart: what they tell a reader to type, and to write into files.
//!
//! Every block of code and everything of more than one word that stands between backticks (in a
//! manual page: in bold) is a [`Passage`]. [`kind`] says what each is; one of which nobody knows
//! that fails a test of ring 2, so nothing comes into a document that no test has looked at.
//! [`ways`] has what can not be taken as it is written, with the reason.

pub mod kind;
mod markdown;
mod roff;
pub mod ways;
mod words;

use std::fs;
use std::path::PathBuf;

/// A piece of a document that is not prose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passage {
    /// The file, from the root of the repository.
    pub document: String,
    /// Where it begins.
    pub line: usize,
    /// The headings that it is below, the nearest last.
    pub headings: Vec<String>,
    /// The head of the column that it is in, if it is in a table.
    pub column: Option<String>,
    /// The paragraph in front of it, if it is a block.
    pub before: String,
    /// Whether it is a block and not in a sentence.
    pub is_block: bool,
    /// What it says.
    pub text: String,
}

impl Passage {
    /// `docs/admin.md:12`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

/// A path of the repository.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name)
}

/// What is in every document, in the order in which somebody might read them: the guide that ends
/// with the removal comes last.
pub fn passages() -> Vec<Passage> {
    let mut names = vec!["README.md".to_owned()];
    names.extend(files("docs", "md"));
    for page in ["5", "8"] {
        names.extend(files("packaging/man", page));
    }
    names.extend(["CONTRIBUTING.md".to_owned(), "ARCHITECTURE.md".to_owned()]);
    let last = "docs/admin.md";
    names.retain(|name| name != last);
    names.push(last.to_owned());
    let read = |name: &String| {
        let text = fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        match name.rsplit_once('.') {
            Some((_, "md")) => markdown::read(name, &text),
            _ => roff::read(name, &text),
        }
    };
    names.iter().flat_map(read).collect()
}

/// The files of a directory with this ending, from the root of the repository.
fn files(dir: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(path(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| name.ends_with(&format!(".{ending}")))
        .map(|name| format!("{dir}/{name}"))
        .collect();
    names.sort();
    names
}
