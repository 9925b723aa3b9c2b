//! `idtokenctl revoke-expr`: what makes a pool refuse tokens until they expire.
//!
//! HTCondor evaluates SEC_TOKEN_REVOCATION_EXPR against the claims of each
//! token that is presented and refuses it if the expression is true
//! (condor_io/condor_auth_passwd.cpp; before 9.0.7 the setting was
//! SEC_TOKEN_BLACKLIST_EXPR).

use std::collections::BTreeMap;
use std::error::Error;

use session::audit::{self, Entry};

use crate::args::{Args, RevokeOptions};
use crate::list::utc;
use crate::load::load_or_default;
use crate::output::{Output, complain};

/// Prints the setting; false when there is no token to revoke or some of the
/// audit could not be read.
pub(crate) fn run(
    args: &Args,
    options: &RevokeOptions,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let config = load_or_default(&args.as_arguments(), session::host::euid());
    let now = session::host::now();
    // A user whose account is gone already is known by the audit.
    let is_user = |entry: &Entry| {
        let wanted = options.user.as_deref();
        wanted.is_none_or(|name| entry.user == name || name.parse() == Ok(entry.uid))
    };
    let since = options.since.map(|since| since.at(now));
    let read = audit::read(&config.state_dir)?;
    for error in &read.errors {
        complain(error);
    }
    let is_wanted =
        |entry: &&Entry| is_user(entry) && options.session.is_none_or(|id| id.0 == entry.session);
    let tokens = tokens(read.entries.iter().filter(is_wanted), since, now);
    let Some(last) = tokens.values().max() else {
        complain("no token of these is known that has not expired: there is nothing to revoke");
        return Ok(false);
    };
    out.line(format!(
        "# {}, as of {}. Remove it after the last has expired, {}.",
        match tokens.len() {
            1 => "1 token".to_owned(),
            n => format!("{n} tokens"),
        },
        utc(now),
        utc(*last)
    ))?;
    out.line("# Of sessions of this host only. For every host of the pool; condor_reconfig makes it hold. Join it to an")?;
    out.line("# expression that is set already with ||. Sessions that live get new tokens:")?;
    out.line("# end them first with `idtokenctl end`.")?;
    out.line(expression(tokens.keys()))?;
    Ok(read.errors.is_empty())
}

/// The ids of tokens that were signed since and have not expired, with when they do.
fn tokens<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    since: Option<u64>,
    now: u64,
) -> BTreeMap<String, u64> {
    let tokens = entries.flat_map(|entry| &entry.tokens);
    tokens
        .filter(|token| token.expires >= now && since.is_none_or(|since| token.issued >= since))
        .map(|token| (token.jti.to_string(), token.expires))
        .collect()
}

/// A jti is 32 hex digits, so nothing in it needs a quote.
fn expression<'a>(jtis: impl Iterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = jtis.map(|jti| format!("\"{jti}\"")).collect();
    format!(
        "SEC_TOKEN_REVOCATION_EXPR = member(jti, {{{}}})",
        quoted.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_names_each_token_once() {
        let ids = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            expression(ids.iter()),
            "SEC_TOKEN_REVOCATION_EXPR = member(jti, {\"a\", \"b\"})"
        );
    }
}
