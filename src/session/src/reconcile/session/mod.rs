//! One user's sessions: what is done to each, under its lock.

mod damaged;
mod work;
mod write;

use std::collections::HashMap;
use std::time::Duration;

use super::due::{self, FileNeed, Need, Seen, Sign, Why};
use super::{Action, Report, Run, What, complaints, failure};
use crate::audit::Event;
use crate::config::Table;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::holder::Holder;
use crate::issuer::Issuer;
use crate::journal::Journal;
use crate::log::Line;
use crate::name::SessionId;
use crate::policy::{self, table_named};
use crate::record::{Phase, Place, Record, RecordName, TokenFile};
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

/// Whether the private store of a session is not there: its user can not remove it.
fn is_lost(record: &Record) -> bool {
    record.place == Place::Private
        && record
            .directory_in_private()
            .symlink_metadata()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// How long one session may wait for its lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

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
            state_dir: &self.run.config.state_dir,
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
            if !self.sessions.has(name) && !self.run.options.dry_run {
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

    /// Every session, as long as the home answers and its time lasts; what is left undone is
    /// done by the next run: what was done is not due then.
    fn all(&mut self) {
        let (mut ended, mut living): (Vec<&RecordName>, Vec<&RecordName>) =
            (Vec::new(), Vec::new());
        for name in &self.listing.records {
            // Whoever can not be looked at is looked at again when it is its turn.
            let is_held = self.is_held(&name.holder).unwrap_or(true);
            if is_held && !self.listing.ended.contains(&name.session) {
                living.push(name);
            } else {
                ended.push(name);
            }
        }
        // One that takes its time is not the first in every run, whatever the period of the
        // timer and the number of sessions have in common.
        let now = self.run.host.now();
        let turn =
            usize::try_from(now.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).unwrap_or_default();
        for names in [&mut ended, &mut living] {
            let start = turn % names.len().max(1);
            names.rotate_left(start);
        }
        // Ends are quick, and nobody's renewal comes before them; what a schedd signs comes last.
        let mut waiting = Vec::new();
        for name in ended.into_iter().chain(living) {
            self.has_waiting = false;
            if self.attend(name) == Home::Silent || self.deadline.passed() {
                return;
            }
            if self.has_waiting {
                waiting.push(name);
            }
        }
        for name in &self.listing.damaged {
            if self.damaged(name) == Home::Silent || self.deadline.passed() {
                return;
            }
        }
        self.turn = Turn::Schedds;
        for name in waiting {
            if self.attend(name) == Home::Silent || self.deadline.passed() {
                return;
            }
        }
        for record in std::mem::take(&mut self.links) {
            if let Err(error) = self.link(&record) {
                let user = Some(record.user.name.as_str());
                let action = failure(Some(self.uid), user, Some(record.session), &error);
                self.actions.push(action);
                // It is the same home for all of them.
                return;
            }
            if self.deadline.passed() {
                return;
            }
        }
    }

    fn is_held(&mut self, holder: &Holder) -> Result<bool> {
        if let Some(known) = self.holders.get(holder) {
            return Ok(*known);
        }
        let is_held = holder.is_alive_in(&self.run.boot)?;
        self.holders.insert(holder.clone(), is_held);
        Ok(is_held)
    }

    /// Does what one session needs; what fails is reported.
    fn attend(&mut self, name: &RecordName) -> Home {
        match self.try_to_attend(name) {
            Ok(()) => Home::Answers,
            Err((user, error)) => {
                let mut action =
                    failure(Some(self.uid), user.as_deref(), Some(name.session), &error);
                if matches!(error, Error::Away { .. }) {
                    action.what = What::Waiting;
                }
                self.actions.push(action);
                Home::after(&error)
            }
        }
    }

    fn try_to_attend(
        &mut self,
        name: &RecordName,
    ) -> std::result::Result<(), (Option<String>, Error)> {
        let unnamed = |error| (None, error);
        let record = match self.sessions.read(name) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(Error::Damaged { why, .. }) => return self.set_aside(name, &why).map_err(unnamed),
            // Its session has ended, and nobody else may ever look.
            Err(Error::Version { version, .. })
                if !self.is_held(&name.holder).map_err(unnamed)? =>
            {
                let why = format!("it has version {version}");
                return self.set_aside(name, &why).map_err(unnamed);
            }
            Err(error) => return Err(unnamed(error)),
        };
        let user = record.user.name.clone();
        let named = |error| (Some(user.clone()), error);
        match self.need(&record).map_err(named)? {
            Need::Nothing => {
                let is_private = record.place == Place::Private && !record.is_removed();
                // Where a home is in trouble, once in a while is enough.
                if is_private && self.is_troubled {
                    self.has_skipped = true;
                } else if is_private && self.turn == Turn::Keys {
                    self.links.push(record);
                }
                Ok(())
            }
            need if self.run.options.dry_run => {
                self.would(&need, &record);
                Ok(())
            }
            _ => self.work(name).map_err(named),
        }
    }

    fn need(&mut self, record: &Record) -> Result<Need> {
        let seen = Seen {
            is_held: self.is_held(&record.holder)?,
            has_processes: self.has_processes(record)?,
            sign: self.sign(record.session),
        };
        if let Some(event) = due::end(record, seen) {
            return Ok(Need::End(event));
        }
        if record.is_removed() {
            return Ok(Need::Nothing);
        }
        if seen.sign == Some(Sign::Pending) {
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

    /// What the token files of a session need; without its issuer a file needs nothing,
    /// which is said once for all sessions.
    fn file_needs(&mut self, record: &Record) -> Result<Vec<(usize, FileNeed)>> {
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
        if file.dropped {
            return Ok(Some(FileNeed::Renew(Why::Again)));
        }
        if is_lost {
            return Ok(Some(FileNeed::Renew(Why::Lost)));
        }
        let lifetime = table.token.lifetime_of(self.run.is_renewed);
        due::file_need(user, file, issuer, lifetime, self.run.host.now())
    }

    /// The tables that a session like this one would have now.
    fn tables(&self, record: &Record) -> Result<Vec<usize>> {
        let Record { user, login, .. } = record;
        let is_in_group = |group: &str| self.run.is_in_group(user, group);
        policy::tables(self.run.config, user, login, &is_in_group)
    }

    fn sign(&self, session: SessionId) -> Option<Sign> {
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
