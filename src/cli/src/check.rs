//! `idtokenctl check`: is this host ready, and if not, what is to be done?

mod host;
mod htcondor;
mod own;
mod stack;
mod token;

use std::error::Error;
use std::fmt;
use std::path::Path;

use session::config::Config;

use crate::args::{Args, CheckOptions};
use crate::load::load_and_look;
use crate::output::Output;
use crate::pamd::PAM_D;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// As it should be.
    Good,
    /// Sessions get their tokens, but somebody may be surprised.
    Odd,
    /// Sessions get no token, or none that works.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
pub(crate) struct Finding {
    level: Level,
    what: String,
    remedy: Option<String>,
}

impl Finding {
    pub(crate) fn good(what: impl fmt::Display) -> Self {
        Self {
            level: Level::Good,
            what: what.to_string(),
            remedy: None,
        }
    }

    pub(crate) fn odd(what: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self {
            level: Level::Odd,
            what: what.to_string(),
            remedy: Some(remedy.to_string()),
        }
    }

    /// The remedy may be part of what is said.
    pub(crate) fn bad(what: impl fmt::Display) -> Self {
        Self {
            level: Level::Bad,
            what: what.to_string(),
            remedy: None,
        }
    }

    pub(crate) fn with_remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }

    #[cfg(test)]
    pub(crate) fn is(&self, level: Level, part: &str) -> bool {
        self.level == level && self.what.contains(part)
    }
}

/// Looks at everything; true if nothing is bad.
pub(crate) fn run(
    args: &Args,
    options: &CheckOptions,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let mut findings = Vec::new();
    if session::host::euid() != 0 {
        findings.push(Finding::odd(
            "this is not root",
            "run idtokenctl check as root, as sshd will be",
        ));
    }
    let line = stack::look(Path::new(PAM_D), &args.service, &mut findings);
    if args.service == "sshd" {
        findings.extend(host::use_pam());
    }
    let config = check_configuration(args, options, &mut findings);
    if let (Some(line), Some(config)) = (&line, &config) {
        findings.extend(stack::control(line, config));
        findings.extend(stack::environment(
            Path::new(PAM_D),
            &args.service,
            line,
            config,
        ));
    }
    print(&findings, out)
}

fn check_configuration(
    args: &Args,
    options: &CheckOptions,
    findings: &mut Vec<Finding>,
) -> Option<Config> {
    let arguments = args.as_arguments();
    for unknown in &arguments.unknown {
        findings.push(Finding::odd(
            format!("the argument {unknown} of the PAM line means nothing and is ignored"),
            "remove it, or see the table of keys in the documentation",
        ));
    }
    let euid = session::host::euid();
    let (config, found) = match load_and_look(&arguments, euid) {
        Ok(both) => both,
        Err(error) => {
            findings.push(Finding::bad(error));
            return None;
        }
    };
    findings.push(if config.file_exists {
        Finding::good(format!(
            "configuration {} can be used",
            config.file.display()
        ))
    } else {
        Finding::good(format!(
            "no configuration {}: defaults",
            config.file.display()
        ))
    });
    if !config.services.contains(&args.service) {
        findings.push(
            Finding::bad(format!("the service {} is not served", args.service))
                .with_remedy(format!("add it to services in {}", config.file.display())),
        );
    }
    htcondor::look(&config, &found, findings);
    host::groups(&config, findings);
    host::state(&config, euid, findings);
    host::reconciler(&config, euid, findings);
    token::look(&config, args, options, euid, findings);
    Some(config)
}

fn print(findings: &[Finding], out: &mut Output) -> Result<bool, Box<dyn Error>> {
    for finding in findings {
        let word = match finding.level {
            Level::Good => "ok  ",
            Level::Odd => "note",
            Level::Bad => "FAIL",
        };
        out.line(format!("{word}  {}", finding.what))?;
        if let Some(remedy) = &finding.remedy {
            out.line(format!("      -> {remedy}"))?;
        }
    }
    let bad = findings
        .iter()
        .filter(|finding| finding.level == Level::Bad)
        .count();
    out.line(match bad {
        0 => "This host is ready.".to_owned(),
        1 => "This host is not ready: 1 finding to act on.".to_owned(),
        n => format!("This host is not ready: {n} findings to act on."),
    })?;
    Ok(bad == 0)
}
