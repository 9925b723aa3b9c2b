//! The end of a session: its tokens go, then its record.

use std::sync::Arc;

use crate::acting::{as_user, as_user_while};
use crate::audit::Event;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::home;
use crate::journal::Journal;
use crate::name::TokenName;
use crate::private;
use crate::record::{Place, Record, TokenFile};
use crate::state::{Lock, Locked};

/// Takes the tokens of a session away, then its record.
///
/// When a token can not be removed the record stays, so that the session is
/// found again; the error says what to look at.
pub(crate) fn end(
    locked: Locked<'_>,
    record: &Record,
    event: Event,
    deadline: Deadline,
    journal: &Journal<'_>,
) -> Result<()> {
    // First: it is on this host, and no file server can keep it.
    if record.place == Place::Private {
        clear_private(record, Some(&locked.share()), deadline, journal)?;
    }
    match remove_tokens(record, locked.share(), deadline, journal) {
        Ok(_) => {}
        // It was never written, and tokens.d may never have been made.
        Err(Error::Away { .. }) if is_nowhere(record) || locked.is_pending()? => {}
        Err(error) => return Err(error),
    }
    journal.say(event, record);
    locked.remove()
}

/// Removes what a session has, or may have, in the home, as the user; the share of the
/// lock is held as long as the thread may still be at it.
pub(crate) fn remove_tokens(
    record: &Record,
    share: Arc<Lock>,
    deadline: Deadline,
    journal: &Journal<'_>,
) -> Result<bool> {
    let names: Vec<TokenName> = match record.place {
        Place::Home => record.names(),
        Place::Private => record.strays.clone(),
    };
    if names.is_empty() {
        return Ok(false);
    }
    let (home, known) = (record.user.home.clone(), record.home_id);
    // That they are gone is said next.
    let meanwhile = &mut || journal.make_ready();
    let (user, euid) = (&record.user, journal.host.euid);
    let removed = as_user_while(user, euid, deadline, meanwhile, move || {
        let _share = share;
        home::remove(&home, known, &names)
    });
    match removed {
        // Whatever is on that home has expired: nobody waits for it any longer.
        Err(Error::Away { .. }) if is_overdue(record, journal.host.now()) => Ok(false),
        other => other,
    }
}

/// Whether no token of a session is anywhere, as far as is known.
fn is_nowhere(record: &Record) -> bool {
    record.strays.is_empty() && !record.files.iter().any(TokenFile::is_there)
}

/// Whether what the home may have of a session has expired.
fn is_overdue(record: &Record, now: u64) -> bool {
    match record.place {
        Place::Home => record.is_overdue(now),
        Place::Private => record.strays_expire < now,
    }
}

/// Removes the private store of a session with all that is in it; false if no token was there.
///
/// Without a share of the record's lock this is not the end: a reconcile that holds the lock may
/// have found the store lost, and make it again. Whoever has no lock leaves the record, by which
/// the next reconcile ends the session once more, with the lock.
pub(crate) fn clear_private(
    record: &Record,
    share: Option<&Arc<Lock>>,
    deadline: Deadline,
    journal: &Journal<'_>,
) -> Result<bool> {
    let share = share.cloned();
    let Record {
        run_dir,
        session,
        user,
        ..
    } = record;
    private::end(run_dir, *session, user, journal.host.euid, deadline, &share)
}

/// The same where only the session is known for sure: its record can not be
/// read, and its tokens may have been moved since it was opened.
pub(crate) fn remove_session(
    record: &Record,
    share: Option<Arc<Lock>>,
    deadline: Deadline,
    journal: &Journal<'_>,
) -> Result<bool> {
    let was_private = clear_private(record, share.as_ref(), deadline, journal)?;
    if record.place == Place::Private && record.strays.is_empty() {
        return Ok(was_private);
    }
    let (home, known, session) = (record.user.home.clone(), record.home_id, record.session);
    let was_in_home = as_user(&record.user, journal.host.euid, deadline, move || {
        let _share = share;
        home::remove_session(&home, known, session)
    })?;
    Ok(was_private || was_in_home)
}
