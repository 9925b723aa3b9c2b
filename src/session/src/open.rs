//! A session opens: it is given its token.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use idtoken::Lifetime;
use zeroize::Zeroizing;

use crate::acting::as_user;
use crate::audit::Event;
use crate::close::Session;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::holder::Holder;
use crate::home::{self, Judge, Plan};
use crate::host::Host;
use crate::issuer::Signer;
use crate::journal::Journal;
use crate::linger::Trace;
use crate::log::{Line, Log};
use crate::name::{SessionId, TokenName};
use crate::record::{Opening, Record, RecordName};
use crate::stamp;
use crate::state::{Locked, Sessions};

/// How often a name is moved in front of another session's. Many logins at once
/// may overtake each other; being overtaken by a live token does no harm.
const MOVES: u32 = 3;
/// How many ended sessions one login tidies up after; reconcile does the rest.
const SWEEP_LIMIT: usize = 64;
/// How many sessions that may linger one login looks at; reconcile does the rest.
const LINGER_LIMIT: usize = 8;
/// How many removed files are named in the log.
const NAMED: usize = 8;

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
    let signer = Signer::new(config, host.euid)?;
    for error in &signer.skipped {
        log.warning(&Line::new("a signing key was skipped").because(error));
    }
    let lifetime = lifetime(config, host, &opening, log);
    let batch = signer.sign(&opening.user.name, host.now(), lifetime)?;
    let sessions = Sessions::of(&config.state_dir, opening.user.uid, host.euid)?;
    let Sorted {
        mut alive, ended, ..
    } = sort_sessions(&sessions, &host.holder.boot, log)?;
    let name = TokenName::new(host.now_ns, &host.name, SessionId::random()?);
    alive.insert(name.id());
    let judge = Judge {
        now: host.now(),
        host: host.name.clone(),
        alive,
        keys: signer.share_keys(),
    };
    let draft = Draft {
        record: Record::new(opening, name, host.holder.clone(), batch.term),
        contents: Arc::new(batch.contents),
        judge: Arc::new(judge),
    };
    Ok(Prepared {
        sessions,
        ended,
        draft,
    })
}

/// Short if somebody renews the token, else long enough for most sessions.
fn lifetime(config: &Config, host: &Host, opening: &Opening, log: &dyn Log) -> Lifetime {
    let renewed = config.lifetime_of(true);
    if stamp::is_fresh(&config.run_dir, renewed, host.now(), host.euid) {
        return renewed;
    }
    let unrenewed = config.lifetime_of(false);
    let line = Line::new("no reconciler was seen, so the token will not be renewed")
        .field("user", &opening.user.name)
        .field("lifetime", unrenewed);
    log.warning(&line);
    unrenewed
}

/// The user's sessions on this host.
#[derive(Default)]
struct Sorted {
    alive: HashSet<SessionId>,
    /// Some of those whose process has ended.
    ended: Vec<(RecordName, Record)>,
    /// How many sessions that may linger were looked at.
    lingering: usize,
}

impl Sorted {
    /// Without a control group each look reads all of /proc: a login takes a few.
    fn may_linger(&mut self, record: &Record, boot: &str) -> bool {
        self.lingering += usize::from(record.linger.is_some());
        self.lingering > LINGER_LIMIT || lingers(record, boot)
    }
}

fn sort_sessions(sessions: &Sessions, boot: &str, log: &dyn Log) -> Result<Sorted> {
    let mut holders: HashMap<Holder, bool> = HashMap::new();
    let mut sorted = Sorted::default();
    let listing = sessions.list()?;
    for name in listing.records {
        let is_alive = match holders.get(&name.holder) {
            Some(known) => *known,
            None => *holders
                .entry(name.holder.clone())
                .or_insert(name.holder.is_alive_in(boot)?),
        };
        let is_closed = listing.ended.contains(&name.session);
        if (is_alive && !is_closed) || sorted.ended.len() >= SWEEP_LIMIT {
            sorted.alive.insert(name.session);
            continue;
        }
        match sessions.read(&name) {
            Ok(Some(record)) if !is_closed && sorted.may_linger(&record, boot) => {
                sorted.alive.insert(name.session);
            }
            Ok(Some(record)) => sorted.ended.push((name, record)),
            Ok(None) => {}
            Err(error) => {
                // Kept for reconcile; it must not stop this login.
                sorted.alive.insert(name.session);
                log.warning(&Line::new("a record was left alone").because(error));
            }
        }
    }
    // Reconcile decides about them.
    sorted
        .alive
        .extend(listing.damaged.iter().map(|name| name.session));
    Ok(sorted)
}

/// Whether processes of a session whose holder has ended keep its token; when
/// nobody can tell, they do: reconcile asks again.
pub fn lingers(record: &Record, boot: &str) -> bool {
    let is_left = |trace: &Trace| {
        trace
            .is_left(&record.holder, record.user.uid)
            .unwrap_or(true)
    };
    record.holder.boot == boot && record.linger.as_ref().is_some_and(is_left)
}

impl Prepared {
    fn finish(self, config: &Config, host: &Host, deadline: Deadline, log: &dyn Log) -> Opened {
        let Self {
            sessions,
            ended,
            mut draft,
        } = self;
        let journal = Journal {
            state_dir: &config.state_dir,
            host,
            log,
        };
        let mut locked = match sessions.create(&draft.record) {
            Ok(locked) => locked,
            Err(error) => return Opened::No(error),
        };
        // Locked, so that nobody ends or renews the same session beside this login.
        let ended = lock_ended(&sessions, &ended, &draft.record);
        match draft.write(&mut locked, &ended, deadline, &journal) {
            Ok(gone) => {
                let is_gone = |old: &Record| old.files().iter().all(|file| gone.contains(file));
                for (locked, old) in ended.into_iter().filter(|(_, old)| is_gone(old)) {
                    journal.say(Event::Ended, &old);
                    remove_record(locked, log);
                }
                journal.say(Event::Opened, &draft.record);
                Opened::Yes(Box::new(Session::new(draft.record, config)))
            }
            Err(error @ Error::HomeTimeout { .. }) => {
                // Reconcile writes it when the home answers again; the thread may have.
                journal.note(Event::Pending, &draft.record);
                if let Err(error) = sessions.mark_pending(&draft.record.name()) {
                    log.warning(&Line::new("the session stays without a token").because(error));
                }
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
        ended: &[(Locked<'_>, Record)],
        deadline: Deadline,
        journal: &Journal<'_>,
    ) -> Result<Vec<TokenName>> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon = Abandon(&abandoned);
        let files: Vec<_> = ended.iter().flat_map(|(_, old)| old.files()).collect();
        let mut moves = 0;
        loop {
            let plan = Plan {
                home: self.record.user.home.clone(),
                name: self.record.file.clone(),
                contents: Arc::clone(&self.contents),
                ended: files.clone(),
                insist: moves == MOVES,
                judge: Arc::clone(&self.judge),
                abandoned: Arc::clone(&abandoned),
            };
            // Nobody else has these sessions as long as the thread may write to the home.
            let mut shares = vec![locked.share()];
            shares.extend(ended.iter().map(|(locked, _)| locked.share()));
            let user = &self.record.user;
            let written = as_user(user, journal.host.euid, deadline, move || {
                let _shares = shares;
                home::write(&plan)
            })?;
            log_removed(journal.log, &self.record, &written.removed);
            self.record.home_id = written.home_id;
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

/// A user may have any number of dead tokens: the log gets a few lines of it.
pub(crate) fn log_removed(log: &dyn Log, record: &Record, removed: &[String]) {
    for file in removed.iter().take(NAMED) {
        let line = Line::new("dead token removed")
            .field("user", &record.user.name)
            .field("file", record.token_path().with_file_name(file).display());
        log.notice(&line);
    }
    if removed.len() > NAMED {
        let line = Line::new("more dead tokens removed")
            .field("user", &record.user.name)
            .field("files", removed.len() - NAMED);
        log.notice(&line);
    }
}

fn remove_record(locked: Locked<'_>, log: &dyn Log) {
    if let Err(error) = locked.remove() {
        log.warning(&Line::new("a record was left behind").because(error));
    }
}

#[cfg(test)]
mod tests;
