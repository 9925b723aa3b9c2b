//! Keeps sessions and tokens in step: ends what has ended, renews what is due.
//!
//! A reconcile may run at any moment beside itself, beside logins and beside
//! logouts. What it does to a session it does under the lock of the session's
//! record, after looking again; and it never stops at one session for
//! another's sake: each user's home is worked on by itself.

mod complaints;
mod due;
mod leftovers;
mod session;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::audit;
use crate::config::{Config, Table};
use crate::error::{Error, Result};
use crate::holder::boot_id;
use crate::home::Keys;
use crate::host::Host;
use crate::identity::{Identity, identity};
use crate::issuer::Issuer;
use crate::log::{Line, Log};
use crate::name::SessionId;
use crate::stamp;
use crate::state::Sessions;
use crate::user::{User, gid_of};

pub use due::{FileNeed, Need, Why};

/// How many homes are worked on at once: one that does not answer holds up no other.
const SIDE_BY_SIDE: usize = 32;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only the sessions of this uid.
    pub uid: Option<u32>,
    /// Say what would be done and do nothing.
    pub dry_run: bool,
    /// How often a reconcile is scheduled to run; none if this one was typed.
    pub every: Option<Duration>,
    /// What is wrong with the configuration: then what has ended is ended, with the
    /// defaults, and nothing is renewed.
    pub broken: Option<String>,
    /// Why HTCondor could not be asked, if that is to be said.
    pub trouble: Option<String>,
    /// HTCondor could not be asked and never was: nobody knows whether a token that is not as
    /// the configuration has it should be another.
    pub is_blind: bool,
}

/// What was done, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// New tokens are in place of the old ones.
    Renewed,
    /// A token that its home had not taken at login is there now.
    Delayed,
    /// The session had ended; its token and record are gone.
    Ended,
    /// The last process of a lingering session had ended; its token and record are gone.
    Finished,
    /// The user had removed the token.
    Removed,
    /// A damaged record was set aside.
    SetAside,
    /// Something that a crash left was removed.
    Tidied,
    /// Its home is not there just now; it is looked for again until the token expired.
    Waiting,
    /// It could not be done; the next reconcile tries again.
    Failed,
}

/// One thing that was done.
#[derive(Debug, Clone, Serialize)]
pub struct Action {
    /// What.
    pub what: What,
    /// Whose, if it was about one user.
    pub uid: Option<u32>,
    /// The user's name, where the record says it.
    pub user: Option<String>,
    /// The session, if it was about one.
    pub session: Option<SessionId>,
    /// Why, in words.
    pub why: String,
}

/// What a reconcile did.
#[derive(Debug, Default)]
pub struct Report {
    /// How many sessions it looked at.
    pub sessions: usize,
    /// What it did.
    pub actions: Vec<Action>,
    /// Whether something was left out since a home is in trouble.
    pub has_skipped: bool,
}

impl Report {
    /// How often something was done.
    pub fn count(&self, what: What) -> usize {
        self.actions.iter().filter(|a| a.what == what).count()
    }

    fn absorb(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.actions.extend(other.actions);
    }
}

/// What makes the tokens of a table, or why nothing does.
type Found = std::result::Result<Issuer, String>;

/// What all threads of one reconcile share.
struct Run<'a> {
    config: &'a Config,
    host: &'a Host,
    options: &'a Options,
    log: &'a dyn Log,
    boot: String,
    is_renewed: bool,
    /// One for each table of the configuration.
    issuers: Vec<OnceLock<Found>>,
    /// What is known of the groups that tables name.
    groups: Mutex<HashMap<String, Group>>,
    /// Why some sessions are left as they are.
    held_back: OnceLock<String>,
    /// The sessions that have a record.
    known: Mutex<HashSet<SessionId>>,
}

/// Looks at every session of this host and does what is due.
///
/// Fails only when the state directory can not be listed; what fails for one
/// session or one home is part of the report and of the log.
pub fn reconcile(config: &Config, host: &Host, options: &Options, log: &dyn Log) -> Result<Report> {
    let renewed = is_renewed(config, host, options, log);
    let issuer = || {
        let broken = options.broken.clone();
        broken.map_or_else(OnceLock::new, |why| OnceLock::from(Err(why)))
    };
    let run = Run {
        config,
        host,
        options,
        log,
        boot: boot_id()?,
        is_renewed: renewed,
        issuers: config.tables.iter().map(|_| issuer()).collect(),
        groups: Mutex::default(),
        held_back: OnceLock::new(),
        known: Mutex::default(),
    };
    run.trouble();
    let mut uids = Sessions::uids(&config.state_dir)?;
    uids.retain(|uid| options.uid.is_none_or(|wanted| wanted == *uid));
    let mut report = run.all(&uids);
    report.actions.extend(run.issuer_failures());
    if !options.dry_run {
        if options.broken.is_none() {
            run.leftovers(&mut report);
        }
        run.finish(renewed, &report)?;
    }
    Ok(report)
}

/// Whether tokens signed now will be renewed in time.
fn is_renewed(config: &Config, host: &Host, options: &Options, log: &dyn Log) -> bool {
    let lifetime = config.shortest_lifetime();
    let Some(every) = options.every else {
        return stamp::is_fresh(&config.run_dir, lifetime, host.now(), host.euid);
    };
    let enough = stamp::is_often_enough(every, lifetime, config.timeout);
    if enough {
        complaints::forget(&config.run_dir, "lifetime");
    } else {
        complaints::once(&config.run_dir, "lifetime", host.now(), || {
            log.warning(
                &Line::new("tokens are made to last, since no reconcile would renew them in time")
                    .field("lifetime", lifetime)
                    .field("every", format!("{}s", every.as_secs())),
            );
        });
    }
    enough
}

impl Run<'_> {
    /// HTCondor that can not be asked is said once in a while.
    fn trouble(&self) {
        let (run_dir, now) = (&self.config.run_dir, self.host.now());
        match &self.options.trouble {
            _ if self.options.dry_run => {}
            None => complaints::forget(run_dir, "htcondor"),
            Some(why) => complaints::once(run_dir, "htcondor", now, || {
                let line = Line::new("HTCondor was asked in vain");
                self.log.warning(&line.because(why));
            }),
        }
    }

    fn all(&self, uids: &[u32]) -> Report {
        let next = AtomicUsize::new(0);
        let report = Mutex::new(Report::default());
        std::thread::scope(|scope| {
            for _ in 0..uids.len().min(SIDE_BY_SIDE) {
                scope.spawn(|| {
                    while let Some(uid) = uids.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let part = self.user(*uid);
                        if let Ok(mut whole) = report.lock() {
                            whole.absorb(part);
                        }
                    }
                });
            }
        });
        report.into_inner().unwrap_or_default()
    }

    /// What makes the tokens of a table, found out when the first session needs it.
    fn issuer(&self, table: usize) -> std::result::Result<&Issuer, &str> {
        let token = &self.config.tables[table].token;
        let new = || Issuer::new(token, self.host.euid).map_err(|error| error.to_string());
        self.issuers[table]
            .get_or_init(new)
            .as_ref()
            .map_err(String::as_str)
    }

    /// The keys that are known by now.
    fn keys(&self) -> Keys {
        let known = self.issuers.iter().filter_map(OnceLock::get).flatten();
        known.filter_map(Issuer::share_keys).collect()
    }

    /// Whether a user is in a group, none if there is none: with one look-up for all users.
    fn is_in_group(&self, user: &User, group: &str) -> Result<Option<bool>> {
        let groups = || self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let known = groups().get(group).copied();
        // Not under the lock: a directory service may be slow, and others have other groups.
        let known = known.unwrap_or_else(|| {
            let found = match gid_of(group) {
                Ok(Some(gid)) => Group::Gid(gid),
                Ok(None) => Group::Missing,
                Err(_) => Group::Unknown,
            };
            groups().insert(group.to_owned(), found);
            found
        });
        match known {
            Group::Gid(gid) => Ok(Some(user.groups.contains(&gid))),
            Group::Missing => Ok(None),
            Group::Unknown => Err(Error::NoGroup(group.to_owned())),
        }
    }

    /// Leaves sessions as they are, which is said once.
    fn hold_back(&self, why: &str) {
        let _ = self.held_back.set(why.to_owned());
    }

    /// What concerns more than one session is said once in a while.
    fn failure_of_all(&self, subject: &str, words: &str, why: &str) -> Action {
        let (run_dir, now) = (&self.config.run_dir, self.host.now());
        if !self.options.dry_run {
            complaints::once(run_dir, subject, now, || {
                self.log.error(&Line::new(words).because(why));
            });
        }
        Action {
            what: What::Failed,
            uid: None,
            user: None,
            session: None,
            why: format!("{words}: {why}"),
        }
    }

    /// Without its issuer no token is renewed: said once, and not for each session.
    fn issuer_failures(&self) -> Vec<Action> {
        let mut actions: Vec<Action> = Vec::new();
        if let Some(why) = self.held_back.get() {
            actions.push(self.failure_of_all("held-back", "some tokens are left as they are", why));
        }
        for (table, issuer) in self.config.tables.iter().zip(&self.issuers) {
            let Some(why) = failure_of(issuer) else {
                continue;
            };
            let words = match &table.name {
                Some(name) => format!("no token {name} can be renewed"),
                None => "no token can be renewed".to_owned(),
            };
            let action = self.failure_of_all(&subject(table), &words, why);
            if actions.iter().all(|other| other.why != action.why) {
                actions.push(action);
            }
        }
        actions
    }

    fn finish(&self, renewed: bool, report: &Report) -> Result<()> {
        let Config {
            run_dir, state_dir, ..
        } = self.config;
        let now = self.host.now();
        if self.held_back.get().is_none() {
            complaints::forget(run_dir, "held-back");
        }
        let mut has_keys = true;
        for (table, issuer) in self.config.tables.iter().zip(&self.issuers) {
            if failure_of(issuer).is_some() {
                has_keys = false;
            } else {
                complaints::forget(run_dir, &subject(table));
            }
        }
        // A home that does not answer is its own affair; without keys nobody is renewed.
        if let Some(every) = self.options.every.filter(|_| renewed && has_keys) {
            stamp::promise(run_dir, now.saturating_add(every.as_secs()))?;
        }
        // With a broken configuration nobody knows how long the audit is to be kept.
        let is_known = self.options.broken.is_none();
        if is_known && (self.options.every.is_some() || !report.actions.is_empty()) {
            let keep = self.config.audit_keep.max(self.config.longest_lifetime());
            audit::rotate(state_dir, now, keep.as_secs(), audit::ROTATE_AT)?;
        }
        Ok(())
    }
}

/// A group of the configuration.
#[derive(Debug, Clone, Copy)]
enum Group {
    Gid(u32),
    Missing,
    /// It could not be looked up, and is not looked up again in this run.
    Unknown,
}

/// Why tokens of a table can not be renewed, if anybody tried.
fn failure_of(issuer: &OnceLock<Found>) -> Option<&str> {
    match issuer.get()? {
        Err(why) => Some(why),
        Ok(issuer) => issuer
            .is_given_up()
            .then_some("the schedd gives no tokens; the next run tries again"),
    }
}

/// What the complaints about a table go by.
fn subject(table: &Table) -> String {
    match &table.name {
        Some(name) => format!("keys-{name}"),
        None => "keys".to_owned(),
    }
}

/// The files whose change calls for another reconcile: a run that was under way
/// when a key was replaced may have renewed some sessions with the old one.
#[derive(Debug, PartialEq, Eq)]
pub struct Watch(Vec<Option<Identity>>);

impl Watch {
    /// Their state now.
    pub fn of(config: &Config) -> Self {
        let tokens = config.tables.iter().map(|table| &table.token);
        let keys = tokens.flat_map(|token| token.kids.iter().map(|kid| token.key_file(kid)));
        let files: Vec<PathBuf> = keys.chain([config.file.clone()]).collect();
        Self(files.iter().map(|file| identity(file)).collect())
    }
}

/// What to say when something failed for a session, or for a whole user.
fn failure(
    uid: Option<u32>,
    user: Option<&str>,
    session: Option<SessionId>,
    error: &Error,
) -> Action {
    Action {
        what: What::Failed,
        uid,
        user: user.map(str::to_owned),
        session,
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
