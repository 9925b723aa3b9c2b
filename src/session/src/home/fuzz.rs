//! The door for fuzzing: what a file in tokens.d is taken for by its name.

use super::dead::Candidate;
use super::listing;

/// What a file in tokens.d is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A token of a session's: it may be removed when it is dead.
    Token,
    /// One that is being written: it may be removed when it is old.
    Unfinished,
    /// The user's, and HTCondor reads it.
    Own,
    /// The user's, and nobody reads it.
    Skipped,
}

/// What a file of this name is taken for, by each of those who look.
pub fn taken(name: &[u8]) -> Vec<Taken> {
    let text = std::str::from_utf8(name).ok();
    let candidate = text
        .and_then(Candidate::new)
        .map(|candidate| match candidate.name() {
            Some(_) => Taken::Token,
            None => Taken::Unfinished,
        });
    let own = match (listing::is_read(name), listing::is_ours(name)) {
        (true, true) => None,
        (true, false) => Some(Taken::Own),
        (false, _) => candidate.is_none().then_some(Taken::Skipped),
    };
    candidate.into_iter().chain(own).collect()
}
