//! The user's other sessions on this host.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::Result;
use crate::holder::Holder;
use crate::linger::Trace;
use crate::log::{Line, Log};
use crate::name::SessionId;
use crate::record::{Record, RecordName};
use crate::state::{Locked, Sessions};

/// How many ended sessions one login tidies up after; reconcile does the rest.
pub(super) const SWEEP_LIMIT: usize = 64;
/// How many sessions that may linger one login looks at; reconcile does the rest.
const LINGER_LIMIT: usize = 8;

/// The user's sessions on this host.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) alive: HashSet<SessionId>,
    /// Some of those whose process has ended.
    pub(super) ended: Vec<(RecordName, Record)>,
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

pub(super) fn sort_sessions(sessions: &Sessions, boot: &str, log: &dyn Log) -> Result<Sorted> {
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

/// Takes the locks of the ended sessions that are still there, ended and in this home.
pub(super) fn lock_ended<'a>(
    sessions: &'a Sessions,
    ended: &[(RecordName, Record)],
    record: &Record,
) -> Vec<(Locked<'a>, Record)> {
    let at_once = Deadline::after(Duration::ZERO);
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
