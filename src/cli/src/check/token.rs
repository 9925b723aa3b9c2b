//! Can tokens be made, for whom, and would they be ones that work?

use std::os::unix::fs::MetadataExt;

use idtoken::{Lifetime, SigningKey};
use session::acting::as_user;
use session::config::{Config, Store, Table};
use session::deadline::Deadline;
use session::discovery::HTCondor;
use session::error::Error;
use session::home::{self, Keys};
use session::issuer::{Batch, Issuer, Request};
use session::policy::{self, Reason, Verdict};
use session::private;
use session::record::{Login, Minted};
use session::user::User;

use super::finding::{Finding, Id, Level, table_number};
use super::{key, online, own};
use crate::args::{Args, CheckOptions};

/// Nobody's name: it shows that keys and domains serve to sign.
const NOBODY: &str = "idtokenctl-check";
/// What a schedd makes for a check is a token that works, for a minute.
const SHORT: u64 = 60;

/// Where a check stands.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) args: &'a Args,
    pub(super) options: &'a CheckOptions,
    pub(super) said: Option<&'a HTCondor>,
    pub(super) euid: u32,
}

/// Signs and verifies in memory; for a named user also looks at policy, home and the
/// user's own tokens, and asks the pool if that is wanted.
pub(super) fn look(context: &Context<'_>, findings: &mut Vec<Finding>) {
    sign(context, findings);
    // A monitor that wants the pool to be asked must not read that all is well if it was not.
    let is_said = |finding: &Finding| finding.id == Id::Online && finding.level == Level::Fail;
    if context.options.online && !online::was_asked(findings) && !findings.iter().any(is_said) {
        let why = "there is no token to ask it with";
        findings.push(online::not_asked(why, "see what is said of the user"));
    }
}

fn sign(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let (config, options) = (context.config, context.options);
    let Some(name) = options.user.as_deref() else {
        for index in 0..config.tables.len() {
            without_user(context, index, findings);
        }
        let what = "no user was named: policy and home were not looked at";
        findings.push(Finding::note(Id::User, what).with_remedy("add --user NAME"));
        return;
    };
    let login = Login {
        service: context.args.service.clone(),
        rhost: options.from.clone(),
        auth: options.auth.clone(),
    };
    let is_unsaid = options.from.is_none() && options.auth.is_empty() && looks_at_logins(config);
    let unsaid = |what: String| {
        let remedy = "add --from HOST and --auth METHOD to see what such a login gets";
        Finding::note(Id::User, what).with_remedy(remedy)
    };
    match served(config, name, &login) {
        Ok((user, Ok(tables))) => {
            findings.push(Finding::ok(Id::User, format!("{name} is served")));
            if is_unsaid {
                let what = "tables of the configuration look at where a login comes from, or how";
                findings.push(unsaid(what.to_owned()));
            }
            with_user(context, &user, &login, &tables, findings);
        }
        Ok((_, Err(Reason::NoTable))) if is_unsaid => findings.push(unsaid(format!(
            "{name} gets no token unless a table is for where the login comes from, or how"
        ))),
        Ok((_, Err(reason))) => {
            let what = format!("{name} gets no token: {reason}");
            let remedy = format!("see the policy in {}", config.file.display());
            findings.push(
                Finding::fail(Id::User, what)
                    .with_remedy(remedy)
                    .about(&config.file),
            );
        }
        Err(error) => findings.push(Finding::fail(Id::User, error)),
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
fn without_user(context: &Context<'_>, index: usize, findings: &mut Vec<Finding>) {
    let table = &context.config.tables[index];
    let issuer = Issuer::new(&table.token, context.euid);
    let before = findings.len();
    key::look(table, &issuer, context.said, context.euid, findings);
    if let Ok(Issuer::Schedd(_)) = issuer {
        let what = format!("{}the schedd signs", prefix(table));
        let remedy = "add --user NAME to see that it does";
        findings.push(Finding::note(Id::Token, what).with_remedy(remedy));
    } else {
        let nobody = User {
            name: NOBODY.to_owned(),
            uid: u32::MAX,
            gid: u32::MAX,
            groups: Vec::new(),
            home: "/".into(),
        };
        mint(context, table, issuer, &nobody, findings);
    }
    number(context, index, &mut findings[before..]);
}

fn with_user(
    context: &Context<'_>,
    user: &User,
    login: &Login,
    tables: &[usize],
    findings: &mut Vec<Finding>,
) {
    let (config, euid) = (context.config, context.euid);
    let mut keys = Keys::new();
    let mut all = true;
    for index in tables {
        let table = &config.tables[*index];
        let before = findings.len();
        if config.tables.len() > 1 {
            let what = format!("for {}: {}", user.name, whose(table));
            findings.push(Finding::ok(Id::Table, what));
        }
        let issuer = Issuer::new(&table.token, euid);
        if let Ok(issuer) = &issuer {
            keys.extend(issuer.share_keys());
        }
        key::look(table, &issuer, context.said, euid, findings);
        all &= mint(context, table, issuer, user, findings);
        number(context, *index, &mut findings[before..]);
    }
    let mut answers = !all || place(config, user, euid, findings);
    let tables: Vec<&Table> = tables.iter().map(|index| &config.tables[*index]).collect();
    let issuers = tables
        .iter()
        .filter_map(|table| table.token.trust_domain.clone());
    answers &= own::look(config, user, keys, issuers.collect(), euid, findings);
    if !context.options.online {
        return;
    }
    if !all {
        let why = "no token can be made, or not all";
        findings.push(online::not_asked(why, "mend that first"));
    } else if answers {
        online::look(config, context.said, (user, login), &tables, findings);
    } else {
        // HTCondor's commands read it, and would hang there until it answers, killed or not.
        let why = format!("the home of {} does not answer", user.name);
        findings.push(online::not_asked(why, "look at the file system it is on"));
    }
}

/// What was found says which table it is about.
fn number(context: &Context<'_>, index: usize, findings: &mut [Finding]) {
    for finding in findings {
        finding.table = table_number(context.config, index);
    }
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
    context: &Context<'_>,
    table: &Table,
    issuer: Result<Issuer, Error>,
    user: &User,
    findings: &mut Vec<Finding>,
) -> bool {
    let now = session::host::now();
    let prefix = prefix(table);
    let issuer = match issuer {
        Ok(issuer) => issuer,
        // It was said of the key.
        Err(Error::Key(_)) => return false,
        Err(error) => {
            findings.push(Finding::fail(Id::Token, format!("{prefix}{error}")));
            return false;
        }
    };
    let wanted = table.token.lifetime_of(true);
    let short = Lifetime::from_secs(SHORT).unwrap_or(wanted);
    let batch = issuer.issue(Request {
        user,
        euid: context.euid,
        now,
        lifetime: if issuer.may_wait() { short } else { wanted },
        deadline: Deadline::after(context.config.timeout),
    });
    let signed = batch.map_err(|error| error.to_string()).and_then(|batch| {
        match verify(&issuer, &batch, now) {
            Ok(()) => Ok(batch),
            Err(why) => Err(format!("a token was signed but does not verify: {why}")),
        }
    });
    match signed {
        Ok(batch) => {
            let words = match issuer {
                Issuer::Key(_) => "a token can be signed and verifies",
                Issuer::Schedd(_) => "the schedd signs a token",
            };
            let what = format!(
                "{prefix}{words}: {}, lifetime {wanted}",
                described(&batch.tokens)
            );
            findings.push(Finding::ok(Id::Token, what));
            true
        }
        Err(why) => {
            findings.push(Finding::fail(Id::Token, format!("{prefix}{why}")));
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

/// Whether there is a place for the tokens; false if the home does not answer.
fn place(config: &Config, user: &User, euid: u32, findings: &mut Vec<Finding>) -> bool {
    let id = Id::Store;
    let private = private::check(&config.run_dir, euid);
    if config.store == Store::Private {
        findings.push(match private {
            Ok(()) => {
                let dir = config.run_dir.display();
                Finding::ok(id, format!("tokens go into private stores below {dir}"))
            }
            Err(error) => Finding::fail(id, error),
        });
        findings.extend(shared(config));
        return true;
    }
    let deadline = Deadline::after(config.timeout);
    let home = user.home.clone();
    let written = as_user(user, euid, deadline, move || home::probe(&home));
    let answers = !matches!(written, Err(Error::HomeTimeout { .. }));
    let finding = match (written, private) {
        (Ok(()), _) => Finding::ok(
            id,
            format!(
                "{} can write tokens to {}",
                user.name,
                user.home.join(home::TOKENS_D).display()
            ),
        ),
        (Err(error), Ok(())) => Finding::warn(
            id,
            error,
            format!(
                "until then the tokens of {} go into private stores below {}",
                user.name,
                config.run_dir.display()
            ),
        ),
        (Err(error), Err(private)) => Finding::fail(
            id,
            format!("{error}. A private store can not take the tokens either: {private}"),
        ),
    };
    findings.push(finding.about(&user.home.join(home::TOKENS_D)));
    answers
}

/// Private stores that share a file system with everything else in `run_dir`.
fn shared(config: &Config) -> Option<Finding> {
    let device = |path: &std::path::Path| path.metadata().ok().map(|meta| meta.dev());
    let stores = config.run_dir.join("tokens");
    (device(&stores)? == device(&config.run_dir)?).then(|| {
        Finding::warn(
            Id::PrivateMount,
            format!(
                "{} has no file system of its own: a user could fill it",
                stores.display()
            ),
            "run `systemctl enable --now run-pam_idtoken-tokens.mount`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;
    use crate::check::report::Report;
    use clap::Parser;
    use std::path::Path;

    /// What a check of nobody says with this configuration: the findings, and the report's
    /// `online` and `ready`.
    fn checked(text: &str) -> (Vec<Finding>, bool, bool) {
        let args = Args::parse_from(["idtokenctl", "check", "--user", "nobody", "--online"]);
        let Command::Check(options) = &args.command else {
            unreachable!();
        };
        let config = Config::parse(text, Path::new("/x.toml")).unwrap();
        let context = Context {
            config: &config,
            args: &args,
            options,
            said: None,
            euid: session::host::euid(),
        };
        let mut findings = Vec::new();
        look(&context, &mut findings);
        let report = Report::new(&args, options, String::new(), 0, &findings);
        let said = (report.online, report.ready);
        (findings, said.0, said.1)
    }

    #[test]
    fn a_pool_that_was_not_asked_is_no_success() {
        for (text, why) in [
            (
                "[[token]]\nremote_hosts = [\"192.0.2.0/24\"]\n",
                "there is no token to ask it with",
            ),
            (
                "deny_users = [\"nobody\"]\n",
                "there is no token to ask it with",
            ),
            (
                "trust_domain = \"a\"\nuid_domain = \"a\"\nissuer = \"key\"\n\
              pool_signing_key_file = \"/nowhere/key\"\n",
                "no token can be made",
            ),
        ] {
            let (findings, online, ready) = checked(text);
            let last = findings.last().unwrap();
            let what = format!("the pool was not asked: {why}");
            assert!(
                last.id == Id::Online && last.is(Level::Fail, &what),
                "{findings:?}"
            );
            assert_eq!((online, ready), (false, false));
        }
    }
}
