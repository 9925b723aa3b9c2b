//! A home on a file server that can be stopped: bindfs mirrors a directory, and
//! a stopped bindfs answers nobody.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::run;

/// A mounted mirror of a directory.
pub struct Mirror {
    server: Child,
    mount: PathBuf,
}

impl Mirror {
    /// Mounts a mirror of `from` on `mount`.
    pub fn of(from: &Path, mount: &Path) -> Self {
        let server = Command::new("bindfs")
            .args(["-f", "-o", "allow_other"])
            .args([from, mount])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mirror = Self {
            server,
            mount: mount.to_owned(),
        };
        let end = Instant::now() + Duration::from_secs(10);
        while !mirror.is_mounted() {
            assert!(Instant::now() < end, "bindfs did not mount {mount:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        mirror
    }

    fn is_mounted(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let mount = format!(" {} fuse", self.mount.display());
        mounts.contains(&mount)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.server.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    /// From now on the directory does not answer, and takes no request.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        // A thread that is not stopped yet may still take one; who asked could not be killed then.
        let end = Instant::now() + Duration::from_secs(10);
        while !self.is_stopped() {
            assert!(Instant::now() < end, "bindfs does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_stopped(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.server.id());
        let mut tasks = std::fs::read_dir(tasks).unwrap().flatten();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().unwrap_or_default();
            state.starts_with('T')
        })
    }

    /// It answers again.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.go_on();
        let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
