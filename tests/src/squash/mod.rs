//! A file server that behaves as NFS with root_squash, over FUSE.
//!
//! It mirrors a directory. A request of root's, that is one whose fsuid is 0, is refused with
//! EACCES, whatever the modes say: NFS would take root for nobody, who may do nothing in a home
//! that is its user's alone. Everybody else is served as the user, group and supplementary groups
//! they are, so modes, owners and sticky bits are judged by the kernel below, not here. Nothing is
//! kept by the asking kernel (a name and its attributes are asked for each time).
//!
//! Root may do one thing, as on a real mount: stat the mount point itself.
//!
//! [`crate::host::Squash`] starts it and talks to it.

mod asker;
mod files;
mod open;
mod reply;
mod requests;
mod server;
mod state;

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::path::Path;

use fuser::{Config, MountOption, Session, SessionACL};
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode as Bits, umask};
use serde::{Deserialize, Serialize};

use server::Server;
use state::State;

/// What the server does with requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// What it is asked for.
    #[default]
    Normal,
    /// It takes a request and answers it in the next mode: whoever asked can not be killed.
    Stalled,
    /// It takes a rename and does it in the next mode; everything else as ever.
    StalledAtRename,
    /// Whatever needs room: ENOSPC.
    Full,
    /// Whatever needs room: EDQUOT.
    OverQuota,
    /// The listing of a directory has no end.
    Endless,
    /// What is written is lost, and close(2) or fsync(2) says ENOSPC, as with NFS and a quota.
    FullAtClose,
    /// Whatever changes anything: EROFS.
    ReadOnly,
    /// A rename is done and said to have failed with EIO: its answer was lost, it was asked again.
    RenamesAndFails,
    /// The same, and nothing else is changed from then on.
    RenamesAndBreaks,
}

/// The server's main: `[--inside PID] DIRECTORY MOUNT`.
///
/// Mounts, says `mounted`, and repeats each mode that it reads from its standard input when it is
/// in force. The end of its input ends it, and the mount.
///
/// # Panics
///
/// If anything fails before the mount.
pub fn main(mut args: impl Iterator<Item = OsString>) {
    let mut next = || args.next().expect("[--inside PID] DIRECTORY MOUNT");
    let mut first = next();
    let mut namespace = None;
    if first == "--inside" {
        let path = Path::new("/proc").join(next()).join("ns/mnt");
        namespace = Some(std::fs::File::open(path).unwrap());
        first = next();
    }
    let mount = next();
    // Both as they are seen from here, before this process enters a host.
    let directory = open(
        Path::new(&first),
        OFlag::O_PATH | OFlag::O_DIRECTORY,
        Bits::empty(),
    );
    let proc = open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY, Bits::empty());
    if let Some(namespace) = namespace {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS).unwrap();
    }
    umask(Bits::empty());
    let state = State::default();
    let server = Server::new(proc.unwrap(), directory.unwrap(), state.clone());
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.mount_options = vec![
        MountOption::FSName("squash-home".to_owned()),
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    let session = Session::new(server, Path::new(&mount), &config).unwrap();
    std::thread::spawn(move || session.run());
    say("mounted");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        state.set(serde_json::from_str(&line).unwrap());
        say(&line);
    }
    let _ = umount2(Path::new(&mount), MntFlags::MNT_DETACH);
    // Closes the connection: whoever waits for an answer is let go.
    std::process::exit(0);
}

fn say(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
