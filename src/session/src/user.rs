//! The user a session belongs to, from the user database.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Group, Uid, User as Entry};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sys;

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
        Self::from_entry(entry)
    }

    /// Looks up the user of a uid, where nothing else is known of a session.
    pub fn of_uid(uid: u32) -> Result<Self> {
        let entry = Entry::from_uid(Uid::from_raw(uid))
            .map_err(|errno| Error::UserDatabase {
                user: uid.to_string(),
                source: io::Error::from(errno),
            })?
            .ok_or_else(|| Error::NoUser(uid.to_string()))?;
        Self::from_entry(entry)
    }

    fn from_entry(entry: Entry) -> Result<Self> {
        if !entry.dir.is_absolute() || entry.dir.to_str().is_none() {
            return Err(Error::NoHome {
                user: entry.name,
                home: entry.dir,
            });
        }
        let c_name =
            CString::new(entry.name.as_str()).map_err(|_| Error::NoUser(entry.name.clone()))?;
        let groups =
            sys::group_list(&c_name, entry.gid.as_raw()).map_err(|errno| Error::UserDatabase {
                user: entry.name.clone(),
                source: io::Error::from(errno),
            })?;
        Ok(Self {
            name: entry.name,
            uid: entry.uid.as_raw(),
            gid: entry.gid.as_raw(),
            groups,
            home: entry.dir,
        })
    }

    /// Whether the user is in the named group; none when there is no such group, which is
    /// what a directory service that is starting may say, too.
    pub fn is_in_group(&self, group: &str) -> Result<Option<bool>> {
        Ok(gid_of(group)?.map(|gid| self.groups.contains(&gid)))
    }
}

/// The gid of a group; none if there is no such group.
pub fn gid_of(group: &str) -> Result<Option<u32>> {
    match Group::from_name(group) {
        Ok(found) => Ok(found.map(|group| group.gid.as_raw())),
        Err(errno) => Err(Error::UserDatabase {
            user: format!("group {group}"),
            source: io::Error::from(errno),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_with_uid_and_home() {
        let root = User::lookup("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0) && root.is_in_group("root").unwrap() == Some(true));
        assert_eq!(root.is_in_group("no-such-group").unwrap(), None);
        assert!(gid_of("root").unwrap() == Some(0) && gid_of("no-such-group").unwrap().is_none());
        assert_eq!(User::of_uid(0).unwrap(), root);
        assert!(User::of_uid(u32::MAX - 7).is_err());
    }

    #[test]
    fn a_home_that_is_no_path_from_the_root_is_none() {
        let mut entry = Entry::from_name("root").unwrap().unwrap();
        for home in ["", "root", "./root"] {
            entry.dir = home.into();
            let error = User::from_entry(entry.clone()).unwrap_err();
            assert!(matches!(error, Error::NoHome { .. }), "{error}");
        }
    }

    #[test]
    fn an_unknown_or_impossible_name_is_an_error_and_no_panic() {
        for name in ["no-such-user", "", "a\0b", &"x".repeat(4096)] {
            assert!(User::lookup(name).is_err(), "{name:?}");
        }
    }
}
