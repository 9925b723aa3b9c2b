//! What programs say, and names of tests: words that the documents quote and nobody types.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use super::path;

/// So short a piece proves nothing.
const SHORTEST: usize = 8;

/// Whether the programs say this; `...` stands for what differs.
pub(super) fn are_said(text: &str) -> bool {
    static SOURCES: OnceLock<String> = OnceLock::new();
    let sources = SOURCES.get_or_init(|| {
        sources(&[
            "src/cli/src",
            "src/idtoken/src",
            "src/pam/src",
            "src/session/src",
        ])
    });
    let pieces = text
        .split("...")
        .map(|piece| piece.trim_matches([' ', ':', ';', '.']));
    let mut pieces = pieces.filter(|piece| piece.len() >= SHORTEST).peekable();
    pieces.peek().is_some() && pieces.all(|piece| sources.contains(piece))
}

/// Whether a test has this name.
pub(super) fn name_a_test(text: &str) -> bool {
    static TESTS: OnceLock<String> = OnceLock::new();
    let tests = TESTS.get_or_init(|| sources(&["tests/ring2", "tests/ring3"]));
    tests.contains(&format!("\"{text}\""))
}

/// All code below these directories; a string that goes on in the next line is in one piece.
fn sources(dirs: &[&str]) -> String {
    let mut all = String::new();
    for dir in dirs {
        collect(&path(dir), &mut all);
    }
    all
}

fn collect(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut pieces = text.split("\\\n");
            all.push_str(pieces.next().unwrap_or_default());
            pieces.for_each(|piece| all.push_str(piece.trim_start()));
        }
    }
}
