//! `idtokenctl`: shows, checks and keeps the tokens of this host's sessions.
//!
//! Exit codes: 0 all is well, 1 something is not (the output says what), 2 the
//! command line could not be understood; of `reconcile` also 3, something has to
//! wait for the next run.

mod args;
mod check;
#[cfg(test)]
mod documents;
mod end;
#[cfg(test)]
mod guides;
mod list;
mod load;
mod output;
mod pamd;
mod reconcile;
mod revoke;
mod show;
mod supervise;
mod verify;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use session::sys::WipingAllocator;

use args::{Args, Command};
use output::Output;

/// Keys pass through this process too.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

const WELL: u8 = 0;
const NOT_WELL: u8 = 1;

fn main() -> ExitCode {
    if let Err(error) = session::sys::forbid_cores() {
        output::complain(format!(
            "could not forbid cores, which may hold keys: {error}"
        ));
        return ExitCode::FAILURE;
    }
    let args = Args::parse();
    // These work on homes, any of which may hold the process.
    let checks = matches!(args.command, Command::Check(_));
    let works = checks || matches!(args.command, Command::Reconcile(_) | Command::End(_));
    let failed = |error: Box<dyn Error>| {
        output::complain(&error);
        ExitCode::FAILURE
    };
    if works && !supervise::is_worker() {
        return supervise::run(&mut Output::stdout(), checks).unwrap_or_else(failed);
    }
    if checks && let Err(error) = supervise::end_with_supervisor() {
        return failed(error);
    }
    let code = answer(run(&args));
    if works {
        supervise::last_words(code);
    }
    ExitCode::from(code)
}

fn run(args: &Args) -> Result<u8, Box<dyn Error>> {
    let mut out = Output::stdout();
    let is_well = match &args.command {
        Command::Check(options) => check::run(args, options, &mut out),
        Command::List(options) => list::run(args, options, &mut out),
        Command::Verify(options) => verify::run(args, options, &mut out),
        Command::ShowConfig => show::run(args, &mut out),
        Command::End(options) => end::run(args, options, &mut out),
        Command::RevokeExpr(options) => revoke::run(args, options, &mut out),
        // It has exit codes of its own.
        Command::Reconcile(options) => return reconcile::run(args, options, &mut out),
    }?;
    Ok(if is_well { WELL } else { NOT_WELL })
}

/// The exit code, with the reason on standard error if nothing could be done.
fn answer(result: Result<u8, Box<dyn Error>>) -> u8 {
    result.unwrap_or_else(|error| {
        output::complain(&error);
        NOT_WELL
    })
}
