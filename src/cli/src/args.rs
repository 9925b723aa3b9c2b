//! The command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::{Parser, Subcommand};
use session::config::Arguments;
use session::host::unix_nanoseconds;
use session::name::SessionId;

use crate::pamd::{PAM_D, module_line};

/// Shows and checks the HTCondor tokens that pam_idtoken gives to sessions.
#[derive(Debug, Parser)]
#[command(name = "idtokenctl", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Configuration file [default: what the PAM line names, or /etc/security/pam_idtoken.toml].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,

    /// PAM service whose line in /etc/pam.d counts: its arguments are part of the configuration.
    #[arg(long, global = true, value_name = "NAME", default_value = "sshd")]
    pub(crate) service: String,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Says whether this host is ready, and what to do if it is not.
    Check(CheckOptions),
    /// Lists the sessions of this host with their state.
    List(ListOptions),
    /// Says of each token in a file whether it is valid, or why it is not.
    ///
    /// Signatures are never printed. Exit code 0 only if every token is valid.
    Verify(VerifyOptions),
    /// Prints the effective configuration and where each value comes from.
    ShowConfig,
    /// Removes the tokens of sessions that have ended and renews those that are due.
    ///
    /// Exit code 3 if something could not be done and is left to the next run.
    Reconcile(ReconcileOptions),
    /// Takes the token of a session away now; the session itself goes on.
    End(EndOptions),
    /// Prints the setting of HTCondor that makes a pool refuse tokens until they expire.
    ///
    /// Without an option: all that have not expired, as far as this host's audit knows.
    RevokeExpr(RevokeOptions),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReconcileOptions {
    /// Only the sessions of this user.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Say what would be done and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// One JSON object per action, one per line, then a summary.
    #[arg(long)]
    pub(crate) json: bool,

    /// For timers: this runs again after so long, so tokens may be as short as `lifetime`.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["user", "dry_run"])]
    pub(crate) every: Option<Time>,
}

#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = true)]
pub(crate) struct EndOptions {
    /// The id of a session, as `idtokenctl list` shows it.
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<Session>,

    /// All sessions of this user.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// All sessions of this host, as before the module is removed.
    #[arg(long, conflicts_with_all = ["session", "user"])]
    pub(crate) all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeOptions {
    /// Only tokens of this user.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Only tokens of this session, closed or not.
    #[arg(long, value_name = "SESSION")]
    pub(crate) session: Option<Session>,

    /// Only tokens signed since: a day or a time in UTC, such as 2026-01-31 or
    /// 2026-01-31T12:00:00Z, or as long ago as 2h.
    ///
    /// Tokens signed before may still be valid; leave it out to name those too.
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
}

/// A time such as `15s`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(crate) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(time) if time >= Duration::from_secs(1) => Ok(Self(time)),
            Ok(_) => Err("it must be at least a second".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The id of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session(pub(crate) SessionId);

impl FromStr for Session {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let wrong = "a session is 16 hex digits, as `idtokenctl list` shows it";
        text.parse().map(Self).map_err(|_| wrong)
    }
}

/// A moment, or how long ago it was.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    Moment(SystemTime),
    Ago(Duration),
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let midnight = format!("{text}T00:00:00Z");
        humantime::parse_rfc3339_weak(text)
            .or_else(|_| humantime::parse_rfc3339(&midnight))
            .map(Self::Moment)
            .or_else(|_| humantime::parse_duration(text).map(Self::Ago))
            .map_err(|_| {
                "write a day or a time in UTC, such as 2026-01-31 or 2026-01-31T12:00:00Z, or how \
                 long ago, such as 2h"
            })
    }
}

impl Since {
    /// In seconds since 1970 UTC.
    pub(crate) fn at(self, now: u64) -> u64 {
        match self {
            Self::Moment(time) => unix_nanoseconds(time) / 1_000_000_000,
            Self::Ago(time) => now.saturating_sub(time.as_secs()),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckOptions {
    /// Say which tokens this user would get and why, and which of the user's own are in the
    /// way; none is left behind.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// As if the user came from there.
    #[arg(long, value_name = "HOST", requires = "user")]
    pub(crate) from: Option<String>,

    /// As if the user had proved who they are by this method of SSH, such as publickey.
    #[arg(long, value_name = "METHOD", requires = "user")]
    pub(crate) auth: Vec<String>,

    /// Ask the pool, too: each schedd and the collector, with a token of the user's that is gone
    /// afterwards. The hosts have a minute to answer, all together.
    #[arg(long, requires = "user")]
    pub(crate) online: bool,

    /// One JSON document, for a monitor.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListOptions {
    /// One JSON object per session, one per line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyOptions {
    /// Token files, or - for standard input.
    #[arg(value_name = "FILE|-", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

impl Args {
    /// What a session of the service gets: the arguments of its line in `pam.d`, if
    /// it has one and no other file was asked for.
    pub(crate) fn as_arguments(&self) -> Arguments {
        if let Some(path) = &self.config {
            // A path that can not be made absolute fails later, with its name.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            return Arguments::parse([format!("config={}", path.display())]);
        }
        match module_line(Path::new(PAM_D), &self.service) {
            Some(line) => Arguments::parse(line.arguments),
            None => Arguments::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let at = |text: &str| text.parse::<Since>().unwrap().at(10_000);
        assert_eq!(at("2h"), 2800);
        assert_eq!(at("1970-01-01T01:00:00Z"), 3600);
        assert_eq!(at("1970-01-02"), 86_400);
        assert_eq!(at("1970-01-01 01:00:00"), 3600);
        assert!("1970-13-01".parse::<Since>().is_err());
        assert!("yesterday".parse::<Since>().is_err());
    }

    #[test]
    fn nobody_ends_every_session_by_forgetting_a_name() {
        assert!(Args::try_parse_from(["idtokenctl", "end"]).is_err());
        assert!(Args::try_parse_from(["idtokenctl", "end", "--user", "alice"]).is_ok());
        assert!(Args::try_parse_from(["idtokenctl", "end", "0123456789abcdef"]).is_ok());
        assert!(Args::try_parse_from(["idtokenctl", "end", "alice"]).is_err());
        // Root's own token would be an administrator's.
        assert!(Args::try_parse_from(["idtokenctl", "check", "--online"]).is_err());
        assert!(Args::try_parse_from(["idtokenctl", "end", "--all"]).is_ok());
        assert!(Args::try_parse_from(["idtokenctl", "end", "--all", "--user", "alice"]).is_err());
        let every = ["idtokenctl", "reconcile", "--every", "10ms"];
        assert!(Args::try_parse_from(every).is_err());
    }

    #[test]
    fn a_relative_configuration_file_is_found() {
        let args = Args::parse_from(["idtokenctl", "--config", "x.toml", "show-config"]);
        let path = args.as_arguments().config.unwrap();
        assert!(path.is_absolute() && path.ends_with("x.toml"));
    }
}
