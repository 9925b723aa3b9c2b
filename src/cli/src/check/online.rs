//! Does the pool accept a token? A real one is made for a user, and each schedd of the pool and
//! the collector are asked with it, by condor_ping.

mod answer;
mod clocks;
mod hosts;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use idtoken::{Lifetime, TrustDomain};
use session::child::{ChildError, Said};
use session::config::{Config, Table};
use session::deadline::Deadline;
use session::discovery::HTCondor;
use session::error::Error;
use session::host::Host;
use session::log::Syslog;
use session::record::{Login, Minted};
use session::trial::{Trial, Wanted};
use session::user::User;

use super::finding::{Finding, Id};
use answer::{Answer, Target};
use hosts::{Row, parse};

/// How long one host may take to answer.
const EACH: Duration = Duration::from_secs(10);
/// And all of them together.
const ALL: Duration = Duration::from_secs(60);
/// How long the tokens live at least, in seconds: that, and a minute for clocks that differ.
const LEAST: u64 = 120;
/// And at most: a clock that is ahead by more is named by [`clocks`] in any case.
const MOST: u64 = 600;
/// So many schedds are asked, at most.
const HOSTS: usize = 50;

/// Whether somebody of the pool was asked.
pub(super) fn was_asked(findings: &[Finding]) -> bool {
    let ids = [Id::OnlineSchedd, Id::OnlineCollector];
    findings.iter().any(|finding| ids.contains(&finding.id))
}

/// Nobody was, though it was wanted.
pub(super) fn not_asked(why: impl Display, remedy: impl Display) -> Finding {
    let what = format!("the pool was not asked: {why}");
    Finding::fail(Id::Online, what).with_remedy(remedy)
}

/// Asks the pool with the tokens that a login of this user gets.
pub(super) fn look(
    config: &Config,
    said: Option<&HTCondor>,
    who: (&User, &Login),
    tables: &[&Table],
    findings: &mut Vec<Finding>,
) {
    if session::host::euid() != 0 {
        let why = "only root can make a token for another user";
        findings.push(not_asked(why, "run it as root"));
        return;
    }
    let before = findings.len();
    let asked = Pool::new(config, said, who, tables).and_then(|pool| {
        pool.ask_all(config, findings)?;
        Ok(pool.said())
    });
    match asked {
        Ok(said) => findings.insert(before, said),
        Err(error) => {
            let what = format!("the pool can not be asked with a token: {error}");
            findings.insert(before, Finding::fail(Id::Online, what));
        }
    }
}

struct Pool {
    trial: Trial,
    /// This host's full name as HTCondor has it, or what it is called.
    host: String,
    lifetime: Lifetime,
    tools: PathBuf,
    /// What is asked for: a right that the token has.
    right: String,
    until: Deadline,
}

impl Pool {
    fn new(
        config: &Config,
        said: Option<&HTCondor>,
        (user, login): (&User, &Login),
        tables: &[&Table],
    ) -> Result<Self, Error> {
        let lifetime = lifetime(config.shortest_lifetime());
        let wanted = Wanted {
            user,
            login,
            tables,
            lifetime,
        };
        let host = Host::current()?;
        let log = Syslog::new("pam_idtoken(check)", false);
        let trial = Trial::new(config, &host, &wanted, &log)?;
        let tools = config
            .condor_config_val
            .parent()
            .unwrap_or(Path::new("/usr/bin"));
        Ok(Self {
            right: right(
                &trial.tokens,
                said.and_then(|said| said.trust_domain.as_ref()),
            ),
            trial,
            host: hosts::this(config),
            lifetime,
            tools: tools.to_owned(),
            until: Deadline::after(ALL),
        })
    }

    fn ask_all(&self, config: &Config, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let rows = self.schedds(findings)?;
        findings.push(self.ping(&Target::Collector)?);
        let names = rows.iter().map(|row| Target::Schedd(row.name.clone()));
        let mut names: Vec<Target> = names.collect();
        if names.is_empty() {
            names.push(Target::OwnSchedd);
        }
        let mut asked = 0;
        for target in names.iter().take(HOSTS) {
            if self.until.passed() {
                break;
            }
            findings.push(self.ping(target)?);
            asked += 1;
        }
        if asked < names.len() {
            findings.push(cut(asked, names.len()));
        }
        clocks::compare(&rows, config.shortest_lifetime(), findings);
        Ok(())
    }

    /// By which token it can be found in logs.
    fn said(&self) -> Finding {
        let tokens = self.trial.tokens.iter();
        let jtis: Vec<String> = tokens.map(|token| token.jti.to_string()).collect();
        let what = format!(
            "the pool was asked with a token of {} that is gone now: jti {}",
            self.lifetime,
            jtis.join(", ")
        );
        Finding::ok(Id::Online, what)
    }

    /// What a command says, or why it says nothing; an error if it is this host that hinders.
    fn run(&self, tool: &str, args: &[&str]) -> Result<Result<Said, String>, Error> {
        let said = self.trial.run(&self.tools.join(tool), args, self.each());
        said.map(Ok).or_else(|error| of_one(tool, error).map(Err))
    }

    /// The schedds that the collector knows, this host's first.
    fn schedds(&self, findings: &mut Vec<Finding>) -> Result<Vec<Row>, Error> {
        let args = [
            "-schedd",
            "-af:t",
            "Name",
            "Machine",
            "MyCurrentTime",
            "LastHeardFrom",
        ];
        let said = self.run("condor_status", &args)?;
        let said = said.and_then(|said| {
            if said.status.success() {
                Ok(said)
            } else {
                Err(answer::shown(&said))
            }
        });
        let said = match said {
            Ok(said) => said,
            Err(why) => {
                let what = format!("the collector does not say which schedds there are: {why}");
                let remedy = "see what is said of the collector; only this host's own schedd is \
                              asked";
                findings.push(Finding::fail(Id::Online, what).with_remedy(remedy));
                return Ok(Vec::new());
            }
        };
        let (mut rows, odd) = parse(&String::from_utf8_lossy(&said.stdout), &self.host);
        if odd > 0 {
            let what = format!("{odd} schedds with odd names were not asked");
            let remedy =
                "look at Name and Machine in `condor_status -schedd -long`: who advertises them?";
            findings.push(Finding::warn(Id::Online, what, remedy));
        }
        rows.sort_by_key(|row| !row.is_own);
        if !rows.iter().any(|row| row.is_own) {
            let what = "the collector knows no schedd of this host";
            let remedy = "if this is an access point: is condor_schedd running, and may it advertise \
                          itself? See its SchedLog";
            findings.push(Finding::warn(Id::Online, what, remedy));
        }
        Ok(rows)
    }

    fn ping(&self, target: &Target) -> Result<Finding, Error> {
        let right = match target {
            // Users ask it and write nothing there.
            Target::Collector if self.right == "WRITE" => "READ",
            _ => &self.right,
        };
        let mut args = vec!["-verbose", "-type", target.kind()];
        if let Target::Schedd(name) = target {
            args.extend(["-name", name]);
        }
        args.push(right);
        let answer = match self.run("condor_ping", &args)? {
            Ok(said) => Answer::of(&said, &self.trial.tokens),
            Err(why) => Answer::None(why),
        };
        Ok(answer.judge(target, right))
    }

    fn each(&self) -> Deadline {
        Deadline::after(EACH.min(self.until.remaining()))
    }
}

/// What hindered a command that does not concern the others; else the error is for all.
fn of_one(tool: &str, error: Error) -> Result<String, Error> {
    match error {
        Error::Program(ChildError::Deadline { waited, .. }) => {
            Ok(format!("{tool} waited for {} s", waited.as_secs()))
        }
        Error::Program(
            error @ (ChildError::Limit { .. } | ChildError::Start { .. } | ChildError::Lost { .. }),
        ) => Ok(error.to_string()),
        error => Err(error),
    }
}

/// Half of what a session's token lives: so much of it is left before it is renewed.
fn lifetime(shortest: Lifetime) -> Lifetime {
    let half = (shortest.as_secs() / 2).clamp(LEAST, MOST);
    Lifetime::from_secs(half).unwrap_or(shortest)
}

fn cut(asked: usize, all: usize) -> Finding {
    Finding::warn(
        Id::Online,
        format!("only {asked} of {all} schedds were asked: time was up, or there are too many"),
        "run it on other access points, too",
    )
}

/// What condor_ping is to try: to write if the token may, since reading proves least. Of several
/// tokens this host's pool takes that of its own trust domain.
fn right(tokens: &[Minted], here: Option<&TrustDomain>) -> String {
    let here = here.map(ToString::to_string);
    let of_here = |token: &&Minted| Some(&token.issuer) == here.as_ref();
    let token = tokens.iter().find(of_here).or_else(|| tokens.first());
    let Some(scope) = token.and_then(|token| token.scope.as_deref()) else {
        return "WRITE".to_owned();
    };
    let rights = scope
        .split(' ')
        .filter_map(|word| word.strip_prefix("condor:/"));
    let rights: Vec<&str> = rights.collect();
    let best = ["WRITE", "READ"]
        .into_iter()
        .find(|right| rights.contains(right));
    best.or_else(|| rights.first().copied())
        .unwrap_or("READ")
        .to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::check) fn token(scope: Option<&str>) -> Minted {
        Minted {
            jti: "5f0d6a3c9be14782a1c0d4e7f3b29866".parse().unwrap(),
            kid: "POOL".parse().unwrap(),
            key: String::new(),
            subject: "alice@lab.test".into(),
            issuer: "lab.test".into(),
            scope: scope.map(str::to_owned),
            issued: 0,
            expires: 60,
        }
    }

    #[test]
    fn what_is_tried_is_what_the_token_may() {
        for (scope, expected) in [
            (None, "WRITE"),
            (Some("condor:/READ condor:/WRITE"), "WRITE"),
            (Some("condor:/READ"), "READ"),
            (Some("condor:/ADVERTISE_STARTD"), "ADVERTISE_STARTD"),
        ] {
            assert_eq!(right(&[token(scope)], None), expected, "{scope:?}");
        }
    }

    #[test]
    fn of_several_tokens_that_of_this_hosts_pool_says_what_is_tried() {
        let mut other = token(Some("condor:/READ"));
        other.issuer = "pool.other".into();
        let tokens = [other, token(None)];
        let here = |name: &str| name.parse().unwrap();
        assert_eq!(right(&tokens, Some(&here("lab.test"))), "WRITE");
        assert_eq!(right(&tokens, Some(&here("pool.other"))), "READ");
        assert_eq!(right(&tokens, Some(&here("neither"))), "READ");
        assert_eq!(right(&tokens, None), "READ");
    }

    #[test]
    fn what_hinders_one_command_ends_not_all() {
        let program = || PathBuf::from("/usr/bin/condor_ping");
        let limit = ChildError::Limit {
            program: program(),
            limit: 7,
        };
        let start = ChildError::Start {
            program: program(),
            doing: "exec",
            source: std::io::Error::from_raw_os_error(libc::E2BIG),
        };
        let lost = ChildError::Lost { program: program() };
        for error in [limit, start, lost] {
            let why = of_one("condor_ping", Error::Program(error)).unwrap();
            assert!(why.contains("/usr/bin/condor_ping"), "{why}");
        }
        let missing = ChildError::Missing { program: program() };
        assert!(of_one("condor_ping", Error::Program(missing)).is_err());
        assert!(of_one("condor_ping", Error::NoUser("alice".into())).is_err());
    }

    #[test]
    fn a_token_lives_as_long_as_one_that_is_due_has_left() {
        for (shortest, expected) in [(60, 120), (300, 150), (3600, 600), (86_400, 600)] {
            let shortest = Lifetime::from_secs(shortest).unwrap();
            assert_eq!(lifetime(shortest).as_secs(), expected);
        }
    }
}
