//! The user a session belongs to, from the user database.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, User as Entry, getgrouplist};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A user as the name service knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The login name in the spelling of the user database: it is what HTCondor's
    /// FS authentication would call them too.
    pub name: String,
    /// The uid.
    pub uid: u32,
    /// The primary gid.
    pub gid: u32,
    /// Every gid of the user, the primary one among them.
    pub groups: Vec<u32>,
    /// The home directory, from the user database and not from `$HOME`, as
    /// HTCondor's client looks it up.
    pub home: PathBuf,
}

impl User {
    /// Looks a user up: one getpwnam(3) and one getgrouplist(3), since with
    /// SSSD or winbind each costs a round trip.
    pub fn lookup(name: &str) -> Result<Self> {
        let failed = |errno: Errno| Error::UserDatabase {
            user: name.to_owned(),
            source: io::Error::from(errno),
        };
        if name.contains('\0') {
            return Err(Error::NoUser(name.to_owned()));
        }
        let entry = Entry::from_name(name)
            .map_err(failed)?
            .ok_or_else(|| Error::NoUser(name.to_owned()))?;
        let c_name =
            CString::new(entry.name.as_str()).map_err(|_| Error::NoUser(name.to_owned()))?;
        let groups = getgrouplist(&c_name, entry.gid).map_err(failed)?;
        Ok(Self {
            name: entry.name,
            uid: entry.uid.as_raw(),
            gid: entry.gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            home: entry.dir,
        })
    }

    /// Whether the user is in the named group; false when there is no such group.
    pub fn is_in_group(&self, group: &str) -> Result<bool> {
        let found = Group::from_name(group).map_err(|errno| Error::UserDatabase {
            user: self.name.clone(),
            source: io::Error::from(errno),
        })?;
        Ok(found.is_some_and(|group| self.groups.contains(&group.gid.as_raw())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_with_uid_and_home() {
        let root = User::lookup("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0) && root.is_in_group("root").unwrap());
        assert!(!root.is_in_group("no-such-group").unwrap());
    }

    #[test]
    fn an_unknown_or_impossible_name_is_an_error_and_no_panic() {
        for name in ["no-such-user", "", "a\0b", &"x".repeat(4096)] {
            assert!(User::lookup(name).is_err(), "{name:?}");
        }
    }
}
