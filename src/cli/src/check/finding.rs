//! What `check` found: stable ids for a monitor, words for people.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};
use session::config::Config;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Not looked at, or good to know; nothing has to be done.
    Note,
    /// Sessions get their tokens, but something is not as it should be.
    Warn,
    /// Sessions get no token, none that works, or lose it.
    Fail,
}

impl Level {
    /// As it stands in front of a line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok  ",
            Self::Note => "note",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

macro_rules! ids {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// What a finding is about; the names are part of the interface.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Id {
            $(#[doc = $text] $name),+
        }

        impl Id {
            /// Every one with its name in the code, in the order of the documents.
            #[cfg(test)]
            pub(crate) const ALL: &[(Self, &'static str)] = &[$((Self::$name, stringify!($name))),+];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }
        }
    };
}

ids! {
    RunAsRoot = "run-as-root",
    StackLine = "stack-line",
    StackTwice = "stack-twice",
    StackOrder = "stack-order",
    StackReached = "stack-reached",
    StackControl = "stack-control",
    StackEnvironment = "stack-environment",
    ModuleFile = "module-file",
    SshdPam = "sshd-pam",
    SELinux = "selinux",
    Clock = "clock",
    Arguments = "arguments",
    Configuration = "configuration",
    ServiceServed = "service-served",
    HTCondor = "htcondor",
    HTCondorVersion = "htcondor-version",
    HTCondorSettings = "htcondor-settings",
    TokenDirectory = "token-directory",
    Groups = "groups",
    StateDirectory = "state-directory",
    Reconciler = "reconciler",
    ReconcilerTimer = "reconciler-timer",
    ReconcilerPath = "reconciler-path",
    ReconcilerBoot = "reconciler-boot",
    ReconcilerRun = "reconciler-run",
    PrivateMount = "private-mount",
    Lifetime = "lifetime",
    SigningKey = "signing-key",
    SigningKeySame = "signing-key-same",
    User = "user",
    Table = "table",
    Token = "token",
    TmpDirectory = "tmp-directory",
    Store = "store",
    OwnTokens = "own-tokens",
    Online = "online",
    OnlineSchedd = "online-schedd",
    OnlineCollector = "online-collector",
    OnlineClock = "online-clock",
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) id: Id,
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) remedy: Option<String>,
    /// The file that it is about.
    pub(crate) file: Option<String>,
    /// The number of the `[[token]]` table that it is about, if there are several.
    pub(crate) table: Option<usize>,
    /// The host that was asked.
    pub(crate) host: Option<String>,
}

/// The number of the `[[token]]` table of that index, if there are several.
pub(crate) fn table_number(config: &Config, index: usize) -> Option<usize> {
    (config.tables.len() > 1).then_some(index + 1)
}

impl Finding {
    pub(crate) fn ok(id: Id, message: impl fmt::Display) -> Self {
        Self::new(id, Level::Ok, &message)
    }

    pub(crate) fn note(id: Id, message: impl fmt::Display) -> Self {
        Self::new(id, Level::Note, &message)
    }

    pub(crate) fn warn(id: Id, message: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::new(id, Level::Warn, &message).with_remedy(remedy)
    }

    /// The remedy may be part of what is said.
    pub(crate) fn fail(id: Id, message: impl fmt::Display) -> Self {
        Self::new(id, Level::Fail, &message)
    }

    pub(crate) fn new(id: Id, level: Level, message: &dyn fmt::Display) -> Self {
        Self {
            id,
            level,
            message: message.to_string(),
            remedy: None,
            file: None,
            table: None,
            host: None,
        }
    }

    pub(crate) fn with_remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }

    pub(crate) fn about(mut self, file: &Path) -> Self {
        self.file = Some(file.display().to_string());
        self
    }

    pub(crate) fn on(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    #[cfg(test)]
    pub(crate) fn is(&self, level: Level, part: &str) -> bool {
        self.level == level && self.message.contains(part)
    }
}
