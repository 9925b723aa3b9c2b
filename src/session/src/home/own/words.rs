//! Names and times, fit for a terminal and a shell.

use std::ffi::CStr;
use std::fmt::Write;

/// Claims longer than this are cut, in characters.
const SHOWN: usize = 100;

/// A claim in quotes, with control characters escaped.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// A file name, with control characters escaped.
pub(super) fn file_name(name: &CStr) -> String {
    name.to_string_lossy().escape_debug().to_string()
}

/// The path of a token file as a shell takes it.
pub(super) fn shell_path(name: &CStr) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-+@%,:=".contains(b);
    let bytes = name.to_bytes();
    let name = if bytes.iter().all(plain) {
        String::from_utf8_lossy(bytes).into_owned()
    } else if bytes
        .iter()
        .all(|b| (b' '..=b'~').contains(b) && *b != b'\'')
    {
        format!("'{}'", String::from_utf8_lossy(bytes))
    } else {
        let mut name = "$'".to_owned();
        for byte in bytes {
            // Writing to a String does not fail.
            let _ = write!(name, "\\x{byte:02x}");
        }
        name + "'"
    };
    format!("~/.condor/tokens.d/{name}")
}

/// A time in the unit in which a person would give it.
pub(super) fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "seconds"),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_a_shell_takes_it_for() {
        for (name, path) in [
            (c"pool.token", "pool.token"),
            (c"my token", "'my token'"),
            (c"$(id)", "'$(id)'"),
            (c"it's", r"$'\x69\x74\x27\x73'"),
            (c"a\nb", r"$'\x61\x0a\x62'"),
        ] {
            assert_eq!(shell_path(name), format!("~/.condor/tokens.d/{path}"));
        }
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown("a\x1b[2J"), r#""a\u{1b}[2J""#);
        assert_eq!(shown(&"é".repeat(5000)).chars().count(), SHOWN + 5);
        assert_eq!(file_name(c"a\nb"), r"a\nb");
        assert_eq!(duration(119), "119 seconds");
        assert_eq!(duration(90_000), "25 hours");
        assert_eq!(duration(172_800), "2 days");
    }
}
