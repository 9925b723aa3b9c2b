//! What a session needs, asked of the issuers, the policy and the processes of this host.
//!
//! Nothing is done to a session here, and doubt changes no session that lives.

use super::{One, Turn};
use crate::audit::Event;
use crate::config::Table;
use crate::error::{Error, Result};
use crate::issuer::Issuer;
use crate::name::SessionId;
use crate::policy::{self, table_named};
use crate::reconcile::due::{self, FileNeed, Need, Seen, Sign, Why};
use crate::record::{Phase, Place, Record, TokenFile};

impl One<'_> {
    pub(super) fn need(&mut self, record: &Record, sign: Option<Sign>) -> Result<Need> {
        if let Some(event) = self.end(record, sign)? {
            return Ok(Need::End(event));
        }
        if record.is_removed() {
            return Ok(Need::Nothing);
        }
        if sign == Some(Sign::Pending) {
            let can_write = self.run.options.broken.is_none() && !self.is_held_back(record);
            return Ok(if can_write {
                Need::Write
            } else {
                Need::Nothing
            });
        }
        let files = self.file_needs(record)?;
        if !files.is_empty() {
            return Ok(Need::Files(files));
        }
        let has_strays = !record.strays.is_empty();
        self.has_skipped |= has_strays && self.is_troubled;
        Ok(if has_strays && !self.is_troubled {
            Need::Strays
        } else {
            Need::Nothing
        })
    }

    /// Whether a session has ended, as what, with this sign beside its record.
    pub(super) fn end(&mut self, record: &Record, sign: Option<Sign>) -> Result<Option<Event>> {
        let seen = Seen {
            is_held: self.is_held(&record.holder)?,
            has_processes: self.has_processes(record)?,
            sign,
        };
        Ok(due::end(record, seen))
    }

    /// What the token files of a session need; without its issuer a file needs nothing,
    /// which is said once for all sessions.
    pub(super) fn file_needs(&mut self, record: &Record) -> Result<Vec<(usize, FileNeed)>> {
        if self.run.options.broken.is_some() || self.is_held_back(record) {
            return Ok(Vec::new());
        }
        let tables = self.tables(record)?;
        let is_lost = is_lost(record);
        let mut needs = Vec::new();
        for (number, file) in record.files.iter().enumerate() {
            if file.removed {
                continue;
            }
            let named = table_named(self.run.config, &tables, file.table.as_deref());
            let Some((index, table)) = named else {
                needs.extend((!file.dropped).then_some((number, FileNeed::Drop)));
                continue;
            };
            let Some(need) = self.file_need(record, file, index, table, is_lost)? else {
                continue;
            };
            let may_wait = self.run.issuer(index).is_ok_and(Issuer::may_wait);
            if may_wait && need != FileNeed::Clear && self.turn == Turn::Keys {
                self.has_waiting = true;
            } else {
                needs.push((number, need));
            }
        }
        Ok(needs)
    }

    /// Whether a session is left as it is, which is said once.
    fn is_held_back(&self, record: &Record) -> bool {
        let config = self.run.config;
        let is_gone = record.has_config && !config.file_exists;
        if is_gone {
            self.run.hold_back(&format!(
                "the configuration {} is not there, and there was one when their sessions were \
                 opened; put it back, or an empty file to mean that there is nothing in it",
                config.file.display()
            ));
        }
        is_gone
    }

    /// What a token file needs that is to be there.
    fn file_need(
        &self,
        record: &Record,
        file: &TokenFile,
        index: usize,
        table: &Table,
        is_lost: bool,
    ) -> Result<Option<FileNeed>> {
        // What can not be renewed by anybody is said once for all sessions.
        let Some(issuer) = self.run.issuer(index).ok().filter(|it| !it.is_given_up()) else {
            return Ok(None);
        };
        let user = &record.user.name;
        if self.run.options.is_blind && issuer.change(user, &file.tokens)?.is_some() {
            self.run.hold_back(
                "HTCondor can not be asked, and by the configuration alone they would be others",
            );
            return Ok(None);
        }
        if file.was_taken() {
            return Ok(Some(FileNeed::Renew(Why::Again)));
        }
        if is_lost {
            return Ok(Some(FileNeed::Renew(Why::Lost)));
        }
        let lifetime = table.token.lifetime_of(self.run.is_renewed);
        due::file_need(user, file, issuer, lifetime, self.run.host.now())
    }

    /// The tables that a session like this one would have now.
    pub(super) fn tables(&self, record: &Record) -> Result<Vec<usize>> {
        let Record { user, login, .. } = record;
        let is_in_group = |group: &str| self.run.is_in_group(user, group);
        policy::tables(self.run.config, user, login, &is_in_group)
    }

    /// What lay beside its record when the user's were listed.
    pub(super) fn sign(&self, session: SessionId) -> Option<Sign> {
        if self.listing.ended.contains(&session) {
            Some(Sign::Ended)
        } else {
            let is_pending = self.listing.pending.contains(&session);
            is_pending.then_some(Sign::Pending)
        }
    }

    fn has_processes(&mut self, record: &Record) -> Result<bool> {
        let Some(trace) = &record.linger else {
            return Ok(false);
        };
        let is_held = self.is_held(&record.holder)?;
        if record.holder.boot != self.run.boot || (record.phase == Phase::Open && is_held) {
            // Of another boot nothing is left; while it is held nobody needs to know.
            return Ok(false);
        }
        trace
            .is_left(&record.holder, record.user.uid)
            .map_err(|e| Error::io("list the processes under", "/proc", e))
    }
}

/// Whether the private store of a session is not there: its user can not remove it.
pub(super) fn is_lost(record: &Record) -> bool {
    record.place == Place::Private
        && record
            .directory_in_private()
            .symlink_metadata()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
