//! The file system all hosts of a pool start from: Debian with HTCondor and
//! sshd from Debian's own packages, and the users of the tests.
//!
//! It takes half a minute to build, so it is kept; `VERSION` changes with what
//! is in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::path;
use crate::command::{must, run};

const VERSION: u32 = 5;

/// A release of Debian, and with it one of HTCondor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Debian 11: glibc 2.31, OpenSSH 8.4, systemd 247, a /lib of its own, and no HTCondor.
    Bullseye,
    /// Debian 13: HTCondor 23.9.
    Trixie,
    /// Debian's unstable: HTCondor 25.14 or later.
    Sid,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// Whether a list of packages is out of date is a question for the hosts of a real site.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Trixie => &[],
            Self::Bullseye | Self::Sid => &["--aptopt=Acquire::Check-Valid-Until \"false\""],
        }
    }

    /// Whether it has packages of HTCondor.
    pub(super) fn has_condor(self) -> bool {
        self != Self::Bullseye
    }

    fn packages(self) -> String {
        let condor = if self.has_condor() { ",condor" } else { "" };
        format!("{PACKAGES}{condor}")
    }

    /// The services that a host starts.
    fn services(self) -> &'static str {
        if self.has_condor() {
            "condor ssh"
        } else {
            "ssh"
        }
    }

    /// What its sshd has to be told, and that of Debian 11 does not know: logins come in crowds.
    fn sshd(self) -> &'static str {
        match self {
            Self::Bullseye => "",
            Self::Trixie | Self::Sid => "PerSourcePenalties no\n",
        }
    }
}

/// jq, make and man are for who follows the documents on a host.
const PACKAGES: &str = "bindfs,dbus,fuse3,iproute2,jq,libpam-modules,libpam-systemd,make,man-db,\
                        openssh-client,openssh-server,procps,systemd,systemd-sysv,tmux";

/// The directory with `root`, `pool-home` (what becomes /home) and the ssh key
/// `id` of everybody, built now if it is not there.
///
/// It is in `IDTOKEN_POOL_CACHE`, or else in /var/cache/pam_idtoken-tests.
pub(super) fn ready(suite: Suite) -> PathBuf {
    // Somebody else may be building it: this waits for them.
    let _lock = lock();
    let cache = cache();
    let name = format!("{}-{VERSION}", suite.name());
    let ready = cache.join(&name);
    if !ready.exists() {
        let unfinished = cache.join(format!("{name}.unfinished"));
        must("rm", &["-rf", path(&unfinished)]);
        build(suite, &unfinished);
        fs::rename(&unfinished, &ready).unwrap();
    }
    ready
}

fn cache() -> PathBuf {
    let named = std::env::var_os("IDTOKEN_POOL_CACHE");
    named.map_or_else(|| "/var/cache/pam_idtoken-tests".into(), PathBuf::from)
}

/// Until it is dropped nobody else builds a root or makes a network.
pub(super) fn lock() -> File {
    let cache = cache();
    fs::create_dir_all(&cache).unwrap();
    let lock = File::create(cache.join(".lock")).unwrap();
    lock.lock().unwrap();
    lock
}

fn build(suite: Suite, dir: &Path) {
    let root = dir.join("root");
    fs::create_dir_all(dir).unwrap();
    let include = format!("--include={}", suite.packages());
    let bootstrap = || {
        must("rm", &["-rf", path(&root)]);
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", &include]);
        run(command
            .args(suite.options())
            .args([suite.name(), path(&root)]))
    };
    // A mirror may hiccup once.
    if !bootstrap().ok {
        bootstrap().must();
    }
    add_users(&root);
    open_the_door(suite, dir, &root);
    // What no host of the pool needs.
    let services = suite.services();
    in_root(
        &root,
        &format!(
            "systemctl enable {services}; systemctl mask rpcbind.service rpcbind.socket \
             systemd-resolved systemd-networkd nfs-client.target || true"
        ),
    );
    must(
        "cp",
        &["-a", path(&root.join("home")), path(&dir.join("pool-home"))],
    );
}

/// The users of the tests: dave is in the group nocondor, student in students, nfs is there to
/// have a home on a file server, svc has the uid of a system user, the homes of ghost and real
/// are not there.
fn add_users(root: &Path) {
    in_root(root, "groupadd nocondor");
    for user in ["alice", "bob", "carol", "dave"] {
        in_root(root, &format!("useradd -m -s /bin/bash {user}"));
    }
    in_root(root, "usermod -aG nocondor dave; groupadd students");
    in_root(root, "useradd -m -s /bin/bash -G students student");
    in_root(root, "useradd -m -s /bin/bash nfs");
    in_root(root, "useradd -r -u 900 -m -d /home/svc -s /bin/bash svc");
    in_root(root, "useradd -u 2000 -M -d /home/ghost -s /bin/bash ghost");
    in_root(root, "useradd -u 2001 -M -d /home/real -s /bin/bash real");
}

/// One ssh key lets everybody in, with a home and without.
fn open_the_door(suite: Suite, dir: &Path, root: &Path) {
    let key = dir.join("id");
    must(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", path(&key)],
    );
    fs::copy(dir.join("id.pub"), root.join("etc/ssh/authorized_keys")).unwrap();
    fs::write(
        root.join("etc/ssh/sshd_config.d/pool.conf"),
        format!(
            "AuthorizedKeysFile /etc/ssh/authorized_keys\nMaxStartups 200\nUseDNS no\n{}",
            suite.sshd()
        ),
    )
    .unwrap();
    // A login that meets the user manager of a session just ended, ten seconds after it, may wait
    // for a job of systemd 257 that never starts; so managers stay.
    let logind = root.join("etc/systemd/logind.conf.d");
    fs::create_dir_all(&logind).unwrap();
    fs::write(logind.join("pool.conf"), "[Login]\nUserStopDelaySec=1h\n").unwrap();
}

fn in_root(root: &Path, script: &str) {
    must("chroot", &[path(root), "sh", "-ec", script]);
}
