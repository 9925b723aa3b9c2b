//! A real HTCondor pool: a central manager and two access points, or what a [`Plan`] says.
//!
//! Each is a Debian host booted by systemd-nspawn with its own address, its own
//! sshd and HTCondor from Debian's packages; they share one /home. Everything
//! is made in a directory and a network of its own and taken down at the end.

mod host;
mod keys;
mod machine;
mod network;
mod package;
mod plan;
mod root;
mod ssh;
mod told;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use host::Host;
pub use keys::KEYS;
pub use package::Package;
pub use plan::{DOMAIN, Named, Plan, Role};
pub use root::Suite;
pub use ssh::{Ssh, Stay, Told};

use crate::clock::wait_until_none;
use crate::command::must;
use crate::host::Squash;

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
    has_condor: bool,
}

impl Pool {
    /// Boots `cm`, `ap1` and `ap2` and waits until both access points are in the collector.
    pub fn boot() -> Self {
        Plan::of(DOMAIN).boot()
    }

    fn of(plan: &Plan<'_>) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "a pool of booted hosts needs root"
        );
        let root = root::ready(plan.suite);
        let net = {
            // Others may boot pools at this moment.
            let _lock = root::lock();
            prepare_nspawn();
            network::bridge_up()
        };
        let dir = PathBuf::from(format!("/tmp/pam_idtoken-pool-{net}"));
        fs::create_dir_all(&dir).unwrap();
        must(
            "cp",
            &["-a", path(&root.join("pool-home")), path(&dir.join("home"))],
        );
        let signing_key: Vec<u8> = (0..64).map(|_| random_byte()).collect();
        let mut pool = Self {
            dir,
            net,
            key: root.join("id"),
            hosts: Vec::new(),
            has_condor: plan.suite.has_condor(),
        };
        let others = plan.beside.map_or_else(String::new, Self::names);
        for named in plan.hosts {
            let place = plan.place(net, *named, &others, &signing_key);
            let layer = pool.dir.join(named.0);
            let host = Host::boot(place, &root.join("root"), layer, pool.dir.join("home"));
            pool.hosts.push(host);
        }
        if let Some(other) = plan.beside {
            network::join(net, other.net);
            other.get_to_know(&pool);
        }
        pool.wait_until_it_answers();
        pool
    }

    /// Its hosts, for /etc/hosts of others.
    fn names(&self) -> String {
        self.hosts
            .iter()
            .map(|host| host.place().known_as())
            .collect()
    }

    /// Tells its hosts the names of another pool's, in place of an earlier pool's of these names.
    fn get_to_know(&self, other: &Self) {
        let lines = other.names();
        let name = |line: &str| line.split(' ').nth(1).map(str::to_owned);
        let new: Vec<Option<String>> = lines.lines().map(name).collect();
        for host in &self.hosts {
            let known = host.sh("cat /etc/hosts");
            let kept = known.lines().filter(|line| !new.contains(&name(line)));
            let kept: String = kept.map(|line| format!("{line}\n")).collect();
            host.write("/etc/hosts", kept + &lines, 0o644);
        }
    }

    /// One of its hosts.
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name() == name).unwrap()
    }

    /// All of its hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    fn access_points(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.submits())
    }

    /// Installs the build on the access points, as an administrator would.
    pub fn install(&self, build: &Build) {
        self.access_points().for_each(|host| host.install(build));
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
        assert_eq!(units.len(), 4);
        self.host(name).install_units(&units);
    }

    /// A login.
    pub fn ssh(&self, user: &str, host: &str) -> Ssh {
        let host = self.host(host);
        Ssh::new(&self.key, user, &host.address(), host.leader())
    }

    /// The shared /home, seen from outside.
    pub fn home(&self, user: &str) -> PathBuf {
        self.dir.join("home").join(user)
    }

    /// Serves a user's home on a host as NFS with root_squash would, until the value is dropped.
    ///
    /// What is in the home is still seen by [`Pool::home`] and by the hosts that have none served.
    pub fn serve_home(&self, user: &str, host: &str) -> Squash {
        let mount = Path::new("/home").join(user);
        Squash::inside(self.host(host).leader(), &self.home(user), &mount)
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
    #[track_caller]
    pub fn wait_for_tokens(&self, user: &str, count: usize) {
        wait_until_none(Duration::from_secs(10), || {
            let tokens = self.tokens(user);
            (tokens.len() != count).then(|| format!("{user} has {tokens:?}, not {count}"))
        });
    }

    /// Waits until all access points are in the collector and every sshd answers.
    pub fn wait_until_it_answers(&self) {
        let end = Instant::now() + BOOT;
        loop {
            let (is_known, said) = self.schedds_are_known();
            if is_known && self.hosts.iter().all(Host::has_sshd) {
                return;
            }
            assert!(
                Instant::now() < end,
                "the pool does not answer: {}",
                self.state(&said)
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Whether the collector has every access point, and what was said; a pool without HTCondor
    /// has none to ask.
    fn schedds_are_known(&self) -> (bool, String) {
        if !self.has_condor {
            return (true, String::new());
        }
        let ask = ["condor_status", "-schedd", "-af", "Name"];
        let answer = self.asked().run(&ask);
        let known = answer.stdout.lines().count();
        (known == self.access_points().count(), answer.all())
    }

    /// The host that is asked about the pool.
    fn asked(&self) -> &Host {
        self.access_points().next().unwrap_or(&self.hosts[0])
    }

    /// What an engineer would look at first.
    fn state(&self, answer: &str) -> String {
        let mut text = format!("condor_status on {}: {answer}\n", self.asked().name());
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
        let _ = fs::remove_dir_all(&self.dir);
        // Last: the bridge reserves the number, and with it the directory.
        network::bridge_down(self.net);
    }
}

impl Drop for Pool {
    /// No test leaves a secret in what was told, whatever it is about.
    fn drop(&mut self) {
        let told: Vec<String> = self.hosts.iter().flat_map(Host::secrets_told).collect();
        self.shut_down();
        assert!(
            told.is_empty() || std::thread::panicking(),
            "secrets were told: {told:#?}"
        );
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
