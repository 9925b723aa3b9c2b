//! `fault-host` on a scratch host: it forks one process after the other, whose calls are watched.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;

use super::channel::Channel;
use super::filter::CHANNEL;
use super::protocol::{Event, Hook, Order};
use super::seen::{Plan, Seen};
use super::supervisor::Supervisor;
use crate::host::Lab;

/// A running `fault-host`, which ends with this value.
pub struct Host {
    child: Child,
    channel: Channel,
    program: PathBuf,
    printed: PathBuf,
}

impl Host {
    /// Starts it for the sessions of a user.
    pub fn start(lab: &Lab, user: &str) -> Self {
        let (ours, theirs) = Channel::pair();
        let program = crate::programs_dir()
            .join("fault-host")
            .canonicalize()
            .unwrap();
        let mut command = lab.helper(&program, &theirs, CHANNEL);
        let printed = lab.path("tmp/printed");
        let output = File::options().create(true).append(true).open(&printed);
        let output = output.unwrap();
        command.arg(lab.path("pam.d")).arg("test").arg(user);
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap();
        Self {
            printed,
            child,
            channel: ours,
            program,
        }
    }

    /// The program itself.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What was printed since it was last asked for; nss_wrapper prints, the module must not.
    pub fn printed(&self) -> Vec<String> {
        let text = fs::read(&self.printed).unwrap();
        File::create(&self.printed).unwrap();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| !line.starts_with("NWRAP_"));
        lines.map(str::to_owned).collect()
    }

    /// Opens a session that nobody closes; the process has ended when this returns.
    #[track_caller]
    pub fn leave(&self) {
        let status = self.unwatched(&Order::Leave);
        assert_eq!(status, 0, "a session could not be opened");
    }

    /// Opens or closes a session and watches that.
    pub fn session(&self, hook: Hook, plan: Plan<'_>) -> Seen {
        self.channel.send(&Order::Session(hook));
        self.watch(plan)
    }

    fn watch(&self, plan: Plan<'_>) -> Seen {
        let seen = Supervisor::new(plan).run(&self.channel);
        seen.unwrap_or_else(|error| self.has_gone(&error))
    }

    fn has_gone(&self, error: &std::io::Error) -> ! {
        let printed = fs::read_to_string(&self.printed);
        let status = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        panic!("fault-host ended: {error}: {printed:?}, {status:?}");
    }

    /// Runs a program and watches it.
    pub fn watched(&self, command: Vec<String>, output: PathBuf, plan: Plan<'_>) -> Seen {
        let order = Order::Become {
            command,
            output,
            is_watched: true,
        };
        self.channel.send(&order);
        self.watch(plan)
    }

    /// Runs a program and waits for it; its wait status.
    pub fn run(&self, command: Vec<String>, output: PathBuf) -> i32 {
        self.unwatched(&Order::Become {
            command,
            output,
            is_watched: false,
        })
    }

    fn unwatched(&self, order: &Order) -> i32 {
        self.channel.send(order);
        match self.channel.receive() {
            Ok((Event::Ended(status), _)) => status,
            Ok(other) => panic!("{other:?}"),
            Err(error) => self.has_gone(&error),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
