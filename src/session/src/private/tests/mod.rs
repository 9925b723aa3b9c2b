mod clear;
mod links;
mod root;
mod write;

use super::*;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::acting::as_user;
use crate::deadline::Deadline;
use crate::name::SessionId;
use crate::user::User;

/// A host with a run_dir in memory and one user: another than root if root runs the tests.
pub(super) struct Lab {
    dir: tempfile::TempDir,
    pub(super) user: User,
    pub(super) euid: u32,
    pub(super) session: SessionId,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::on("/dev/shm")
    }

    pub(super) fn on(place: &str) -> Self {
        let dir = tempfile::tempdir_in(place).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let euid = nix::unistd::geteuid().as_raw();
        let gid = nix::unistd::getegid().as_raw();
        let (uid, gid) = if euid == 0 { (4321, 4321) } else { (euid, gid) };
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(uid), Some(gid)).unwrap();
        let user = User {
            name: "alice".into(),
            uid,
            gid,
            groups: vec![gid],
            home,
        };
        Self {
            dir,
            user,
            euid,
            session: SessionId::random().unwrap(),
        }
    }

    /// The same with the directory of a session.
    pub(super) fn made() -> Self {
        let lab = Self::new();
        lab.make().unwrap();
        lab
    }

    pub(super) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(super) fn dir(&self) -> PathBuf {
        path(&self.run_dir(), self.session)
    }

    pub(super) fn make(&self) -> Result<PathBuf> {
        make(&self.run_dir(), self.session, &self.user, self.euid)
    }

    pub(super) fn remove_dir(&self) -> Result<bool> {
        remove_dir(&self.run_dir(), self.session, self.euid)
    }

    pub(super) fn end(&self) -> Result<bool> {
        let deadline = soon();
        end(
            &self.run_dir(),
            self.session,
            &self.user,
            self.euid,
            deadline,
            &(),
        )
    }

    /// Does something as the user, with the user's rights and no more.
    pub(super) fn act<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> T + Send + 'static,
    ) -> T {
        let dir = self.dir();
        as_user(&self.user, self.euid, soon(), move || Ok(work(dir))).unwrap()
    }

    pub(super) fn clear(&self) -> Cleared {
        self.act(|dir| clear(&dir, soon())).unwrap()
    }

    pub(super) fn write(&self, files: &[TokenFile]) -> Result<()> {
        let files = files.to_vec();
        self.act(move |dir| write(&dir, &files, &AtomicBool::new(false)))
    }

    pub(super) fn token(&self, seconds: u64) -> TokenFile {
        let name = TokenName::new(seconds, "ap1", self.session);
        (name, Arc::new(Zeroizing::new(b"the.new.token\n".to_vec())))
    }

    pub(super) fn names(&self) -> Vec<String> {
        crate::testing::names(&self.dir())
    }
}

pub(super) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(super) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

pub(super) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
