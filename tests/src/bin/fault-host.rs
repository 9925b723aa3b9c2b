//! A host of the module whose system calls are watched:
//!
//!     fault-host CONFDIR SERVICE USER
//!
//! It loads the module once, and then does what it is told on [`CHANNEL`], each time in a process of
//! its own: see [`pam_idtoken_tests::faults::protocol`].

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, fork, setsid};
use pam_idtoken_tests::faults::protocol::{Event, Hook, Order};
use pam_idtoken_tests::faults::{CHANNEL, CLOSED, Channel, watch_me};
use pam_idtoken_tests::host::pam::Transaction;
use pam_idtoken_tests::host::snapshot::Snapshot;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [confdir, service, user] = &args[..] else {
        panic!("usage: fault-host CONFDIR SERVICE USER");
    };
    set_pdeathsig(Signal::SIGKILL).unwrap();
    let channel = Channel::inherited();
    assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&channel.as_fd()), CHANNEL);
    let mut pam = Transaction::start(confdir, service, user, Some("192.0.2.7")).unwrap();
    // libpam loads modules when it calls one for the first time. The name service keeps files open.
    pam.authenticate(0);
    let _ = nix::unistd::User::from_name("root");
    let _ = nix::unistd::Group::from_name("root");
    while let Ok((order, _)) = channel.receive::<Order>() {
        // SAFETY: this program has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let code = child(&channel, &mut pam, order);
                // SAFETY: ends the process without touching what it shares with its parent.
                unsafe { libc::_exit(code) };
            }
            ForkResult::Parent { child } => {
                let mut status = 0;
                // SAFETY: the kernel writes to one live number.
                unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) };
                channel.send(&Event::Ended(status));
            }
        }
    }
}

/// Does what is to be done; the exit code.
fn child(channel: &Channel, pam: &mut Transaction, order: Order) -> i32 {
    set_pdeathsig(Signal::SIGKILL).unwrap();
    setsid().unwrap();
    match order {
        Order::Leave => pam.open(0),
        Order::Session(hook) => session(channel, pam, hook),
        Order::Become {
            command,
            output,
            is_watched,
        } => become_another(channel, &command, &output, is_watched),
    }
}

fn session(channel: &Channel, pam: &mut Transaction, hook: Hook) -> i32 {
    if hook == Hook::Close {
        let opened = pam.open(0);
        if opened != 0 {
            return opened;
        }
    }
    let mut before = snapshot();
    // The filter is ours; without it the snapshot takes less.
    let filtered = before.status.insert("Seccomp".to_owned(), "2".to_owned());
    assert_eq!(filtered.as_deref(), Some("0"));
    watch();
    let start = Instant::now();
    let code = match hook {
        Hook::Open => pam.open(0),
        Hook::Close => pam.close(0),
    };
    let took = u64::try_from(start.elapsed().as_millis()).unwrap();
    let changed = before.differences(&snapshot());
    channel.send(&Event::Returned { code, took });
    channel.send(&Event::Changed(changed));
    0
}

/// Of this process, without what the name service keeps open for itself and what close(2) said no to,
/// which is closed.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::take();
    let files =
        ["NSS_WRAPPER_PASSWD", "NSS_WRAPPER_GROUP"].map(|name| std::env::var(name).unwrap());
    let own = |leads: &String| *leads != CLOSED && !files.contains(leads);
    snapshot.descriptors.retain(|_, leads| own(leads));
    snapshot
}

/// Every call is asked for from now on.
fn watch() {
    let pid = i32::try_from(std::process::id()).unwrap();
    let message = serde_json::to_vec(&Event::Watched(pid)).unwrap();
    watch_me(&message).unwrap();
}

fn become_another(channel: &Channel, command: &[String], output: &Path, is_watched: bool) -> i32 {
    let output = File::create(output).unwrap();
    let mut program = Command::new(&command[0]);
    program
        .args(&command[1..])
        .stdout(output.try_clone().unwrap())
        .stderr(output);
    fcntl(channel, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    if is_watched {
        watch();
    }
    panic!("{command:?}: {}", program.exec());
}
