//! A real HTCondor pool: a central manager and two access points.
//!
//! Each is a Debian host booted by systemd-nspawn with its own address, its own
//! sshd and HTCondor from Debian's packages; they share one /home. Everything
//! is made in a directory and a network of its own and taken down at the end.

mod host;
mod root;
mod ssh;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use host::{DOMAIN, Host};
pub use ssh::{Ssh, Told};

use crate::command::{must, run};

/// How long the pool may take to answer after its hosts were booted.
const BOOT: Duration = Duration::from_secs(120);

/// What was built: the release module and tool.
pub struct Build {
    /// `libpam_idtoken.so`.
    pub module: PathBuf,
    /// `idtokenctl`.
    pub tool: PathBuf,
}

impl Build {
    /// From `IDTOKEN_BUILD_DIR`, or else `target/release`.
    pub fn find() -> Self {
        let dir = crate::build_dir();
        let build = Self {
            module: dir.join("libpam_idtoken.so"),
            tool: dir.join("idtokenctl"),
        };
        for path in [&build.module, &build.tool] {
            assert!(
                path.exists(),
                "{} is not there: run make build first",
                path.display()
            );
        }
        build
    }
}

/// A running pool.
pub struct Pool {
    dir: PathBuf,
    net: u8,
    key: PathBuf,
    hosts: Vec<Host>,
}

impl Pool {
    /// Boots `cm`, `ap1` and `ap2` and waits until both access points are in the collector.
    pub fn boot() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "a pool of booted hosts needs root"
        );
        let root = root::ready();
        prepare_nspawn();
        let net = free_network();
        let dir = PathBuf::from(format!("/tmp/pam_idtoken-pool-{net}"));
        fs::create_dir_all(&dir).unwrap();
        must(
            "cp",
            &["-a", path(&root.join("pool-home")), path(&dir.join("home"))],
        );
        let signing_key: Vec<u8> = (0..64).map(|_| random_byte()).collect();
        bridge_up(net);
        let mut pool = Self {
            dir,
            net,
            key: root.join("id"),
            hosts: Vec::new(),
        };
        for (number, name) in [(1, "cm"), (11, "ap1"), (12, "ap2")] {
            let host = Host::boot(
                &pool.dir,
                &root.join("root"),
                net,
                number,
                name,
                &signing_key,
            );
            pool.hosts.push(host);
        }
        pool.wait_until_it_answers();
        pool
    }

    /// One of its hosts.
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name() == name).unwrap()
    }

    /// Installs the build on both access points, as an administrator would.
    pub fn install(&self, build: &Build) {
        for name in ["ap1", "ap2"] {
            self.host(name).install(build);
        }
    }

    /// Installs and enables the units of `make install` on a host.
    pub fn install_units(&self, name: &str) {
        let dest = self.dir.join("make-install");
        if !dest.exists() {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let variables = [
                format!("DESTDIR={}", path(&dest)),
                format!("BUILT={}", path(&crate::build_dir())),
                "PAMDIR=/security".to_owned(),
            ];
            let workspace = path(&workspace).to_owned();
            let mut args = vec!["-C", &workspace, "install"];
            args.extend(variables.iter().map(String::as_str));
            must("make", &args);
        }
        let units: Vec<(String, Vec<u8>)> = fs::read_dir(dest.join("usr/lib/systemd/system"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        assert_eq!(units.len(), 3);
        self.host(name).install_units(&units);
    }

    /// A login.
    pub fn ssh(&self, user: &str, host: &str) -> Ssh {
        let host = self.host(host);
        Ssh::new(&self.key, user, host.address(), host.leader())
    }

    /// The shared /home, seen from outside.
    pub fn home(&self, user: &str) -> PathBuf {
        self.dir.join("home").join(user)
    }

    /// The names in a user's tokens.d.
    pub fn tokens(&self, user: &str) -> Vec<String> {
        let dir = self.home(user).join(".condor/tokens.d");
        let entries = fs::read_dir(dir).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Waits until a user has this many files in tokens.d; says what is there otherwise.
    ///
    /// A client of ssh may return before sshd has closed the session.
    pub fn wait_for_tokens(&self, user: &str, count: usize) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.tokens(user).len() != count {
            assert!(
                Instant::now() < end,
                "{user} has {:?}, not {count}",
                self.tokens(user)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until both access points and every sshd answer.
    pub fn wait_until_it_answers(&self) {
        let end = Instant::now() + BOOT;
        let ask = ["condor_status", "-schedd", "-af", "Name"];
        loop {
            let answer = self.host("ap1").run(&ask);
            if answer.stdout.lines().count() == 2 && self.hosts.iter().all(Host::has_sshd) {
                return;
            }
            assert!(
                Instant::now() < end,
                "the pool does not answer: {}",
                self.state(&answer.all())
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// What an engineer would look at first.
    fn state(&self, answer: &str) -> String {
        let mut text = format!("condor_status on ap1: {answer}\n");
        for host in &self.hosts {
            let units = host.run(&["systemctl", "--no-pager", "list-units", "--failed", "-q"]);
            let log = host.run(&["sh", "-c", "tail -n 5 /var/log/condor/*Log"]);
            let sshd = host.has_sshd();
            text += &format!(
                "{}: sshd {sshd}, failed {}\n{}\n",
                host.name(),
                units.all(),
                log.all()
            );
        }
        text
    }

    /// Ends every process the pool started and removes what it made.
    pub fn shut_down(&mut self) {
        for host in &mut self.hosts {
            host.take_down();
        }
        let _ = run(Command::new("ip").args(["link", "del", &bridge(self.net)]));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// systemd-nspawn in a place without systemd needs its directory.
fn prepare_nspawn() {
    let dir = Path::new("/run/systemd");
    let mounted = fs::read_to_string("/proc/mounts")
        .unwrap()
        .contains(" /run/systemd ");
    if !mounted && !dir.join("system").exists() {
        fs::create_dir_all(dir).unwrap();
        must("mount", &["-t", "tmpfs", "tmpfs", "/run/systemd"]);
    }
}

/// A third octet whose bridge nobody has: several pools can run side by side.
fn free_network() -> u8 {
    let first = u8::try_from(std::process::id() % 200).unwrap();
    (0..200)
        .map(|step| (first + step) % 200)
        .find(|net| !is_taken(*net))
        .expect("two hundred pools are running")
}

/// Whether a bridge or a host's end of a cable is there: they go some time after their pool.
fn is_taken(net: u8) -> bool {
    let cable = format!("idt{net}-");
    fs::read_dir("/sys/class/net").unwrap().any(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name == bridge(net) || name.starts_with(&cable)
    })
}

fn bridge(net: u8) -> String {
    format!("idtoken{net}")
}

fn bridge_up(net: u8) {
    let (bridge, address) = (bridge(net), format!("10.88.{net}.254/24"));
    must("ip", &["link", "add", &bridge, "type", "bridge"]);
    must("ip", &["addr", "add", &address, "dev", &bridge]);
    must("ip", &["link", "set", &bridge, "up"]);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn random_byte() -> u8 {
    use std::io::Read;
    let mut byte = [0];
    fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut byte)
        .unwrap();
    byte[0]
}
