//! Can tokens be made, for whom, and would they be ones that work?

use std::os::unix::fs::MetadataExt;

use idtoken::{Lifetime, SigningKey, TrustDomain};
use session::acting::as_user;
use session::config::{Config, Store, Table};
use session::deadline::Deadline;
use session::error::Error;
use session::home::{self, Keys};
use session::issuer::{Batch, Issuer, Request};
use session::policy::{self, Reason, Verdict};
use session::private;
use session::record::{Login, Minted};
use session::user::User;

use super::{Finding, own};
use crate::args::{Args, CheckOptions};

/// Nobody's name: it shows that keys and domains serve to sign.
const NOBODY: &str = "idtokenctl-check";
/// What a schedd makes for a check is a token that works, for a minute.
const SHORT: u64 = 60;

/// Signs and verifies in memory; for a named user also looks at policy, home and the
/// user's own tokens.
pub(super) fn look(
    config: &Config,
    args: &Args,
    options: &CheckOptions,
    euid: u32,
    findings: &mut Vec<Finding>,
) {
    let Some(name) = options.user.as_deref() else {
        for table in &config.tables {
            without_user(config, table, euid, findings);
        }
        findings.push(Finding::odd(
            "no user was named: policy and home were not looked at",
            "add --user NAME",
        ));
        return;
    };
    let login = Login {
        service: args.service.clone(),
        rhost: options.from.clone(),
        auth: options.auth.clone(),
    };
    match served(config, name, &login) {
        Ok((user, Ok(tables))) => {
            findings.push(Finding::good(format!("{name} is served")));
            if options.from.is_none() && options.auth.is_empty() && looks_at_logins(config) {
                findings.push(Finding::odd(
                    "tables of the configuration look at where a login comes from, or how",
                    "add --from HOST and --auth METHOD to see what such a login gets",
                ));
            }
            with_user(config, &user, &tables, euid, findings);
        }
        Ok((_, Err(Reason::NoTable)))
            if options.from.is_none() && options.auth.is_empty() && looks_at_logins(config) =>
        {
            findings.push(Finding::odd(
                format!(
                    "{name} gets no token unless a table is for where the login comes from, or how"
                ),
                "add --from HOST and --auth METHOD to see what such a login gets",
            ));
        }
        Ok((_, Err(reason))) => {
            findings.push(
                Finding::bad(format!("{name} gets no token: {reason}"))
                    .with_remedy(format!("see the policy in {}", config.file.display())),
            );
        }
        Err(error) => findings.push(Finding::bad(error)),
    }
}

fn looks_at_logins(config: &Config) -> bool {
    let mut whens = config.tables.iter().map(|table| &table.when);
    whens.any(|when| !when.remote_hosts.is_empty() || !when.ssh_auth_methods.is_empty())
}

type Served = (User, Result<Vec<usize>, Reason>);

fn served(config: &Config, name: &str, login: &Login) -> Result<Served, Error> {
    let user = User::lookup(name)?;
    if let Verdict::Pass(reason) = policy::verdict(config, &user)? {
        return Ok((user, Err(reason)));
    }
    let tables = policy::tables(config, &user, login, &|group| user.is_in_group(group))?;
    let tables = if tables.is_empty() {
        Err(Reason::NoTable)
    } else {
        Ok(tables)
    };
    Ok((user, tables))
}

/// A key can be tried for nobody; a schedd answers only a user.
fn without_user(config: &Config, table: &Table, euid: u32, findings: &mut Vec<Finding>) {
    match Issuer::new(&table.token, euid) {
        Ok(Issuer::Schedd(schedd)) => {
            let why = schedd.why_not_key();
            let why = why.map_or_else(String::new, |why| format!(", since {why}"));
            findings.push(Finding::odd(
                format!("{}the schedd signs{why}", prefix(table)),
                "add --user NAME to see that it does",
            ));
        }
        issuer => {
            let nobody = User {
                name: NOBODY.to_owned(),
                uid: u32::MAX,
                gid: u32::MAX,
                groups: Vec::new(),
                home: "/".into(),
            };
            mint(config, table, issuer, &nobody, euid, findings);
        }
    }
}

fn with_user(
    config: &Config,
    user: &User,
    tables: &[usize],
    euid: u32,
    findings: &mut Vec<Finding>,
) {
    let mut keys = Keys::new();
    let mut all = true;
    for index in tables {
        let table = &config.tables[*index];
        if config.tables.len() > 1 {
            let number = index + 1;
            findings.push(Finding::good(format!(
                "[[token]] table {number} is for {}: {}",
                user.name,
                whose(table)
            )));
        }
        let issuer = Issuer::new(&table.token, euid);
        if let Ok(issuer) = &issuer {
            keys.extend(issuer.share_keys());
        }
        all &= mint(config, table, issuer, user, euid, findings);
    }
    if all {
        place(config, user, euid, findings);
    }
    let issuers = tables.iter().map(|index| &config.tables[*index].token);
    let issuers: Vec<TrustDomain> = issuers.filter_map(|t| t.trust_domain.clone()).collect();
    own::look(config, user, keys, issuers, euid, findings);
}

/// Why a table is for a session, in words.
fn whose(table: &Table) -> String {
    let when = &table.when;
    let mut parts: Vec<String> = Vec::new();
    let mut note = |what: &str, values: Vec<String>| {
        if !values.is_empty() {
            parts.push(format!("{what} {}", values.join(", ")));
        }
    };
    note("users", when.users.clone());
    note("groups", when.groups.clone());
    note("services", when.services.clone());
    let hosts = when.remote_hosts.iter();
    note("logins from", hosts.map(ToString::to_string).collect());
    note("logins by", when.ssh_auth_methods.clone());
    if parts.is_empty() {
        "it is for everybody".to_owned()
    } else {
        format!("it is for {}", parts.join("; "))
    }
}

fn prefix(table: &Table) -> String {
    table
        .name
        .as_ref()
        .map_or_else(String::new, |name| format!("token {name}: "))
}

fn mint(
    config: &Config,
    table: &Table,
    issuer: Result<Issuer, Error>,
    user: &User,
    euid: u32,
    findings: &mut Vec<Finding>,
) -> bool {
    let now = session::host::now();
    let prefix = prefix(table);
    if let Some(why) = issuer.as_ref().ok().and_then(Issuer::why_not_key) {
        findings.push(Finding::odd(
            why,
            "until then the schedd is asked in its place",
        ));
    }
    let both = issuer.and_then(|issuer| {
        let wanted = table.token.lifetime_of(true);
        let short = Lifetime::from_secs(SHORT).unwrap_or(wanted);
        let batch = issuer.issue(Request {
            user,
            euid,
            now,
            lifetime: if issuer.may_wait() { short } else { wanted },
            deadline: Deadline::after(config.timeout),
        })?;
        Ok((issuer, batch))
    });
    let (issuer, batch) = match both {
        Ok(both) => both,
        Err(error) => {
            findings.push(Finding::bad(format!("{prefix}{error}")));
            return false;
        }
    };
    if let Issuer::Key(signer) = &issuer {
        for error in &signer.skipped {
            findings.push(Finding::odd(
                error,
                "sessions get tokens of the other kids only until this key is here",
            ));
        }
    }
    match verify(&issuer, &batch, now) {
        Ok(()) => {
            let words = match issuer {
                Issuer::Key(_) => "a token can be signed and verifies",
                Issuer::Schedd(_) => "the schedd signs a token",
            };
            findings.push(Finding::good(format!(
                "{prefix}{words}: {}, lifetime {}",
                described(&batch.tokens),
                table.token.lifetime_of(true)
            )));
            true
        }
        Err(why) => {
            findings.push(Finding::bad(format!(
                "{prefix}a token was signed but does not verify: {why}"
            )));
            false
        }
    }
}

fn described(tokens: &[Minted]) -> String {
    let kids: Vec<String> = tokens.iter().map(|token| token.kid.to_string()).collect();
    let first = tokens.first();
    format!(
        "kid {}, sub {}, iss {}, scope {}",
        kids.join(","),
        first.map_or("none", |token| &token.subject),
        first.map_or("none", |token| &token.issuer),
        first
            .and_then(|token| token.scope.as_deref())
            .unwrap_or("unrestricted"),
    )
}

/// What the schedd signed nobody here can verify but a server.
fn verify(issuer: &Issuer, batch: &Batch, now: u64) -> Result<(), String> {
    let Some((trust_domain, keys)) = issuer.share_keys() else {
        return Ok(());
    };
    let text = std::str::from_utf8(&batch.contents).map_err(|error| error.to_string())?;
    let keys: Vec<&SigningKey> = keys.iter().collect();
    for line in idtoken::lines(text) {
        idtoken::verify(line, &keys, Some(&trust_domain), now)
            .map_err(|refusal| refusal.to_string())?;
    }
    Ok(())
}

/// Whether there is a place for the tokens.
fn place(config: &Config, user: &User, euid: u32, findings: &mut Vec<Finding>) {
    let private = private::check(&config.run_dir, euid);
    if config.store == Store::Private {
        findings.push(match private {
            Ok(()) => Finding::good(format!(
                "tokens go into private stores below {}",
                config.run_dir.display()
            )),
            Err(error) => Finding::bad(error),
        });
        findings.extend(shared(config));
        return;
    }
    let deadline = Deadline::after(config.timeout);
    let home = user.home.clone();
    let written = as_user(user, euid, deadline, move || home::probe(&home));
    findings.push(match (written, private) {
        (Ok(()), _) => Finding::good(format!(
            "{} can write tokens to {}",
            user.name,
            user.home.join(home::TOKENS_D).display()
        )),
        (Err(error), Ok(())) => Finding::odd(
            error,
            format!(
                "until then the tokens of {} go into private stores below {}",
                user.name,
                config.run_dir.display()
            ),
        ),
        (Err(error), Err(private)) => Finding::bad(format!(
            "{error}. A private store can not take the tokens either: {private}"
        )),
    });
}

/// Private stores that share a file system with everything else in `run_dir`.
fn shared(config: &Config) -> Option<Finding> {
    let device = |path: &std::path::Path| path.metadata().ok().map(|meta| meta.dev());
    let stores = config.run_dir.join("tokens");
    (device(&stores)? == device(&config.run_dir)?).then(|| {
        Finding::odd(
            format!(
                "{} has no file system of its own: a user could fill it",
                stores.display()
            ),
            "run `systemctl enable --now run-pam_idtoken-tokens.mount`",
        )
    })
}
