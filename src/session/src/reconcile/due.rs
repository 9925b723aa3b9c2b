//! What a session needs, from what is known of it.

use std::fmt;

use idtoken::Lifetime;

use crate::audit::Event;
use crate::error::Result;
use crate::issuer::{Change, Issuer};
use crate::record::{Phase, Record, TokenFile};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Its tokens and record are to go; the event says why.
    End(Event),
    /// Its tokens were never written.
    Write,
    /// Something about some of its token files, by their places in the record.
    Files(Vec<(usize, FileNeed)>),
    /// A home that answers again may have tokens that are elsewhere now.
    Strays,
}

/// What is to be done about one token file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileNeed {
    /// Its tokens are to be signed anew.
    Renew(Why),
    /// A dead token stands in the way of its own.
    Clear,
    /// No table of the configuration makes it any more.
    Drop,
}

/// Why tokens are signed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Something that went into them is not as it was.
    Changed(Change),
    /// Half of their life is over.
    HalfLife,
    /// They live longer than tokens that are renewed should.
    TooLong,
    /// A reconcile was killed while it moved them to another name.
    Unfinished,
    /// They were not there, and can be made again: their table is back, or their signer answers.
    Again,
    /// They had expired before the last ones were made, which another host may have taken for them.
    Expired,
    /// Their private store is not there any more, and its user can not have removed it.
    Lost,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed(Change::Key) => "its signing key was replaced",
            Self::Changed(Change::Kids) => "the list of signing keys changed",
            Self::Changed(Change::Claims) => "trust domain, user or scope changed",
            Self::HalfLife => "half of its life is over",
            Self::Unfinished => "a renewal was not finished",
            Self::Again => "it can be made again",
            Self::Expired => "another host may have removed it as the expired one before it",
            Self::Lost => "its private store was lost",
            Self::TooLong => "it would live longer than it is renewed",
        })
    }
}

/// What is known of a session besides its record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Its holder runs.
    pub(super) is_held: bool,
    /// Processes of it are left, if it may linger.
    pub(super) has_processes: bool,
    /// A sign that lies beside the record.
    pub(super) sign: Option<Sign>,
}

/// What was left beside a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// The session was closed and its token could not be removed.
    Ended,
    /// Its token was never written.
    Pending,
}

/// Whether a session has ended, without a look at its tokens.
pub(super) fn end(record: &Record, seen: Seen) -> Option<Event> {
    if seen.sign == Some(Sign::Ended) {
        return Some(Event::Ended);
    }
    match record.phase {
        Phase::Lingering => (!seen.has_processes).then_some(Event::Finished),
        Phase::Open => (!seen.is_held && !seen.has_processes).then_some(Event::Ended),
    }
}

/// What a token file of a session that lives needs at `now`, in seconds since 1970 UTC.
pub(super) fn file_need(
    user: &str,
    file: &TokenFile,
    issuer: &Issuer,
    lifetime: Lifetime,
    now: u64,
) -> Result<Option<FileNeed>> {
    if let Some(change) = issuer.change(user, &file.tokens)? {
        return Ok(Some(FileNeed::Renew(Why::Changed(change))));
    }
    let renew = |why| Some(FileNeed::Renew(why));
    Ok(if file.moving_to.is_some() {
        renew(Why::Unfinished)
    } else if now >= file.half_life() {
        renew(Why::HalfLife)
    } else if file.expires() > now.saturating_add(lifetime.as_secs() + issuer.slack()) {
        renew(Why::TooLong)
    } else if file.again_at.is_some_and(|at| at <= now) {
        renew(Why::Expired)
    } else if file.clear_at.is_some_and(|at| at < now) {
        Some(FileNeed::Clear)
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::Holder;
    use crate::name::SessionId;
    use crate::record::tests::{alice, sample};

    fn record(phase: Phase) -> Record {
        let mut record = sample(
            SessionId::random().unwrap(),
            alice(),
            Holder::current().unwrap(),
        );
        record.phase = phase;
        record
    }

    #[test]
    fn a_session_ends_with_its_holder_or_with_its_last_process() {
        let seen = |is_held, has_processes| Seen {
            is_held,
            has_processes,
            ..Seen::default()
        };
        for (phase, held, processes, ended) in [
            (Phase::Open, true, false, None),
            (Phase::Open, false, false, Some(Event::Ended)),
            // Killed, with processes of a session that may linger.
            (Phase::Open, false, true, None),
            (Phase::Lingering, false, true, None),
            (Phase::Lingering, false, false, Some(Event::Finished)),
            // A host that holds many sessions lives on.
            (Phase::Lingering, true, false, Some(Event::Finished)),
        ] {
            let got = end(&record(phase), seen(held, processes));
            assert_eq!(got, ended, "{phase:?} {held} {processes}");
        }
    }

    #[test]
    fn a_session_whose_close_failed_has_ended_whoever_lives() {
        let seen = Seen {
            is_held: true,
            has_processes: true,
            sign: Some(Sign::Ended),
        };
        assert_eq!(end(&record(Phase::Open), seen), Some(Event::Ended));
    }
}
