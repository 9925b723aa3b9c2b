//! The user's own tokens, as links in the session's directory: HTCondor's client
//! looks at one directory only.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::{REMEDY, open_own};
use crate::error::{Error, Result};
use crate::home::{Leads, TOKENS_D, own_files};
use crate::sys;

/// So many tokens of their own a user can have, the first that HTCondor reads.
const LIMIT: usize = 1000;

/// What changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    /// Links that were made.
    pub made: usize,
    /// Links of ours that were removed: what they led to is no token any more.
    pub removed: usize,
}

/// Makes the user's own tokens in `<home>/.condor/tokens.d` appear in the
/// session's directory, under the same names, and removes links to those that
/// are gone. What the user put there themselves is left alone.
///
/// A home or tokens.d that is not there holds no tokens.
pub fn link(dir: &Path, home: &Path) -> Result<Links> {
    let failed = |e| Error::io("link the user's tokens in", dir, e).with_remedy(REMEDY);
    let fd = open_own(dir)?.ok_or_else(|| failed(Errno::ENOENT))?;
    let tokens_d = home.join(TOKENS_D);
    let own = own_files(home)?.map(|own| own.files).unwrap_or_default();
    let files = own.into_iter().filter(|(_, leads)| *leads == Leads::ToFile);
    // In the order of their names, as they were listed.
    let mut wanted: Vec<CString> = files.map(|(name, _)| name).take(LIMIT).collect();
    let mut links = Links::default();
    let mut listing = sys::open_dir(&fd, ".").map_err(failed)?;
    for entry in listing.iter() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let is_link = matches!(entry.file_type(), Some(Type::Symlink) | None);
        // A name that is taken is taken, by a link of ours or by its user.
        if let Ok(place) = wanted.binary_search_by(|other| other.as_c_str().cmp(name)) {
            wanted.remove(place);
        } else if is_link && is_ours(&fd, name, &tokens_d) {
            let removed = unlinkat(&fd, name, UnlinkatFlags::NoRemoveDir);
            links.removed += usize::from(removed.is_ok());
        }
    }
    for name in wanted {
        match symlinkat(&target(&tokens_d, &name), &fd, name.as_c_str()) {
            Ok(()) => links.made += 1,
            // Its user was faster, or its path is too long for a link.
            Err(Errno::EEXIST | Errno::ENAMETOOLONG) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(links)
}

/// Whether a name is a link to the same name in tokens.d.
fn is_ours(dir: &OwnedFd, name: &CStr, tokens_d: &Path) -> bool {
    readlinkat(dir, name).is_ok_and(|leads| leads == target(tokens_d, name))
}

fn target(tokens_d: &Path, name: &CStr) -> PathBuf {
    tokens_d.join(OsStr::from_bytes(name.to_bytes()))
}
