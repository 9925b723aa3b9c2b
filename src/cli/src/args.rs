//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use session::config::Arguments;

/// Shows and checks the HTCondor tokens that pam_idtoken gives to sessions.
#[derive(Debug, Parser)]
#[command(name = "idtokenctl", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Configuration file [default: /etc/security/pam_idtoken.toml].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Says whether this host is ready, and what to do if it is not.
    Check(CheckOptions),
    /// Lists the sessions that hold a token now.
    List(ListOptions),
    /// Says of each token in a file whether it is valid, or why it is not.
    ///
    /// Signatures are never printed. Exit code 0 only if every token is valid.
    Verify(VerifyOptions),
    /// Prints the effective configuration and where each value comes from.
    ShowConfig,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckOptions {
    /// Check that this user would get a token; none is left behind.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// The PAM service whose stack is looked at.
    #[arg(long, value_name = "NAME", default_value = "sshd")]
    pub(crate) service: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListOptions {
    /// One JSON object per session, one per line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyOptions {
    /// A token file, or - for standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
}

impl Args {
    /// The options as the arguments of a PAM line.
    pub(crate) fn as_arguments(&self) -> Arguments {
        let absolute = self.config.as_ref().map(|path| {
            // A path that can not be made absolute fails later, with its name.
            std::path::absolute(path).unwrap_or_else(|_| path.clone())
        });
        Arguments::parse(absolute.map(|path| format!("config={}", path.display())))
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
    fn a_relative_configuration_file_is_found() {
        let args = Args::parse_from(["idtokenctl", "--config", "x.toml", "show-config"]);
        let path = args.as_arguments().config.unwrap();
        assert!(path.is_absolute() && path.ends_with("x.toml"));
    }
}
