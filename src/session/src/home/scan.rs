//! A look at the other tokens of ours in tokens.d.

use std::os::fd::AsFd;
use std::path::Path;

use nix::dir::Dir;

use super::dead::{Candidate, Judge, Verdict};
use super::{ENTRIES_LIMIT, REMEDY, unlink};
use crate::error::{Error, Result};
use crate::name::TokenName;

/// What was found.
pub(super) struct Scan {
    /// The first name of a token of ours that stays.
    pub(super) first: Option<TokenName>,
    /// Dead tokens that were removed, by file name.
    pub(super) removed: Vec<String>,
    /// See [`super::Renewed::in_the_way_at`].
    pub(super) in_the_way_at: Option<u64>,
    /// See [`super::Renewed::in_the_way`].
    pub(super) in_the_way: Option<TokenName>,
}

/// Looks at the other tokens of ours and removes the dead ones.
pub(super) fn scan(
    dir: &mut Dir,
    path: &Path,
    own: Option<&TokenName>,
    judge: &Judge,
) -> Result<Scan> {
    let mut found = Vec::new();
    for entry in dir.iter().take(ENTRIES_LIMIT) {
        let entry = entry.map_err(|e| Error::io("list", path, e).with_remedy(REMEDY))?;
        if let Ok(name) = entry.file_name().to_str() {
            found.extend(Candidate::new(name));
        }
    }
    let mut scan = Scan {
        first: None,
        removed: Vec::new(),
        in_the_way_at: None,
        in_the_way: None,
    };
    for candidate in found {
        // The same session's file is replaced, not passed.
        let id = own.map(TokenName::id);
        if candidate.name().is_some_and(|name| Some(name.id()) == id) {
            continue;
        }
        match judge.verdict(dir.as_fd(), &candidate) {
            Verdict::Dead => {
                if unlink(dir.as_fd(), candidate.file()).is_ok() {
                    scan.removed.push(candidate.file().to_owned());
                }
            }
            Verdict::Stays {
                dies_at,
                is_refused,
            } => {
                if let Some(name) = candidate.into_token_name() {
                    scan.pass(name, own, dies_at, is_refused);
                }
            }
        }
    }
    Ok(scan)
}

impl Scan {
    /// Takes note of a token that stays.
    fn pass(
        &mut self,
        name: TokenName,
        own: Option<&TokenName>,
        dies_at: Option<u64>,
        is_refused: bool,
    ) {
        let comes_before = |other: &Option<TokenName>| {
            let other = other.as_ref();
            other.is_none_or(|other| name.sorts_before(other))
        };
        if own.is_some_and(|own| name.sorts_before(own)) {
            let earlier = [self.in_the_way_at, dies_at].into_iter().flatten().min();
            self.in_the_way_at = earlier;
            if is_refused && comes_before(&self.in_the_way) {
                self.in_the_way = Some(name.clone());
            }
        }
        if comes_before(&self.first) {
            self.first = Some(name);
        }
    }
}
