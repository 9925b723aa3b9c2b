//! What a reconcile did, and could not do; for its caller, and for the log.

use serde::Serialize;

use crate::error::Error;
use crate::name::SessionId;

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

    pub(super) fn absorb(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.actions.extend(other.actions);
    }
}

/// What to say when something failed for a session, or for a whole user.
pub(super) fn failure(
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
