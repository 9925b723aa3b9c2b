//! Keeps sessions and tokens in step: ends what has ended, renews what is due.
//!
//! A reconcile may run at any moment beside itself, beside logins and beside
//! logouts. What it does to a session it does under the lock of the session's
//! record, after looking again; and it never stops at one session for
//! another's sake: each user's home is worked on by itself.

mod complaints;
mod due;
mod leftovers;
mod report;
mod session;
mod shared;
mod troubles;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::audit::{self, Pen};
use crate::config::Config;
use crate::error::Result;
use crate::holder::boot_id;
use crate::host::Host;
use crate::log::{Line, Log};
use crate::name::SessionId;
use crate::stamp;
use crate::state::Sessions;

pub use due::{FileNeed, Need, Why};
pub use report::{Action, Report, What};
pub use watch::Watch;

use report::failure;
use shared::{Found, Group};
use troubles::{failure_of, subject};

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

/// What all threads of one reconcile share.
struct Run<'a> {
    config: &'a Config,
    host: &'a Host,
    options: &'a Options,
    log: &'a dyn Log,
    audit: Pen,
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
        audit: Pen::new(&config.state_dir, host.euid),
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

#[cfg(test)]
mod tests;
