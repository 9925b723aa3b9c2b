//! The machine of a host: what systemd-nspawn runs, its network and its control group.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::network::bridge;
use super::path;
use crate::command::{Answer, must, run};

/// A host that is on.
pub(super) struct Running {
    nspawn: Child,
    pub(super) leader: i32,
}

impl Running {
    pub(super) fn kill(&mut self) {
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

pub(super) fn power_on(full_name: &str, netns: &str, layer: &Path, home: &Path) -> Running {
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
        .arg(format!("--hostname={full_name}"))
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

pub(super) fn inside(leader: i32, args: &[&str]) -> Answer {
    run(&mut inside_for(leader, 60, args))
}

/// A program on a host, for so many seconds at most.
pub(super) fn inside_for(leader: i32, seconds: u32, args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .args([&seconds.to_string(), "nsenter", "-t", &leader.to_string()])
        .args(["-m", "-u", "-i", "-p", "-n", "-r", "-w", "--"])
        .args(args);
    command
}

/// What a host is doing, for whoever wonders why a login hangs.
pub(super) fn state(leader: i32) -> String {
    let script = "ps -eo pid,ppid,stat,wchan:24,etime,args; \
                  systemctl list-jobs --no-pager; journalctl -q --no-pager -n 60 -o short-precise";
    inside(leader, &["sh", "-c", script]).all()
}

/// A network namespace with a cable to the pool's bridge.
pub(super) fn plug_in(net: u8, netns: &str, number: u8, address: &str) {
    let outside = cable(net, number);
    // All pools are in one network, those on other bridges can be reached once these are joined.
    let with_mask = format!("{address}/16");
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
    // As systemd has it where it may write there: else eleven lines that journald has not read yet
    // are all that the log takes.
    let longer = "echo 512 >/proc/sys/net/unix/max_dgram_qlen";
    must("ip", &["netns", "exec", netns, "sh", "-c", longer]);
}

/// Takes both away. Connections that nobody closed keep a namespace, and with it its end of the
/// cable, for some time.
pub(super) fn unplug(net: u8, netns: &str, number: u8) {
    let _ = run(Command::new("ip").args(["link", "del", &cable(net, number)]));
    let _ = run(Command::new("ip").args(["netns", "del", netns]));
}

/// The end outside.
fn cable(net: u8, number: u8) -> String {
    format!("idt{net}-{number}")
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
pub(super) fn remove_control_group(netns: &str) {
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
