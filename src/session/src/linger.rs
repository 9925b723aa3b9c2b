//! The processes of a session that outlive its close: tmux, nohup, mosh.
//!
//! logind gives each session a control group of its own, `session-N.scope`,
//! and every process started in it stays there (systemd-logind.service(8));
//! sshd's own process is moved there when pam_systemd opens the session. Where
//! there is no logind, pam_loginuid gives each session an id that the kernel
//! hands on to every child (`/proc/PID/sessionid`). Where there is neither, what
//! is left is the holder's process group, its session (setsid(2)) and its
//! children, which a process that called setsid(2) and lost its parent is none of.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::holder::{Holder, Process};

const CGROUPS: &str = "/sys/fs/cgroup";
/// A scope of logind has no deeper groups, unless its user was allowed to make some.
const DEPTH: usize = 8;
/// What the kernel says of a process without an audit session.
const NO_SESSION: u32 = u32::MAX;

/// How the processes of a session are found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// The directory of the control group that logind made for it.
    Cgroup(PathBuf),
    /// Its audit session.
    AuditSession(u32),
    /// The process group and the session of its holder.
    Group {
        /// The process group.
        group: u32,
        /// The session, as setsid(2) means it.
        session: u32,
    },
}

impl Trace {
    /// Of the session that the calling process opens.
    pub fn current() -> io::Result<Self> {
        let pid = std::process::id();
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if let Some(dir) = scope(&cgroups, Path::new(CGROUPS)) {
            return Ok(Self::Cgroup(dir));
        }
        if let Some(id) = audit_session(pid) {
            return Ok(Self::AuditSession(id));
        }
        let me = Process::read(pid)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self::Group {
            group: me.group,
            session: me.session,
        })
    }

    /// Whether a process of the session is left beside its holder.
    ///
    /// The holder's own children that run its program are the host's (sshd has
    /// one as the user) and end with it.
    ///
    /// Where there is no control group only processes with the uid of the user
    /// count: a host that holds the sessions of many users has them all below it.
    pub fn is_left(&self, holder: &Holder, uid: u32) -> io::Result<bool> {
        let mut pids = match self {
            Self::Cgroup(dir) => pids_in(dir, DEPTH)?,
            _ => all_pids()?,
        };
        // A parent is looked up by its pid.
        pids.sort_unstable();
        let mut processes = Vec::with_capacity(pids.len());
        for pid in pids {
            // A process that ended in the meantime is not there.
            if let Some(process) = Process::read(pid)? {
                processes.push((pid, process));
            }
        }
        let is_left = |(pid, process): &(u32, Process)| {
            self.holds(*pid, process, holder, &processes)
                && !is_host(*pid, process, holder)
                && (matches!(self, Self::Cgroup(_)) || is_owned_by(*pid, uid))
        };
        Ok(processes.iter().any(is_left))
    }

    fn holds(&self, pid: u32, process: &Process, holder: &Holder, all: &[(u32, Process)]) -> bool {
        match self {
            Self::Cgroup(_) => true,
            Self::AuditSession(id) => audit_session(pid) == Some(*id),
            Self::Group { group, session } => {
                // Never what is older than the session: the group may be a shell's.
                process.start >= holder.start
                    && (process.group == *group
                        || process.session == *session
                        || descends(process, holder, all))
            }
        }
    }
}

fn is_owned_by(pid: u32, uid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == uid)
}

fn is_host(pid: u32, process: &Process, holder: &Holder) -> bool {
    let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    pid == holder.pid
        || (process.parent == holder.pid
            && program(pid).is_some_and(|own| program(holder.pid) == Some(own)))
}

fn descends(process: &Process, holder: &Holder, all: &[(u32, Process)]) -> bool {
    let mut parent = process.parent;
    for _ in 0..all.len() {
        if parent == holder.pid {
            return true;
        }
        match all.binary_search_by_key(&parent, |(pid, _)| *pid) {
            Ok(place) => parent = all[place].1.parent,
            Err(_) => return false,
        }
    }
    false
}

/// The directory of a logind session's scope, from the lines of `/proc/PID/cgroup`:
/// `0::PATH` with the unified hierarchy, `N:name=systemd:PATH` with the old one.
fn scope(lines: &str, top: &Path) -> Option<PathBuf> {
    lines.lines().find_map(|line| {
        let (hierarchy, path) = line.split_once(':')?.1.split_once(':')?;
        let tops: &[&str] = match hierarchy {
            "" => &["", "unified"],
            "name=systemd" => &["systemd"],
            _ => return None,
        };
        let name = path.rsplit('/').next()?;
        name.strip_prefix("session-")?.strip_suffix(".scope")?;
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        tops.iter()
            .map(|dir| top.join(dir).join(path.trim_start_matches('/')))
            .find(|dir| dir.join("cgroup.procs").exists())
    })
}

fn pids_in(dir: &Path, depth: usize) -> io::Result<Vec<u32>> {
    let text = match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => text,
        // The group goes with its last process.
        Err(e) if is_gone(&e) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if depth > 0 {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pids.extend(pids_in(&entry.path(), depth - 1)?);
            }
        }
    }
    Ok(pids)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn all_pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok()),
        );
    }
    Ok(pids)
}

fn audit_session(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/sessionid")).ok()?;
    text.trim().parse().ok().filter(|id| *id != NO_SESSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::time::Duration;

    #[test]
    fn only_a_scope_of_logind_is_a_session() {
        let top = tempfile::tempdir().unwrap();
        let session = "user.slice/user-1000.slice/session-4.scope";
        let make = |dir: &str| {
            fs::create_dir_all(top.path().join(dir)).unwrap();
            fs::write(top.path().join(dir).join("cgroup.procs"), "").unwrap();
        };
        make(session);
        make("system.slice/ssh.service");
        make(&format!("systemd/{session}"));
        let found = |lines: &str| scope(lines, top.path());
        assert_eq!(
            found(&format!("0::/{session}\n")),
            Some(top.path().join(session))
        );
        assert_eq!(
            found(&format!("4:cpu:/\n1:name=systemd:/{session}\n")),
            Some(top.path().join("systemd").join(session))
        );
        assert_eq!(found("0::/system.slice/ssh.service\n"), None);
        assert_eq!(found("0::/user.slice/session-9.scope\n"), None);
        assert_eq!(found(&format!("0::/x/../{session}\n")), None);
        assert_eq!(found(""), None);
    }

    fn me() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn sleeper(group: i32) -> Child {
        let mut command = Command::new("sleep");
        command.arg("60").process_group(group).spawn().unwrap()
    }

    /// This process's facts with a group of processes that is nobody's.
    fn trace_of(group: u32) -> (Trace, Holder) {
        let holder = Holder {
            pid: 0x7fff_fff0,
            start: 0,
            ..Holder::current().unwrap()
        };
        let session = u32::MAX;
        (Trace::Group { group, session }, holder)
    }

    #[test]
    fn a_process_of_the_group_is_left_until_it_ends() {
        let mut child = sleeper(0);
        let (trace, holder) = trace_of(child.id());
        assert!(trace.is_left(&holder, me()).unwrap());
        assert!(!trace.is_left(&holder, me() + 1).unwrap(), "another user's");
        child.kill().unwrap();
        // Not waited for: a zombie has ended.
        for _ in 0..1000 {
            if !trace.is_left(&holder, me()).unwrap() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!trace.is_left(&holder, me()).unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn what_was_there_before_the_holder_is_not_its() {
        let mut child = sleeper(0);
        let (trace, mut holder) = trace_of(child.id());
        holder.start = u64::MAX;
        assert!(!trace.is_left(&holder, me()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_holder_and_its_own_copies_do_not_count() {
        let own = Holder::current().unwrap();
        let pid = std::process::id();
        let process = Process::read(pid).unwrap().unwrap();
        assert!(is_host(pid, &process, &own));
        let mut child = sleeper(0);
        let (trace, holder) = trace_of(child.id());
        let other = Holder {
            pid: child.id(),
            ..holder
        };
        assert!(!trace.is_left(&other, me()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_of_the_audit_session_is_left() {
        // A process without one is in none; one that has one is in that alone.
        let own = audit_session(std::process::id());
        let (_, mut holder) = trace_of(0);
        holder.start = 0;
        let taken: Vec<_> = all_pids().unwrap().into_iter().map(audit_session).collect();
        let near = (0..u32::BITS).map(|bit| own.unwrap_or(6) ^ (1 << bit));
        let free = near.into_iter().find(|id| !taken.contains(&Some(*id)));
        let other = Trace::AuditSession(free.unwrap());
        assert!(!other.is_left(&holder, me()).unwrap());
        if let Some(id) = own {
            assert!(Trace::AuditSession(id).is_left(&holder, me()).unwrap());
        }
    }

    #[test]
    fn a_group_that_is_gone_has_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let gone = Trace::Cgroup(dir.path().join("session-1.scope"));
        assert!(!gone.is_left(&Holder::current().unwrap(), me()).unwrap());
    }

    #[test]
    fn processes_deeper_in_the_group_count() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = sleeper(0);
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        let procs = dir.path().join("inner/cgroup.procs");
        fs::write(procs, format!("{}\n", child.id())).unwrap();
        let trace = Trace::Cgroup(dir.path().to_owned());
        let (_, holder) = trace_of(0);
        assert!(trace.is_left(&holder, me()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
