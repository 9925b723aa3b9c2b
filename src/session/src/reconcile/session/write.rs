//! New tokens of a session are put in place of the old ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::need::is_lost;
use super::{Job, One};
use crate::acting::as_user;
use crate::audit::Event;
use crate::error::{Error, Result};
use crate::home::{self, Contents, HomeId, Judge, Missing, Renewal, Renewed, home_id};
use crate::issuer::Change;
use crate::name::TokenName;
use crate::private;
use crate::reconcile::What;
use crate::reconcile::due::Why;
use crate::record::{Place, Record};
use crate::state::Locked;

/// Why a token file goes that no table makes.
pub(super) const NO_TABLE: &str = "no [[token]] table of the configuration makes it any more";

impl One<'_> {
    /// Writes to the place of the tokens.
    ///
    /// In a home, in front of a token that would be read first and that nobody takes who
    /// has this host's keys: its host is down or has another key.
    pub(super) fn write(
        &self,
        locked: &mut Locked<'_>,
        next: &mut Record,
        number: usize,
        job: Job,
        missing: Missing,
        contents: Option<&Contents>,
    ) -> Result<Renewed> {
        if next.place == Place::Private {
            let is_new = matches!(missing, Missing::NeverWritten | Missing::Dropped);
            return self.write_private(locked, next, number, contents, is_new);
        }
        if contents.is_none() {
            return self.write_once(locked, next, number, missing, None, None);
        }
        // A move that a killed reconcile had begun is finished first.
        let file = &mut next.files[number];
        let begun = file.moving_to.take();
        let from = begun.map(|to| std::mem::replace(&mut file.name, to));
        let written = self.write_once(locked, next, number, missing, contents, from)?;
        // Only a host that has just been given a key can say that the other's is the old one.
        let has_new_key = job == Job::Renew(Why::Changed(Change::Key));
        let first = written.in_the_way.as_ref();
        let in_front = first.map(|first| (next.files[number].name.in_front_of(first, 0), first));
        let in_front = in_front.filter(|(name, first)| name.sorts_before(first));
        let Some((in_front, _)) = in_front.filter(|_| has_new_key && written.is_there) else {
            return Ok(written);
        };
        // The record knows both names before there are two files.
        next.files[number].moving_to = Some(in_front.clone());
        locked.replace(next)?;
        let from = std::mem::replace(&mut next.files[number].name, in_front);
        let moved = self.write_once(locked, next, number, missing, contents, Some(from))?;
        next.files[number].moving_to = None;
        Ok(moved)
    }

    fn write_once(
        &self,
        locked: &Locked<'_>,
        next: &Record,
        number: usize,
        missing: Missing,
        contents: Option<&Contents>,
        moves_from: Option<TokenName>,
    ) -> Result<Renewed> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let renewal = Renewal {
            home: next.user.home.clone(),
            known: next.home_id,
            name: next.files[number].name.clone(),
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

    /// A token that was never there, or is lost with its store, is put there; any other is
    /// replaced if its user left it.
    fn write_private(
        &self,
        locked: &Locked<'_>,
        next: &Record,
        number: usize,
        contents: Option<&Contents>,
        is_new: bool,
    ) -> Result<Renewed> {
        let mut renewed = Renewed {
            is_there: true,
            ..Renewed::default()
        };
        let Some(contents) = contents else {
            return Ok(renewed);
        };
        let euid = self.run.host.euid;
        if is_new {
            private::make(&next.run_dir, next.session, &next.user, euid)?;
        }
        let abandoned = Arc::new(AtomicBool::new(false));
        let is_abandoned = Arc::clone(&abandoned);
        let files = vec![(next.files[number].name.clone(), Arc::clone(contents))];
        let (dir, share) = (next.directory(), locked.share());
        let written = as_user(&next.user, euid, self.deadline, move || {
            let _share = share;
            if is_new {
                return private::write(&dir, &files, &is_abandoned).map(|()| true);
            }
            let there = private::renew(&dir, &files, &is_abandoned)?;
            Ok(!there.is_empty())
        });
        abandoned.store(true, Ordering::SeqCst);
        renewed.is_there = written?;
        Ok(renewed)
    }

    /// Takes away a token file that no table makes any more.
    pub(super) fn drop_file(
        &mut self,
        locked: &mut Locked<'_>,
        record: &mut Record,
        number: usize,
    ) -> Result<()> {
        // Noted before it is done: who is killed in between has it done once more, and does not take
        // the file for one that its user removed.
        let was_begun = std::mem::replace(&mut record.files[number].dropping, true);
        if !was_begun {
            locked.replace(record)?;
        }
        // What was lost with its store is none that its user removed either.
        let was_lost = record.files[number].dropped || is_lost(record);
        let taken = self.take_away(locked, record, number);
        if !was_begun && matches!(taken, Err(Error::Away { .. } | Error::Acting { .. })) {
            // Nothing was done.
            record.files[number].dropping = false;
            locked.replace(record)?;
        }
        let (was_there, home_id) = taken?;
        record.home_id = home_id.or(record.home_id);
        let file = &mut record.files[number];
        let is_known = was_there || was_begun || was_lost;
        // Whoever took it away before gets no other when the table is back.
        file.removed = !is_known && !file.may_be_expired(self.run.host.now());
        file.dropping = false;
        file.dropped = true;
        file.moving_to = None;
        locked.replace(record)?;
        let file = &record.files[number..=number];
        self.journal()
            .log_line(Event::Dropped, record, file, Some(NO_TABLE));
        self.journal().note(Event::Dropped, record, file);
        self.done(What::Tidied, record, NO_TABLE);
        Ok(())
    }

    /// Removes a token file as its user; whether it was there, and which home that was.
    fn take_away(
        &self,
        locked: &Locked<'_>,
        record: &Record,
        number: usize,
    ) -> Result<(bool, Option<HomeId>)> {
        let names: Vec<TokenName> = record.files[number].names().collect();
        let (home, known, dir) = (record.user.home.clone(), record.home_id, record.directory());
        let (place, share) = (record.place, locked.share());
        as_user(&record.user, self.run.host.euid, self.deadline, move || {
            let _share = share;
            match place {
                // Known from now on, so that it comes back to the same home.
                Place::Home => home::remove(&home, known, &names).map(|was| (was, home_id(&home))),
                Place::Private => private::remove(&dir, &names).map(|was| (was, None)),
            }
        })
    }

    /// Brings the links to the user's own tokens in a private store up to date.
    pub(super) fn link(&self, record: &Record) -> Result<()> {
        let (dir, home) = (record.directory(), record.user.home.clone());
        as_user(&record.user, self.run.host.euid, self.deadline, move || {
            private::link(&dir, &home)
        })
        .map(drop)
    }

    /// Tells dead tokens from living ones.
    fn judge(&self) -> Judge {
        let records = self.listing.records.iter();
        Judge {
            now: self.run.host.now(),
            host: self.run.host.name.clone(),
            alive: records.map(|name| name.session).collect(),
            keys: self.run.keys(),
        }
    }
}
