//! The tokens of a session that opens are put where they belong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::acting::{as_user, as_user_while};
use crate::deadline::Deadline;
use crate::ending;
use crate::error::Result;
use crate::gate::Gate;
use crate::home::{self, Contents, HomeId, Judge, Plan, Written};
use crate::journal::Journal;
use crate::log::Line;
use crate::name::TokenName;
use crate::private;
use crate::record::Record;
use crate::state::{Locked, Sessions};

/// How often names are moved in front of another session's. Many logins at once
/// may overtake each other; being overtaken by a live token does no harm.
const MOVES: u32 = 3;

/// What is to be recorded and written.
pub(super) struct Draft {
    pub(super) record: Record,
    contents: Vec<Contents>,
    judge: Arc<Judge>,
}

impl Draft {
    pub(super) fn new(record: Record, contents: Vec<Contents>, judge: Judge) -> Self {
        Self {
            record,
            contents,
            judge: Arc::new(judge),
        }
    }

    fn files(&self) -> Vec<(TokenName, Contents)> {
        let names = self.record.files.iter().map(|file| file.name.clone());
        names.zip(self.contents.iter().cloned()).collect()
    }

    /// Records the session and puts the tokens into the home, in front of all others.
    ///
    /// Fails when the session can not be recorded: then nothing is in the home. Otherwise
    /// returns the lock of the record, and which of the files of ended sessions are gone or
    /// why the home did not take the tokens.
    pub(super) fn write<'a>(
        &mut self,
        sessions: &'a Sessions,
        ended: &[(Locked<'_>, Record)],
        deadline: Deadline,
        journal: &Journal<'_>,
    ) -> Result<(Locked<'a>, Result<Vec<TokenName>>)> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon = Abandon(&abandoned);
        let (mut recorded, mut moves) = (None, 0);
        loop {
            let plan = Plan {
                home: self.record.user.home.clone(),
                files: self.files(),
                ended: ended.iter().flat_map(|(_, old)| old.names()).collect(),
                insist: moves == MOVES,
                judge: Arc::clone(&self.judge),
                abandoned: Arc::clone(&abandoned),
            };
            let (written, home_id) =
                self.write_once(plan, sessions, &mut recorded, ended, deadline, journal);
            let mut locked = recorded.unwrap_or_else(|| sessions.create(&self.record))?;
            let written = match written {
                Ok(written) => written,
                Err(error) => {
                    // What it may have all the same is looked for there.
                    self.record.home_id = home_id;
                    return Ok((locked, Err(error)));
                }
            };
            super::log_removed(journal.log, &self.record, &written.removed);
            self.record.home_id = written.home_id;
            let Some(first) = written.behind else {
                return Ok((locked, Ok(written.ended)));
            };
            let count = self.record.files.len();
            for (number, file) in self.record.files.iter_mut().enumerate() {
                let behind = (count - 1 - number) as u64;
                file.name = file.name.in_front_of(&first, behind);
            }
            if let Err(error) = locked.replace(&self.record) {
                return Ok((locked, Err(error)));
            }
            recorded = Some(Ok(locked));
            moves += 1;
        }
    }

    /// Lets the thread look at the home while the session is recorded here, if it is not yet;
    /// which home it was that did not take the tokens.
    fn write_once<'a>(
        &self,
        plan: Plan,
        sessions: &'a Sessions,
        recorded: &mut Option<Result<Locked<'a>>>,
        ended: &[(Locked<'_>, Record)],
        deadline: Deadline,
        journal: &Journal<'_>,
    ) -> (Result<Written>, Option<HomeId>) {
        let gate = Arc::new(Gate::new());
        let meanwhile = &mut || {
            match recorded.get_or_insert_with(|| sessions.create(&self.record)) {
                Ok(locked) => gate.open(locked.share()),
                Err(_) => gate.close(),
            }
            journal.make_ready();
        };
        // Nobody else has these sessions as long as the thread may write to the home.
        let shares: Vec<_> = ended.iter().map(|(locked, _)| locked.share()).collect();
        let behind_it = Arc::clone(&gate);
        let (user, euid) = (&self.record.user, journal.host.euid);
        let written = as_user_while(user, euid, deadline, meanwhile, move || {
            let _shares = shares;
            let mut share = None;
            let written = home::write(&plan, || {
                share = behind_it.pass();
                share.is_some()
            });
            let home = written.is_err().then(|| home::home_id(&plan.home));
            Ok((written, home.flatten()))
        });
        gate.close();
        written.unwrap_or_else(|error| (Err(error), None))
    }

    /// Puts the tokens into the private store, with links to the user's own; a failure
    /// leaves nothing there.
    pub(super) fn write_private(
        &self,
        locked: &Locked<'_>,
        deadline: Deadline,
        journal: &Journal<'_>,
        with_links: bool,
    ) -> Result<()> {
        let (record, euid) = (&self.record, journal.host.euid);
        let dir = private::make(&record.run_dir, record.session, &record.user, euid)?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon = Abandon(&abandoned);
        let (files, share, is_abandoned) = (self.files(), locked.share(), Arc::clone(&abandoned));
        let to = dir.clone();
        let written = as_user(&record.user, euid, deadline, move || {
            let _share = share;
            private::write(&to, &files, &is_abandoned)
        });
        if written.is_err() {
            // What can not be removed is found by reconcile: it has no record.
            let _ = ending::clear_private(record, None, deadline, journal);
            return written;
        }
        if with_links {
            let (home, share) = (record.user.home.clone(), locked.share());
            let linked = as_user(&record.user, euid, deadline, move || {
                let _share = share;
                private::link(&dir, &home)
            });
            if let Err(error) = linked {
                let line = Line::new("the user's own tokens are not in the private store")
                    .field("user", &record.user.name);
                journal.log.warning(&line.because(error));
            }
        }
        Ok(())
    }
}

/// From here on nothing is put in place any more by a thread that nobody waits for.
struct Abandon<'a>(&'a AtomicBool);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
