//! The door for fuzzing: arguments over a file's text, without the file.

use std::path::Path;

use super::layers::UNASKED;
use super::{Arguments, Config, file};
use crate::error::{Error, Result};

/// What [`Config::load`] makes of these arguments and a file with this text.
pub fn load(arguments: &Arguments, text: &str) -> Result<Config> {
    if let Some(wrong) = &arguments.wrong {
        return Err(Error::Config(wrong.clone()));
    }
    let path = Path::new("/x.toml");
    let given = file::parse(text, path)?;
    let args = arguments.given.clone();
    Ok(Config::merge(args, given, path, true, UNASKED))
}
