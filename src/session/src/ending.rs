//! The end of a session: its token goes, then its record.

use std::sync::Arc;

use crate::acting::as_user;
use crate::audit::Event;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::home;
use crate::journal::Journal;
use crate::record::Record;
use crate::state::{Lock, Locked};

/// Takes the token of a session away, then its record.
///
/// When the token can not be removed the record stays, so that the session is
/// found again; the error says what to look at.
pub(crate) fn end(
    locked: Locked<'_>,
    record: &Record,
    event: Event,
    deadline: Deadline,
    journal: &Journal<'_>,
) -> Result<()> {
    match remove_token(record, locked.share(), deadline, journal) {
        Ok(_) => {}
        // It was never written, and tokens.d may never have been made.
        Err(Error::Away { .. }) if locked.is_pending() => {}
        Err(error) => return Err(error),
    }
    journal.say(event, record);
    locked.remove()
}

/// Removes the token file as the user; the share of the lock is held as long
/// as the thread may still be at it.
fn remove_token(
    record: &Record,
    share: Arc<Lock>,
    deadline: Deadline,
    journal: &Journal<'_>,
) -> Result<bool> {
    let (home, known, names) = (record.user.home.clone(), record.home_id, record.files());
    let removed = as_user(&record.user, journal.host.euid, deadline, move || {
        let _share = share;
        home::remove(&home, known, &names)
    });
    match removed {
        // Whatever is on that home has expired: nobody waits for it any longer.
        Err(Error::Away { .. }) if record.is_overdue(journal.host.now()) => Ok(false),
        other => other,
    }
}

/// The same where only the session is known for sure: its record can not be
/// read, and its token may have been moved since it was opened.
pub(crate) fn remove_session(
    record: &Record,
    share: Option<Arc<Lock>>,
    deadline: Deadline,
    journal: &Journal<'_>,
) -> Result<bool> {
    let (home, known, session) = (record.user.home.clone(), record.home_id, record.session);
    as_user(&record.user, journal.host.euid, deadline, move || {
        let _share = share;
        home::remove_session(&home, known, session)
    })
}
