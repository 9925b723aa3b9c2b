//! The user's own tokens: which of them break or shadow commands.

use idtoken::TrustDomain;
use session::acting::as_user;
use session::config::Config;
use session::deadline::Deadline;
use session::error::Error;
use session::home::{self, Keys, Severity};
use session::user::User;

use super::finding::{Finding, Id};

/// Looks through the user's own token files, as the user; false if the home does not answer.
pub(super) fn look(
    config: &Config,
    user: &User,
    keys: Keys,
    issuers: Vec<TrustDomain>,
    euid: u32,
    findings: &mut Vec<Finding>,
) -> bool {
    let (deadline, now) = (Deadline::after(config.timeout), session::host::now());
    let directory = user.home.clone();
    let seen = as_user(user, euid, deadline, move || {
        home::examine(&directory, &keys, &issuers, now)
    });
    let answers = !matches!(seen, Err(Error::HomeTimeout { .. }));
    match seen {
        Ok(seen) => {
            let before = findings.len();
            findings.extend(seen.iter().filter_map(|seen| finding(seen, user)));
            if findings.len() == before {
                let what = format!("no token of {}'s own is stale or in the way", user.name);
                findings.push(Finding::ok(Id::OwnTokens, what));
            }
        }
        Err(error) => findings.push(
            Finding::note(Id::OwnTokens, error)
                .with_remedy("the user's own tokens were not looked at"),
        ),
    }
    answers
}

fn finding(seen: &home::Finding, user: &User) -> Option<Finding> {
    // `~` is theirs, and this is root.
    let remedy = format!("as {}: {}", user.name, seen.remedy);
    let what = format!(
        "the user's own token {}: {}; {}",
        seen.file, seen.what, seen.effect
    );
    match seen.severity {
        Severity::Fine => None,
        Severity::Breaks => Some(Finding::fail(Id::OwnTokens, what).with_remedy(remedy)),
        Severity::Shadows => Some(Finding::warn(Id::OwnTokens, what, remedy)),
        _ => Some(Finding::note(Id::OwnTokens, what).with_remedy(remedy)),
    }
}
