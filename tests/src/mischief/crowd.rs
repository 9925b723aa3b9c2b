//! Directories that are too full, and files that are not as usual.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, mknod};

/// So many names a file may have on ext4, less a few.
const LINKS: usize = 64_000;

/// Fills a directory with so many names of few files.
pub(super) fn crowd(dir: &Path, count: &str) -> usize {
    let count = count.parse().unwrap();
    let mut first = dir.join("own-0");
    for number in 0..count {
        let path = dir.join(format!("own-{number}"));
        if number % LINKS == 0 {
            fs::write(&path, "").unwrap();
            first = path;
        } else {
            fs::hard_link(&first, path).unwrap();
        }
    }
    count
}

/// Lets another user read and write whatever will be made in a directory, by an ACL.
pub(super) fn allow(dir: &Path, uid: &str) -> usize {
    // linux/posix_acl_xattr.h: version, then tag, permissions and id of each entry.
    let no_id = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 7, no_id),
        (0x02, 7, uid.parse().unwrap()),
        (0x04, 7, no_id),
        (0x10, 7, no_id),
        (0x20, 7, no_id),
    ];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    let path = CString::new(dir.as_os_str().as_bytes()).unwrap();
    for name in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        // SAFETY: two C strings, and a value of the length that is given.
        let result = unsafe {
            libc::setxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
                0,
            )
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
    entries.len()
}

/// The one device that anybody may make: 0:0, as overlay file systems use it.
pub(super) fn whiteout(path: &Path) -> usize {
    mknod(path, SFlag::S_IFCHR, Mode::S_IRWXU, 0).unwrap();
    1
}
