//! `idtokenctl show-config`.

use std::error::Error;

use session::config::{Origin, Setting};

use crate::args::Args;
use crate::load::load;
use crate::output::Output;

/// Prints a configuration file that says what holds now, each value with its origin.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<bool, Box<dyn Error>> {
    let config = load(&args.as_arguments(), session::host::euid())?;
    let state = if config.file_exists {
        ""
    } else {
        " (not there: defaults)"
    };
    out.line(format!("# {}{state}", config.file.display()))?;
    print(&config.settings(), out)?;
    for table in config.table_settings() {
        out.line("")?;
        out.line("[[token]]")?;
        print(&table, out)?;
    }
    Ok(true)
}

fn print(settings: &[Setting], out: &mut Output) -> Result<(), Box<dyn Error>> {
    for setting in settings {
        let origin = match setting.origin {
            Origin::File => "from the file",
            Origin::Argument => "from an argument",
            Origin::HTCondor => "from HTCondor",
            Origin::Default => "default",
        };
        match &setting.value {
            Some(value) => out.line(format!("{} = {value}  # {origin}", setting.key))?,
            None => out.line(format!("# {} is not set", setting.key))?,
        }
    }
    Ok(())
}
