//! The mode of a file that was just made.

use std::os::fd::AsFd;

use nix::sys::stat::{Mode, fchmod, fstat};

/// Gives a new file the mode that it was made with, of which the host's umask may have taken a
/// part. Mostly it has not: a look costs a fifth of a change, which the file system has to keep.
pub(crate) fn ensure_mode(file: impl AsFd, mode: Mode) -> nix::Result<()> {
    let now = fstat(file.as_fd())?.st_mode & 0o7777;
    if now == mode.bits() {
        Ok(())
    } else {
        fchmod(file, mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_has_its_mode_whatever_it_was_made_with() {
        let file = tempfile::tempfile().unwrap();
        for before in [0o600, 0o400, 0, 0o640, 0o4600] {
            file.set_permissions(PermissionsExt::from_mode(before))
                .unwrap();
            ensure_mode(&file, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{before:o}");
        }
    }
}
