//! Answers that say what came of it.

use std::time::Duration;

use fuser::{
    Errno, FileAttr, FileHandle, FopenFlags, Generation, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen,
};

/// How long an answer may be kept: not at all.
pub(super) const KEPT: Duration = Duration::ZERO;

pub(super) fn entry(made: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match made {
        Ok(attr) => reply.entry(&KEPT, &attr, Generation(0)),
        Err(error) => reply.error(error),
    }
}

pub(super) fn empty(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

pub(super) fn attr(known: Result<FileAttr, Errno>, reply: ReplyAttr) {
    match known {
        Ok(known) => reply.attr(&KEPT, &known),
        Err(error) => reply.error(error),
    }
}

pub(super) fn opened(handle: Result<FileHandle, Errno>, reply: ReplyOpen) {
    match handle {
        Ok(handle) => reply.opened(handle, FopenFlags::empty()),
        Err(error) => reply.error(error),
    }
}

pub(super) fn data(bytes: Result<impl AsRef<[u8]>, Errno>, reply: ReplyData) {
    match bytes {
        Ok(bytes) => reply.data(bytes.as_ref()),
        Err(error) => reply.error(error),
    }
}
