//! One file of tokens.d: whether HTCondor uses it, and what its tokens do.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use idtoken::TOKEN_FILE_LIMIT;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use zeroize::Zeroizing;

use super::line::Seen;
use super::words::{file_name, shell_path};
use super::{Examiner, Finding, Severity};
use crate::home::dead::kind;
use crate::home::listing::Leads;
use crate::sys;

const USES_NOTHING: &str = "HTCondor does not use it";

impl Examiner<'_> {
    /// What is to be said about a file; nothing if it is gone by now.
    pub(super) fn file(
        &mut self,
        dir: &Dir,
        name: &CStr,
        leads: Leads,
        is_first: bool,
    ) -> Option<Finding> {
        match leads {
            Leads::ToFifo => return Some(fifo(name, is_first)),
            Leads::Elsewhere => return Some(ignored(name, "is not a file".to_owned())),
            Leads::ToFile => {}
        }
        let (text, stat) = match read(dir, name) {
            Ok(read) => read,
            Err(Errno::ENOENT) => return None,
            Err(Errno::EFBIG) => return Some(ignored(name, "is too large for a token".to_owned())),
            Err(errno) => {
                return Some(ignored(name, format!("can not be read: {}", errno.desc())));
            }
        };
        let refused = unsafe_for(&stat);
        let before = self.taken.clone();
        let seen: Vec<Seen> = idtoken::lines(&text).map(|line| self.line(line)).collect();
        if refused.is_some() {
            // Nothing of it is used, so it stands in nobody's way.
            self.taken = before;
        }
        Some(match refused {
            Some(what) => not_used(name, what, &seen, &stat),
            None => used(name, &seen, is_first),
        })
    }
}

/// Reads a file through a link but never waits for one.
fn read(dir: &Dir, name: &CStr) -> nix::Result<(Zeroizing<String>, FileStat)> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = openat(dir, name, flags, Mode::empty())?;
    let stat = fstat(fd.as_fd())?;
    if kind(&stat) != SFlag::S_IFREG {
        return Err(Errno::EINVAL);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let read = File::from(fd)
        .take(TOKEN_FILE_LIMIT + 1)
        .read_to_end(&mut bytes);
    let length = read.map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    if u64::try_from(length).is_ok_and(|length| length <= TOKEN_FILE_LIMIT) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok((Zeroizing::new(text), stat))
    } else {
        Err(Errno::EFBIG)
    }
}

/// Why HTCondor does not use the file, whatever is in it.
fn unsafe_for(stat: &FileStat) -> Option<String> {
    let mode = stat.st_mode & 0o7777;
    if stat.st_uid != sys::fs_uid() {
        Some(format!("belongs to uid {}", stat.st_uid))
    } else if mode & 0o077 != 0 {
        Some(format!("has mode {mode:04o}, which lets others in"))
    } else {
        None
    }
}

/// HTCondor would use its tokens, as far as they are good for anything.
fn used(name: &CStr, seen: &[Seen], is_first: bool) -> Finding {
    let worst = seen
        .iter()
        .enumerate()
        // The first of the worst.
        .rev()
        .max_by_key(|(_, seen)| seen.severity(is_first));
    let Some((at, worst)) = worst else {
        return ignored(name, "holds no token".to_owned());
    };
    let severity = worst.severity(is_first);
    let what = match seen.len() {
        1 => worst.what(),
        count => format!(
            "holds {count} tokens, of which number {} {}",
            at + 1,
            worst.what()
        ),
    };
    finding(
        name,
        severity,
        what,
        effect(severity),
        remedy(name, severity, seen),
    )
}

fn effect(severity: Severity) -> &'static str {
    match severity {
        Severity::Breaks => {
            "HTCondor reads it before the session's token and never looks at whether it is still \
             good: commands to this pool fail, in a session too"
        }
        Severity::Shadows => {
            "HTCondor reads it before the session's token: commands to this pool use it instead"
        }
        Severity::Stale => {
            "it is good for nothing, and where no session has a token it is in the way"
        }
        Severity::Ignored => USES_NOTHING,
        Severity::Fine => {
            "it does no harm: a session's token is read first, or is for another pool"
        }
    }
}

fn remedy(name: &CStr, severity: Severity, seen: &[Seen]) -> String {
    let path = shell_path(name);
    match severity {
        Severity::Fine => String::new(),
        Severity::Shadows => format!(
            "if the session's token is to be used, give it a name that sorts behind: \
             `mv {path} {}`",
            path.replacen("tokens.d/", "tokens.d/own-", 1)
        ),
        Severity::Ignored if seen.iter().any(|seen| !is_useless(seen)) => {
            format!("edit {path}: the line that is no token can go")
        }
        _ if seen.iter().all(is_useless) => format!("run `rm {path}`"),
        _ => {
            let dead = seen.iter().enumerate().filter(|(_, seen)| is_useless(seen));
            let dead: Vec<String> = dead.map(|(at, _)| (at + 1).to_string()).collect();
            format!("edit {path}: token number {} can go", dead.join(", "))
        }
    }
}

fn is_useless(seen: &Seen) -> bool {
    seen.is_dead() || seen.severity(false) == Severity::Ignored
}

/// A file that HTCondor uses only before 23.8.1, if at all.
fn not_used(name: &CStr, what: String, seen: &[Seen], stat: &FileStat) -> Finding {
    let path = shell_path(name);
    let remedy = if seen.iter().all(is_useless) {
        format!("run `rm {path}`")
    } else if stat.st_uid == sys::fs_uid() {
        format!("run `chmod 600 {path}`")
    } else {
        format!("run `rm {path}`, or make a copy that is your own")
    };
    let effect = "HTCondor does not use it since 23.8.1; earlier ones do";
    finding(name, Severity::Ignored, what, effect, remedy)
}

fn fifo(name: &CStr, is_first: bool) -> Finding {
    let (severity, effect) = if is_first {
        (
            Severity::Breaks,
            "HTCondor waits for it without end: every command hangs",
        )
    } else {
        (
            Severity::Stale,
            "HTCondor waits for it without end where no token before it fits",
        )
    };
    let remedy = format!("run `rm {}`", shell_path(name));
    finding(name, severity, "is a FIFO".to_owned(), effect, remedy)
}

fn ignored(name: &CStr, what: String) -> Finding {
    let remedy = format!("run `rm {}`", shell_path(name));
    finding(name, Severity::Ignored, what, USES_NOTHING, remedy)
}

fn finding(name: &CStr, severity: Severity, what: String, effect: &str, remedy: String) -> Finding {
    Finding {
        file: file_name(name),
        severity,
        what,
        effect: effect.to_owned(),
        remedy,
    }
}
