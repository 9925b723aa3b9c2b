//! Whether a file is still the one that it was, told without reading it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device, inode, size, and time of change of content and of inode, in seconds and
/// nanoseconds.
pub(crate) type Identity = [i64; 7];

/// What stat(2) says of a path now, none if it is not there; a link counts as what it
/// leads to.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    let meta = std::fs::metadata(path).ok()?;
    Some([
        meta.dev().cast_signed(),
        meta.ino().cast_signed(),
        meta.size().cast_signed(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ])
}
