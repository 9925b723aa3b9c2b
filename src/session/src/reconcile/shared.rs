//! What is found out once for all sessions of a reconcile, by whichever of them needs it
//! first. A name service, which may be slow, is never asked with a lock held.

use std::sync::OnceLock;

use super::Run;
use crate::aside::lock;
use crate::error::{Error, Result};
use crate::home::Keys;
use crate::issuer::Issuer;
use crate::user::{User, gid_of};

/// What makes the tokens of a table, or why nothing does.
pub(super) type Found = std::result::Result<Issuer, String>;

/// A group of the configuration.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group {
    Gid(u32),
    Missing,
    /// It could not be looked up, and is not looked up again in this run.
    Unknown,
}

impl Run<'_> {
    /// What makes the tokens of a table, found out when the first session needs it.
    pub(super) fn issuer(&self, table: usize) -> std::result::Result<&Issuer, &str> {
        let token = &self.config.tables[table].token;
        let new = || Issuer::new(token, self.host.euid).map_err(|error| error.to_string());
        self.issuers[table]
            .get_or_init(new)
            .as_ref()
            .map_err(String::as_str)
    }

    /// The keys that are known by now.
    pub(super) fn keys(&self) -> Keys {
        let known = self.issuers.iter().filter_map(OnceLock::get).flatten();
        known.filter_map(Issuer::share_keys).collect()
    }

    /// Whether a user is in a group, none if there is none: with one look-up for all users.
    pub(super) fn is_in_group(&self, user: &User, group: &str) -> Result<Option<bool>> {
        let groups = || lock(&self.groups);
        let known = groups().get(group).copied();
        // Not under the lock: a directory service may be slow, and others have other groups.
        let known = known.unwrap_or_else(|| {
            let found = match gid_of(group) {
                Ok(Some(gid)) => Group::Gid(gid),
                Ok(None) => Group::Missing,
                Err(_) => Group::Unknown,
            };
            groups().insert(group.to_owned(), found);
            found
        });
        match known {
            Group::Gid(gid) => Ok(Some(user.groups.contains(&gid))),
            Group::Missing => Ok(None),
            Group::Unknown => Err(Error::NoGroup(group.to_owned())),
        }
    }

    /// Leaves sessions as they are, which is said once.
    pub(super) fn hold_back(&self, why: &str) {
        let _ = self.held_back.set(why.to_owned());
    }
}
