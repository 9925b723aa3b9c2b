//! A session opens: it is given its token.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use crate::acting::as_user;
use crate::close::Session;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::holder::{Holder, boot_id};
use crate::home::{self, Judge, Plan};
use crate::host::Host;
use crate::issuer::{self, Batch};
use crate::log::{Line, Log};
use crate::name::{SessionId, TokenName};
use crate::record::{Opening, Record, RecordName};
use crate::state::{Locked, Sessions};

/// How often a name is moved in front of another session's. Many logins at once
/// may overtake each other; being overtaken by a live token does no harm.
const MOVES: u32 = 3;
/// How many ended sessions one login tidies up after; reconcile does the rest.
const SWEEP_LIMIT: usize = 64;

/// What became of an opening.
pub enum Opened {
    /// The session has its token.
    Yes(Box<Session>),
    /// It has none, and nothing is left of the attempt.
    No(Error),
    /// The home did not answer. The session has no token as far as anybody
    /// knows, but one may still appear: it has to be closed like any other.
    Pending(Box<Session>, Error),
}

/// Makes the token of a session that opens now and puts it into the home.
///
/// Whatever the file system does, the call takes no longer than
/// `config.timeout`. Every failure after the record was written takes it back.
pub fn open(config: &Config, host: &Host, opening: Opening, log: &dyn Log) -> Opened {
    let deadline = Deadline::after(config.timeout);
    match prepare(config, host, opening, log) {
        Ok(prepared) => prepared.finish(config, host, deadline, log),
        Err(error) => Opened::No(error),
    }
}

/// A session that is signed for and not yet recorded.
struct Prepared {
    sessions: Sessions,
    ended: Vec<(RecordName, Record)>,
    draft: Draft,
}

/// What is to be recorded and written.
struct Draft {
    record: Record,
    contents: Arc<Zeroizing<Vec<u8>>>,
    judge: Arc<Judge>,
}

fn prepare(config: &Config, host: &Host, opening: Opening, log: &dyn Log) -> Result<Prepared> {
    // No reconciler renews tokens, so each has to last.
    let lifetime = config.lifetime_unrenewed;
    let batch = issuer::sign(config, &opening.user.name, host.now(), lifetime, host.euid)?;
    let Batch {
        contents,
        minted,
        expires,
        keys,
        skipped,
    } = batch;
    for error in skipped {
        log.warning(&Line::new("a signing key was skipped").because(error));
    }
    let sessions = Sessions::of(&config.state_dir, opening.user.uid, host.euid)?;
    let Sorted { mut alive, ended } = sort_sessions(&sessions, log)?;
    let name = TokenName::new(host.now_ns, &host.name, SessionId::random()?);
    alive.insert(name.id());
    let record = Record::new(
        opening,
        name,
        host.now(),
        host.holder.clone(),
        expires,
        minted,
    );
    let judge = Judge {
        now: host.now(),
        host: host.name.clone(),
        alive,
        keys,
    };
    let draft = Draft {
        record,
        contents: Arc::new(contents),
        judge: Arc::new(judge),
    };
    Ok(Prepared {
        sessions,
        ended,
        draft,
    })
}

/// The user's sessions on this host.
#[derive(Default)]
struct Sorted {
    alive: HashSet<SessionId>,
    /// Some of those whose process has ended.
    ended: Vec<(RecordName, Record)>,
}

fn sort_sessions(sessions: &Sessions, log: &dyn Log) -> Result<Sorted> {
    let boot = boot_id()?;
    let mut holders: HashMap<Holder, bool> = HashMap::new();
    let mut sorted = Sorted::default();
    for name in sessions.names()? {
        let is_alive = match holders.get(&name.holder) {
            Some(known) => *known,
            None => *holders
                .entry(name.holder.clone())
                .or_insert(name.holder.is_alive_in(&boot)?),
        };
        if is_alive || sorted.ended.len() >= SWEEP_LIMIT {
            sorted.alive.insert(name.session);
            continue;
        }
        match sessions.read(&name) {
            Ok(Some(record)) => sorted.ended.push((name, record)),
            Ok(None) => {}
            Err(error) => {
                // Kept for an administrator; it must not stop this login.
                sorted.alive.insert(name.session);
                log.warning(&Line::new("a record was left alone").because(error));
            }
        }
    }
    Ok(sorted)
}

impl Prepared {
    fn finish(self, config: &Config, host: &Host, deadline: Deadline, log: &dyn Log) -> Opened {
        let Self {
            sessions,
            ended,
            mut draft,
        } = self;
        let mut locked = match sessions.create(&draft.record) {
            Ok(locked) => locked,
            Err(error) => return Opened::No(error),
        };
        // Locked, so that nobody ends the same session beside this login.
        let ended = lock_ended(&sessions, &ended, &draft.record);
        let files: Vec<_> = ended.iter().map(|(_, old)| old.file.clone()).collect();
        match draft.write(&mut locked, &files, host, deadline, log) {
            Ok(gone) => {
                for (locked, old) in ended
                    .into_iter()
                    .filter(|(_, old)| gone.contains(&old.file))
                {
                    log_ended(log, &old);
                    remove_record(locked, log);
                }
                Opened::Yes(Box::new(Session::new(draft.record, config)))
            }
            Err(error @ Error::HomeTimeout { .. }) => {
                Opened::Pending(Box::new(Session::new(draft.record, config)), error)
            }
            Err(error) => {
                remove_record(locked, log);
                Opened::No(error)
            }
        }
    }
}

impl Draft {
    /// Puts the token into the home, in front of all others; which of the files
    /// of ended sessions are gone.
    fn write(
        &mut self,
        locked: &mut Locked<'_>,
        ended: &[TokenName],
        host: &Host,
        deadline: Deadline,
        log: &dyn Log,
    ) -> Result<Vec<TokenName>> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon = Abandon(&abandoned);
        let mut moves = 0;
        loop {
            let plan = Plan {
                home: self.record.user.home.clone(),
                name: self.record.file.clone(),
                contents: Arc::clone(&self.contents),
                ended: ended.to_vec(),
                insist: moves == MOVES,
                judge: Arc::clone(&self.judge),
                abandoned: Arc::clone(&abandoned),
            };
            let user = &self.record.user;
            let written = as_user(user, host.euid, deadline, move || home::write(&plan))?;
            log_removed(log, &self.record, &written.removed);
            let Some(first) = written.behind else {
                return Ok(written.ended);
            };
            self.record.file = self.record.file.in_front_of(&first);
            locked.replace(&self.record)?;
            moves += 1;
        }
    }
}

/// From here on nothing is put in place any more by a thread that nobody waits for.
struct Abandon<'a>(&'a AtomicBool);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Takes the locks of the ended sessions that are still there, ended and in this home.
fn lock_ended<'a>(
    sessions: &'a Sessions,
    ended: &[(RecordName, Record)],
    record: &Record,
) -> Vec<(Locked<'a>, Record)> {
    let at_once = Deadline::after(std::time::Duration::ZERO);
    ended
        .iter()
        .filter(|(_, ended)| ended.user.home == record.user.home)
        .filter_map(|(name, _)| sessions.lock(name, at_once).ok().flatten())
        .filter_map(|locked| {
            let current = locked.read().ok()?;
            Some((locked, current))
        })
        .collect()
}

fn log_removed(log: &dyn Log, record: &Record, removed: &[String]) {
    for file in removed {
        let line = Line::new("dead token removed")
            .field("user", &record.user.name)
            .field("file", record.token_path().with_file_name(file).display());
        log.info(&line);
    }
}

fn log_ended(log: &dyn Log, record: &Record) {
    let line = Line::new("token closed after its session ended without a close")
        .field("user", &record.user.name)
        .field("uid", record.user.uid)
        .field("session", record.session)
        .field("jti", record.jtis());
    log.info(&line);
}

fn remove_record(locked: Locked<'_>, log: &dyn Log) {
    if let Err(error) = locked.remove() {
        log.warning(&Line::new("a record was left behind").because(error));
    }
}

#[cfg(test)]
mod tests;
