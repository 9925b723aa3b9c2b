//! A scratch host for ring 2: keys, configuration, users and homes in a
//! directory of its own, and the child that plays the host.

mod accounts;
mod configuration;
mod program;
mod said;
mod session;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::sys::stat::{Mode, SFlag, mknod};

use super::log::Daemon;
use crate::secrets::Said;

use accounts::alice_uid;
pub use accounts::{ALICE, BOB};
pub use program::tool;
pub use session::Outcome;

/// As whom the host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// As root, as sshd does.
    Root,
    /// As alice herself: libpam needs no root.
    Alice,
}

/// A scratch host.
pub struct Lab {
    dir: tempfile::TempDir,
    who: Who,
    log: Option<Daemon>,
    /// In microseconds.
    delay: AtomicU64,
    /// How many users there are beside those of every lab.
    users: AtomicU64,
    /// More lines of its passwd.
    accounts: Mutex<Vec<u8>>,
    /// What its programs run under, with its arguments.
    under: Vec<String>,
    /// What was said and written, to be looked through for secrets.
    said: Mutex<Said>,
}

/// Tells what several hosts of one lab write apart.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether the tests run as root; without it some things can not be made.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl Lab {
    /// A host with a key, a configuration, alice's empty home and a log.
    pub fn new(who: Who) -> Self {
        assert!(
            who == Who::Alice || is_root(),
            "a host of root's needs root"
        );
        let dir = tempfile::tempdir().unwrap();
        allow(dir.path(), 0o755);
        let mut lab = Self {
            dir,
            who,
            log: None,
            delay: AtomicU64::new(0),
            users: AtomicU64::new(0),
            accounts: Mutex::default(),
            under: Vec::new(),
            said: Mutex::default(),
        };
        for name in [
            "home",
            "home/alice",
            "home/bob",
            "keys",
            "etc",
            "pam.d",
            "dev",
            "tmp",
        ] {
            fs::create_dir(lab.path(name)).unwrap();
        }
        allow(&lab.path("tmp"), 0o777);
        fs::write(lab.path("keys/POOL"), "a scratch key").unwrap();
        allow(&lab.path("keys/POOL"), 0o600);
        lab.give("home/alice", ALICE);
        lab.give("home/bob", BOB);
        if who == Who::Alice {
            for name in ["", "keys", "keys/POOL", "etc"] {
                lab.give(name, ALICE);
            }
        }
        if is_root() {
            lab.log = Some(Daemon::start(lab.path("dev/log")));
            for (name, minor) in [("null", 3), ("zero", 5), ("urandom", 9)] {
                let node = nix::sys::stat::makedev(1, minor);
                let all = Mode::from_bits_truncate(0o666);
                mknod(&lab.path("dev").join(name), SFlag::S_IFCHR, all, node).unwrap();
                allow(&lab.path("dev").join(name), 0o666);
            }
        }
        lab.configure("");
        lab.line("");
        lab.promise();
        lab
    }

    /// A reconciler that will be back in an hour, as far as logins can tell.
    pub fn promise(&self) {
        let run = self.path("run");
        fs::create_dir_all(&run).unwrap();
        let stamp = File::create(run.join("reconciled")).unwrap();
        stamp
            .set_modified(SystemTime::now() + Duration::from_secs(3600))
            .unwrap();
        if self.who == Who::Alice {
            self.give("run", ALICE);
            self.give("run/reconciled", ALICE);
        }
    }

    /// A path on the scratch host.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Alice's tokens.d.
    pub fn tokens_d(&self) -> PathBuf {
        self.path("home/alice/.condor/tokens.d")
    }

    /// The names in alice's tokens.d.
    pub fn tokens(&self) -> Vec<String> {
        names(&self.tokens_d())
    }

    /// The records of alice's sessions.
    pub fn records(&self) -> Vec<String> {
        names(&self.path("state/sessions").join(alice_uid().to_string()))
    }

    /// Makes a path somebody's, if the tests may.
    pub fn give(&self, name: &str, uid: u32) {
        if is_root() {
            chown(self.path(name), Some(uid), Some(uid)).unwrap();
        }
    }
}

/// The names in a directory, sorted; none if it is not there.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
