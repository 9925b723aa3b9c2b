//! The user's own tokens: which of them are stale, break or shadow commands.
//!
//! HTCondor's client takes the first token whose kid and issuer a server knows,
//! and never looks at `exp` (findTokens in condor_io/condor_auth_passwd.cpp). So
//! what a token of the user's does hangs on where its name sorts: in front of a
//! session's token it is used in its place, behind it only where no session has
//! one. Nothing is changed here, and no token is part of what is said.

mod file;
mod line;
mod words;

use std::collections::BTreeSet;
use std::path::Path;

use idtoken::TrustDomain;

use super::dead::Keys;
use super::listing::own_files;
use crate::error::Result;
use crate::name::{SessionId, TokenName};

/// So many files are looked into, the first that HTCondor reads.
const FILES_LIMIT: usize = 1000;

/// How bad it is; the worst compares greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, or is none of this pool's business.
    Fine,
    /// HTCondor does not use it.
    Ignored,
    /// It can not work and should go; sessions do without it.
    Stale,
    /// It is used in place of the session's token.
    Shadows,
    /// It makes commands fail, in a session too.
    Breaks,
}

/// What is to be said about one file of tokens.d.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name, with control characters escaped.
    pub file: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, or what is wrong with it.
    pub what: String,
    /// What that does to commands.
    pub effect: String,
    /// What its user can do about it; empty if nothing needs to be done.
    pub remedy: String,
}

/// Looks through the user's own tokens in `<home>/.condor/tokens.d`, in the order
/// in which HTCondor reads them. Has to run as the user (see [`crate::acting`]).
///
/// A signature is judged only by a key of the token's own trust domain. `issuers`
/// are the trust domains of the pools that are served here, with or without a key;
/// `now` is in seconds since 1970 UTC. No tokens.d means no findings.
pub fn examine(
    home: &Path,
    keys: &Keys,
    issuers: &[TrustDomain],
    now: u64,
) -> Result<Vec<Finding>> {
    let Some(own) = own_files(home)? else {
        return Ok(Vec::new());
    };
    let session = session_name(now)?;
    let mut examiner = Examiner {
        keys,
        issuers,
        now,
        taken: BTreeSet::new(),
    };
    let files = own.files.iter().take(FILES_LIMIT);
    Ok(files
        .filter_map(|(name, leads)| {
            let is_first = name.to_bytes() < session.as_bytes();
            examiner.file(&own.dir, name, *leads, is_first)
        })
        .collect())
}

/// What a session's token would be called that opened now.
fn session_name(now: u64) -> Result<String> {
    let name = TokenName::new(now.saturating_mul(1_000_000_000), "0", SessionId::random()?);
    Ok(name.to_string())
}

struct Examiner<'a> {
    keys: &'a Keys,
    issuers: &'a [TrustDomain],
    now: u64,
    /// The issuers and kids of the tokens so far: no later token of the same is ever used.
    taken: BTreeSet<(String, String)>,
}

#[cfg(test)]
mod tests;
