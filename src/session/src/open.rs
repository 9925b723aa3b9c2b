//! A session opens: it is given its tokens.

mod draft;
mod issue;
mod others;

use std::time::Duration;

use crate::audit::{Event, Pen};
use crate::close::Session;
use crate::config::{Config, OnFailure, Store};
use crate::deadline::Deadline;
use crate::ending;
use crate::error::{Error, Result};
use crate::home::{self, Judge};
use crate::host::Host;
use crate::journal::Journal;
use crate::log::{Line, Log};
use crate::name::{SessionId, TokenName};
use crate::record::{Opening, Place, Record, RecordName};
use crate::state::{Locked, Sessions};
use draft::Draft;
use issue::{Issued, issue};
use others::{Sorted, lock_ended, sort_sessions};

pub use others::lingers;

/// How many removed files are named in the log.
const NAMED: usize = 8;
/// What is kept of the timeout for the private store when a home takes all it may take:
/// a fifth, and never more than this.
const RESERVE: Duration = Duration::from_millis(300);

/// A session that is to be given tokens.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose it is.
    pub opening: Opening,
    /// Its tokens, as [`crate::policy::tables`] chose them.
    pub tables: Vec<usize>,
    /// When everything has to be done that may wait.
    pub deadline: Deadline,
}

/// What became of an opening.
pub enum Opened {
    /// The session has its tokens.
    Yes(Box<Session>),
    /// The session has some of its tokens, and others could not be made.
    Partly(Box<Session>, Error),
    /// It has none, and nothing is left of the attempt.
    No(Error),
    /// Neither home nor private store took the tokens. The session has none as far as
    /// anybody knows, but some may still appear: it has to be closed like any other.
    Pending(Box<Session>, Error),
}

/// Makes the tokens of a session that opens now and puts them into the home, or into
/// the private store if the configuration says so or the home fails.
///
/// Whatever the file system or the schedd does, the call takes no longer than the
/// deadline. Every failure after the record was written takes it back.
pub fn open(config: &Config, host: &Host, wanted: Wanted, log: &dyn Log) -> Opened {
    let deadline = wanted.deadline;
    match prepare(config, host, wanted, log) {
        Ok((prepared, missing)) => match (prepared.finish(config, host, deadline, log), missing) {
            (Opened::Yes(session), Some(error)) => Opened::Partly(session, error),
            (opened, _) => opened,
        },
        Err(error) => Opened::No(error),
    }
}

/// A session that is signed for and not yet recorded.
struct Prepared {
    sessions: Sessions,
    ended: Vec<(RecordName, Record)>,
    draft: Draft,
}

fn prepare(
    config: &Config,
    host: &Host,
    wanted: Wanted,
    log: &dyn Log,
) -> Result<(Prepared, Option<Error>)> {
    // What comes after a schedd that does not answer has as long as a third of the timeout.
    let for_schedd = wanted.deadline.earlier(config.timeout / 3);
    let session = SessionId::random()?;
    let base = TokenName::new(host.now_ns, &host.name, session);
    let Issued {
        files,
        contents,
        keys,
        failed,
    } = issue(config, host, &wanted, &base, for_schedd, log)?;
    // Who denies sessions without their token denies those without one of them.
    let missing = match failed {
        Some(error) if config.on_failure == OnFailure::Deny => return Err(error),
        other => other,
    };
    let opening = wanted.opening;
    let sessions = Sessions::of(&config.state_dir, opening.user.uid, host.euid)?;
    let Sorted {
        mut alive, ended, ..
    } = sort_sessions(&sessions, &host.holder.boot, log)?;
    alive.insert(session);
    let judge = Judge {
        now: host.now(),
        host: host.name.clone(),
        alive,
        keys,
    };
    let run_dir = config.run_dir.clone();
    let holder = host.holder.clone();
    let mut record = Record::new(opening, session, holder, host.now(), run_dir, files);
    record.has_config = config.file_exists;
    if config.store == Store::Private {
        record.place = Place::Private;
    }
    let prepared = Prepared {
        sessions,
        ended,
        draft: Draft::new(record, contents, judge),
    };
    Ok((prepared, missing))
}

fn reserve(config: &Config) -> Duration {
    (config.timeout / 5).min(RESERVE)
}

impl Prepared {
    fn finish(self, config: &Config, host: &Host, deadline: Deadline, log: &dyn Log) -> Opened {
        let Self {
            sessions,
            ended,
            mut draft,
        } = self;
        let audit = &Pen::new(&config.state_dir, host.euid);
        let journal = Journal { audit, host, log };
        // Locked, so that nobody ends or renews the same session beside this login.
        let ended = lock_ended(&sessions, &ended, &draft.record);
        let (private, in_home): (Vec<_>, Vec<_>) = ended
            .into_iter()
            .partition(|(_, old)| old.place == Place::Private);
        let recorded = match draft.record.place {
            Place::Home => {
                let deadline = deadline.earlier(reserve(config));
                draft.write(&sessions, &in_home, deadline, &journal)
            }
            Place::Private => sessions.create(&draft.record).map(|locked| {
                let written = draft.write_private(&locked, deadline, &journal, true);
                (locked, written.map(|()| Vec::new()))
            }),
        };
        let (locked, written) = match recorded {
            Ok(recorded) => recorded,
            Err(error) => return Opened::No(error),
        };
        let opened = match written {
            Ok(gone) => {
                let is_gone = |old: &Record| old.names().iter().all(|name| gone.contains(name));
                for (locked, old) in in_home.into_iter().filter(|(_, old)| is_gone(old)) {
                    journal.say(Event::Ended, &old);
                    remove_record(locked, log);
                }
                journal.say(Event::Opened, &draft.record);
                Opened::Yes(Box::new(Session::new(draft.record, config)))
            }
            Err(error) if draft.record.place == Place::Home => {
                fall_back(&sessions, draft, locked, error, deadline, &journal, config)
            }
            Err(error) => {
                remove_record(locked, log);
                Opened::No(error)
            }
        };
        for (locked, old) in private {
            // What can not be done now is found again by its record.
            let _ = ending::end(locked, &old, Event::Ended, deadline, &journal);
        }
        opened
    }
}

/// The home can not take the tokens: the session has them all the same, in the private store.
fn fall_back(
    sessions: &Sessions,
    mut draft: Draft,
    mut locked: Locked<'_>,
    error: Error,
    deadline: Deadline,
    journal: &Journal<'_>,
    config: &Config,
) -> Opened {
    let is_silent = matches!(error, Error::HomeTimeout { .. });
    let before = draft.record.clone();
    // Whoever ends the session after a crash has to know where its tokens are.
    let noted = if is_silent {
        // A thread still has the lock, so the record stays as it is: a sign beside it says so.
        draft.record.stray();
        sessions.mark_strayed(&draft.record.name())
    } else {
        match &error {
            // A network file system may say no to a rename that it has done, and then to the rest.
            Error::Io { doing, .. } if *doing == home::WRITING => draft.record.stray(),
            _ => draft.record.place = Place::Private,
        }
        locked.replace(&draft.record)
    };
    let written = noted.and_then(|()| draft.write_private(&locked, deadline, journal, !is_silent));
    let line = Line::new("the tokens are in the private store, since the home can not take them")
        .field("user", &draft.record.user.name);
    match written {
        Ok(()) => {
            journal.log.warning(&line.because(&error));
            journal.say(Event::Opened, &draft.record);
            Opened::Yes(Box::new(Session::new(draft.record, config)))
        }
        Err(why) => {
            let line = Line::new("the private store can not take the tokens either")
                .field("user", &draft.record.user.name);
            journal.log.warning(&line.because(why));
            if !is_silent {
                give_up(sessions, locked, &draft.record, deadline, journal);
                return Opened::No(error);
            }
            sessions.forget_strayed(&before.name());
            // Reconcile writes it when the home answers again; the thread may have.
            journal.note(Event::Pending, &before, &before.files);
            if let Err(error) = sessions.mark_pending(&before.name()) {
                let line = Line::new("the session stays without a token");
                journal.log.warning(&line.because(error));
            }
            Opened::Pending(Box::new(Session::new(before, config)), error)
        }
    }
}

/// A user may have any number of dead tokens: the log gets a few lines of it.
pub(crate) fn log_removed(log: &dyn Log, record: &Record, removed: &[String]) {
    for file in removed.iter().take(NAMED) {
        let line = Line::new("dead token removed")
            .field("user", &record.user.name)
            .field("file", record.directory().join(file).display());
        log.notice(&line);
    }
    if removed.len() > NAMED {
        let line = Line::new("more dead tokens removed")
            .field("user", &record.user.name)
            .field("files", removed.len() - NAMED);
        log.notice(&line);
    }
}

/// A session that has no token leaves no record, unless the home may have taken one though it said
/// no, and does not give it back: then the next reconcile looks for it, and the session has ended.
fn give_up(
    sessions: &Sessions,
    locked: Locked<'_>,
    record: &Record,
    deadline: Deadline,
    journal: &Journal<'_>,
) {
    let removed = ending::remove_tokens(record, locked.share(), deadline, journal);
    if record.strays.is_empty() || removed.is_ok() {
        return remove_record(locked, journal.log);
    }
    journal.note(Event::Pending, record, &record.files);
    if let Err(error) = sessions.mark_ended(&record.name()) {
        journal
            .log
            .warning(&Line::new("a record was left behind").because(error));
    }
}

fn remove_record(locked: Locked<'_>, log: &dyn Log) {
    if let Err(error) = locked.remove() {
        log.warning(&Line::new("a record was left behind").because(error));
    }
}

#[cfg(test)]
mod tests;
