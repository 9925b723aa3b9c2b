//! `idtokenctl check`: is this host ready, and if not, what is to be done?

mod ask;
mod clock;
pub(crate) mod finding;
mod host;
mod htcondor;
mod key;
mod online;
mod own;
pub(crate) mod report;
mod selinux;
mod stack;
mod tmp;
mod token;
mod units;

use std::error::Error;
use std::path::Path;

use session::config::Config;

use crate::args::{Args, CheckOptions};
use crate::load::load_and_look;
use crate::output::Output;
use crate::pamd::PAM_D;
use finding::{Finding, Id};
use report::Report;
use stack::Seen;
use token::Context;
use units::Units;

/// Looks at everything; true if nothing failed.
pub(crate) fn run(
    args: &Args,
    options: &CheckOptions,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let mut findings = Vec::new();
    let euid = session::host::euid();
    findings.push(if euid == 0 {
        Finding::ok(Id::RunAsRoot, "this is root, as sshd will be")
    } else {
        let remedy = "run idtokenctl check as root, as sshd will be";
        Finding::note(Id::RunAsRoot, "this is not root").with_remedy(remedy)
    });
    let seen = stack::look(Path::new(PAM_D), &args.service, &mut findings);
    if args.service == "sshd" {
        findings.extend(host::use_pam());
    }
    findings.push(selinux::look());
    findings.push(clock::look());
    check_configuration(args, options, seen.as_ref(), euid, &mut findings);
    let (host, now) = (session::host::full_name(), session::host::now());
    let report = Report::new(args, options, host, now, &findings);
    if options.json {
        out.json(&report)?;
    } else {
        report.tell(out)?;
    }
    Ok(report.ready)
}

fn check_configuration(
    args: &Args,
    options: &CheckOptions,
    seen: Option<&Seen>,
    euid: u32,
    findings: &mut Vec<Finding>,
) {
    let arguments = args.as_arguments();
    for unknown in &arguments.unknown {
        findings.push(Finding::warn(
            Id::Arguments,
            format!("the argument {unknown} of the PAM line means nothing and is ignored"),
            "remove it, or see the table of keys in the documentation",
        ));
    }
    let (config, found) = match load_and_look(&arguments, euid) {
        Ok(both) => both,
        Err(error) => {
            findings.push(Finding::fail(Id::Configuration, error));
            return;
        }
    };
    findings.push(configuration(&config));
    findings.push(served(&config, args));
    if let Some(seen) = seen {
        findings.push(stack::line::control(seen, &config));
        findings.extend(stack::line::environment(seen, &config));
        findings.extend(stack::lingers(seen, &config));
    }
    htcondor::look(&config, &found, findings);
    host::groups(&config, findings);
    host::state(&config, euid, findings);
    let is_renewed = host::reconciler(&config, euid, findings);
    let units = Units::ask().map_err(|finding| findings.push(finding)).ok();
    if let Some(units) = &units {
        units.look(&config, is_renewed, findings);
    }
    findings.push(tmp::look(seen, units.as_ref(), &config, euid));
    let context = Context {
        config: &config,
        args,
        options,
        said: found.answer(),
        euid,
    };
    token::look(&context, findings);
}

fn configuration(config: &Config) -> Finding {
    let file = config.file.display();
    let what = if config.file_exists {
        format!("configuration {file} can be used")
    } else {
        format!("no configuration {file}: defaults")
    };
    Finding::ok(Id::Configuration, what).about(&config.file)
}

fn served(config: &Config, args: &Args) -> Finding {
    let service = &args.service;
    let finding = if config.services.contains(service) {
        Finding::ok(
            Id::ServiceServed,
            format!("the service {service} is served"),
        )
    } else {
        let remedy = format!("add it to services in {}", config.file.display());
        let what = format!("the service {service} is not served");
        Finding::fail(Id::ServiceServed, what).with_remedy(remedy)
    };
    finding.about(&config.file)
}
