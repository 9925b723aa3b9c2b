//! Where the answers go: standard output, with a closed pipe being no error.

use std::fmt::Display;
use std::io::{self, Write};

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
}

/// The text with control characters escaped, so that no claim or path can
/// command the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
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
    use super::printable;

    #[test]
    fn no_claim_commands_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    }
}
