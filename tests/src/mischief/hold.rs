//! A user who holds on to everything: locks, leases, descriptors and watches.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{begun, is_over};

/// Opens whatever is below these directories, locks it in every way, takes a lease on it, and does
/// the same with what appears there later.
pub(super) fn hold(dirs: &[PathBuf]) -> usize {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    let mut held: Vec<(PathBuf, File)> = Vec::new();
    let mut count = 0;
    let mut look = |held: &mut Vec<(PathBuf, File)>| {
        let mut found = dirs.to_vec();
        while let Some(path) = found.pop() {
            if held.iter().any(|(known, _)| *known == path) {
                continue;
            }
            let inner = fs::read_dir(&path).into_iter().flatten().flatten();
            found.extend(inner.map(|entry| entry.path()));
            if let Some(file) = seize(&path) {
                let _ = inotify.add_watch(&path, AddWatchFlags::IN_ALL_EVENTS);
                held.push((path, file));
                count += 1;
            }
        }
    };
    look(&mut held);
    // A lease that is asked back is a signal, which would end this.
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    begun();
    while !is_over(1) {
        let _ = inotify.read_events();
        look(&mut held);
        // What it was is gone, what has its name now is not held yet.
        held.retain(|(path, file)| is_still(path, file));
    }
    count
}

fn is_still(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |stat: fs::Metadata| file.metadata().is_ok_and(|held| held.ino() == stat.ino());
    fs::symlink_metadata(path).is_ok_and(same)
}

fn seize(path: &Path) -> Option<File> {
    let is_dir = path.is_dir();
    let file = File::options()
        .read(true)
        .write(!is_dir)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    let _ = file.try_lock();
    let mut range = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let fd = file.as_raw_fd();
    // SAFETY: the descriptor is open and the structure ours.
    unsafe {
        libc::fcntl(fd, libc::F_OFD_SETLK, &raw mut range);
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK);
    }
    Some(file)
}
