//! The holder of a session: the process that opened it.
//!
//! A pid alone would be taken over by a later process; pid and start time
//! alone would be taken over after a reboot. All three facts must match for a
//! session to be alive.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::proc_error;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A process, told apart from every other of this and every other boot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// Its start time in clock ticks after boot, field 22 of proc_pid_stat(5).
    pub start: u64,
    /// The boot it ran in, from `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

impl Holder {
    /// The process that calls.
    pub fn current() -> Result<Self> {
        let pid = std::process::id();
        let path = format!("/proc/{pid}/stat");
        let start = start_time(pid)
            .map_err(|e| proc_error(&path, e))?
            .ok_or_else(|| {
                proc_error(&path, io::Error::new(io::ErrorKind::NotFound, "not there"))
            })?;
        Ok(Self {
            pid,
            start,
            boot: boot_id()?,
        })
    }

    /// Whether the process still runs.
    ///
    /// A zombie has ended: it holds nothing any more.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(boot_id()? == self.boot && self.runs()?)
    }

    /// Whether the process still runs, `boot` being the id of this boot.
    pub fn is_alive_in(&self, boot: &str) -> Result<bool> {
        Ok(boot == self.boot && self.runs()?)
    }

    fn runs(&self) -> Result<bool> {
        let started =
            start_time(self.pid).map_err(|e| proc_error(&format!("/proc/{}/stat", self.pid), e))?;
        Ok(started == Some(self.start))
    }
}

/// The id of this boot.
pub fn boot_id() -> Result<String> {
    let text = fs::read_to_string(BOOT_ID).map_err(|e| proc_error(BOOT_ID, e))?;
    Ok(text.trim().to_owned())
}

/// The start time of a running process; none if there is no such process or it is a zombie.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse_stat(&stat)
            .map(Some)
            .or_else(|| is_ended(&stat).then_some(None))
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "not as proc_pid_stat(5) says")
            }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        // The process ended between open and read.
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Field 22 of a stat line whose process has not ended.
///
/// The second field is the command in parentheses and may hold anything, a
/// parenthesis too: fields are counted from the last one.
fn parse_stat(stat: &[u8]) -> Option<u64> {
    let fields = after_command(stat)?;
    let mut fields = fields.split(|b| *b == b' ');
    let state = fields.next()?;
    if state == b"Z" || state == b"X" {
        return None;
    }
    // Fields 4 to 21 lie between the state and the start time.
    std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()
}

fn is_ended(stat: &[u8]) -> bool {
    after_command(stat).is_some_and(|fields| fields.starts_with(b"Z") || fields.starts_with(b"X"))
}

fn after_command(stat: &[u8]) -> Option<&[u8]> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    stat.get(end + 2..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"42 (a) b) (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 2\n";

    #[test]
    fn the_start_time_is_found_behind_any_command_name() {
        assert_eq!(parse_stat(STAT), Some(987));
        assert_eq!(parse_stat(b"42 (x"), None);
        assert_eq!(parse_stat(b""), None);
        assert_eq!(parse_stat(b"42 (x) S 1"), None);
    }

    #[test]
    fn a_zombie_has_ended() {
        let zombie = b"42 (a) Z 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 2\n";
        assert_eq!(parse_stat(zombie), None);
        assert!(is_ended(zombie));
    }

    #[test]
    fn another_boot_or_start_time_is_another_process() {
        let me = Holder::current().unwrap();
        assert!(me.is_alive().unwrap());
        assert!(
            !Holder {
                boot: "x".into(),
                ..me.clone()
            }
            .is_alive()
            .unwrap()
        );
        assert!(
            !Holder {
                start: me.start + 1,
                ..me.clone()
            }
            .is_alive()
            .unwrap()
        );
        assert!(
            !Holder {
                pid: u32::MAX >> 1,
                ..me
            }
            .is_alive()
            .unwrap()
        );
    }

    #[test]
    fn an_ended_child_is_not_alive_even_before_it_is_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let start = loop {
            if let Some(start) = start_time(child.id()).unwrap() {
                break start;
            }
        };
        let holder = Holder {
            pid: child.id(),
            start,
            boot: boot_id().unwrap(),
        };
        let mut alive = true;
        for _ in 0..2000 {
            alive = holder.is_alive().unwrap();
            if !alive {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!alive);
        child.wait().unwrap();
    }
}
