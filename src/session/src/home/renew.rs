//! A token is replaced by a newer one, under the same name or another.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::scan::scan;
use super::{
    Contents, HomeId, Judge, REMEDY, TOKENS_D, home_id, list, move_into_place, open_or_make,
    remove_in, tokens_d, unlink,
};
use crate::error::{Error, Result};
use crate::name::TokenName;

/// Why a token is not where it was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Its user took it away and gets no other.
    Removed,
    /// It had expired: another host removes such tokens. There is a new one now.
    Expired,
    /// It never was there.
    NeverWritten,
    /// It was taken away, and is to be there again: in the home that it was in.
    Dropped,
}

/// What is to be put in place of a token that is there.
pub struct Renewal {
    /// The user's home.
    pub home: PathBuf,
    /// The name of the token file.
    pub name: TokenName,
    /// The home in which it was written last.
    pub known: Option<HomeId>,
    /// Its new bytes; none if only dead tokens are to be removed.
    pub contents: Option<Contents>,
    /// The name that the file has now, if it is to have another.
    pub moves_from: Option<TokenName>,
    /// What it means if it is not there.
    pub missing: Missing,
    /// Tells which of the other token files are dead.
    pub judge: Judge,
    /// Set when nobody waits for the answer any more: then nothing is put in place.
    pub abandoned: Arc<AtomicBool>,
}

/// What became of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Renewed {
    /// False if its user took the token away.
    pub is_there: bool,
    /// Dead tokens that were removed, by file name.
    pub removed: Vec<String>,
    /// The home it was written in.
    pub home_id: Option<HomeId>,
    /// When the first of the tokens that HTCondor reads before this one dies, in
    /// seconds since 1970 UTC: from then on it stands in the way.
    pub in_the_way_at: Option<u64>,
    /// A token that HTCondor reads before this one and that no server takes which
    /// has our key: its host has another one, or none any more.
    pub in_the_way: Option<TokenName>,
}

/// Replaces a token in one step and removes dead ones; whatever fails, the old
/// one stays. A home that is not there is [`Error::Away`].
pub fn renew(renewal: &Renewal) -> Result<Renewed> {
    let Renewal { home, name, .. } = renewal;
    let path = home.join(TOKENS_D);
    let tokens_d = match renewal.missing {
        // What is there is what the home is mounted on.
        Missing::Dropped if renewal.known.is_some() && home_id(home) != renewal.known => {
            return Err(Error::Away { path });
        }
        Missing::NeverWritten | Missing::Dropped => Some((open_or_make(home)?, path)),
        Missing::Removed | Missing::Expired => match tokens_d(home, renewal.known)? {
            Some((dir, path)) => Some((list(dir, &path)?, path)),
            None => None,
        },
    };
    let Some((mut dir, path)) = tokens_d else {
        return Ok(Renewed::default());
    };
    let file = name.to_string();
    // The record's lock is held: whoever was writing this was killed.
    let _ = unlink(dir.as_fd(), &format!(".{file}"));
    let is_there = is_there(&dir, &path, renewal.moves_from.as_ref().unwrap_or(name))?
        || (renewal.moves_from.is_some() && is_there(&dir, &path, name)?)
        || renewal.missing != Missing::Removed;
    let scan = scan(&mut dir, &path, Some(name), &renewal.judge)?;
    if let Some(contents) = renewal.contents.as_ref().filter(|_| is_there) {
        move_into_place(dir.as_fd(), &file, contents, &renewal.abandoned).map_err(|source| {
            Error::io("renew the token", path.join(file), source).with_remedy(REMEDY)
        })?;
        if let Some(from) = renewal.moves_from.as_ref().filter(|from| *from != name) {
            remove_in(dir.as_fd(), from).map_err(|errno| {
                let old = path.join(from.to_string());
                Error::io("remove the token", old, errno).with_remedy(REMEDY)
            })?;
        }
    }
    Ok(Renewed {
        is_there,
        removed: scan.removed,
        home_id: home_id(home),
        in_the_way_at: scan.in_the_way_at,
        in_the_way: scan.in_the_way,
    })
}

fn is_there(dir: &Dir, path: &Path, name: &TokenName) -> Result<bool> {
    let file = name.to_string();
    match fstatat(dir, file.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => {
            Err(Error::io("look at the token", path.join(file), errno).with_remedy(REMEDY))
        }
    }
}
