//! What a session knows of its host and moment, taken once at the edge.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::error::{Error, Result};
use crate::holder::Holder;

/// The ambient facts that a session needs, passed in so that nothing below
/// reads a clock, a host name or a uid by itself.
#[derive(Debug, Clone)]
pub struct Host {
    /// The time, as nanoseconds since 1970 UTC.
    pub now_ns: u64,
    /// The host's short name as it goes into token file names.
    pub name: String,
    /// The process that asks: the holder of a session it opens.
    pub holder: Holder,
    /// The effective uid of this process; 0 in sshd.
    pub euid: u32,
}

impl Host {
    /// Asks the system for all of it.
    ///
    /// Fails when `/proc` is not there, since a holder could not be told from
    /// a later process of the same pid then.
    pub fn current() -> Result<Self> {
        Holder::current().map(Self::held_by)
    }

    /// Asks the system for what it is to a holder that is known.
    pub fn held_by(holder: Holder) -> Self {
        Self {
            now_ns: unix_nanoseconds(SystemTime::now()),
            name: short_name(&full_name()),
            holder,
            euid: euid(),
        }
    }

    /// The time as whole seconds since 1970 UTC, the unit of `iat` and `exp`.
    pub fn now(&self) -> u64 {
        self.now_ns / 1_000_000_000
    }
}

/// The effective uid of this process; 0 in sshd.
pub fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// A time as nanoseconds since 1970 UTC; 0 for anything before, and the largest
/// number after the year 2554.
pub fn unix_nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Turns standard output and error of this process to /dev/null: whoever waits
/// for their end need not wait for the end of the process.
pub fn let_go_of_output() -> std::io::Result<()> {
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// The time as whole seconds since 1970 UTC, for whoever needs nothing else of the host.
pub fn now() -> u64 {
    unix_nanoseconds(SystemTime::now()) / 1_000_000_000
}

/// The host's name as the host itself has it, up to the first dot or as a whole.
pub fn full_name() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The host name up to its first dot, lower case, with anything outside
/// `[a-z0-9-]` replaced by `-`, at most 63 bytes.
pub fn short_name(name: &str) -> String {
    let first = name.split('.').next().unwrap_or_default();
    let safe: String = first
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    if safe.is_empty() {
        "host".to_owned()
    } else {
        safe
    }
}

/// An error for a file under `/proc` that could not be read.
pub(crate) fn proc_error(path: &str, source: std::io::Error) -> Error {
    Error::io("read", path, source).with_remedy("mount /proc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_host_name_is_cut_and_made_safe_for_a_file_name() {
        assert_eq!(short_name("AP1.lab.test"), "ap1");
        assert_eq!(short_name("ap_1~"), "ap-1-");
        assert_eq!(short_name(""), "host");
        assert_eq!(short_name(".x"), "host");
        assert_eq!(short_name(&"a".repeat(200)).len(), 63);
    }

    #[test]
    fn a_time_before_1970_is_zero() {
        assert_eq!(unix_nanoseconds(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(
            unix_nanoseconds(UNIX_EPOCH + Duration::from_secs(2)),
            2_000_000_000
        );
    }

    #[test]
    fn the_current_host_is_a_living_holder() {
        let host = Host::current().unwrap();
        assert!(host.holder.is_alive().unwrap());
        assert!(host.now() > 1_700_000_000);
    }
}
