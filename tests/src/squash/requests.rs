//! The requests, one by one.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::fcntl::OFlag;
use nix::unistd::UnlinkatFlags;

use super::Mode;
use super::files::Change;
use super::reply::{KEPT, attr, data, empty, entry, opened};
use super::server::{Effect, Server};

impl Filesystem for Server {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.serve(request, Effect::Looks, |_| self.files.look_up(parent, name));
        entry(found, reply);
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        self.files.forget(ino, lookups);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if request.uid() == 0 && ino == INodeNo::ROOT {
            self.state.wait();
            return attr(self.files.attributes(ino).map_err(Errno::from), reply);
        }
        attr(
            self.serve(request, Effect::Looks, |_| self.files.attributes(ino)),
            reply,
        );
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change {
            mode,
            uid,
            gid,
            atime,
            mtime,
        };
        let changed = self.serve(request, Effect::Changes, |_| {
            match (size, handle) {
                (Some(size), Some(handle)) => self.open.file(handle)?.set_len(size)?,
                (Some(size), None) => {
                    let file = self.files.open(ino, OFlag::O_WRONLY)?;
                    std::fs::File::from(file).set_len(size)?;
                }
                (None, _) => {}
            }
            self.files.change(ino, &change)?;
            self.files.attributes(ino)
        });
        attr(changed, reply);
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.serve(request, Effect::Looks, |_| self.files.read_link(ino));
        data(target.map(std::os::unix::ffi::OsStringExt::into_vec), reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let make = || self.files.make_dir(parent, name, mode);
        self.make(request, (parent, name), make, reply);
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let make = || self.files.link_to(target, parent, name);
        self.make(request, (parent, name), make, reply);
    }

    fn link(
        &self,
        request: &Request,
        ino: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let make = || self.files.link(ino, parent, name);
        self.make(request, (parent, name), make, reply);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(request, (parent, name), UnlinkatFlags::NoRemoveDir, reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(request, (parent, name), UnlinkatFlags::RemoveDir, reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let done = self.serve(request, Effect::Changes, |mode| {
            self.state.wait_while(Mode::StalledAtRename);
            self.files
                .rename((parent, name), (new_parent, new_name), flags)?;
            match mode {
                Mode::RenamesAndFails => Err(nix::errno::Errno::EIO.into()),
                Mode::RenamesAndBreaks => {
                    self.state.set(Mode::ReadOnly);
                    Err(nix::errno::Errno::EIO.into())
                }
                _ => Ok(()),
            }
        });
        empty(done, reply);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let flags = OFlag::from_bits_truncate(flags.0);
        let effect = match flags & OFlag::O_ACCMODE {
            OFlag::O_RDONLY => Effect::Looks,
            _ => Effect::Changes,
        };
        let file = self.serve(request, effect, |_| self.files.open(ino, flags));
        opened(file.map(|file| self.open.add_file(file)), reply);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let flags = OFlag::from_bits_truncate(flags);
        let result = self.serve(request, Effect::NeedsRoom, |_| {
            let file = self.files.create(parent, name, mode, flags)?;
            Ok((file, self.files.look_up(parent, name)?))
        });
        match result {
            Ok((file, attr)) => {
                let handle = self.open.add_file(file);
                reply.created(&KEPT, &attr, Generation(0), handle, FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.serve(request, Effect::Looks, |_| {
            let mut bytes = vec![0; size as usize];
            let read = self.open.file(handle)?.read_at(&mut bytes, offset)?;
            bytes.truncate(read);
            Ok(bytes)
        });
        data(bytes, reply);
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.serve(request, Effect::NeedsRoom, |mode| {
            if mode == Mode::FullAtClose {
                self.open.lose(handle);
                return Ok(());
            }
            self.open.file(handle)?.write_all_at(bytes, offset)
        });
        match written {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(0)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.lost_or(request, handle, reply);
    }

    fn fsync(&self, request: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.lost_or(request, handle, reply);
    }

    fn fsyncdir(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.lost_or(request, handle, reply);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open.close(handle);
        reply.ok();
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let dir = self.serve(request, Effect::Looks, |_| {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            self.open.add_dir(self.files.open(ino, flags)?)
        });
        opened(dir, reply);
    }

    fn readdir(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = |mode| Ok((mode, self.open.dir(handle)?));
        let (mode, entries) = match self.serve(request, Effect::Looks, listed) {
            Ok(listed) => listed,
            Err(error) => return reply.error(error),
        };
        if mode == Mode::Endless {
            let name = |next| format!("endless-{next}");
            let mut next = offset + 1;
            while !reply.add(INodeNo(next), next, FileType::RegularFile, name(next)) {
                next += 1;
            }
            return reply.ok();
        }
        for (next, entry) in (1..)
            .zip(entries.iter())
            .skip(usize::try_from(offset).unwrap_or(0))
        {
            if reply.add(entry.ino, next, entry.kind, &entry.name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.open.close(handle);
        reply.ok();
    }

    fn statfs(&self, request: &Request, _: INodeNo, reply: ReplyStatfs) {
        let room = self.serve(request, Effect::Looks, |mode| {
            let root = self.files.open(INodeNo::ROOT, OFlag::O_PATH)?;
            Ok((mode, nix::sys::statvfs::fstatvfs(root.as_fd())?))
        });
        match room {
            Ok((mode, room)) => {
                let free = |blocks| if mode == Mode::Full { 0 } else { blocks };
                let size = u32::try_from(room.fragment_size()).unwrap_or(4096);
                let (free, available) = (free(room.blocks_free()), free(room.blocks_available()));
                let (files, unused) = (room.files(), room.files_free());
                reply.statfs(
                    room.blocks(),
                    free,
                    available,
                    files,
                    unused,
                    size,
                    255,
                    size,
                );
            }
            Err(error) => reply.error(error),
        }
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        empty(
            self.serve(request, Effect::Looks, |_| {
                self.files.access(ino, mask.bits())
            }),
            reply,
        );
    }
}
