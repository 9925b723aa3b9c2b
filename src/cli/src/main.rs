//! `idtokenctl`: shows, checks and keeps the tokens of this host's sessions.
//!
//! Exit codes: 0 all is well, 1 something is not (the output says what), 2 the
//! command line could not be understood; of `reconcile` also 3, something has to
//! wait for the next run.

mod args;
mod check;
mod end;
mod list;
mod output;
mod pamd;
mod reconcile;
mod revoke;
mod show;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use session::sys::WipingAllocator;

use args::{Args, Command};
use output::Output;

/// Keys pass through this process too.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = Output::stdout();
    let result = match &args.command {
        Command::Check(options) => check::run(&args, options, &mut out),
        Command::List(options) => list::run(&args, options, &mut out),
        Command::Verify(options) => verify::run(&args, options, &mut out),
        Command::ShowConfig => show::run(&args, &mut out),
        Command::Reconcile(options) => match reconcile::run(&args, options, &mut out) {
            Ok(false) => return ExitCode::from(reconcile::INCOMPLETE),
            other => other,
        },
        Command::End(options) => end::run(&args, options, &mut out),
        Command::RevokeExpr(options) => revoke::run(&args, options, &mut out),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}
