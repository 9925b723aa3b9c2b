//! One user's sessions: what is done to each, under its lock.

mod damaged;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use super::due::{self, Need, Seen, Sign, Why};
use super::{Action, Report, Run, What, complaints, failure};
use crate::acting::as_user;
use crate::audit::Event;
use crate::deadline::Deadline;
use crate::ending;
use crate::error::{Error, Result};
use crate::holder::Holder;
use crate::home::{self, Judge, Missing, Renewal, Renewed};
use crate::issuer::{Change, Signer};
use crate::journal::Journal;
use crate::log::Line;
use crate::name::{SessionId, TokenName};
use crate::open::log_removed;
use crate::record::{Phase, Record, RecordName};
use crate::state::{Listing, Locked, Sessions};

impl Run<'_> {
    /// Looks at every session of a user, until one finds the home not answering.
    pub(super) fn user(&self, uid: u32) -> Report {
        let mut report = Report::default();
        if let Err(error) = self.sessions_of(uid, &mut report) {
            report.actions.push(failure(uid, None, None, &error));
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
        let mut one = One {
            run: self,
            uid,
            sessions: &sessions,
            listing: &listing,
            holders: HashMap::new(),
            actions: &mut report.actions,
            deadline: Deadline::after(self.config.timeout),
            is_troubled: !complaints::is_new(
                &self.config.run_dir,
                &uid.to_string(),
                self.host.now(),
            ),
        };
        report.sessions = listing.records.len();
        one.tidy()?;
        // What a slow home leaves undone is done by the next run: what was done is not due then.
        let names = listing.records.iter().map(|name| (name, false));
        let damaged = listing.damaged.iter().map(|name| (name, true));
        for (name, is_damaged) in names.chain(damaged) {
            let home = if is_damaged {
                one.damaged(name)
            } else {
                one.attend(name)
            };
            if home == Home::Silent || one.deadline.passed() {
                break;
            }
        }
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
            return complaints::forget(run_dir, &subject);
        }
        if !complaints::is_new(run_dir, &subject, now) {
            return;
        }
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
        complaints::remember(run_dir, &subject, now);
    }
}

/// How long one session may wait for its lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// The bytes of a token file, wiped when nobody needs them any more.
type Contents = Arc<Zeroizing<Vec<u8>>>;

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

struct One<'a> {
    run: &'a Run<'a>,
    uid: u32,
    sessions: &'a Sessions,
    listing: &'a Listing,
    holders: HashMap<Holder, bool>,
    actions: &'a mut Vec<Action>,
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
                let mut action = failure(self.uid, user.as_deref(), Some(name.session), &error);
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
            Need::Nothing => Ok(()),
            need if self.run.options.dry_run => {
                self.would(need, &record);
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
        match self.run.signer() {
            Ok(signer) => {
                let (lifetime, now) = (self.run.lifetime, self.run.host.now());
                due::need(record, seen, signer, lifetime, now)
            }
            // Said once for all sessions.
            Err(_) => Ok(Need::Nothing),
        }
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

    fn would(&mut self, need: Need, record: &Record) {
        match need {
            Need::Nothing => {}
            Need::End(Event::Finished) => {
                self.done(What::Finished, record, "its last process has ended");
            }
            Need::End(_) => self.done(What::Ended, record, "its process has ended"),
            Need::Renew(why) => self.done(What::Renewed, record, &why.to_string()),
            Need::Write => self.done(What::Delayed, record, "its home did not answer at login"),
            Need::Clear => self.done(What::Tidied, record, "a dead token stood in its way"),
        }
    }

    /// Takes the lock, looks again and does what is needed now.
    fn work(&mut self, name: &RecordName) -> Result<()> {
        // A lock is held for long by a thread that waits for a home: others are not to wait for it.
        let deadline = Deadline::after(LOCK_PATIENCE.min(self.deadline.remaining()));
        let Some(locked) = self.sessions.lock(name, deadline)? else {
            return Ok(());
        };
        let record = locked.read()?;
        match self.need(&record)? {
            Need::Nothing => Ok(()),
            need @ Need::End(event) => {
                ending::end(locked, &record, event, self.deadline, &self.journal())?;
                self.would(need, &record);
                Ok(())
            }
            need => self.renew(locked, record, need),
        }
    }

    /// Signs new tokens and puts them in place of the old ones, and clears dead
    /// ones away; or only does the latter.
    fn renew(&mut self, mut locked: Locked<'_>, record: Record, need: Need) -> Result<()> {
        let mut next = record.clone();
        let signed = self.mint(&mut next, need)?;
        let missing = if need == Need::Write {
            Missing::NeverWritten
        } else if record.is_overdue(self.run.host.now()) {
            Missing::Expired
        } else {
            Missing::Removed
        };
        let written = self.write(&mut locked, &mut next, need, missing, signed.as_ref());
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                if self.is_troubled && matches!(error, Error::HomeTimeout { .. }) {
                    // The thread may have written it all the same.
                    self.note(need, &next);
                }
                return Err(error);
            }
        };
        log_removed(self.run.log, &record, &written.removed);
        if !written.is_there {
            next = record;
            next.removed = true;
            locked.replace(&next)?;
            self.journal().say(Event::Removed, &next);
            self.done(What::Removed, &next, "its user took the token away");
            return Ok(());
        }
        if self.is_troubled {
            self.note(need, &next);
        }
        next.clear_at = written.in_the_way_at;
        next.home_id = written.home_id;
        locked.replace(&next)?;
        locked.forget_pending();
        match need {
            Need::Renew(why) => {
                let why = why.to_string();
                self.journal().log_line(Event::Renewed, &next, Some(&why));
            }
            Need::Write => self.journal().log_line(Event::Delayed, &next, None),
            _ => {}
        }
        self.would(need, &next);
        Ok(())
    }

    /// New tokens for a record, unless only the way is to be cleared.
    fn mint(&self, next: &mut Record, need: Need) -> Result<Option<Contents>> {
        if !matches!(need, Need::Renew(_) | Need::Write) {
            return Ok(None);
        }
        let signer = self.run.signer();
        let signer = signer.map_err(|why| Error::Config(why.to_owned()))?;
        let batch = signer.sign(&next.user.name, self.run.host.now(), self.run.lifetime)?;
        next.renew(batch.term);
        if !self.is_troubled {
            // First: whatever happens from here on, the ids of all tokens that may exist are
            // known. Where every run fails that would be a line in the audit each time.
            self.note(need, next);
        }
        Ok(Some(Arc::new(batch.contents)))
    }

    fn note(&self, need: Need, next: &Record) {
        match need {
            Need::Renew(_) => self.journal().note(Event::Renewed, next),
            Need::Write => self.journal().note(Event::Delayed, next),
            _ => {}
        }
    }

    /// Writes to the home, in front of a token that would be read first and that
    /// nobody takes who has this host's keys: its host is down or has another key.
    fn write(
        &self,
        locked: &mut Locked<'_>,
        next: &mut Record,
        need: Need,
        missing: Missing,
        contents: Option<&Contents>,
    ) -> Result<Renewed> {
        if contents.is_none() {
            return self.write_once(locked, next, missing, None, None);
        }
        // A move that a killed reconcile had begun is finished first.
        let begun = next.moving_to.take();
        let from = begun.map(|to| std::mem::replace(&mut next.file, to));
        let written = self.write_once(locked, next, missing, contents, from)?;
        // Only a host that has just been given a key can say that the other's is the old one.
        let has_new_key = need == Need::Renew(Why::Changed(Change::Key));
        let first = written.in_the_way.as_ref();
        let in_front = first.map(|first| (next.file.in_front_of(first), first));
        let in_front = in_front.filter(|(name, first)| name.sorts_before(first));
        let Some((in_front, _)) = in_front.filter(|_| has_new_key && written.is_there) else {
            return Ok(written);
        };
        // The record knows both names before there are two files.
        next.moving_to = Some(in_front.clone());
        locked.replace(next)?;
        let from = std::mem::replace(&mut next.file, in_front);
        let moved = self.write_once(locked, next, missing, contents, Some(from))?;
        next.moving_to = None;
        Ok(moved)
    }

    fn write_once(
        &self,
        locked: &Locked<'_>,
        next: &Record,
        missing: Missing,
        contents: Option<&Contents>,
        moves_from: Option<TokenName>,
    ) -> Result<Renewed> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let renewal = Renewal {
            home: next.user.home.clone(),
            known: next.home_id,
            name: next.file.clone(),
            contents: contents.cloned(),
            moves_from,
            missing,
            judge: self.judge(),
            abandoned: Arc::clone(&abandoned),
        };
        let share = locked.share();
        let written = as_user(&next.user, self.run.host.euid, self.deadline, move || {
            let _share = share;
            home::renew(&renewal)
        });
        abandoned.store(true, Ordering::SeqCst);
        written
    }

    /// Tells dead tokens from living ones.
    fn judge(&self) -> Judge {
        let records = self.listing.records.iter();
        Judge {
            now: self.run.host.now(),
            host: self.run.host.name.clone(),
            alive: records.map(|name| name.session).collect(),
            keys: self
                .run
                .signer()
                .map_or_else(|_| Arc::from([]), Signer::share_keys),
        }
    }
}
