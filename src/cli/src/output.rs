//! Where the answers go: standard output, with a closed pipe being no error.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use serde::Serialize;

/// Lines for the reader.
pub(crate) struct Output(Box<dyn Write>);

impl Output {
    pub(crate) fn stdout() -> Self {
        Self(Box::new(io::stdout().lock()))
    }

    /// Writes one line; control characters of whatever source are escaped.
    pub(crate) fn line(&mut self, text: impl Display) -> io::Result<()> {
        match writeln!(self.0, "{}", printable(&text.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Writes one line of JSON; control characters that JSON lets pass are escaped as JSON does it.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        let mut safe = String::with_capacity(text.len());
        for c in text.chars() {
            if is_obeyed(c) {
                // Writing to a String does not fail.
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            } else {
                safe.push(c);
            }
        }
        self.line(safe)
    }
}

/// Whether a terminal obeys the character in place of showing it: a control character, or one that
/// turns the direction of what follows (UAX #9), so that a line reads as another.
fn is_obeyed(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || turns
}

/// The text with control characters escaped, so that no claim or path can
/// command the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Says on standard error why the command could not be done.
pub(crate) fn complain(error: impl Display) {
    // Nothing is left to say it to if this fails.
    let _ = writeln!(
        io::stderr(),
        "idtokenctl: {}",
        printable(&error.to_string())
    );
}

#[cfg(test)]
mod tests {
    use super::{Output, is_obeyed, printable};
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_value_commands_the_terminal_and_json_stays_json() {
        let said = Shared::default();
        let value =
            "a\x1b\u{7f}\u{9b}2J\nb\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{e9}";
        Output(Box::new(said.clone())).json(&value).unwrap();
        let text = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        assert!(!text.trim_end().chars().any(is_obeyed), "{text:?}");
        assert!(
            text.contains("\\u202e\\u2066") && text.contains('\u{e9}'),
            "{text}"
        );
        // What a worker prints is printed again by whoever started it, and has to stay as it is.
        assert_eq!(printable(text.trim_end()), text.trim_end());
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
    }

    #[test]
    fn no_claim_commands_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(
            printable("a\u{202e}b\u{2067}\u{200f}"),
            "a\\u{202e}b\\u{2067}\\u{200f}"
        );
    }
}
