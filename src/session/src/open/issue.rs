//! The tokens of a session that opens, before they are anywhere.

use idtoken::Lifetime;

use super::Wanted;
use crate::config::{Config, Table};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::home::{Contents, Keys};
use crate::host::Host;
use crate::issuer::{Batch, Issuer, Request};
use crate::log::{Line, Log};
use crate::name::TokenName;
use crate::record::TokenFile;
use crate::stamp;

/// What was made for a session.
pub(super) struct Issued {
    /// The token files, at least one.
    pub(super) files: Vec<TokenFile>,
    /// What is to be in them.
    pub(super) contents: Vec<Contents>,
    /// The keys of this host, to judge other tokens by.
    pub(super) keys: Keys,
    /// The first failure, if not all could be made.
    pub(super) failed: Option<Error>,
}

/// Makes the tokens of every table; fails when none can be made.
///
/// Keys come first: a schedd that does not answer costs the session its own token and
/// no other.
pub(super) fn issue(
    config: &Config,
    host: &Host,
    wanted: &Wanted,
    base: &TokenName,
    deadline: Deadline,
    log: &dyn Log,
) -> Result<Issued> {
    let lifetimes = Lifetimes::new(config, host, wanted, log);
    let mut keys = Keys::new();
    let (mut issuers, mut waiting) = (Vec::with_capacity(wanted.tables.len()), Vec::new());
    for (place, index) in wanted.tables.iter().enumerate() {
        let table = &config.tables[*index];
        let issuer = Issuer::new(&table.token, host.euid);
        if let Ok(Issuer::Key(signer)) = &issuer {
            for error in &signer.skipped {
                log.warning(&Line::new("a signing key was skipped").because(error));
            }
            keys.push(signer.share_keys());
        }
        if let Some(why) = issuer.as_ref().ok().and_then(Issuer::why_not_key) {
            log.warning(&Line::new("the schedd is asked in place of the key").because(why));
        }
        let may_wait = matches!(&issuer, Ok(issuer) if issuer.may_wait());
        let list = if may_wait { &mut waiting } else { &mut issuers };
        list.push((place, table, issuer));
    }
    issuers.append(&mut waiting);
    // In the order of the tables.
    let mut made: Vec<Option<(&Table, Batch)>> = Vec::new();
    made.resize_with(issuers.len(), || None);
    let mut failed = None;
    for (place, table, issuer) in issuers {
        let request = Request {
            user: &wanted.opening.user,
            euid: host.euid,
            now: host.now(),
            lifetime: lifetimes.of(table),
            deadline,
        };
        match issuer.and_then(|issuer| issuer.issue(request)) {
            Ok(batch) => made[place] = Some((table, batch)),
            Err(error) => {
                if wanted.tables.len() > 1 {
                    let line = Line::new("a token could not be made")
                        .field("user", &wanted.opening.user.name)
                        .field("token", table.name.as_deref().unwrap_or("default"));
                    log.error(&line.because(&error));
                }
                failed = failed.or(Some(error));
            }
        }
    }
    let mut issued = Issued {
        files: Vec::with_capacity(made.len()),
        contents: Vec::with_capacity(made.len()),
        keys,
        failed: None,
    };
    for (number, (table, batch)) in made.into_iter().flatten().enumerate() {
        let name = base.labelled(table.name.as_deref(), number as u64);
        let file = TokenFile::new(table.name.clone(), name, batch.tokens);
        issued.files.push(file);
        issued.contents.push(Contents::new(batch.contents));
    }
    if issued.files.is_empty() {
        return Err(failed.unwrap_or_else(|| Error::Config("no token is to be made".into())));
    }
    issued.failed = failed;
    Ok(issued)
}

/// Short if somebody renews the tokens, else long enough for most sessions.
struct Lifetimes {
    is_renewed: bool,
}

impl Lifetimes {
    fn new(config: &Config, host: &Host, wanted: &Wanted, log: &dyn Log) -> Self {
        let tables = wanted.tables.iter().map(|index| &config.tables[*index]);
        let shortest = tables.clone().map(|table| table.token.lifetime_of(true));
        let shortest = shortest.min().unwrap_or(Lifetime::HOUR);
        let is_renewed = stamp::is_fresh(&config.run_dir, shortest, host.now(), host.euid);
        if !is_renewed {
            let lifetimes = tables.map(|table| table.token.lifetime_of(false));
            let line = Line::new("no reconciler was seen, so the token will not be renewed")
                .field("user", &wanted.opening.user.name)
                .field("lifetime", crate::journal::list(lifetimes));
            log.warning(&line);
        }
        Self { is_renewed }
    }

    fn of(&self, table: &Table) -> Lifetime {
        table.token.lifetime_of(self.is_renewed)
    }
}
