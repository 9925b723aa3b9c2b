//! The holder of a session: the process that opened it.
//!
//! A pid alone would be taken over by a later process; pid and start time
//! alone would be taken over after a reboot. All three facts must match for a
//! session to be alive.

use std::fs;
use std::io::{self, Read};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
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
        let process = Process::read(pid)
            .map_err(|e| proc_error(&path, e))?
            .ok_or_else(|| {
                proc_error(&path, io::Error::new(io::ErrorKind::NotFound, "not there"))
            })?;
        Ok(Self {
            pid,
            start: process.start,
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
        let path = || format!("/proc/{}/stat", self.pid);
        match Process::read(self.pid).map_err(|e| proc_error(&path(), e))? {
            Some(process) => Ok(process.start == self.start),
            // A living session must not look ended.
            None => Process::look_again(self.pid)
                .map(|process| process.is_some_and(|process| process.start == self.start))
                .map_err(|e| proc_error(&path(), e)),
        }
    }
}

/// Whether there is a process, a zombie being one, whatever `/proc` shows.
fn exists(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

/// What proc_pid_stat(5) says of a process that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    /// In clock ticks after boot.
    pub(crate) start: u64,
}

impl Process {
    /// None if there is no such process or it is a zombie.
    pub(crate) fn read(pid: u32) -> io::Result<Option<Self>> {
        match read_proc(&format!("/proc/{pid}/stat")) {
            Ok(stat) => Self::parse(&stat)
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

    /// A second look at a process that was not seen: `/proc` says of one that it is not there where
    /// hidepid hides it, and where the kernel has no memory for its files (`proc_pident_instantiate`
    /// of fs/proc/base.c).
    fn look_again(pid: u32) -> io::Result<Option<Self>> {
        match read_proc(&format!("/proc/{pid}/stat")) {
            _ if !exists(pid) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "there, and not shown: hidden by hidepid, or out of memory",
            )),
            // It may have come in between.
            _ => Self::read(pid),
        }
    }

    /// The second field is the command in parentheses and may hold anything, a
    /// parenthesis too: fields are counted from the last one.
    fn parse(stat: &[u8]) -> Option<Self> {
        if is_ended(stat) {
            return None;
        }
        let fields = std::str::from_utf8(after_command(stat)?).ok()?;
        // Field 3, the state, is the first of them.
        let mut fields = fields.split(' ').skip(1);
        Some(Self {
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
            // Fields 7 to 21 lie before the start time.
            start: fields.nth(15)?.parse().ok()?,
        })
    }
}

/// The id of this boot.
pub fn boot_id() -> Result<String> {
    let text = read_proc(BOOT_ID).map_err(|e| proc_error(BOOT_ID, e))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Reads one of the short files of /proc, which give all they have at once: every
/// login reads some, and growing a buffer would cost it a dozen system calls.
fn read_proc(path: &str) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 1024];
    let length = fs::File::open(path)?.read(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}

fn is_ended(stat: &[u8]) -> bool {
    after_command(stat).is_some_and(|fields| fields.starts_with(b"Z") || fields.starts_with(b"X"))
}

fn after_command(stat: &[u8]) -> Option<&[u8]> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    stat.get(end + 2..)
}

/// Whether a process of a user is there, by its real uid: `/proc/PID` itself is root's where
/// the process may not be dumped.
pub fn is_running(uid: u32) -> io::Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that ended in the meantime is not there.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let real = ids.and_then(|ids| ids.split_whitespace().next());
        if real.and_then(|real| real.parse().ok()) == Some(uid) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_runs_the_tests_is_running_and_nobody_else_by_chance() {
        assert!(is_running(nix::unistd::getuid().as_raw()).unwrap());
        assert!(!is_running(u32::MAX - 9).unwrap());
    }

    const STAT: &[u8] = b"42 (a) b) (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 2\n";

    #[test]
    fn the_start_time_is_found_behind_any_command_name() {
        let seen = Process::parse(STAT).unwrap();
        assert_eq!((seen.start, seen.parent, seen.group), (987, 1, 42));
        for bad in [&b"42 (x"[..], b"", b"42 (x) S 1", b"42 (x)"] {
            assert_eq!(Process::parse(bad), None);
        }
    }

    #[test]
    fn a_zombie_has_ended() {
        let zombie = b"42 (a) Z 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 2\n";
        assert_eq!(Process::parse(zombie), None);
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
    fn a_process_that_was_not_seen_is_looked_at_again() {
        let me = std::process::id();
        let seen = Process::look_again(me).unwrap();
        assert_eq!(seen, Process::read(me).unwrap());
        assert_eq!(Process::look_again(i32::MAX as u32).unwrap(), None);
        assert_eq!(Process::look_again(u32::MAX).unwrap(), None);
    }

    #[test]
    fn an_ended_child_is_not_alive_even_before_it_is_waited_for() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let start = Process::read(child.id()).unwrap().unwrap().start;
        let holder = Holder {
            pid: child.id(),
            start,
            boot: boot_id().unwrap(),
        };
        assert!(holder.is_alive().unwrap());
        child.kill().unwrap();
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
