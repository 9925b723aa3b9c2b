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
    let args = Args::parse();
    match &args.command {
        Command::Reconcile(options) if supervise::is_worker() => {
            let code = answer(reconcile::run(&args, options, &mut Output::stdout()));
            supervise::last_words(code);
            ExitCode::from(code)
        }
        Command::Reconcile(_) => supervise::run(&mut Output::stdout()).unwrap_or_else(|error| {
            output::complain(&error);
            ExitCode::FAILURE
        }),
        _ => ExitCode::from(answer(
            run(&args).map(|is_well| if is_well { WELL } else { NOT_WELL }),
        )),
    }
}

fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let mut out = Output::stdout();
    match &args.command {
        Command::Check(options) => check::run(args, options, &mut out),
        Command::List(options) => list::run(args, options, &mut out),
        Command::Verify(options) => verify::run(args, options, &mut out),
        Command::ShowConfig => show::run(args, &mut out),
        Command::End(options) => end::run(args, options, &mut out),
        Command::RevokeExpr(options) => revoke::run(args, options, &mut out),
        // It has exit codes of its own.
        Command::Reconcile(_) => Ok(false),
    }
}

/// The exit code, with the reason on standard error if nothing could be done.
fn answer(result: Result<u8, Box<dyn Error>>) -> u8 {
    result.unwrap_or_else(|error| {
        output::complain(&error);
        NOT_WELL
    })
}
