//! Messages, events and the audit, as the documents quote them.

use session::audit::{Entry, Event};

use crate::{document, documents, quoted, root, rows, sources};

/// So short a piece of a message proves nothing.
const SHORTEST: usize = 8;

/// The pieces of a quoted message that have to be in the sources: `...` stands for what
/// differs, and the rest may be put together from several strings.
fn missing_in(code: &str, message: &str) -> Vec<String> {
    let is_there = |piece: &str| piece.len() < SHORTEST || code.contains(piece);
    let trimmed = |piece: &str| {
        let piece = piece.trim_matches([' ', ':', ',', ';', '.']);
        piece.strip_prefix("could not ").unwrap_or(piece).to_owned()
    };
    let mut missing = Vec::new();
    for piece in message.split("...").map(trimmed) {
        if !is_there(&piece) {
            let parts = piece.split(": ").flat_map(|part| part.split("; "));
            missing.extend(parts.map(trimmed).filter(|part| !is_there(part)));
        }
    }
    missing
}

#[test]
fn every_message_in_the_documents_is_one_of_the_code() {
    let mut code = String::new();
    sources(&root("src"), false, &mut code);
    assert!(missing_in(&code, "no token for").is_empty());
    assert_eq!(
        missing_in(&code, "no token for: the moon is full").len(),
        1,
        "a message that nobody says is found out"
    );
    let mut found = 0;
    for (path, text) in documents() {
        let in_tables = rows(&text, "message")
            .into_iter()
            .chain(rows(&text, "line"));
        let in_tables = in_tables.map(|cells| {
            let message = quoted(&cells[0]).next().map(str::to_owned);
            message.unwrap_or_else(|| panic!("{}: {cells:?}", path.display()))
        });
        let on_terminal = text.lines().filter_map(|line| line.strip_prefix("    "));
        let on_terminal = on_terminal.filter(|line| line.starts_with("HTCondor: "));
        for message in in_tables.chain(on_terminal.map(str::to_owned)) {
            found += 1;
            let missing = missing_in(&code, &message);
            assert!(
                missing.is_empty() && message.len() >= SHORTEST,
                "{}: nobody says {missing:?} of {message:?}",
                path.display()
            );
        }
    }
    assert!(found >= 70, "{found}");
}

#[test]
fn the_events_are_said_in_the_words_of_the_guide() {
    let guide = document("docs/admin.md");
    let rows = rows(&guide, "line in the log");
    assert_eq!(rows.len(), 11);
    for cells in rows {
        let words = quoted(&cells[0]).next().unwrap();
        let event = format!("\"{}\"", quoted(&cells[1]).next().unwrap());
        let event: Event = serde_json::from_str(&event).unwrap();
        assert_eq!(event.words(), words);
    }
}

#[test]
fn the_line_of_the_audit_in_the_guide_is_one() {
    let guide = document("docs/admin.md");
    let mut lines = guide.lines().map(str::trim);
    let line = lines.find(|line| line.starts_with("{\"time\"")).unwrap();
    let entry: Entry = serde_json::from_str(line).unwrap();
    assert_eq!(serde_json::to_string(&entry).unwrap(), line);
    let fields = rows(&guide, "field");
    let fields: Vec<&str> = fields.iter().flat_map(|cells| quoted(&cells[0])).collect();
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    for key in value.as_object().unwrap().keys() {
        assert!(fields.contains(&key.as_str()), "{key}");
    }
}
