//! In which order a user's sessions are looked at, and what comes of looking at one.
//!
//! One that fails keeps no other from its turn, unless it is the home that does not answer.

use super::{Home, One, Turn};
use crate::error::{Error, Result};
use crate::reconcile::due::Need;
use crate::reconcile::{What, failure};
use crate::record::{Place, Record, RecordName};

impl One<'_> {
    /// Every session, and those once more at the end that somebody else had the lock of.
    pub(super) fn all(&mut self) {
        self.turns();
        self.again();
    }

    /// Every session, as long as the home answers and its time lasts; what is left undone is
    /// done by the next run: what was done is not due then.
    fn turns(&mut self) {
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
            // What was locked has a turn for everything.
            let is_locked = self.locked.last().is_some_and(|(last, _)| last == name);
            if self.has_waiting && !is_locked {
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
        self.link_all();
    }

    /// Sessions that were locked, once more and with what is left of the time: mostly another
    /// reconcile is done with them then, and they need nothing. Where a home is in trouble it is
    /// that home that has the lock, and nobody waits for it.
    fn again(&mut self) {
        self.turn = Turn::Locked;
        for (name, action) in std::mem::take(&mut self.locked) {
            if self.is_troubled || self.patience().passed() {
                self.actions.push(action);
            } else {
                self.attend(&name);
            }
        }
    }

    /// Brings the links in private stores up to date that need nothing else.
    fn link_all(&mut self) {
        for record in std::mem::take(&mut self.links) {
            let linked = self.link(&record);
            if let Err(error) = linked.or_else(|error| self.link_again(&record, error)) {
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

    /// Links once more with the lock of the record: without it the store may have been one that
    /// a login had made and not yet given to its user, or that a close was taking away.
    fn link_again(&self, record: &Record, error: Error) -> Result<()> {
        match self.sessions.lock(&record.name(), self.deadline) {
            // A store goes first, and its record then.
            Ok(None) => Ok(()),
            Ok(Some(_locked)) if Home::after(&error) == Home::Answers => self.link(record),
            _ => Err(error),
        }
    }

    /// Does what one session needs; what fails is reported, or put off if it was locked.
    fn attend(&mut self, name: &RecordName) -> Home {
        match self.try_to_attend(name) {
            Ok(()) => Home::Answers,
            Err((user, error)) => {
                let mut action =
                    failure(Some(self.uid), user.as_deref(), Some(name.session), &error);
                if matches!(error, Error::Away { .. }) {
                    action.what = What::Waiting;
                }
                if matches!(error, Error::Locked { .. }) && self.turn != Turn::Locked {
                    self.locked.push((name.clone(), action));
                } else {
                    self.actions.push(action);
                }
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
        match self
            .need(&record, self.sign(record.session))
            .map_err(named)?
        {
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
}
