//! Reading a signing key file with care.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{KeyError, KeyFault};

/// A key is 64 random bytes, or a password; this is far more than either.
const LIMIT: usize = 64 * 1024;

/// The bytes of the file.
///
/// What HTCondor's daemons would refuse to use is refused: the file must
/// belong to `owner` and have no bits for others. That is checked on the open
/// file, which is regular or not read at all.
pub(crate) fn read(path: &Path, owner: u32) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    read_checked(path, owner).map_err(|fault| KeyError {
        path: path.to_owned(),
        fault,
    })
}

fn read_checked(path: &Path, owner: u32) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    // A FIFO must not make a login wait for a writer.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(fault)?;
    let size = check(&file, owner)?;
    contents(file, size)
}

fn fault(error: io::Error) -> KeyFault {
    match error.kind() {
        io::ErrorKind::NotFound => KeyFault::Missing,
        _ => KeyFault::Io(error),
    }
}

/// Refuses what is no key file of `owner`; its size in bytes.
fn check(file: &File, owner: u32) -> Result<u64, KeyFault> {
    let about = file.metadata().map_err(KeyFault::Io)?;
    if !about.is_file() {
        return Err(KeyFault::NotRegular);
    }
    if about.uid() != owner {
        return Err(KeyFault::Owner {
            is: about.uid(),
            wanted: owner,
        });
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFault::Mode(mode));
    }
    if about.len() > LIMIT as u64 {
        return Err(KeyFault::TooLarge);
    }
    Ok(about.len())
}

/// Reads into a buffer that never grows, so that no part of a key stays behind in an old one.
fn contents(mut file: File, size: u64) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let capacity = usize::try_from(size).unwrap_or(LIMIT).min(LIMIT) + 1;
    let mut bytes = Zeroizing::new(vec![0; capacity]);
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(KeyFault::Io(error)),
        }
    }
    if filled == bytes.len() {
        // It grew while it was read.
        return Err(KeyFault::TooLarge);
    }
    if filled == 0 {
        return Err(KeyFault::Empty);
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    fn scratch(bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf, u32) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("POOL");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        (dir, path, owner)
    }

    #[test]
    fn a_private_file_is_read_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (_dir, path, owner) = scratch(&bytes, 0o600);
        assert_eq!(read(&path, owner).unwrap().as_slice(), bytes);
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path, owner).is_ok());
    }

    #[test]
    fn a_link_of_an_administrator_is_followed_to_a_file_that_is_checked() {
        let (dir, path, owner) = scratch(b"key", 0o600);
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read(&link, owner).is_ok());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            read(&link, owner).unwrap_err().fault,
            KeyFault::Mode(0o644)
        ));
    }

    #[test]
    fn every_bit_for_others_is_refused_with_the_remedy() {
        for bit in [0o040, 0o020, 0o010, 0o004, 0o002, 0o001] {
            let (_dir, path, owner) = scratch(b"key", 0o600 | bit);
            let text = read(&path, owner).unwrap_err().to_string();
            assert!(
                text.contains("chmod 0600") && text.contains("POOL"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_refused_with_the_remedy() {
        let (_dir, path, owner) = scratch(b"key", 0o600);
        let text = read(&path, owner + 1).unwrap_err().to_string();
        assert!(
            text.contains("chown") && text.contains(&format!("uid {owner}")),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_empty_too_large_or_no_file_is_named() {
        let (dir, path, owner) = scratch(b"", 0o600);
        assert!(matches!(
            read(&path, owner).unwrap_err().fault,
            KeyFault::Empty
        ));
        let missing = read(&dir.path().join("none"), owner).unwrap_err();
        assert!(matches!(missing.fault, KeyFault::Missing));
        assert!(
            missing
                .to_string()
                .contains("copy it from the central manager"),
            "{missing}"
        );
        fs::write(&path, vec![1; LIMIT + 1]).unwrap();
        assert!(matches!(
            read(&path, owner).unwrap_err().fault,
            KeyFault::TooLarge
        ));
        fs::write(&path, vec![1; LIMIT]).unwrap();
        assert!(read(&path, owner).is_ok());
        assert!(matches!(
            read(dir.path(), owner).unwrap_err().fault,
            KeyFault::NotRegular
        ));
    }

    #[test]
    fn a_fifo_is_refused_and_not_waited_for() {
        let (dir, _path, owner) = scratch(b"", 0o600);
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&fifo)
            .status();
        assert!(made.unwrap().success());
        assert!(matches!(
            read(&fifo, owner).unwrap_err().fault,
            KeyFault::NotRegular
        ));
    }
}
