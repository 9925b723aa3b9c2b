//! One booted host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Build, bridge, path};
use crate::command::{Answer, must, run};

/// UID_DOMAIN and TRUST_DOMAIN of the pool.
pub const DOMAIN: &str = "lab.test";

const MODULE: &str = "/usr/lib/x86_64-linux-gnu/security/pam_idtoken.so";
const TOOL: &str = "/usr/sbin/idtokenctl";
/// The configuration file on a host.
pub const CONFIG: &str = "/etc/security/pam_idtoken.toml";

/// A booted host.
pub struct Host {
    name: &'static str,
    address: String,
    netns: String,
    layer: PathBuf,
    home: PathBuf,
    running: Mutex<Running>,
}

/// A host that is on.
struct Running {
    nspawn: Child,
    leader: i32,
}

impl Host {
    pub(super) fn boot(
        dir: &Path,
        root: &Path,
        net: u8,
        number: u8,
        name: &'static str,
        signing_key: &[u8],
    ) -> Self {
        let address = format!("10.88.{net}.{number}");
        let netns = format!("idtoken{net}-{name}");
        network(net, &netns, number, &address);
        let layer = dir.join(name);
        let (upper, work, mount) = (layer.join("upper"), layer.join("work"), layer.join("root"));
        for dir in [&upper, &work, &mount] {
            fs::create_dir_all(dir).unwrap();
        }
        write_configuration(&upper, net, name, &address, signing_key);
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            path(root),
            path(&upper),
            path(&work)
        );
        must(
            "mount",
            &["-t", "overlay", "overlay", "-o", &options, path(&mount)],
        );
        let home = dir.join("home");
        let running = Mutex::new(power_on(name, &netns, &layer, &home));
        Self {
            name,
            address,
            netns,
            layer,
            home,
            running,
        }
    }

    /// Takes the power away: nothing is shut down, nothing is written any more.
    pub fn power_off(&self) {
        self.running.lock().unwrap().kill();
    }

    /// Boots it again, with what was on its disk.
    pub fn power_on(&self) {
        let running = power_on(self.name, &self.netns, &self.layer, &self.home);
        *self.running.lock().unwrap() = running;
    }

    /// Its short name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn leader(&self) -> i32 {
        self.running.lock().unwrap().leader
    }

    /// Its address in the pool's network.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The processes of the host whose title starts so, by their ids outside of it.
    pub fn processes(&self, title: &str) -> Vec<i32> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(&self.leader().to_string());
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        pids.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(title.as_bytes()) && namespace(pid) == own
        })
        .filter_map(|pid| pid.parse().ok())
        .collect()
    }

    /// Runs a program as root on the host.
    pub fn run(&self, args: &[&str]) -> Answer {
        inside(self.leader(), args)
    }

    /// Runs a script as root on the host; it has to succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let answer = self.run(&["sh", "-ec", script]);
        assert!(answer.ok, "on {}: {script}\n{}", self.name, answer.all());
        answer.stdout
    }

    /// Writes a file of root's on the host.
    pub fn write(&self, file: &str, contents: impl AsRef<[u8]>, mode: u32) {
        // Through the host's own root, so that its mounts are seen; in one step, since what is
        // there may be in use.
        let path = PathBuf::from(format!("/proc/{}/root{file}", self.leader()));
        let new = path.with_file_name(format!(
            ".{}.new",
            path.file_name().unwrap().to_str().unwrap()
        ));
        fs::write(&new, contents).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Installs module, tool, configuration and the line in pam.d.
    pub fn install(&self, build: &Build) {
        self.write(MODULE, fs::read(&build.module).unwrap(), 0o644);
        self.write(TOOL, fs::read(&build.tool).unwrap(), 0o755);
        self.configure("");
        let line = include_str!("../../../pam.d/debian-sshd");
        self.sh(&format!(
            "grep -q pam_idtoken /etc/pam.d/sshd || cat >>/etc/pam.d/sshd <<'E'\n{line}E"
        ));
    }

    /// Installs the units and enables them, as the README says.
    pub fn install_units(&self, units: &[(String, Vec<u8>)]) {
        for (name, bytes) in units {
            self.write(&format!("/usr/lib/systemd/system/{name}"), bytes, 0o644);
        }
        self.sh("systemctl daemon-reload
             systemctl enable -q --now pam_idtoken-reconcile.timer pam_idtoken-reconcile.path
             systemctl enable -q pam_idtoken-reconcile.service");
    }

    /// Writes the configuration: the domains and what is given.
    pub fn configure(&self, more: &str) {
        let text = format!("trust_domain = \"{DOMAIN}\"\nuid_domain = \"{DOMAIN}\"\n{more}");
        self.write(CONFIG, text, 0o644);
    }

    /// Whether somebody listens for ssh.
    pub fn has_sshd(&self) -> bool {
        let port = format!("{}:22", self.address).parse().unwrap();
        std::net::TcpStream::connect_timeout(&port, Duration::from_millis(500)).is_ok()
    }

    /// A place in the log to read on from.
    pub fn log_cursor(&self) -> String {
        let text = self.sh("journalctl -q -n 0 --show-cursor");
        text.trim().trim_start_matches("-- cursor: ").to_owned()
    }

    /// The lines of the module in AUTHPRIV since a place in the log.
    pub fn log_since(&self, cursor: &str) -> Vec<String> {
        self.sh("journalctl --sync");
        let text = self.sh(&format!(
            "journalctl -q --no-pager -o cat --after-cursor '{cursor}' SYSLOG_FACILITY=10"
        ));
        text.lines()
            .filter(|line| line.starts_with("pam_idtoken("))
            .map(str::to_owned)
            .collect()
    }

    /// Waits for a line of the module that has this part.
    #[track_caller]
    pub fn wait_for_log(&self, cursor: &str, part: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let lines = self.log_since(cursor);
            if let Some(line) = lines.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            assert!(Instant::now() < end, "no line with {part:?} in {lines:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn take_down(&mut self) {
        self.power_off();
        let mount = self.layer.join("root");
        let _ = run(Command::new("umount").arg("-l").arg(mount));
        let _ = run(Command::new("ip").args(["netns", "del", &self.netns]));
        remove_control_group(&self.netns);
    }
}

impl Running {
    fn kill(&mut self) {
        for pid in [self.leader, i32::try_from(self.nspawn.id()).unwrap()] {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _ = self.nspawn.wait();
        // A host's init ends after everything else on it has ended.
        let end = Instant::now() + Duration::from_secs(10);
        while is_running(self.leader) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !state.is_empty() && !state.starts_with('Z')
}

fn power_on(name: &str, netns: &str, layer: &Path, home: &Path) -> Running {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(layer.join("console"))
        .unwrap();
    let mut nspawn = Command::new("systemd-nspawn");
    nspawn
        .args(["-q", "-b", "--register=no", "--keep-unit", "--console=pipe"])
        .args(["--resolv-conf=off", "--timezone=off", "--capability=all"])
        .arg("--bind=/dev/fuse")
        .arg(format!("--directory={}", path(&layer.join("root"))))
        .arg(format!("--machine={netns}"))
        .arg(format!("--hostname={name}.{DOMAIN}"))
        .arg(format!("--network-namespace-path=/run/netns/{netns}"))
        .arg(format!("--bind={}:/home", path(home)))
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    // Else all hosts would have one tree of control groups, and take each other's away.
    let procs = control_group(netns).join("cgroup.procs");
    // SAFETY: between fork and exec a file is written by its path, made before.
    unsafe { nspawn.pre_exec(move || fs::write(&procs, "0")) };
    let nspawn = nspawn.spawn().unwrap();
    let leader = leader_of(nspawn.id(), &layer.join("console"));
    Running { nspawn, leader }
}

fn inside(leader: i32, args: &[&str]) -> Answer {
    run(Command::new("timeout")
        .args(["60", "nsenter", "-t", &leader.to_string()])
        .args(["-m", "-u", "-i", "-p", "-n", "-r", "-w", "--"])
        .args(args))
}

/// What a host is doing, for whoever wonders why a login hangs.
pub(super) fn state(leader: i32) -> String {
    let script = "ps -eo pid,ppid,stat,wchan:24,etime,args; \
                  systemctl list-jobs --no-pager; journalctl -q --no-pager -n 60 -o short-precise";
    inside(leader, &["sh", "-c", script]).all()
}

fn network(net: u8, netns: &str, number: u8, address: &str) {
    let outside = format!("idt{net}-{number}");
    let with_mask = format!("{address}/24");
    must("ip", &["netns", "add", netns]);
    must(
        "ip",
        &[
            "link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", netns,
        ],
    );
    must(
        "ip",
        &["link", "set", &outside, "master", &bridge(net), "up"],
    );
    must(
        "ip",
        &["-n", netns, "addr", "add", &with_mask, "dev", "eth0"],
    );
    must("ip", &["-n", netns, "link", "set", "eth0", "up"]);
    must("ip", &["-n", netns, "link", "set", "lo", "up"]);
}

fn write_configuration(upper: &Path, net: u8, name: &str, address: &str, signing_key: &[u8]) {
    let keys = upper.join("etc/condor/passwords.d");
    fs::create_dir_all(upper.join("etc/condor/config.d")).unwrap();
    fs::create_dir_all(&keys).unwrap();
    let role = match name {
        "cm" => "use ROLE: CentralManager\nuse ROLE: Execute\nNUM_CPUS = 2\nMEMORY = 2048",
        _ => "use ROLE: Submit",
    };
    let text = format!(
        "CONDOR_HOST = cm.{DOMAIN}\nCOLLECTOR_HOST = cm.{DOMAIN}:9618\n{role}\n\
         UID_DOMAIN = {DOMAIN}\nTRUST_DOMAIN = {DOMAIN}\nFILESYSTEM_DOMAIN = {DOMAIN}\n\
         use security:recommended_v9_0\nNETWORK_INTERFACE = {address}\n\
         # A host that boots before its central manager is known five seconds later.\n\
         SCHEDD_INTERVAL = 5\nUPDATE_INTERVAL = 5\n"
    );
    fs::write(upper.join("etc/condor/config.d/10-pool"), text).unwrap();
    // The second is there from the start: daemons tell clients the names of their keys from a
    // list that they make once.
    for (name, bytes) in [("POOL", signing_key), ("site", b"a key of the site")] {
        fs::write(keys.join(name), bytes).unwrap();
        fs::set_permissions(keys.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
    let hosts: String = [("cm", 1), ("ap1", 11), ("ap2", 12)]
        .iter()
        .map(|(name, number)| format!("10.88.{net}.{number} {name}.{DOMAIN} {name}\n"))
        .collect();
    fs::write(
        upper.join("etc/hosts"),
        format!("127.0.0.1 localhost\n{hosts}"),
    )
    .unwrap();
    fs::write(upper.join("etc/hostname"), format!("{name}.{DOMAIN}\n")).unwrap();
}

/// A control group of the host's own, below which systemd-nspawn makes its own.
fn control_group(netns: &str) -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mounted = mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2] == "cgroup2").then(|| PathBuf::from(words[1]))
    });
    let group = mounted.expect("cgroup2 is mounted nowhere").join(netns);
    fs::create_dir_all(&group).unwrap();
    group
}

/// Removes it; groups go before those above them.
fn remove_control_group(netns: &str) {
    let group = control_group(netns);
    let _ = run(Command::new("find")
        .arg(group)
        .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]));
}

/// The host's init: nspawn's child that is process 1 of its namespace. Another
/// child comes before it and goes.
fn leader_of(nspawn: u32, console: &Path) -> i32 {
    let children = format!("/proc/{nspawn}/task/{nspawn}/children");
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(&children).unwrap_or_default();
        if let Some(pid) = text.split_whitespace().find(|pid| is_init(pid)) {
            return pid.parse().unwrap();
        }
        let console = || fs::read_to_string(console).unwrap_or_default();
        assert!(
            Instant::now() < end,
            "systemd-nspawn did not start: {}",
            console()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_init(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let namespaces = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    namespaces.is_some_and(|pids| pids.split_whitespace().skip(1).eq(["1"]))
}
