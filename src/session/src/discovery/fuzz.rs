//! The door for fuzzing: what condor_config_val printed, without running it, and what is kept of it.

use super::ask::{Asked, parse};
use super::kept::Kept;
use super::{HTCondor, Source};

/// The names that are asked for.
pub const NAMES: [&str; 15] = super::ask::NAMES;

/// What was printed, taken apart, and what its values mean.
pub struct Answer {
    /// A value for each of [`NAMES`].
    pub values: Vec<String>,
    /// The files and directories they come from.
    pub paths: Vec<String>,
    /// Whether something else had a part in it.
    pub unwatched: bool,
    /// What they mean.
    pub meaning: HTCondor,
}

/// Takes apart what was printed; none if it is no answer to the question.
pub fn answer(printed: &str) -> Option<Answer> {
    let Asked {
        values,
        paths,
        unwatched,
    } = parse(printed)?;
    let meaning = HTCondor::new(&values);
    Some(Answer {
        values,
        paths,
        unwatched,
        meaning,
    })
}

/// What is kept in this text, written again and what it means; none if it can not be read.
pub fn kept(text: &str, source: &Source<'_>) -> Option<(String, Option<HTCondor>)> {
    let kept = Kept::from_text(text, source)?;
    let meaning = kept.answer();
    Some((kept.to_text(source)?, meaning))
}
