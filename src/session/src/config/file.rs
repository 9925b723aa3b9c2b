//! The configuration file: opened with care, parsed with the line of a mistake.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use toml::de::{DeTable, DeValue};

use super::keys::{self, Given, KEYS, MATCH_KEYS};
use super::table;
use super::written::Written;
use crate::error::{Error, refuse_unsafe};

/// More than any configuration needs.
const LIMIT: u64 = 64 * 1024;

/// Reads and parses the file; none when there is no such file.
///
/// What decides about root's signing key must be root's: the file has to be
/// owned by root, or by `euid` in a host that is not root, and nobody else may
/// write to it. Both are checked on the open file.
pub(super) fn read(path: &Path, euid: u32) -> Result<Option<Given>, Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(nix::errno::Errno::ENOENT) => return Ok(None),
        Err(errno) => {
            return Err(Error::io("open the configuration", path, errno)
                .with_remedy("make it a file that root can read"));
        }
    };
    let stat = fstat(file.as_fd()).map_err(|e| Error::io("look at the configuration", path, e))?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Error::Unsafe {
            path: path.to_owned(),
            what: "is not a regular file".into(),
            remedy: "put the configuration there, or remove it to use the defaults".into(),
        });
    }
    refuse_unsafe(path, &stat, euid, 0o022)?;
    let size = usize::try_from(stat.st_size).unwrap_or(0);
    let mut text = String::with_capacity(size.min(64 * 1024) + 1);
    file.take(LIMIT + 1)
        .read_to_string(&mut text)
        .map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                Error::Config(format!(
                    "{} is not UTF-8 text; correct the file",
                    path.display()
                ))
            } else {
                Error::io("read the configuration", path, error)
            }
        })?;
    if text.len() as u64 > LIMIT {
        return Err(Error::Config(format!(
            "{} is larger than {LIMIT} bytes; is it the right file?",
            path.display()
        )));
    }
    parse(&text, path).map(Some)
}

/// Parses the text of a file; an error names the file, the line and the key.
pub(super) fn parse(text: &str, path: &Path) -> Result<Given, Error> {
    let given = DeTable::parse(text)
        .map_err(|error| Wrong {
            offset: error.span().map(|span| span.start),
            key: None,
            why: error.message().to_owned(),
        })
        .and_then(|table| fill(table.get_ref(), None))
        .and_then(|given| {
            table::check(&given)?;
            Ok(given)
        });
    given.map_err(|wrong| {
        let place = wrong.place(text);
        // The parser may say it on several lines.
        let why: Vec<&str> = wrong.why.lines().map(str::trim).collect();
        let why = why.join(", ");
        Error::Config(format!(
            "{}{place}: {why}; correct the file",
            path.display()
        ))
    })
}

/// A mistake.
struct Wrong {
    /// Where in the text.
    offset: Option<usize>,
    /// The key there; none if it is still to be looked for.
    key: Option<String>,
    why: String,
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self {
            offset: None,
            key: None,
            why,
        }
    }
}

impl Wrong {
    /// ` line 3, key min_uid`, or nothing if it is not known.
    fn place(&self, text: &str) -> String {
        let Some(offset) = self.offset else {
            return String::new();
        };
        let line = text.as_bytes().iter().take(offset);
        let line = line.filter(|byte| **byte == b'\n').count();
        let key = self.key.as_deref().or_else(|| {
            let (key, _) = text.lines().nth(line)?.split_once('=')?;
            let key = key.trim();
            (!key.is_empty() && !key.starts_with('#')).then_some(key)
        });
        match key {
            Some(key) => format!(" line {}, key {}", line + 1, key.escape_debug()),
            None => format!(" line {}", line + 1),
        }
    }
}

/// Takes over what a table sets, the whole file or the one of that number in it; of
/// several mistakes the first in the file is told.
fn fill(table: &DeTable<'_>, number: Option<usize>) -> Result<Given, Wrong> {
    let mut given = Given::default();
    let mut first: Option<Wrong> = None;
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let taken = take(&mut given, name, value.get_ref(), number);
        if let Err(mut wrong) = taken {
            if wrong.offset.is_none() {
                wrong.offset = Some(key.span().start);
                wrong.key = Some(name.to_owned());
            }
            if first
                .as_ref()
                .is_none_or(|first| wrong.offset < first.offset)
            {
                first = Some(wrong);
            }
        }
    }
    first.map_or(Ok(given), Err)
}

fn take(
    given: &mut Given,
    name: &str,
    value: &DeValue<'_>,
    number: Option<usize>,
) -> Result<(), Wrong> {
    if name == "token" {
        if let Some(number) = number {
            let why = format!("[[token]] table {number} has a [[token]] table inside");
            return Err(why.into());
        }
        let none = || "this is no list of [[token]] tables".to_owned();
        for table in value.as_array().ok_or_else(none)? {
            let table = table.get_ref().as_table().ok_or_else(none)?;
            let table = fill(table, Some(given.tables.len() + 1))?;
            given.tables.push(table);
        }
        return Ok(());
    }
    let known = keys::find(KEYS, name).or_else(|| keys::find(MATCH_KEYS, name));
    let (key, kind) = known.ok_or_else(|| {
        let name = name.escape_debug();
        format!("unknown field `{name}`: there is no such key")
    })?;
    given.set(key, kind.read(&written(value))?);
    Ok(())
}

fn written<'a>(value: &'a DeValue<'_>) -> Written<'a> {
    match value {
        DeValue::String(text) => Written::Text(text),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Written::Other("a number of that size"), Written::Number),
        DeValue::Float(_) => Written::Other("a number with a fraction"),
        DeValue::Boolean(flag) => Written::Flag(*flag),
        DeValue::Datetime(_) => Written::Other("a date"),
        DeValue::Table(_) => Written::Other("a table"),
        DeValue::Array(list) => {
            let texts = list.iter().map(|value| value.get_ref().as_str());
            texts
                .collect::<Option<_>>()
                .map_or(Written::Other("a list with something else"), Written::List)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn euid() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn scratch(text: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pam_idtoken.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn message(text: &str) -> String {
        parse(text, Path::new("/etc/x.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_mistake_is_named_with_file_line_and_key() {
        let unknown = message("min_uid = 5\n\nlifetme = \"1h\"\n");
        assert!(
            unknown.starts_with("/etc/x.toml line 3, key lifetme: unknown field"),
            "{unknown}"
        );
        let wrong = message("# a\nmin_uid = \"x\"\n");
        assert!(
            wrong.starts_with("/etc/x.toml line 2, key min_uid: "),
            "{wrong}"
        );
        let syntax = message("services = [\n");
        assert!(
            syntax.contains("line ") && !syntax.contains('\n'),
            "{syntax}"
        );
        let twice = message("min_uid = 1\nmin_uid = 2\n");
        assert!(twice.contains("line 2"), "{twice}");
        let first = message("\nservices = 1\nallow_users = 1\n[[token]]\nkid = 1\n");
        assert!(first.contains("line 2, key services"), "{first}");
        let list = message("min_uid = 5\nkid = [\n  \"a\",\n  3,\n]\n");
        assert!(list.contains("line 2, key kid: a list with"), "{list}");
        let odd = message("\"a\\n\\u001b\" = 1\n");
        assert!(odd.contains("line 1, key a\\n\\u{1b}: unknown"), "{odd}");
        let odd = message("a\u{1b} = 1\n");
        assert!(odd.contains("line 1, key a\\u{1b}: "), "{odd}");
        for token in ["token = 3", "token = [3]", "[token]"] {
            let token = message(&format!("\n{token}\n"));
            assert!(token.contains("line 2, key token: "), "{token}");
        }
    }

    #[test]
    fn no_file_is_no_configuration() {
        assert!(read(Path::new("/no/such/file"), euid()).unwrap().is_none());
    }

    #[test]
    fn a_file_that_others_may_write_to_is_refused_with_the_remedy() {
        for mode in [0o666, 0o620, 0o602] {
            let (_dir, path) = scratch(b"", mode);
            let text = read(&path, euid()).unwrap_err().to_string();
            assert!(
                text.contains("chmod") && text.contains("pam_idtoken.toml"),
                "{text}"
            );
        }
        let (_dir, path) = scratch(b"", 0o644);
        assert!(read(&path, euid()).unwrap().is_some());
    }

    #[test]
    fn a_file_of_somebody_else_is_refused() {
        let (_dir, path) = scratch(b"", 0o644);
        if euid() == 0 {
            nix::unistd::chown(&path, Some(4321.into()), None).unwrap();
        }
        let text = read(&path, 4322).unwrap_err().to_string();
        assert!(text.contains("chown root"), "{text}");
    }

    #[test]
    fn what_is_no_text_file_is_refused_and_never_waited_for() {
        let (dir, path) = scratch(b"\xff\xfe", 0o644);
        assert!(
            read(&path, euid())
                .unwrap_err()
                .to_string()
                .contains("UTF-8")
        );
        fs::write(&path, vec![b'#'; 70_000]).unwrap();
        assert!(
            read(&path, euid())
                .unwrap_err()
                .to_string()
                .contains("larger")
        );
        assert!(
            read(dir.path(), euid())
                .unwrap_err()
                .to_string()
                .contains("regular")
        );
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
        assert!(
            read(&fifo, euid())
                .unwrap_err()
                .to_string()
                .contains("regular")
        );
    }

    #[test]
    fn a_key_of_many_parts_is_one_mistake() {
        let parts = vec!["a"; 32_000].join(".");
        for text in [
            format!("{parts} = 1"),
            format!("[[token]]\n[[token.{parts}]]"),
        ] {
            let message = message(&text);
            assert!(message.contains("recursion") && !message.contains('\n'));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = parse(&text, Path::new("/x"));
        }

        #[test]
        fn every_error_is_one_line(text in "[a-z_]{1,12} ?= ?[\"\\[\\]a-z0-9\n]{0,20}") {
            if let Err(error) = parse(&text, Path::new("/x")) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
