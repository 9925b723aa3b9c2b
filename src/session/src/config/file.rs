//! The configuration file: opened with care, parsed with the line of a mistake.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::keys::Given;
use super::table;
use crate::error::{Error, Result, refuse_unsafe};

/// More than any configuration needs.
const LIMIT: u64 = 64 * 1024;

/// Reads and parses the file; none when there is no such file.
///
/// What decides about root's signing key must be root's: the file has to be
/// owned by root, or by `euid` in a host that is not root, and nobody else may
/// write to it. Both are checked on the open file.
pub(super) fn read(path: &Path, euid: u32) -> Result<Option<Given>> {
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
pub(super) fn parse(text: &str, path: &Path) -> Result<Given> {
    let given: Given = toml::from_str(text).map_err(|error| {
        let place = error
            .span()
            .map_or_else(String::new, |span| place(text, span.start));
        Error::Config(format!(
            "{}{place}: {}; correct the file",
            path.display(),
            words(error.message())
        ))
    })?;
    table::check(&given)
        .map_err(|why| Error::Config(format!("{}: {why}; correct the file", path.display())))?;
    Ok(given)
}

/// What the parser says, on one line, without the list of all keys there are.
pub(super) fn words(message: &str) -> String {
    let words: Vec<&str> = message.lines().map(str::trim).collect();
    let words = words.join(", ");
    match words.split_once(", expected one of") {
        Some((unknown, _)) if unknown.starts_with("unknown field") => {
            format!("{unknown}: there is no such key")
        }
        _ => words,
    }
}

/// ` line 3, key min_uid` for an offset into the text.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count();
    let key = text
        .lines()
        .nth(line)
        .and_then(|line| line.split_once('='))
        .map(|(key, _)| key.trim())
        .filter(|key| !key.is_empty() && !key.starts_with('#'));
    match key {
        Some(key) => format!(" line {}, key {key}", line + 1),
        None => format!(" line {}", line + 1),
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
