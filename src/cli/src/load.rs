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

/// What says where sessions are: with a configuration that can not be used, the arguments and
/// defaults, which is said on standard error. A stolen token does not wait for a typing error.
pub(crate) fn load_or_default(arguments: &Arguments, euid: u32) -> Config {
    Config::load(arguments, euid).unwrap_or_else(|error| {
        let config = Config::fallback(arguments);
        let place = config.state_dir.display();
        complain(format!(
            "{error}; until then sessions are looked for in {place}"
        ));
        config
    })
}
