//! What all requests have in common: who asks, what the mode allows.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;

use fuser::{Errno, FileHandle, INodeNo, ReplyEmpty, ReplyEntry, Request};
use nix::unistd::UnlinkatFlags;

use super::Mode;
use super::asker::as_asker;
use super::files::Files;
use super::open::Open;
use super::reply::{empty, entry};
use super::state::State;

/// What a request does to the file system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Looks,
    Changes,
    NeedsRoom,
}

pub(super) struct Server {
    pub(super) files: Files,
    pub(super) open: Open,
    pub(super) state: State,
}

impl Server {
    pub(super) fn new(proc: OwnedFd, directory: OwnedFd, state: State) -> Self {
        Self {
            files: Files::new(proc, directory),
            open: Open::default(),
            state,
        }
    }

    /// Does it as who asks, if they and the mode allow it.
    pub(super) fn serve<T>(
        &self,
        request: &Request,
        effect: Effect,
        act: impl FnOnce(Mode) -> io::Result<T>,
    ) -> Result<T, Errno> {
        let mode = self.state.wait();
        match (mode, effect) {
            _ if request.uid() == 0 => Err(Errno::EACCES),
            (Mode::ReadOnly, Effect::Changes | Effect::NeedsRoom) => Err(Errno::EROFS),
            (Mode::Full, Effect::NeedsRoom) => Err(Errno::ENOSPC),
            (Mode::OverQuota, Effect::NeedsRoom) => Err(Errno::EDQUOT),
            _ => as_asker(self.files.proc(), request, || act(mode)).map_err(Errno::from),
        }
    }

    /// Makes something with a name, and looks it up.
    pub(super) fn make(
        &self,
        request: &Request,
        (parent, name): (INodeNo, &OsStr),
        make: impl FnOnce() -> io::Result<()>,
        reply: ReplyEntry,
    ) {
        let result = self.serve(request, Effect::NeedsRoom, |_| {
            make()?;
            self.files.look_up(parent, name)
        });
        entry(result, reply);
    }

    /// Removes a file or a directory.
    pub(super) fn remove(
        &self,
        request: &Request,
        (parent, name): (INodeNo, &OsStr),
        what: UnlinkatFlags,
        reply: ReplyEmpty,
    ) {
        let removed = self.serve(request, Effect::Changes, |_| {
            self.files.remove(parent, name, what)
        });
        empty(removed, reply);
    }

    pub(super) fn lost_or(&self, request: &Request, handle: FileHandle, reply: ReplyEmpty) {
        let said = self.serve(request, Effect::Looks, |_| self.open.confess(handle));
        empty(said, reply);
    }
}
