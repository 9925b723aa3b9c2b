//! Who may say what a value is: arguments, a table, the file, HTCondor, and a default when
//! none of them does. What each of them says is checked before it comes here.

use std::fmt;
use std::path::{Path, PathBuf};

use idtoken::Lifetime;

use super::keys::{Given, KEYS};
use super::value::Value;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration of HTCondor on this host.
    HTCondor,
    /// The configuration file.
    File,
    /// An argument of the PAM line, or an option of idtokenctl.
    Argument,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::HTCondor => "htcondor",
            Self::File => "file",
            Self::Argument => "argument",
        })
    }
}

/// What came of asking HTCondor.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) said: Option<&'a Given>,
    /// Why it says nothing.
    pub(super) why_unset: Option<&'a str>,
}

/// Nobody has asked yet.
pub(super) const UNASKED: Asked<'_> = Asked {
    said: None,
    why_unset: None,
};

/// Who may say what a value is, from the strongest to the weakest.
#[derive(Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) args: &'a Given,
    pub(super) table: Option<&'a Given>,
    pub(super) file: &'a Given,
    pub(super) htcondor: Option<&'a Given>,
    /// Why HTCondor says nothing.
    pub(super) why_unset: Option<&'a str>,
    pub(super) path: &'a Path,
}

impl<'a> Layers<'a> {
    /// Each with what it is for the values that it sets.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a Given, Origin)> {
        let layers = [
            (Some(self.args), Origin::Argument),
            (self.table, Origin::File),
            (Some(self.file), Origin::File),
            (self.htcondor, Origin::HTCondor),
        ];
        let layers = layers.into_iter();
        layers.filter_map(|(given, origin)| Some((given?, origin)))
    }
}

/// Where each value comes from; of several notes on a key the last one counts.
pub(super) type Origins = Vec<(&'static str, Origin)>;

pub(super) fn origin_of(origins: &Origins, key: &str) -> Origin {
    let found = origins.iter().rfind(|(name, _)| *name == key);
    found.map_or(Origin::Default, |(_, origin)| *origin)
}

/// Picks the strongest value of each key, and notes where it comes from.
pub(super) struct Picker<'a> {
    pub(super) layers: Layers<'a>,
    pub(super) origins: Origins,
}

impl<'a> Picker<'a> {
    pub(super) fn new(layers: Layers<'a>) -> Self {
        let origins = Vec::with_capacity(KEYS.len());
        Self { layers, origins }
    }

    pub(super) fn pick(&mut self, key: &'static str) -> Option<&'a Value> {
        let mut layers = self.layers.all();
        let (value, origin) = layers.find_map(|(given, origin)| Some((given.get(key)?, origin)))?;
        self.origins.push((key, origin));
        Some(value)
    }

    pub(super) fn names(&mut self, key: &'static str, default: &[&str]) -> Vec<String> {
        match self.pick(key) {
            Some(Value::Names(names)) => names.clone(),
            _ => default.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    pub(super) fn lifetime(&mut self, key: &'static str) -> Option<Lifetime> {
        match self.pick(key) {
            Some(Value::Lifetime(lifetime)) => Some(*lifetime),
            _ => None,
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.pick(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        match self.pick(key) {
            Some(Value::Path(path)) => Some(path.clone()),
            _ => None,
        }
    }

    pub(super) fn path_or(&mut self, key: &'static str, default: &str) -> PathBuf {
        self.path(key).unwrap_or_else(|| default.into())
    }

    /// Whether somebody wrote the value down.
    pub(super) fn is_given(&self, key: &str) -> bool {
        let origin = origin_of(&self.origins, key);
        matches!(origin, Origin::File | Origin::Argument)
    }
}
