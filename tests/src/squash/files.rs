//! What the asking kernel knows of: inodes, each with a descriptor in the mirrored directory.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, RenameFlags, TimeOrNow};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags};
use nix::sys::stat::{fchmodat, fstatat, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{AccessFlags, Gid, Uid, UnlinkatFlags};
use nix::unistd::{faccessat, fchownat, linkat, symlinkat, unlinkat};

/// The inodes by their numbers in the mirrored directory; its own is 1.
pub(super) struct Files {
    proc: OwnedFd,
    nodes: Mutex<HashMap<u64, Node>>,
}

struct Node {
    path: Arc<OwnedFd>,
    lookups: u64,
}

/// What a setattr changes beside the size.
pub(super) struct Change {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) atime: Option<TimeOrNow>,
    pub(super) mtime: Option<TimeOrNow>,
}

impl Files {
    pub(super) fn new(proc: OwnedFd, root: OwnedFd) -> Self {
        let root = Node {
            path: Arc::new(root),
            lookups: u64::MAX,
        };
        Self {
            proc,
            nodes: Mutex::new(HashMap::from([(INodeNo::ROOT.0, root)])),
        }
    }

    pub(super) fn proc(&self) -> &OwnedFd {
        &self.proc
    }

    fn node(&self, ino: INodeNo) -> io::Result<Arc<OwnedFd>> {
        let nodes = self.nodes.lock().unwrap();
        let node = nodes.get(&ino.0).ok_or(Errno::ESTALE)?;
        Ok(node.path.clone())
    }

    /// Below the descriptor of /proc: the inode, whatever its names are.
    fn by_number(path: &OwnedFd) -> String {
        format!("self/fd/{}", path.as_raw_fd())
    }

    pub(super) fn look_up(&self, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = openat(self.node(parent)?.as_fd(), name, flags, Mode::empty())?;
        let attr = attributes(&path)?;
        let mut nodes = self.nodes.lock().unwrap();
        let node = nodes.entry(attr.ino.0).or_insert_with(|| Node {
            path: Arc::new(path),
            lookups: 0,
        });
        node.lookups = node.lookups.saturating_add(1);
        Ok(attr)
    }

    pub(super) fn forget(&self, ino: INodeNo, lookups: u64) {
        let mut nodes = self.nodes.lock().unwrap();
        if let Some(node) = nodes.get_mut(&ino.0).filter(|_| ino != INodeNo::ROOT) {
            node.lookups = node.lookups.saturating_sub(lookups);
            if node.lookups == 0 {
                nodes.remove(&ino.0);
            }
        }
    }

    pub(super) fn attributes(&self, ino: INodeNo) -> io::Result<FileAttr> {
        let attr = attributes(&*self.node(ino)?)?;
        Ok(FileAttr { ino, ..attr })
    }

    pub(super) fn change(&self, ino: INodeNo, change: &Change) -> io::Result<()> {
        let node = self.node(ino)?;
        let path = Self::by_number(&node);
        if let Some(mode) = change.mode {
            let mode = Mode::from_bits_truncate(mode);
            fchmodat(
                &self.proc,
                path.as_str(),
                mode,
                FchmodatFlags::FollowSymlink,
            )?;
        }
        if change.uid.is_some() || change.gid.is_some() {
            let (uid, gid) = (change.uid.map(Uid::from_raw), change.gid.map(Gid::from_raw));
            fchownat(node.as_fd(), "", uid, gid, AtFlags::AT_EMPTY_PATH)?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            let (atime, mtime) = (time(change.atime.as_ref()), time(change.mtime.as_ref()));
            let follow = UtimensatFlags::FollowSymlink;
            utimensat(&self.proc, path.as_str(), &atime, &mtime, follow)?;
        }
        Ok(())
    }

    pub(super) fn open(&self, ino: INodeNo, flags: OFlag) -> io::Result<OwnedFd> {
        let flags = (flags | OFlag::O_CLOEXEC) - OFlag::O_NOFOLLOW - OFlag::O_CREAT - OFlag::O_EXCL;
        let path = Self::by_number(&*self.node(ino)?);
        Ok(openat(&self.proc, path.as_str(), flags, Mode::empty())?)
    }

    pub(super) fn create(
        &self,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        flags: OFlag,
    ) -> io::Result<OwnedFd> {
        let flags = flags | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(mode);
        Ok(openat(self.node(parent)?.as_fd(), name, flags, mode)?)
    }

    pub(super) fn make_dir(&self, parent: INodeNo, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(mkdirat(
            self.node(parent)?.as_fd(),
            name,
            Mode::from_bits_truncate(mode),
        )?)
    }

    pub(super) fn link_to(&self, target: &Path, parent: INodeNo, name: &OsStr) -> io::Result<()> {
        Ok(symlinkat(target, self.node(parent)?.as_fd(), name)?)
    }

    /// Another name of an inode.
    pub(super) fn link(&self, ino: INodeNo, parent: INodeNo, name: &OsStr) -> io::Result<()> {
        let path = Self::by_number(&*self.node(ino)?);
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        Ok(linkat(
            &self.proc,
            path.as_str(),
            self.node(parent)?.as_fd(),
            name,
            follow,
        )?)
    }

    pub(super) fn read_link(&self, ino: INodeNo) -> io::Result<OsString> {
        Ok(readlinkat(self.node(ino)?.as_fd(), "")?)
    }

    pub(super) fn remove(
        &self,
        parent: INodeNo,
        name: &OsStr,
        what: UnlinkatFlags,
    ) -> io::Result<()> {
        Ok(unlinkat(self.node(parent)?.as_fd(), name, what)?)
    }

    pub(super) fn rename(
        &self,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> io::Result<()> {
        let flags = nix::fcntl::RenameFlags::from_bits_truncate(flags.bits());
        let (old, new) = (self.node(from.0)?, self.node(to.0)?);
        Ok(renameat2(old.as_fd(), from.1, new.as_fd(), to.1, flags)?)
    }

    pub(super) fn access(&self, ino: INodeNo, mask: i32) -> io::Result<()> {
        let path = Self::by_number(&*self.node(ino)?);
        let mask = AccessFlags::from_bits_truncate(mask);
        // With the ids in force, which are the asker's.
        Ok(faccessat(
            &self.proc,
            path.as_str(),
            mask,
            AtFlags::AT_EACCESS,
        )?)
    }
}

fn attributes(path: &OwnedFd) -> io::Result<FileAttr> {
    let stat = fstatat(path.as_fd(), "", AtFlags::AT_EMPTY_PATH)?;
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let at = |seconds: i64, nanos: i64| {
        let since = Duration::from_secs(seconds.unsigned_abs());
        UNIX_EPOCH + since + Duration::from_nanos(nanos.unsigned_abs())
    };
    Ok(FileAttr {
        ino: INodeNo(stat.st_ino),
        size: stat.st_size.unsigned_abs(),
        blocks: stat.st_blocks.unsigned_abs(),
        atime: at(stat.st_atime, stat.st_atime_nsec),
        mtime: at(stat.st_mtime, stat.st_mtime_nsec),
        ctime: at(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind(stat.st_mode),
        perm: u16::try_from(stat.st_mode & 0o7777).unwrap_or_default(),
        nlink: small(stat.st_nlink),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: small(stat.st_rdev),
        blksize: 4096,
        flags: 0,
    })
}

fn kind(mode: u32) -> FileType {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn time(time: Option<&TimeOrNow>) -> TimeSpec {
    match time {
        None => TimeSpec::UTIME_OMIT,
        Some(TimeOrNow::Now) => TimeSpec::UTIME_NOW,
        Some(TimeOrNow::SpecificTime(time)) => since_epoch(*time).into(),
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
