//! What HTCondor's own configuration says, for what an administrator did not.
//!
//! condor_config_val is asked, as root and with an environment of ours: it obeys
//! `_CONDOR_*` and `CONDOR_CONFIG`, and neither a user nor sshd may have a say in
//! who signs what. It takes up to 300 ms, so its answer is kept in `run_dir`
//! together with what it was made from, and a login reads that file, looks at
//! each of HTCondor's configuration files and asks again only when one of them
//! changed. Several logins that come at once ask once. A tool that is broken or
//! hangs costs one login its deadline and not every login.

mod ask;
mod cache;
#[cfg(fuzzing)]
pub mod fuzz;
mod kept;
mod values;
mod watch;

use std::fmt;
use std::path::Path;
use std::time::Duration;

pub use ask::program;
pub use values::HTCondor;

use crate::child::ChildError;
use crate::deadline::Deadline;
use ask::Asked;
use cache::Locked;
use kept::Kept;
use watch::{Watched, look_at};

/// How long an answer is good while nothing changed, in seconds. The name
/// service, which UID_DOMAIN may come from, changes without a file that tells.
const GOOD: u64 = 3600;
/// And when a part of the configuration is printed by a command, or could not be
/// watched.
const GOOD_UNWATCHED: u64 = 300;
/// How long nobody asks again after a failure.
const PAUSE: u64 = 60;
/// And after an answer during which something changed. An answer of before is used
/// meanwhile, for at most [`PAUSE`]: what never rests is believed as well.
const SOON: u64 = 5;
/// A change that was seen longer ago than this was another one.
const ANOTHER: u64 = 300;
const CHANGING: &str = "HTCondor's configuration is being changed, or could not be read a \
                        second time to see that it is not";
/// What was given less time than this is not said to hang.
const FAIR: Duration = Duration::from_millis(250);
/// How often it is asked until nothing changed meanwhile.
const ROUNDS: usize = 3;

/// Whom to ask, and where the answer is kept.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The path of condor_config_val.
    pub tool: &'a Path,
    /// What CONDOR_CONFIG is to be; none lets HTCondor look in its usual places.
    pub condor_config: Option<&'a Path>,
    /// The directory of what does not outlive a boot; made if it is missing.
    pub run_dir: &'a Path,
}

/// What there is to know about HTCondor's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// What it says now.
    Fresh(HTCondor),
    /// What it said when it could last be asked, and why it can not be now.
    Old(HTCondor, Why),
    /// Nothing, and why.
    Nothing(Why),
}

impl Found {
    /// The answer, be it old or not.
    pub fn answer(&self) -> Option<&HTCondor> {
        match self {
            Self::Fresh(answer) | Self::Old(answer, _) => Some(answer),
            Self::Nothing(_) => None,
        }
    }

    /// Why there is no new answer.
    pub fn why(&self) -> Option<&Why> {
        match self {
            Self::Fresh(_) => None,
            Self::Old(_, why) | Self::Nothing(why) => Some(why),
        }
    }
}

/// Why HTCondor's configuration could not be read; one sentence for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There is no condor_config_val.
    NotInstalled(String),
    /// There is one, and it gave no answer that can be used.
    Broken(String),
    /// This process had no time left for it, or could not look.
    Unasked(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled(text) | Self::Broken(text) | Self::Unasked(text) => {
                f.write_str(text)
            }
        }
    }
}

impl From<ChildError> for Why {
    fn from(error: ChildError) -> Self {
        match error {
            ChildError::Missing { .. } => Self::NotInstalled(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// Finds out what HTCondor's configuration says, by the deadline.
///
/// `euid` is the effective uid of this process, `now` the time in seconds since
/// 1970 UTC. An answer that is kept counts only if the file is root's or
/// `euid`'s, nobody else can write to it, and nothing that it was made from
/// changed. Where nothing can be kept HTCondor is asked each time.
pub fn look(source: &Source<'_>, euid: u32, deadline: Deadline, now: u64) -> Found {
    let mut kept = cache::read(source, euid);
    let mut known = current(source, kept.as_ref(), deadline, now);
    if let Ok(Some(found)) = known {
        return found;
    }
    let in_time = !is_short(deadline);
    let locked = match Locked::acquire(*source, euid, deadline) {
        Ok(Some(locked)) => Some(locked),
        Ok(None) => {
            let why = "somebody else has been asking condor_config_val for too long; run it by \
                       hand to see what it waits for";
            let why = match known {
                Err(why) => why,
                Ok(_) if in_time => Why::Broken(why.to_owned()),
                Ok(_) => too_late(),
            };
            return old_or_nothing(kept.as_ref(), why);
        }
        Err(_) => None,
    };
    if locked.is_some() {
        // Whoever had the lock before may have asked.
        kept = cache::read(source, euid);
        if known.is_ok() {
            known = current(source, kept.as_ref(), deadline, now);
        }
    }
    let kept = match known {
        Ok(Some(found)) => return found,
        Ok(None) => ask_and_keep(source, kept, deadline, now),
        Err(why) => kept
            .unwrap_or_else(|| Kept::new(now))
            .without_remote(why, now),
    };
    if let Some(locked) = locked
        && kept.is_worth_keeping()
        && let Some(text) = kept.to_text(source)
    {
        // Without it the next login asks again, and that is all.
        let _ = locked.write(&text);
    }
    kept.found()
}

/// What is known without asking: what is kept, if it still holds, or that there is no
/// tool. A host without HTCondor is no place to start programs and write files.
fn current(
    source: &Source<'_>,
    kept: Option<&Kept>,
    deadline: Deadline,
    now: u64,
) -> Result<Option<Found>, Why> {
    let Some(kept) = kept else {
        let program = source.tool.to_owned();
        let found = || Found::Nothing(ChildError::Missing { program }.into());
        return Ok((!watch::is_there(source.tool, deadline)?).then(found));
    };
    // Whoever asked may have begun after this login did, while this one waited.
    let latest = now.saturating_add(deadline.waited().as_secs() + 1);
    let holds = kept.asked <= latest
        && now < kept.until
        && watch::is_unchanged(&kept.watched, kept.is_remote(), deadline)?;
    Ok(holds.then(|| kept.found()))
}

/// Whether a wait that now begins says more of what came before it.
fn is_short(deadline: Deadline) -> bool {
    deadline.remaining() < FAIR
}

fn too_late() -> Why {
    let why = "too little time was left to ask condor_config_val; look for what else was waited \
               for";
    Why::Unasked(why.to_owned())
}

fn old_or_nothing(kept: Option<&Kept>, why: Why) -> Found {
    match kept.and_then(Kept::answer) {
        Some(answer) => Found::Old(answer, why),
        None => Found::Nothing(why),
    }
}

/// Asks, and makes of the answer or the failure what is to be kept.
fn ask_and_keep(source: &Source<'_>, old: Option<Kept>, deadline: Deadline, now: u64) -> Kept {
    let old = old.unwrap_or_else(|| Kept::new(now));
    let paths = old.watched.iter().map(|watched| watched.path.clone());
    let (asked, doubt, watched) = ask_until_settled(source, paths.collect(), deadline);
    let mut kept = Kept {
        watched,
        ..Kept::new(now)
    };
    let good = match (asked, doubt) {
        (Some(asked), doubt) if doubt.is_none() || believes(&old, &asked, now) => {
            kept.values = Some(asked.values);
            match doubt {
                Some(_) => SOON,
                None if asked.unwatched => GOOD_UNWATCHED,
                None => GOOD,
            }
        }
        (Some(_), _) => {
            // What was read may be half of what is being written.
            kept.asked = changing_since(&old, now);
            kept.values = old.values;
            kept.failure = Some(Why::Broken(CHANGING.to_owned()));
            SOON
        }
        (None, why) => {
            kept.values = old.values;
            kept.failure = why;
            PAUSE
        }
    };
    kept.until = now.saturating_add(good);
    kept
}

/// Whether an answer during which something changed is better than the old one.
fn believes(old: &Kept, asked: &Asked, now: u64) -> bool {
    let is_news = |values: &Vec<String>| *values != asked.values;
    !old.values.as_ref().is_some_and(is_news)
        || now.saturating_sub(changing_since(old, now)) >= PAUSE
}

/// Since when the configuration has been changing.
fn changing_since(old: &Kept, now: u64) -> u64 {
    let is_same = matches!(&old.failure, Some(Why::Broken(why)) if why == CHANGING)
        && now < old.until.saturating_add(ANOTHER);
    if is_same { old.asked.min(now) } else { now }
}

/// Asks until nothing that the answer was made from changed while it was made.
///
/// Gives the last answer, why it is in doubt or there is none, and what is to be
/// watched. That is known from the answer only, or from the last one.
fn ask_until_settled(
    source: &Source<'_>,
    mut paths: Vec<String>,
    deadline: Deadline,
) -> (Option<Asked>, Option<Why>, Vec<Watched>) {
    ask::add_usual(&mut paths, source);
    let mut last = None;
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        let before = match look_at(&paths, deadline) {
            Ok(before) => before,
            Err(why) => return (last, Some(why), seen),
        };
        let asked = match ask::ask(source, deadline) {
            Ok(asked) => asked,
            Err(why) if last.is_none() => return (None, Some(why), before),
            Err(why) => return (last, Some(why), seen),
        };
        paths.clone_from(&asked.paths);
        ask::add_usual(&mut paths, source);
        last = Some(asked);
        seen = match look_at(&paths, deadline) {
            Ok(after) => after,
            Err(why) => return (last, Some(why), Vec::new()),
        };
        if watch::holds(&seen, &before) {
            return (last, None, seen);
        }
    }
    (last, Some(Why::Broken(CHANGING.to_owned())), seen)
}

#[cfg(test)]
mod tests;
