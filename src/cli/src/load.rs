//! The configuration as a session would have it now.

use session::config::{Arguments, Config};
use session::deadline::Deadline;
use session::discovery::Found;
use session::error::Result;

use crate::output::complain;

/// Reads the configuration and asks HTCondor for what is not written down; what it
/// could not say is said on standard error.
pub(crate) fn load(arguments: &Arguments, euid: u32) -> Result<Config> {
    let (config, found) = load_and_look(arguments, euid)?;
    if let Some(why) = config.trouble_with(&found) {
        complain(why);
    }
    Ok(config)
}

/// The same with what came of asking HTCondor.
pub(crate) fn load_and_look(arguments: &Arguments, euid: u32) -> Result<(Config, Found)> {
    let config = Config::load(arguments, euid)?;
    // Nobody waits at a login for it here.
    let deadline = Deadline::after(config.timeout * 2);
    Ok(config.discover(euid, deadline, session::host::now()))
}
