//! A user who sees every step of the module in their home and answers it at once.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{begun, is_over, is_token};

/// Puts a link in place of whatever appears in a directory under the name of a token, be it one that
/// is being written.
pub(super) fn react(tokens_d: &Path, leads: &Path) -> usize {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    let all = AddWatchFlags::IN_ALL_EVENTS;
    inotify.add_watch(tokens_d, all).unwrap();
    begun();
    let mut count = 0;
    while !is_over(0) {
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(1_u8));
        for event in inotify.read_events().unwrap_or_default() {
            let Some(name) = event.name.filter(|name| is_token(name.as_bytes())) else {
                continue;
            };
            let path = tokens_d.join(name);
            let is_link = fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_symlink());
            if !is_link && fs::remove_file(&path).is_ok() {
                count += usize::from(symlink(leads, &path).is_ok());
            }
        }
    }
    count
}
