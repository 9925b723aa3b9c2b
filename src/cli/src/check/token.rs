//! Can a token be made, and would it be one that works?

use idtoken::SigningKey;
use session::acting::as_user;
use session::config::Config;
use session::deadline::Deadline;
use session::error::Error;
use session::home;
use session::issuer::{Batch, Signer};
use session::policy::{self, Verdict};
use session::user::User;

use super::Finding;

/// Nobody's name: it shows that keys and domains serve to sign.
const NOBODY: &str = "idtokenctl-check";

/// Signs and verifies in memory; for a named user also looks at policy and home.
pub(super) fn look(config: &Config, user: Option<&str>, euid: u32, findings: &mut Vec<Finding>) {
    let Some(name) = user else {
        mint(config, NOBODY, euid, findings);
        findings.push(Finding::odd(
            "no user was named: policy and home were not looked at",
            "add --user NAME",
        ));
        return;
    };
    match served(config, name) {
        Ok((user, Verdict::Serve)) => {
            findings.push(Finding::good(format!("{name} is served")));
            if mint(config, &user.name, euid, findings) {
                check_home(config, &user, euid, findings);
            }
        }
        Ok((_, Verdict::Pass(reason))) => {
            findings.push(
                Finding::bad(format!("{name} gets no token: {reason}"))
                    .with_remedy(format!("see the policy in {}", config.file.display())),
            );
        }
        Err(error) => findings.push(Finding::bad(error)),
    }
}

fn served(config: &Config, name: &str) -> Result<(User, Verdict), Error> {
    let user = User::lookup(name)?;
    let verdict = policy::verdict(config, &user)?;
    Ok((user, verdict))
}

fn mint(config: &Config, name: &str, euid: u32, findings: &mut Vec<Finding>) -> bool {
    let now = session::host::now();
    let both = Signer::new(config, euid).and_then(|signer| {
        let batch = signer.sign(name, now, config.lifetime_of(false))?;
        Ok((signer, batch))
    });
    let (signer, batch) = match both {
        Ok(both) => both,
        Err(error) => {
            findings.push(Finding::bad(error));
            return false;
        }
    };
    for error in &signer.skipped {
        findings.push(Finding::odd(
            error,
            "sessions get tokens of the other kids only until this key is here",
        ));
    }
    match verify(config, &signer, &batch, now) {
        Ok(()) => {
            findings.push(Finding::good(minted(&batch)));
            true
        }
        Err(why) => {
            findings.push(Finding::bad(format!(
                "a token was signed but does not verify: {why}"
            )));
            false
        }
    }
}

fn minted(batch: &Batch) -> String {
    let kids: Vec<String> = batch
        .term
        .tokens
        .iter()
        .map(|token| token.kid.to_string())
        .collect();
    let first = batch.term.tokens.first();
    format!(
        "a token can be signed and verifies: kid {}, sub {}, iss {}, scope {}",
        kids.join(","),
        first.map_or("none", |token| &token.subject),
        first.map_or("none", |token| &token.issuer),
        first
            .and_then(|token| token.scope.as_deref())
            .unwrap_or("unrestricted"),
    )
}

fn verify(config: &Config, signer: &Signer, batch: &Batch, now: u64) -> Result<(), String> {
    let text = std::str::from_utf8(&batch.contents).map_err(|error| error.to_string())?;
    let keys: Vec<&SigningKey> = signer.keys().iter().collect();
    for line in idtoken::lines(text) {
        idtoken::verify(line, &keys, config.trust_domain.as_ref(), now)
            .map_err(|refusal| refusal.to_string())?;
    }
    Ok(())
}

fn check_home(config: &Config, user: &User, euid: u32, findings: &mut Vec<Finding>) {
    let deadline = Deadline::after(config.timeout);
    let home = user.home.clone();
    findings.push(
        match as_user(user, euid, deadline, move || home::probe(&home)) {
            Ok(()) => Finding::good(format!(
                "{} can write tokens to {}",
                user.name,
                user.home.join(home::TOKENS_D).display()
            )),
            Err(error) => Finding::bad(error),
        },
    );
}
