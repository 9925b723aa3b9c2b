//! The directory of what does not outlive a boot.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::mkdir;

/// Users pass it to their private stores.
const MODE: Mode = Mode::from_bits_truncate(0o755);

/// Makes a directory of ours and those above it; one that had to be made gets
/// exactly 0755, one that was there is left as it is.
pub(crate) fn make(dir: &Path) -> nix::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above: Vec<&Path> = dir.ancestors().collect();
    let mut made = Ok(());
    for dir in above.into_iter().rev() {
        made = make_one(dir);
    }
    match made {
        // Another session was faster.
        Err(Errno::EEXIST) => Ok(()),
        made => made,
    }
}

fn make_one(dir: &Path) -> nix::Result<()> {
    mkdir(dir, MODE)?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // The host's umask is not ours.
    fchmod(open(dir, flags, Mode::empty())?, MODE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use crate::testing::under_umask;

    fn mode(dir: &Path) -> u32 {
        dir.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_directory_is_made_with_those_above_it() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("a/b/c");
        for _ in 0..2 {
            make(&dir).unwrap();
            assert!(dir.is_dir());
        }
        write(dir.join("file"), "").unwrap();
        assert_eq!(make(&dir.join("file/d")), Err(Errno::ENOTDIR));
    }

    #[test]
    fn users_pass_what_was_made_under_any_umask_and_what_was_there_stays() {
        let top = tempfile::tempdir().unwrap();
        set_permissions(top.path(), Permissions::from_mode(0o711)).unwrap();
        for umask in [0o077, 0o027, 0] {
            let dir = top.path().join(format!("{umask:o}/run"));
            under_umask(umask, || make(&dir)).unwrap();
            assert_eq!(mode(&dir), 0o755, "{umask:o}");
            assert_eq!(mode(dir.parent().unwrap()), 0o755, "{umask:o}");
            set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
            make(&dir).unwrap();
            assert_eq!((mode(&dir), mode(top.path())), (0o700, 0o711));
        }
    }

    #[test]
    fn whoever_needs_it_first_makes_it_so() {
        let top = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = |name: &str| top.path().join(name).join("run");
        let euid = nix::unistd::geteuid().as_raw();
        under_umask(0o077, || {
            crate::stamp::promise(&path("stamp"), 1000).unwrap();
            crate::private::check(&path("private"), euid).unwrap();
            let source = crate::discovery::Source {
                tool: Path::new("/bin/false"),
                condor_config: None,
                run_dir: &path("discovery"),
            };
            let soon = crate::deadline::Deadline::after(std::time::Duration::from_secs(5));
            crate::discovery::look(&source, euid, soon, 1000);
        });
        for name in ["stamp", "private", "discovery"] {
            assert_eq!(mode(&path(name)), 0o755, "{name}");
            assert_eq!(mode(&top.path().join(name)), 0o755, "{name}");
        }
    }
}
