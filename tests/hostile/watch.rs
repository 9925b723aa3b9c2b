//! Files that nobody has a reason to open: whoever does is told on by the kernel.

use std::fs;
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

/// A watch over files and directories, by what they are and not by their names.
pub(crate) struct Watch {
    fanotify: Fanotify,
    missing: Vec<String>,
}

impl Watch {
    pub(crate) fn over(paths: &[PathBuf]) -> Self {
        let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_NONBLOCK | InitFlags::FAN_CLOEXEC;
        let fanotify = Fanotify::init(flags, EventFFlags::O_RDONLY).unwrap();
        let mask = MaskFlags::FAN_OPEN
            | MaskFlags::FAN_ACCESS
            | MaskFlags::FAN_MODIFY
            | MaskFlags::FAN_ONDIR;
        let mut missing = Vec::new();
        for path in paths {
            let path: &Path = path;
            let marked = fanotify.mark(MarkFlags::FAN_MARK_ADD, mask, AT_FDCWD, Some(path));
            if let Err(errno) = marked {
                missing.push(format!("{} can not be watched: {errno}", path.display()));
            }
        }
        Self { fanotify, missing }
    }

    /// What was not there to be watched.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.missing.clone()
    }

    /// Who touched what since the last time it was asked.
    pub(crate) fn seen(&self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Ok(events) = self.fanotify.read_events() {
            for event in &events {
                let who = fs::read_to_string(format!("/proc/{}/comm", event.pid()));
                let file = event.fd().and_then(|fd| {
                    use std::os::fd::AsRawFd;
                    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
                });
                let who = who.unwrap_or_default();
                seen.push(format!(
                    "{} {:?} by {}",
                    shown(file),
                    event.mask(),
                    who.trim()
                ));
            }
        }
        seen
    }
}

fn shown(path: Option<PathBuf>) -> String {
    path.map_or_else(|| "a canary".to_owned(), |path| path.display().to_string())
}
