//! A scratch host for the tests of this crate.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};

use crate::close::Session;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::home::TOKENS_D;
use crate::host::Host;
use crate::log::Kept;
use crate::open::{Opened, Wanted, open};
use crate::record::{Login, Opening};
use crate::user::User;

/// A host with a key, a state directory and one user, who is whoever runs the tests.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
    text: String,
    pub(crate) config: Config,
    pub(crate) host: Host,
    pub(crate) log: Kept,
}

impl Lab {
    /// On a disk, where no private store can be.
    pub(crate) fn new() -> Self {
        Self::below("/var/tmp")
    }

    /// In memory.
    pub(crate) fn in_memory() -> Self {
        Self::below("/dev/shm")
    }

    fn below(top: &str) -> Self {
        let dir = tempfile::tempdir_in(top).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("home")).unwrap();
        fs::create_dir(path("keys")).unwrap();
        fs::write(path("keys/POOL"), "the key").unwrap();
        fs::set_permissions(path("keys/POOL"), fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "trust_domain = \"lab.test\"\nuid_domain = \"lab.test\"\nstate_dir = {:?}\n\
             password_directory = {:?}\ntimeout = \"2s\"\nrun_dir = {:?}\n",
            path("state"),
            path("keys"),
            path("run")
        );
        let config = Config::parse(&text, Path::new("/x.toml")).unwrap();
        Self {
            dir,
            text,
            config,
            host: Host::current().unwrap(),
            log: Kept::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn opening(&self) -> Opening {
        let uid = nix::unistd::geteuid().as_raw();
        let gid = nix::unistd::getegid().as_raw();
        let home = self.path("home");
        let user = User {
            name: "alice".into(),
            uid,
            gid,
            groups: vec![gid],
            home,
        };
        Opening {
            user,
            login: Login {
                service: "sshd".into(),
                ..Login::default()
            },
            linger: None,
        }
    }

    pub(crate) fn open(&self) -> Opened {
        open(&self.config, &self.host, wanted(self.opening()), &self.log)
    }

    /// The same host with more in its configuration.
    pub(crate) fn configure(&mut self, more: &str) {
        let text = format!("{}{more}", self.text);
        self.config = Config::parse(&text, Path::new("/x.toml")).unwrap();
    }

    pub(crate) fn opened(&self) -> Session {
        match self.open() {
            Opened::Yes(session) => *session,
            Opened::No(error) | Opened::Pending(_, error) | Opened::Partly(_, error) => {
                panic!("{error}")
            }
        }
    }

    pub(crate) fn refused(&self) -> String {
        match self.open() {
            Opened::No(error) => error.to_string(),
            _ => panic!("it opened"),
        }
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        names(&self.path("home").join(TOKENS_D))
    }

    /// What is in the user's directory of records.
    pub(crate) fn records(&self) -> Vec<String> {
        let uid = nix::unistd::geteuid().as_raw().to_string();
        names(&self.path("state/sessions").join(uid))
    }
}

/// A session that is to have the first token of the configuration, soon.
pub(crate) fn wanted(opening: Opening) -> Wanted {
    Wanted {
        opening,
        tables: vec![0],
        deadline: Deadline::after(std::time::Duration::from_secs(2)),
    }
}

/// Does something under a umask that is not the other tests'.
pub(crate) fn under_umask<T: Send>(mask: u32, act: impl FnOnce() -> T + Send) -> T {
    let act = || {
        unshare(CloneFlags::CLONE_FS).unwrap();
        umask(Mode::from_bits_truncate(mask));
        act()
    };
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
