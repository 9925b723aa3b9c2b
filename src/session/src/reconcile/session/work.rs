//! What a session needs is done, under the lock of its record.

use std::sync::Arc;
use std::time::Duration;

use super::{Job, NO_TABLE, One, Turn};
use crate::audit::Event;
use crate::deadline::Deadline;
use crate::ending;
use crate::error::{Error, Result};
use crate::home::{Contents, Missing};
use crate::issuer::Request;
use crate::open::log_removed;
use crate::policy::table_named;
use crate::reconcile::What;
use crate::reconcile::due::{FileNeed, Need, Sign, Why};
use crate::record::{Place, Record, RecordName, TokenFile};
use crate::state::Locked;

/// How long one session may wait for its lock while others have not had their turn.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

impl One<'_> {
    /// Takes the lock, looks again and does what is needed now.
    pub(super) fn work(&mut self, name: &RecordName) -> Result<()> {
        // A lock is held for long by a thread that waits for a home: others are not to wait for it.
        let deadline = if self.turn == Turn::Locked {
            self.patience()
        } else {
            Deadline::after(LOCK_PATIENCE.min(self.deadline.remaining()))
        };
        let locked = match self.sessions.lock(name, deadline) {
            Ok(Some(locked)) => locked,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.end_private(name)?;
                return Err(error);
            }
        };
        let mut record = locked.read()?;
        // What lay beside the record when the user's were listed may have gone since, or come.
        let sign = if locked.is_ended()? {
            Some(Sign::Ended)
        } else {
            locked.is_pending()?.then_some(Sign::Pending)
        };
        match self.need(&record, sign)? {
            Need::Nothing => Ok(()),
            need @ Need::End(event) => {
                ending::end(locked, &record, event, self.deadline, &self.journal())?;
                self.would(&need, &record);
                Ok(())
            }
            Need::Write => self.write_late(locked, record),
            Need::Files(needs) => {
                let mut locked = locked;
                forget_lost(&mut locked, &mut record, &needs)?;
                self.files(&mut locked, &mut record, &needs)
            }
            Need::Strays => self.strays(locked, record),
        }
    }

    /// How long a session is waited for that somebody else has the lock of: what is to be done to
    /// it then has its time, too.
    pub(super) fn patience(&self) -> Deadline {
        let patience = self.deadline.earlier(self.run.config.timeout / 2);
        patience.from_now()
    }

    /// The private store of a session that has ended goes though a home that does not
    /// answer keeps the lock of its record.
    fn end_private(&mut self, name: &RecordName) -> Result<()> {
        let Some(record) = self.sessions.read(name)? else {
            return Ok(());
        };
        if record.place == Place::Private && self.end(&record, self.sign(record.session))?.is_some()
        {
            ending::clear_private(&record, None, self.deadline, &self.journal())?;
        }
        Ok(())
    }

    fn strays(&mut self, mut locked: Locked<'_>, mut record: Record) -> Result<()> {
        // A home that is not there proves nothing until what may be in it has expired.
        ending::remove_tokens(&record, locked.share(), self.deadline, &self.journal())?;
        record.strays.clear();
        locked.replace(&record)?;
        self.would(&Need::Strays, &record);
        Ok(())
    }

    /// Writes the tokens of a session whose home did not answer when it opened; those that
    /// can not be made now are made when they can be.
    fn write_late(&mut self, mut locked: Locked<'_>, mut record: Record) -> Result<()> {
        record.drop_files();
        locked.replace(&record)?;
        let mut result = Ok(());
        for (number, need) in self.file_needs(&record)? {
            if matches!(need, FileNeed::Renew(_)) {
                let done = self.renew(&mut locked, &mut record, number, Job::Late);
                result = result.and(done);
            }
        }
        if record.files.iter().any(TokenFile::is_there) {
            // From now on the record says of each file whether it was written.
            locked.forget_pending();
            self.would(&Need::Write, &record);
        }
        result
    }

    fn files(
        &mut self,
        locked: &mut Locked<'_>,
        record: &mut Record,
        needs: &[(usize, FileNeed)],
    ) -> Result<()> {
        let mut result = Ok(());
        for (number, need) in needs {
            // One that fails, such as for its schedd, keeps no other from its turn.
            let done = self.file(locked, record, *number, *need);
            if done.is_err()
                && let Ok(current) = locked.read()
            {
                // What it noted before it failed, such as a name that it was about to give.
                *record = current;
            }
            let is_silent = matches!(done, Err(Error::HomeTimeout { .. }));
            result = result.and(done);
            if is_silent {
                break;
            }
        }
        result
    }

    /// Does what one token file needs.
    fn file(
        &mut self,
        locked: &mut Locked<'_>,
        record: &mut Record,
        number: usize,
        need: FileNeed,
    ) -> Result<()> {
        match need {
            FileNeed::Renew(why) => self.renew(locked, record, number, Job::Renew(why))?,
            FileNeed::Clear => self.renew(locked, record, number, Job::Clear)?,
            FileNeed::Drop => return self.drop_file(locked, record, number),
        }
        if !record.files[number].removed {
            self.would_file(need, record);
        }
        Ok(())
    }

    /// Signs new tokens and puts them in place of the old ones, and clears dead
    /// ones away; or only does the latter.
    fn renew(
        &mut self,
        locked: &mut Locked<'_>,
        record: &mut Record,
        number: usize,
        job: Job,
    ) -> Result<()> {
        let mut next = record.clone();
        let contents = self.mint(&mut next, number, job)?;
        if contents.is_some() && next.place == Place::Home {
            next.files[number].again_at = record.files[number].again_after(self.run.host.now());
        }
        let missing = if job == Job::Late {
            Missing::NeverWritten
        } else if record.files[number].was_taken() {
            Missing::Dropped
        } else if record.files[number].may_be_expired(self.run.host.now()) {
            Missing::Expired
        } else {
            Missing::Removed
        };
        let written = self.write(locked, &mut next, number, job, missing, contents.as_ref());
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                if self.is_troubled && matches!(error, Error::HomeTimeout { .. }) {
                    // The thread may have written it all the same.
                    self.note(job, &next, number);
                }
                return Err(error);
            }
        };
        log_removed(self.run.log, record, &written.removed);
        if !written.is_there {
            record.files[number].removed = true;
            locked.replace(record)?;
            let file = &record.files[number..=number];
            self.journal().log_line(Event::Removed, record, file, None);
            self.journal().note(Event::Removed, record, file);
            self.done(What::Removed, record, "its user took the token away");
            return Ok(());
        }
        if self.is_troubled {
            self.note(job, &next, number);
        }
        next.files[number].dropped = false;
        next.files[number].dropping = false;
        next.files[number].clear_at = written.in_the_way_at;
        next.home_id = written.home_id.or(next.home_id);
        locked.replace(&next)?;
        *record = next;
        let file = &record.files[number..=number];
        match job {
            Job::Renew(why) => {
                let why = why.to_string();
                self.journal()
                    .log_line(Event::Renewed, record, file, Some(&why));
            }
            Job::Late => self.journal().log_line(Event::Delayed, record, file, None),
            Job::Clear => {}
        }
        Ok(())
    }

    /// New tokens for a file of a record, unless only the way is to be cleared.
    fn mint(&self, next: &mut Record, number: usize, job: Job) -> Result<Option<Contents>> {
        if job == Job::Clear {
            return Ok(None);
        }
        let tables = self.tables(next)?;
        let name = next.files[number].table.as_deref();
        let table = table_named(self.run.config, &tables, name);
        let (index, table) = table.ok_or_else(|| Error::Config(NO_TABLE.to_owned()))?;
        let issuer = self.run.issuer(index);
        let issuer = issuer.map_err(|why| Error::Config(why.to_owned()))?;
        // A schedd that does not answer leaves the home its time.
        let deadline = self.deadline.earlier(self.run.config.timeout / 3);
        let batch = issuer.issue(Request {
            user: &next.user,
            euid: self.run.host.euid,
            now: self.run.host.now(),
            lifetime: table.token.lifetime_of(self.run.is_renewed),
            deadline,
        })?;
        next.files[number].tokens = batch.tokens;
        if !self.is_troubled {
            // First: whatever happens from here on, the ids of all tokens that may exist are
            // known. Where every run fails that would be a line in the audit each time.
            self.note(job, next, number);
        }
        Ok(Some(Arc::new(batch.contents)))
    }

    fn note(&self, job: Job, next: &Record, number: usize) {
        let event = match job {
            Job::Renew(_) => Event::Renewed,
            Job::Late => Event::Delayed,
            Job::Clear => return,
        };
        self.journal()
            .note(event, next, &next.files[number..=number]);
    }
}

/// What is lost with its store is noted first: one file that is there again says nothing
/// of the others.
fn forget_lost(
    locked: &mut Locked<'_>,
    record: &mut Record,
    needs: &[(usize, FileNeed)],
) -> Result<()> {
    let is_lost = |need: &FileNeed| *need == FileNeed::Renew(Why::Lost);
    if !needs.iter().any(|(_, need)| is_lost(need)) {
        return Ok(());
    }
    record.drop_files();
    locked.replace(record)
}
