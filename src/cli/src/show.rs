//! `idtokenctl show-config`.

use std::error::Error;

use session::config::{Config, Origin};

use crate::args::Args;
use crate::output::Output;

/// Prints a configuration file that says what holds now, each value with its origin.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<bool, Box<dyn Error>> {
    let config = Config::load(&args.as_arguments(), session::host::euid())?;
    let state = if config.file_exists {
        ""
    } else {
        " (not there: defaults)"
    };
    out.line(format!("# {}{state}", config.file.display()))?;
    for setting in config.settings() {
        let origin = match setting.origin {
            Origin::File => "from the file",
            Origin::Argument => "from an argument",
            Origin::Default => "default",
        };
        match setting.value {
            Some(value) => out.line(format!("{} = {value}  # {origin}", setting.key))?,
            None => out.line(format!("# {} is not set", setting.key))?,
        }
    }
    Ok(true)
}
