//! A session closes: its token is taken away.

use std::path::PathBuf;
use std::time::Duration;

use crate::audit::{Event, Pen};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::ending::{clear_private, end, remove_session};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::journal::Journal;
use crate::log::{Line, Log};
use crate::name::SessionId;
use crate::record::{Phase, Place, Record, RecordName};
use crate::state::{Locked, Sessions};

/// HTCondor's SEC_TOKEN_DIRECTORY, as it reads it from the environment.
pub const VARIABLE: &str = "_CONDOR_SEC_TOKEN_DIRECTORY";

/// A session that has to be closed.
///
/// It carries all that closing takes, so that a configuration that was broken
/// in the meantime does not keep a token from being taken away.
#[derive(Debug, Clone)]
pub struct Session {
    record: Record,
    state_dir: PathBuf,
    timeout: Duration,
}

/// What became of a closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Token and record are gone.
    Now,
    /// Somebody had ended the session before.
    Before,
    /// Processes of the session are left: the token stays until the last of them ends.
    Lingers,
}

impl Session {
    pub(crate) fn new(record: Record, config: &Config) -> Self {
        Self {
            record,
            state_dir: config.state_dir.clone(),
            timeout: config.timeout,
        }
    }

    /// What is known of the session.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The variable by which the session's HTCondor finds its private store, and its
    /// value; none if its tokens are in the home.
    pub fn environment(&self) -> Option<(&'static str, PathBuf)> {
        (self.record.place == Place::Private).then(|| (VARIABLE, self.record.directory()))
    }

    /// A session of this service and user that the calling process holds.
    ///
    /// For a host that closes a session without the data it opened it with. Of
    /// several it is the oldest: nobody can tell which of them ends, and each
    /// close ends one. Sessions that have closed, records that can not be read and
    /// those that `is_kept` by somebody else are none of them.
    pub fn held_by(
        host: &Host,
        config: &Config,
        service: &str,
        uid: u32,
        is_kept: impl Fn(SessionId) -> bool,
    ) -> Result<Option<Self>> {
        let Some(sessions) = Sessions::existing(&config.state_dir, uid, host.euid)? else {
            return Ok(None);
        };
        let listing = sessions.list()?;
        let is_open = |name: &&RecordName| {
            name.holder == host.holder
                && !listing.ended.contains(&name.session)
                && !is_kept(name.session)
        };
        let held = listing.records.iter().filter(is_open);
        let held = held.filter_map(|name| sessions.read(name).ok().flatten());
        let oldest = held
            .filter(|record| record.login.service == service && record.phase == Phase::Open)
            .min_by_key(|record| record.opened);
        Ok(oldest.map(|record| Self::new(record, config)))
    }

    /// Takes the token away, then the record.
    ///
    /// When the token can not be removed the record stays, so that the session
    /// is found again; the error says what to look at. Takes no longer than the
    /// `timeout` of the configuration it was opened with.
    pub fn close(&self, host: &Host, log: &dyn Log) -> Result<Closed> {
        let deadline = Deadline::after(self.timeout);
        let audit = &Pen::new(&self.state_dir, host.euid);
        let journal = Journal { audit, host, log };
        let uid = self.record.user.uid;
        let sessions = match Sessions::existing(&self.state_dir, uid, host.euid) {
            Ok(Some(sessions)) => sessions,
            Ok(None) => return self.close_unrecorded(deadline, None, &journal),
            Err(error) => return self.close_unrecorded(deadline, Some(error), &journal),
        };
        let result = match sessions.lock(&self.record.name(), self.patience(deadline)) {
            Ok(Some(locked)) => self.close_locked(&sessions, locked, deadline, &journal),
            Ok(None) => return self.close_unrecorded(deadline, None, &journal),
            Err(error @ Error::Locked { .. }) => {
                if self.record.place == Place::Private && self.record.linger.is_none() {
                    // A home that does not answer holds the lock; these tokens are not in it.
                    let _ = clear_private(&self.record, None, deadline, &journal);
                }
                self.mark_ended(&sessions, log);
                Err(error)
            }
            Err(error) => return self.close_unrecorded(deadline, Some(error), &journal),
        };
        if result.is_err() {
            // What can not be noted leaves the session to wait until its token has expired.
            let _ = self.note_home(&sessions, deadline);
        }
        result
    }

    /// Ends a session; until one that could not be is marked nobody else has its lock, and takes it
    /// for one that lives.
    fn end_or_mark<'a, T>(
        &self,
        sessions: &Sessions,
        locked: Locked<'a>,
        log: &dyn Log,
        end: impl FnOnce(Locked<'a>) -> Result<T>,
    ) -> Result<T> {
        let share = locked.share();
        let result = end(locked);
        if result.is_err() {
            self.mark_ended(sessions, log);
        }
        drop(share);
        result
    }

    /// The holder may live on: reconcile has to know that its session does not.
    fn mark_ended(&self, sessions: &Sessions, log: &dyn Log) {
        if has_processes(&self.record, log) {
            // It lingers, though its record may not say so; it ends with the last of them.
            return;
        }
        if let Err(error) = sessions.mark_ended(&self.record.name()) {
            log.warning(&Line::new("the session ends with its process").because(error));
        }
    }

    /// Notes the home that the token is in, for the reconcile that looks for it again: without it
    /// nobody can tell a tokens.d that its user removed from one whose home is away. A reconcile that
    /// waited for the lock may have it by now.
    fn note_home(&self, sessions: &Sessions, deadline: Deadline) -> Result<()> {
        if self.record.place == Place::Private || self.record.home_id.is_none() {
            // Whoever fell back to the private store has noted it.
            return Ok(());
        }
        let Some(mut locked) = sessions.lock(&self.record.name(), deadline)? else {
            return Ok(());
        };
        let mut current = locked.read()?;
        if current.home_id.is_none() {
            current.home_id = self.record.home_id;
            locked.replace(&current)?;
        }
        Ok(())
    }

    /// How long the lock is waited for: what is in a private store is removed without it.
    fn patience(&self, deadline: Deadline) -> Deadline {
        match self.record.place {
            Place::Home => deadline,
            Place::Private => deadline.earlier(self.timeout / 2),
        }
    }

    fn close_locked(
        &self,
        sessions: &Sessions,
        mut locked: Locked<'_>,
        deadline: Deadline,
        journal: &Journal<'_>,
    ) -> Result<Closed> {
        // It may have been renewed, or moved, since it was opened.
        let mut current = match locked.read() {
            Ok(current) => current,
            Err(error) => {
                return self.end_or_mark(sessions, locked, journal.log, |locked| {
                    self.close_unreadable(locked, error, deadline, journal)
                });
            }
        };
        current.home_id = current.home_id.or(self.record.home_id);
        if current.phase == Phase::Open && has_processes(&current, journal.log) {
            current.phase = Phase::Lingering;
            locked.replace(&current)?;
            journal.say(Event::Lingers, &current);
            return Ok(Closed::Lingers);
        }
        self.end_or_mark(sessions, locked, journal.log, |locked| {
            end(locked, &current, Event::Closed, deadline, journal)
        })?;
        Ok(Closed::Now)
    }

    /// The token goes all the same; a record that is damaged is kept for an administrator, and one of
    /// which the disk, or the memory, said no is as good as any other.
    fn close_unreadable(
        &self,
        locked: Locked<'_>,
        why: Error,
        deadline: Deadline,
        journal: &Journal<'_>,
    ) -> Result<Closed> {
        let is_damaged = matches!(why, Error::Damaged { .. } | Error::Version { .. });
        let line = Line::new("closing with what was known at open").because(why);
        journal.log.warning(&line);
        remove_session(&self.record, Some(locked.share()), deadline, journal)?;
        journal.say(Event::Closed, &self.record);
        if is_damaged {
            locked.retire(&self.state_dir, journal.host.euid)?;
        } else {
            locked.remove()?;
        }
        Ok(Closed::Now)
    }

    /// The records can not be reached: the token goes all the same.
    fn close_unrecorded(
        &self,
        deadline: Deadline,
        why: Option<Error>,
        journal: &Journal<'_>,
    ) -> Result<Closed> {
        if let Some(why) = why {
            let line = Line::new("closing without the record").because(why);
            journal.log.warning(&line);
        }
        if remove_session(&self.record, None, deadline, journal)? {
            journal.say(Event::Closed, &self.record);
            Ok(Closed::Now)
        } else {
            Ok(Closed::Before)
        }
    }
}

/// Whether a session that may linger has processes left; when nobody can tell,
/// it has: reconcile asks again.
fn has_processes(record: &Record, log: &dyn Log) -> bool {
    let Some(trace) = &record.linger else {
        return false;
    };
    trace
        .is_left(&record.holder, record.user.uid)
        .unwrap_or_else(|error| {
            let line = Line::new("the processes of a session could not be listed")
                .field("session", record.session)
                .because(error);
            log.warning(&line);
            true
        })
}

/// Ends a session by an administrator's will; what was known of it, or none if
/// it had just ended. The session itself goes on without a token.
pub fn revoke(
    sessions: &Sessions,
    name: &RecordName,
    config: &Config,
    host: &Host,
    log: &dyn Log,
) -> Result<Option<Record>> {
    let ended = try_to_revoke(sessions, name, config, host, log);
    if ended.is_err() {
        // Reconcile must not renew what an administrator wants gone.
        sessions.mark_ended(name)?;
    }
    ended
}

fn try_to_revoke(
    sessions: &Sessions,
    name: &RecordName,
    config: &Config,
    host: &Host,
    log: &dyn Log,
) -> Result<Option<Record>> {
    let deadline = Deadline::after(config.timeout);
    let audit = &Pen::new(&config.state_dir, host.euid);
    let journal = Journal { audit, host, log };
    let locked = match sessions.lock(name, deadline.earlier(config.timeout / 2)) {
        Ok(Some(locked)) => locked,
        Ok(None) => return Ok(None),
        Err(error) => {
            // A home that does not answer holds the lock; what is in a private store is not in it.
            let seen = sessions.read(name).ok().flatten();
            if let Some(record) = seen.filter(|record| record.place == Place::Private) {
                clear_private(&record, None, deadline, &journal)?;
            }
            return Err(error);
        }
    };
    let record = locked.read()?;
    end(locked, &record, Event::Revoked, deadline, &journal)?;
    Ok(Some(record))
}

#[cfg(test)]
mod tests;
