//! Whether a reconcile has to be followed by another at once.

use std::path::PathBuf;

use crate::config::Config;
use crate::identity::{Identity, identity};

/// The files whose change calls for another reconcile: a run that was under way
/// when a key was replaced may have renewed some sessions with the old one.
#[derive(Debug, PartialEq, Eq)]
pub struct Watch(Vec<Option<Identity>>);

impl Watch {
    /// Their state now.
    pub fn of(config: &Config) -> Self {
        let tokens = config.tables.iter().map(|table| &table.token);
        let keys = tokens.flat_map(|token| token.kids.iter().map(|kid| token.key_file(kid)));
        let files: Vec<PathBuf> = keys.chain([config.file.clone()]).collect();
        Self(files.iter().map(|file| identity(file)).collect())
    }
}
