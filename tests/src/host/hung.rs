//! A home on a file server that can be stopped: bindfs mirrors a directory, and
//! a stopped bindfs answers nobody.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::run;
use crate::signal;

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

    fn pid(&self) -> i32 {
        i32::try_from(self.server.id()).unwrap()
    }

    /// From now on the directory does not answer, and takes no request.
    pub fn stop(&self) {
        signal::stop(self.pid());
    }

    /// It answers again.
    pub fn go_on(&self) {
        signal::go_on(self.pid());
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
