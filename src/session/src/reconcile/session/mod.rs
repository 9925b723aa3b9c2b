//! One user's sessions: what is done to each, under its lock.
//!
//! A home that does not answer is not waited for twice in one run.

mod damaged;
mod need;
mod turns;
mod work;
mod write;

use std::collections::HashMap;

use super::due::{FileNeed, Need, Why};
use super::{Action, Report, Run, What, complaints, failure};
use crate::audit::Event;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::holder::Holder;
use crate::journal::Journal;
use crate::log::Line;
use crate::record::{Record, RecordName};
use crate::state::{Listing, Sessions};
use write::NO_TABLE;

impl Run<'_> {
    /// Looks at every session of a user, until one finds the home not answering.
    pub(super) fn user(&self, uid: u32) -> Report {
        let mut report = Report::default();
        if let Err(error) = self.sessions_of(uid, &mut report) {
            report.actions.push(failure(Some(uid), None, None, &error));
        }
        self.complain(uid, &report);
        report
    }

    fn sessions_of(&self, uid: u32, report: &mut Report) -> Result<()> {
        let state_dir = &self.config.state_dir;
        let Some(sessions) = Sessions::existing(state_dir, uid, self.host.euid)? else {
            return Ok(());
        };
        let listing = sessions.list()?;
        self.remember(&listing);
        let mut one = One {
            run: self,
            uid,
            sessions: &sessions,
            listing: &listing,
            holders: HashMap::new(),
            actions: &mut report.actions,
            links: Vec::new(),
            locked: Vec::new(),
            turn: if self.options.dry_run {
                Turn::All
            } else {
                Turn::Keys
            },
            has_waiting: false,
            has_skipped: false,
            deadline: Deadline::after(self.config.timeout),
            is_troubled: !complaints::is_new(
                &self.config.run_dir,
                &uid.to_string(),
                self.host.now(),
            ),
        };
        report.sessions = listing.records.len();
        one.tidy()?;
        one.all();
        report.has_skipped = one.has_skipped;
        Ok(())
    }

    /// Says what failed, if nothing was said of this user lately.
    fn complain(&self, uid: u32, report: &Report) {
        if self.options.dry_run {
            return;
        }
        let (run_dir, now, subject) = (&self.config.run_dir, self.host.now(), uid.to_string());
        let is_trouble = |action: &&Action| matches!(action.what, What::Failed | What::Waiting);
        let mut troubles = report.actions.iter().filter(is_trouble).peekable();
        if troubles.peek().is_none() {
            // What was left out may be in trouble still.
            if !report.has_skipped {
                complaints::forget(run_dir, &subject);
            }
            return;
        }
        complaints::once(run_dir, &subject, now, || {
            for action in troubles {
                let line = Line::new("a session could not be looked after")
                    .field("uid", uid)
                    .field_if("user", action.user.as_ref())
                    .field_if("session", action.session)
                    .because(&action.why);
                match action.what {
                    What::Waiting => self.log.warning(&line),
                    _ => self.log.error(&line),
                }
            }
        });
    }
}

/// What is done to a token file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// It is signed anew.
    Renew(Why),
    /// It is written for the first time.
    Late,
    /// Only the way to it is cleared.
    Clear,
}

/// Whether it is worth going on with this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Answers,
    Silent,
}

impl Home {
    fn after(error: &Error) -> Self {
        match error {
            Error::HomeTimeout { .. } => Self::Silent,
            _ => Self::Answers,
        }
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// What is done here.
    Keys,
    /// What a schedd signs, which may take its time.
    Schedds,
    /// What somebody else had locked, which is waited for.
    Locked,
    /// Everything at once, since nothing is done.
    All,
}

struct One<'a> {
    run: &'a Run<'a>,
    uid: u32,
    sessions: &'a Sessions,
    listing: &'a Listing,
    holders: HashMap<Holder, bool>,
    actions: &'a mut Vec<Action>,
    /// Sessions with a private store that need nothing else.
    links: Vec<Record>,
    /// Sessions that somebody else had the lock of, with what there is to say if that stays so.
    locked: Vec<(RecordName, Action)>,
    turn: Turn,
    /// Whether the session that was looked at last has something for that turn.
    has_waiting: bool,
    /// Whether something was left out since the home is in trouble.
    has_skipped: bool,
    /// For all of this home: it holds up nobody for longer.
    deadline: Deadline,
    /// Whether something failed here in the last run, and most likely will again.
    is_troubled: bool,
}

impl One<'_> {
    fn journal(&self) -> Journal<'_> {
        Journal {
            audit: &self.run.audit,
            host: self.run.host,
            log: self.run.log,
        }
    }

    fn done(&mut self, what: What, record: &Record, why: &str) {
        self.actions.push(Action {
            what,
            uid: Some(self.uid),
            user: Some(record.user.name.clone()),
            session: Some(record.session),
            why: why.to_owned(),
        });
    }

    /// Removes what a killed login left of a record it had not finished, and signs
    /// beside records that are gone.
    fn tidy(&mut self) -> Result<()> {
        for name in &self.listing.signed {
            // Neither listed nor there: a sign that goes by mistake would let a session go on.
            let is_listed = self.listing.records.contains(name);
            if !is_listed && !self.sessions.has(name) && !self.run.options.dry_run {
                self.sessions.remove_leftovers(name)?;
            }
        }
        for name in &self.listing.unfinished {
            // Whoever replaces a record that is there removes what it leaves.
            if self.is_held(&name.holder)? || self.sessions.has(name) {
                continue;
            }
            if !self.run.options.dry_run {
                self.sessions.remove_leftovers(name)?;
            }
            self.actions.push(Action {
                what: What::Tidied,
                uid: Some(self.uid),
                user: None,
                session: Some(name.session),
                why: "its login was killed before it had a token".into(),
            });
        }
        Ok(())
    }

    fn is_held(&mut self, holder: &Holder) -> Result<bool> {
        if let Some(known) = self.holders.get(holder) {
            return Ok(*known);
        }
        let is_held = holder.is_alive_in(&self.run.boot)?;
        self.holders.insert(holder.clone(), is_held);
        Ok(is_held)
    }

    fn would(&mut self, need: &Need, record: &Record) {
        match need {
            Need::Nothing => {}
            Need::End(Event::Finished) => {
                self.done(What::Finished, record, "its last process has ended");
            }
            Need::End(_) => self.done(What::Ended, record, "its process has ended"),
            Need::Write => self.done(What::Delayed, record, "its home did not answer at login"),
            Need::Files(needs) => {
                for (_, need) in needs {
                    self.would_file(*need, record);
                }
            }
            Need::Strays => self.done(What::Tidied, record, "its home answers again"),
        }
    }

    fn would_file(&mut self, need: FileNeed, record: &Record) {
        match need {
            FileNeed::Renew(why) => self.done(What::Renewed, record, &why.to_string()),
            FileNeed::Clear => self.done(What::Tidied, record, "a dead token stood in its way"),
            FileNeed::Drop => self.done(What::Tidied, record, NO_TABLE),
        }
    }
}
