//! What is open: files, and directories as they were when they were opened.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fuser::{FileHandle, FileType, INodeNo};
use nix::errno::Errno;

/// One name in a directory.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) ino: INodeNo,
    pub(super) kind: FileType,
    pub(super) name: OsString,
}

/// All that is open.
#[derive(Default)]
pub(super) struct Open {
    next: AtomicU64,
    files: Mutex<HashMap<u64, Arc<File>>>,
    dirs: Mutex<HashMap<u64, Arc<Vec<Entry>>>>,
    /// Files that lost what was written to them, and were not told yet.
    lost: Mutex<HashSet<u64>>,
}

impl Open {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn add_file(&self, file: OwnedFd) -> FileHandle {
        let number = self.number();
        self.files
            .lock()
            .unwrap()
            .insert(number, Arc::new(file.into()));
        FileHandle(number)
    }

    pub(super) fn add_dir(&self, dir: OwnedFd) -> io::Result<FileHandle> {
        let mut dir = nix::dir::Dir::from_fd(dir)?;
        let entries: Result<Vec<Entry>, Errno> = dir
            .iter()
            .map(|entry| entry.map(|entry| from(&entry)))
            .collect();
        let number = self.number();
        self.dirs.lock().unwrap().insert(number, Arc::new(entries?));
        Ok(FileHandle(number))
    }

    pub(super) fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        let file = self.files.lock().unwrap().get(&handle.0).cloned();
        Ok(file.ok_or(Errno::EBADF)?)
    }

    pub(super) fn dir(&self, handle: FileHandle) -> io::Result<Arc<Vec<Entry>>> {
        let dir = self.dirs.lock().unwrap().get(&handle.0).cloned();
        Ok(dir.ok_or(Errno::EBADF)?)
    }

    pub(super) fn lose(&self, handle: FileHandle) {
        self.lost.lock().unwrap().insert(handle.0);
    }

    /// Says once that something was lost.
    pub(super) fn confess(&self, handle: FileHandle) -> io::Result<()> {
        if self.lost.lock().unwrap().remove(&handle.0) {
            return Err(Errno::ENOSPC.into());
        }
        Ok(())
    }

    pub(super) fn close(&self, handle: FileHandle) {
        self.files.lock().unwrap().remove(&handle.0);
        self.dirs.lock().unwrap().remove(&handle.0);
        self.lost.lock().unwrap().remove(&handle.0);
    }
}

fn from(entry: &nix::dir::Entry) -> Entry {
    use nix::dir::Type;
    let kind = match entry.file_type() {
        Some(Type::Directory) => FileType::Directory,
        Some(Type::Symlink) => FileType::Symlink,
        Some(Type::Fifo) => FileType::NamedPipe,
        Some(Type::Socket) => FileType::Socket,
        Some(Type::CharacterDevice) => FileType::CharDevice,
        Some(Type::BlockDevice) => FileType::BlockDevice,
        Some(Type::File) | None => FileType::RegularFile,
    };
    Entry {
        ino: INodeNo(entry.ino()),
        kind,
        name: std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()).to_owned(),
    }
}
