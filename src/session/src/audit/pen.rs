//! A line is added to the audit file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fchmod, fstat};

use super::{CURRENT, Entry, REMEDY};
use crate::aside::lock;
use crate::error::{Error, Result, refuse_unsafe};
use crate::log::{Line, Log};

/// Adds lines to the audit file of a state directory.
#[derive(Debug)]
pub struct Pen {
    path: PathBuf,
    euid: u32,
    ready: Mutex<Option<File>>,
}

impl Pen {
    /// Of this state directory; its file has to be owned by `euid`.
    pub fn new(state_dir: &Path, euid: u32) -> Self {
        Self {
            path: state_dir.join(CURRENT),
            euid,
            ready: Mutex::new(None),
        }
    }

    /// Opens the file for the next line, which comes soon; a failure is that of the line.
    pub fn make_ready(&self) {
        *lock(&self.ready) = self.open().ok();
    }

    /// Writes a line; what can not be written is said in the log and stops nobody.
    pub fn note(&self, entry: &Entry, log: &dyn Log) {
        if let Err(error) = self.append(entry) {
            log.warning(
                &Line::new("the audit file has no line for")
                    .field("session", entry.session)
                    .because(error),
            );
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::io("write to", &self.path, source).with_remedy(REMEDY)
    }

    fn open(&self) -> Result<File> {
        let failed = |errno: Errno| self.failed(errno.into());
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT;
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = open(&self.path, flags, mode).map_err(failed)?;
        let stat = fstat(file.as_fd()).map_err(failed)?;
        refuse_unsafe(&self.path, &stat, self.euid, 0o077)?;
        if stat.st_size == 0 {
            // The host's umask is not ours.
            fchmod(file.as_fd(), mode).map_err(failed)?;
        }
        Ok(file.into())
    }

    fn append(&self, entry: &Entry) -> Result<()> {
        let ready = lock(&self.ready).take();
        let mut file = ready.map_or_else(|| self.open(), Ok)?;
        let mut line = Vec::with_capacity(512);
        if is_torn(&file).map_err(|e| self.failed(e))? {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, entry).map_err(|e| self.failed(e.into()))?;
        line.push(b'\n');
        // In one piece, so that lines of several processes do not mix.
        match file.write(&line) {
            Ok(written) if written == line.len() => Ok(()),
            Ok(_) => Err(self.failed(Errno::ENOSPC.into())),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// Whether the last line was cut off, by a full disk or with the power: the next
/// one must not become part of it.
fn is_torn(file: &File) -> io::Result<bool> {
    let size = file.metadata()?.len();
    let Some(last) = size.checked_sub(1) else {
        return Ok(false);
    };
    let mut byte = [0];
    Ok(file.read_at(&mut byte, last)? == 1 && byte != *b"\n")
}
