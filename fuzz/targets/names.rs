//! Names of files: in tokens.d, where those that are ours may be removed, and beside the records. A
//! name that is ours is spelled in one way only, and nobody's own file has one.

#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use session::home::fuzz::{Taken, taken};
use session::name::{TokenName, is_label};
use session::record::{Kind, RecordName};

fuzz_target!(|name: &[u8]| {
    // What a directory can hold.
    let name: Vec<u8> = name
        .iter()
        .copied()
        .take(255)
        .filter(|b| !b"/\0".contains(b))
        .collect();
    let taken = taken(&name);
    assert_eq!(taken.len(), 1, "{taken:?}");
    let Ok(text) = std::str::from_utf8(&name) else {
        assert!(matches!(taken[0], Taken::Own | Taken::Skipped));
        return;
    };
    let token = text.parse::<TokenName>();
    assert_eq!(taken[0] == Taken::Token, token.is_ok());
    if let Ok(token) = &token {
        look(token, text);
    }
    let inner = text
        .strip_prefix('.')
        .and_then(|inner| inner.parse::<TokenName>().ok());
    assert_eq!(taken[0] == Taken::Unfinished, inner.is_some());
    if taken[0] == Taken::Own {
        // HTCondor's own rule, in the words of its default.
        assert!(!text.starts_with(['.', '#']) && !text.ends_with('~'));
    }
    record(text);
});

fn look(token: &TokenName, text: &str) {
    assert_eq!(token.to_string(), text);
    assert!(text.is_ascii() && text.len() <= 150);
    assert!(text.starts_with("0-session-"));
    assert!(!text.contains(['.', '~', '#', '/']) && text.to_lowercase() == text);
    let after = token.labelled(Some("x"), 1);
    assert_eq!(after.to_string().parse(), Ok(after.clone()));
    assert_eq!(after.id(), token.id());
    let front = token.in_front_of(&after, 0);
    assert_eq!(front.to_string().parse::<TokenName>(), Ok(front.clone()));
    assert_eq!(
        front.sorts_before(token),
        front.to_string()[..26] < text[..26]
    );
    assert!(!is_label(&token.id().to_string()));
}

fn record(text: &str) {
    let Some((name, kind)) = RecordName::parse(text) else {
        assert!(text.parse::<RecordName>().is_err());
        return;
    };
    let same = match kind {
        Kind::Record => name.to_string(),
        Kind::Damaged => name.damaged(),
        Kind::Ended => name.ended(),
        Kind::Pending => name.pending(),
        Kind::Strayed => name.strayed(),
        Kind::Unfinished => name.unfinished(),
    };
    assert_eq!(same, text);
    assert_eq!(text.parse::<RecordName>().is_ok(), kind == Kind::Record);
    let path = Path::new(OsStr::from_bytes(same.as_bytes()));
    let mut parts = path.components();
    assert!(matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none());
}
