//! What a user has mounted in their private store, as far as it is root's
//! business: it keeps the directory from being removed.
//!
//! umount2(2) takes a path, and below the session's directory every name is the
//! user's. So each mount point is walked to by descriptors that follow no link
//! and enter no mounted file system, and is then named by the last of them. What
//! is reached that way is mounted on a directory of the user's, whatever the
//! names say by then.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, openat, readlink};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use super::fd_path;

/// Detaches what is mounted on a directory of `parent`, or inside it.
pub(super) fn detach(parent: &OwnedFd, name: &str) -> io::Result<usize> {
    let top = PathBuf::from(readlink(fd_path(parent).as_str())?);
    let mut detached = 0;
    for point in mount_points(&top, name)? {
        // Gone with the one it was mounted in, or renamed: the next call finds it.
        if let Some(mounted) = walk(parent, &point)? {
            umount2(fd_path(&mounted).as_str(), MntFlags::MNT_DETACH)?;
            detached += 1;
        }
    }
    Ok(detached)
}

/// Whether the two are on different mounts. Neither is asked anything.
pub(super) fn is_elsewhere(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    Ok(mount_id(one)? != mount_id(other)?)
}

/// The mount points at or below `<top>/<name>`, relative to `top`, outer ones first.
fn mount_points(top: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read("/proc/thread-self/mountinfo")?;
    let inner = |line: &[u8]| {
        // The fifth field, see proc_pid_mountinfo(5).
        let field = line.split(|b| *b == b' ').nth(4)?;
        let path = unescape(field);
        let path = Path::new(OsStr::from_bytes(&path)).strip_prefix(top).ok()?;
        path.starts_with(name).then(|| path.to_owned())
    };
    let mut points: Vec<PathBuf> = Vec::new();
    for point in table.split(|b| *b == b'\n').filter_map(inner) {
        points.insert(points.partition_point(|other| *other <= point), point);
    }
    Ok(points)
}

/// The mount table writes a blank, a tab, a line feed and a backslash as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            bytes.push(byte);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

/// Opens what is mounted on a path; none if nothing is, or not there.
pub(super) fn walk(parent: &OwnedFd, point: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let home = mount_id(parent)?;
    let mut last: Option<OwnedFd> = None;
    for part in point.components() {
        let Component::Normal(part) = part else {
            return Ok(None);
        };
        let dir = last.as_ref().unwrap_or(parent);
        if mount_id(dir)? != home {
            // What is mounted further out hides it.
            return Ok(None);
        }
        let Ok(next) = openat(dir, part, flags, Mode::empty()) else {
            return Ok(None);
        };
        last = Some(next);
    }
    let is_mounted = match &last {
        Some(fd) => mount_id(fd)? != home,
        None => false,
    };
    Ok(last.filter(|_| is_mounted))
}

/// The id of the mount that an open file is on, without asking its file system.
fn mount_id(fd: &OwnedFd) -> io::Result<u64> {
    let path = format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.and_then(|id| id.trim().parse().ok())
        .ok_or_else(|| io::Error::other("the kernel does not say which mount it is on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_table_is_read_as_it_is_written() {
        assert_eq!(unescape(br"/a\040b\134c\011"), b"/a b\\c\t");
        assert_eq!(unescape(br"/a\04"), br"/a\04");
        assert!(
            mount_points(Path::new("/"), "proc")
                .unwrap()
                .contains(&"proc".into())
        );
        assert!(mount_points(Path::new("/"), "pro").unwrap().is_empty());
    }
}
