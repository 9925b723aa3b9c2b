//! The configuration: the file, the arguments over it, what HTCondor says and
//! defaults under both.

mod arguments;
mod file;
#[cfg(fuzzing)]
pub mod fuzz;
mod keys;
mod layers;
mod remote;
mod show;
mod table;
mod token;
mod value;
mod written;

use std::path::{Path, PathBuf};
use std::time::Duration;

use idtoken::Lifetime;

pub use arguments::Arguments;
pub use keys::{KEYS, MATCH_KEYS, TOKEN_KEYS};
pub use layers::Origin;
pub use remote::RemoteHost;
pub use show::Setting;
pub use token::{Table, TokenSettings, When};
pub use value::{IssuerChoice, Kind, OnClose, OnFailure, Store, TIMEOUT_MAX, TIMEOUT_MIN};

use crate::deadline::Deadline;
use crate::discovery::{self, Found, HTCondor, Source, Why};
use crate::error::{Error, Result};
use keys::Given;
use layers::{Asked, Layers, Origins, Picker, UNASKED, origin_of};
use value::Value;

/// The configuration file when the PAM line names none.
pub const DEFAULT_FILE: &str = "/etc/security/pam_idtoken.toml";
/// Where Debian's and Red Hat's packages put it.
const CONDOR_CONFIG_VAL: &str = "/usr/bin/condor_config_val";

/// Everything an administrator decides, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was looked for in, and whether it was there.
    pub file: PathBuf,
    /// Whether that file exists.
    pub file_exists: bool,
    /// PAM services that are served.
    pub services: Vec<String>,
    /// The lowest uid that is served.
    pub min_uid: u32,
    /// If this or `allow_users` is not empty, nobody else is served.
    pub allow_groups: Vec<String>,
    /// Members are not served, whatever else holds.
    pub deny_groups: Vec<String>,
    /// If this or `allow_groups` is not empty, nobody else is served.
    pub allow_users: Vec<String>,
    /// These are not served, whatever else holds.
    pub deny_users: Vec<String>,
    /// What holds for a token about which no table says otherwise.
    pub token: TokenSettings,
    /// The tokens that sessions get: of those with one name the first that is for a session.
    pub tables: Vec<Table>,
    /// Where the token goes.
    pub store: Store,
    /// What becomes of it when the session closes.
    pub on_close: OnClose,
    /// What a failure means for the login.
    pub on_failure: OnFailure,
    /// The bound on everything that may wait.
    pub timeout: Duration,
    /// HTCondor's tool that prints its configuration.
    pub condor_config_val: PathBuf,
    /// Where the records of sessions are.
    pub state_dir: PathBuf,
    /// What does not outlive a boot.
    pub run_dir: PathBuf,
    /// How long the audit is kept.
    pub audit_keep: Lifetime,
    /// Whom a user is told to ask.
    pub contact: String,
    origins: Origins,
    table_origins: Vec<Origins>,
    /// What was written down, to lay it over what HTCondor says.
    args: Given,
    given: Given,
}

impl Config {
    /// Reads the file and lays the arguments over it.
    ///
    /// `euid` is the effective uid of this process. A missing default file
    /// means defaults; a missing file that the PAM line names is an error, as
    /// is everything in the file or the arguments that has no meaning.
    pub fn load(arguments: &Arguments, euid: u32) -> Result<Self> {
        if let Some(wrong) = &arguments.wrong {
            return Err(Error::Config(wrong.clone()));
        }
        let path = arguments.file();
        let given = file::read(path, euid)?;
        if given.is_none() && arguments.config.is_some() {
            return Err(Error::Config(format!(
                "{0} is not there, though config={0} names it; create the file or correct the name",
                path.display()
            )));
        }
        let exists = given.is_some();
        let given = given.unwrap_or_default();
        let args = arguments.given.clone();
        Ok(Self::merge(args, given, path, exists, UNASKED))
    }

    /// What holds when [`Config::load`] failed: arguments and defaults alone.
    ///
    /// It says who would have been served and what a failure means for them,
    /// and where the records are. Nothing is signed with it.
    pub fn fallback(arguments: &Arguments) -> Self {
        let (given, path) = (Given::default(), arguments.file());
        Self::merge(arguments.given.clone(), given, path, false, UNASKED)
    }

    /// Parses a configuration text as [`Config::load`] would; for examples in documents.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let given = file::parse(text, path)?;
        Ok(Self::merge(Given::default(), given, path, true, UNASKED))
    }

    /// The same with what HTCondor says in place of defaults.
    #[must_use]
    pub fn with_htcondor(self, said: &HTCondor) -> Self {
        let said = Given::from(said);
        let asked = Asked {
            said: Some(&said),
            why_unset: None,
        };
        Self::merge(self.args, self.given, &self.file, self.file_exists, asked)
    }

    /// The same, remembering why HTCondor could not say what is not written down.
    #[must_use]
    pub fn without_htcondor(self, why: &str) -> Self {
        let asked = Asked {
            said: None,
            why_unset: Some(why),
        };
        Self::merge(self.args, self.given, &self.file, self.file_exists, asked)
    }

    /// The same with what HTCondor says, and what came of asking it.
    ///
    /// What it says is kept in `run_dir`, so mostly nobody is asked; `now` is in seconds
    /// since 1970 UTC.
    pub fn discover(self, euid: u32, deadline: Deadline, now: u64) -> (Self, Found) {
        let source = Source {
            tool: &self.condor_config_val,
            condor_config: self.token.condor_config.as_deref(),
            run_dir: &self.run_dir,
        };
        // What comes after it has as much time again.
        let deadline = deadline.earlier(self.timeout / 2);
        let found = discovery::look(&source, euid, deadline, now);
        let config = match &found {
            Found::Fresh(said) | Found::Old(said, _) => self.with_htcondor(said),
            Found::Nothing(why) => self.without_htcondor(&why.to_string()),
        };
        (config, found)
    }

    /// What is to be said of asking HTCondor in vain; nothing where that is as it should
    /// be: with both domains written down a host needs no HTCondor.
    pub fn trouble_with(&self, found: &Found) -> Option<String> {
        match found {
            Found::Fresh(_) => None,
            Found::Old(_, why) => Some(format!(
                "what HTCondor said before is used, since it can not be asked now: {why}"
            )),
            Found::Nothing(Why::NotInstalled(_)) if self.has_domains() => None,
            Found::Nothing(why) => Some(why.to_string()),
        }
    }

    /// Where the value of a key comes from that stands at the top of the file.
    pub fn origin(&self, key: &str) -> Origin {
        origin_of(&self.origins, key)
    }

    fn merge(args: Given, file: Given, path: &Path, file_exists: bool, asked: Asked<'_>) -> Self {
        let layers = Layers {
            args: &args,
            table: None,
            file: &file,
            htcondor: asked.said,
            why_unset: asked.why_unset,
            path,
        };
        let (tables, table_origins) = table::merge(&layers);
        let mut from = Picker::new(layers);
        let token = TokenSettings::merge(&mut from);
        Self {
            file: path.to_owned(),
            file_exists,
            services: from.names("services", &["sshd"]),
            min_uid: match from.pick("min_uid") {
                Some(Value::Uid(uid)) => *uid,
                _ => 1000,
            },
            allow_groups: from.names("allow_groups", &[]),
            deny_groups: from.names("deny_groups", &[]),
            allow_users: from.names("allow_users", &[]),
            deny_users: from.names("deny_users", &[]),
            token,
            tables,
            store: match from.pick("store") {
                Some(Value::Store(store)) => *store,
                _ => Store::Home,
            },
            on_close: match from.pick("on_close") {
                Some(Value::OnClose(choice)) => *choice,
                _ => OnClose::Delete,
            },
            on_failure: match from.pick("on_failure") {
                Some(Value::OnFailure(choice)) => *choice,
                _ => OnFailure::Ignore,
            },
            timeout: match from.pick("timeout") {
                Some(Value::Timeout(time)) => *time,
                _ => Duration::from_secs(3),
            },
            condor_config_val: from.path_or("condor_config_val", CONDOR_CONFIG_VAL),
            state_dir: from.path_or("state_dir", "/var/lib/pam_idtoken"),
            run_dir: from.path_or("run_dir", "/run/pam_idtoken"),
            audit_keep: from.lifetime("audit_keep").unwrap_or(Lifetime::QUARTER),
            contact: from
                .text("contact")
                .unwrap_or_else(|| "your administrator".into()),
            origins: from.origins,
            table_origins,
            args,
            given: file,
        }
    }

    /// Whether every token has its domains without asking HTCondor.
    pub fn has_domains(&self) -> bool {
        self.tables.iter().all(|table| {
            let token = &table.token;
            token.trust_domain.is_some() && token.uid_domain.is_some()
        })
    }

    /// The lifetime of the token that is renewed most often.
    pub fn shortest_lifetime(&self) -> Lifetime {
        let of = |table: &Table| table.token.lifetime_of(true);
        self.tables.iter().map(of).min().unwrap_or(Lifetime::HOUR)
    }

    /// The longest time that a token may live.
    pub fn longest_lifetime(&self) -> Lifetime {
        let of = |table: &Table| {
            let token = &table.token;
            token.lifetime_of(false).max(token.lifetime_of(true))
        };
        self.tables.iter().map(of).max().unwrap_or(Lifetime::DAY)
    }
}

#[cfg(test)]
mod tests;
