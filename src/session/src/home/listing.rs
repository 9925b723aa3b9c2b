//! What the user's own part of tokens.d holds: the files of theirs that
//! HTCondor's client reads.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};

use super::dead::kind;
use super::{ENTRIES_LIMIT, REMEDY, TOKENS_D, dir_flags};
use crate::error::{Error, Result};
use crate::name::TokenName;
use crate::sys;

/// The user's own files, in the order in which HTCondor reads them.
pub(crate) struct OwnFiles {
    /// tokens.d.
    pub(crate) dir: Dir,
    /// What each name leads to, be it through a link.
    pub(crate) files: BTreeMap<CString, Leads>,
}

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leads {
    /// A file with contents.
    ToFile,
    /// A FIFO, which HTCondor's client would wait for without end.
    ToFifo,
    /// A device or a socket.
    Elsewhere,
}

/// Looks through tokens.d; none if there is no such directory that its user can list.
///
/// Names of session tokens, names that HTCondor skips, directories and links that
/// lead nowhere are left out.
pub(crate) fn own_files(home: &Path) -> Result<Option<OwnFiles>> {
    let path = home.join(TOKENS_D);
    let mut dir = match sys::open_dir(AT_FDCWD, &path) {
        Ok(dir) => dir,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) => return Ok(None),
        Err(errno) => return Err(Error::io("open", path, errno).with_remedy(REMEDY)),
    };
    let failed = |e| Error::io("list", &path, e).with_remedy(REMEDY);
    // Names are looked up while they are listed.
    let lookup = openat(&dir, ".", dir_flags(), Mode::empty()).map_err(failed)?;
    let mut files = BTreeMap::new();
    for entry in dir.iter().take(ENTRIES_LIMIT) {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !is_read(name.to_bytes()) || is_ours(name.to_bytes()) {
            continue;
        }
        let leads = match entry.file_type() {
            Some(Type::File) => Some(Leads::ToFile),
            Some(Type::Directory) => None,
            _ => fstatat(&lookup, name, AtFlags::empty())
                .ok()
                .and_then(|stat| leads(kind(&stat))),
        };
        files.extend(leads.map(|leads| (name.to_owned(), leads)));
    }
    Ok(Some(OwnFiles { dir, files }))
}

fn leads(kind: SFlag) -> Option<Leads> {
    match kind {
        SFlag::S_IFREG => Some(Leads::ToFile),
        SFlag::S_IFIFO => Some(Leads::ToFifo),
        SFlag::S_IFDIR => None,
        _ => Some(Leads::Elsewhere),
    }
}

pub(super) fn is_ours(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| name.parse::<TokenName>().is_ok())
}

/// Whether HTCondor reads a file of this name: the others match the default of
/// its LOCAL_CONFIG_DIR_EXCLUDE_REGEXP.
pub(super) fn is_read(name: &[u8]) -> bool {
    const SKIPPED: [&[u8]; 9] = [
        b"~",
        b".pl",
        b".py",
        b".sh",
        b".rpmsave",
        b".rpmnew",
        b".dpkg-old",
        b".dpkg-dist",
        b".cfsaved",
    ];
    let first = name.first().copied();
    !matches!(first, None | Some(b'.' | b'#')) && !SKIPPED.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_htcondor_skips_is_no_token_of_anybodys() {
        for name in ["a", "0", "a.token", "a.pl.b", "pl", "a#"] {
            assert!(is_read(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            ".a",
            "#a",
            "a~",
            "a.pl",
            "a.py",
            "a.sh",
            "a.rpmsave",
            "a.rpmnew",
            "a.dpkg-old",
            "a.dpkg-dist",
            "a.cfsaved",
        ] {
            assert!(!is_read(name.as_bytes()), "{name}");
        }
    }
}
