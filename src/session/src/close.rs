//! A session closes: its token is taken away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::acting::as_user;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::home;
use crate::host::Host;
use crate::log::{Line, Log};
use crate::record::Record;
use crate::state::Sessions;

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

    /// The one session of this service and user that the calling process holds.
    ///
    /// For a host that closes a session without the data it opened it with.
    /// None when there is no such session; an error when there are several,
    /// since then nobody can tell which of them ends.
    pub fn held_by(host: &Host, config: &Config, service: &str, uid: u32) -> Result<Option<Self>> {
        let Some(sessions) = Sessions::existing(&config.state_dir, uid, host.euid)? else {
            return Ok(None);
        };
        let mut held = Vec::new();
        for name in sessions.names()? {
            if name.holder == host.holder {
                held.extend(
                    sessions
                        .read(&name)?
                        .filter(|record| record.service == service),
                );
            }
        }
        if held.len() > 1 {
            return Err(Error::Ambiguous {
                sessions: held.len(),
            });
        }
        Ok(held.pop().map(|record| Self::new(record, config)))
    }

    /// Takes the token away, then the record.
    ///
    /// When the token can not be removed the record stays, so that the session
    /// is found again; the error says what to look at. Takes no longer than the
    /// `timeout` of the configuration it was opened with.
    pub fn close(&self, host: &Host, log: &dyn Log) -> Result<Closed> {
        let deadline = Deadline::after(self.timeout);
        let record = &self.record;
        let sessions = match Sessions::existing(&self.state_dir, record.user.uid, host.euid) {
            Ok(Some(sessions)) => sessions,
            Ok(None) => return self.close_unrecorded(host, deadline, None, log),
            Err(error) => return self.close_unrecorded(host, deadline, Some(error), log),
        };
        let locked = match sessions.lock(&record.name(), deadline) {
            Ok(Some(locked)) => locked,
            Ok(None) => return Ok(Closed::Before),
            Err(error @ Error::Locked { .. }) => return Err(error),
            Err(error) => return self.close_unrecorded(host, deadline, Some(error), log),
        };
        // It may have been renewed, or moved, since it was opened.
        let current = locked.read().unwrap_or_else(|error| {
            log.warning(&Line::new("the record was read at open").because(error));
            record.clone()
        });
        remove_token(&current, host, deadline)?;
        log_closed(&current, log);
        locked.remove()?;
        Ok(Closed::Now)
    }

    /// The records can not be reached: the token goes all the same.
    fn close_unrecorded(
        &self,
        host: &Host,
        deadline: Deadline,
        why: Option<Error>,
        log: &dyn Log,
    ) -> Result<Closed> {
        if let Some(why) = why {
            log.warning(&Line::new("closing without the record").because(why));
        }
        if remove_token(&self.record, host, deadline)? {
            log_closed(&self.record, log);
            Ok(Closed::Now)
        } else {
            Ok(Closed::Before)
        }
    }
}

fn remove_token(record: &Record, host: &Host, deadline: Deadline) -> Result<bool> {
    let (home, name) = (record.user.home.clone(), record.file.clone());
    as_user(&record.user, host.euid, deadline, move || {
        home::remove(Path::new(&home), &name)
    })
}

fn log_closed(record: &Record, log: &dyn Log) {
    let line = Line::new("token closed")
        .field("user", &record.user.name)
        .field("uid", record.user.uid)
        .field("session", record.session)
        .field("jti", record.jtis());
    log.info(&line);
}
