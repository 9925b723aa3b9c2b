//! One booted host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use super::machine::{Running, inside_for, plug_in, power_on, remove_control_group, unplug};
use super::plan::{Place, Role};
use super::{Build, path};
use crate::clock::wait_until_none;
use crate::command::{Answer, must, run};
use crate::secrets::Said;
use crate::signal;

const TOOL: &str = "/usr/sbin/idtokenctl";
/// The module's configuration file on a host.
pub const CONFIG: &str = "/etc/security/pam_idtoken.toml";

/// A booted host.
pub struct Host {
    place: Place,
    pub(super) layer: PathBuf,
    home: PathBuf,
    running: Mutex<Running>,
    pub(super) said: Mutex<Said>,
}

impl Host {
    pub(super) fn boot(place: Place, root: &Path, layer: PathBuf, home: PathBuf) -> Self {
        plug_in(place.net, &place.netns(), place.number, &place.address());
        let (upper, work, mount) = (layer.join("upper"), layer.join("work"), layer.join("root"));
        for dir in [&upper, &work, &mount] {
            fs::create_dir_all(dir).unwrap();
        }
        place.write_configuration(&upper);
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
        let running = power_on(&place.full_name(), &place.netns(), &layer, &home);
        Self {
            place,
            layer,
            home,
            running: Mutex::new(running),
            said: Mutex::default(),
        }
    }

    /// Takes the power away: nothing is shut down, nothing is written any more.
    pub fn power_off(&self) {
        self.running.lock().unwrap().kill();
    }

    /// Boots it again, with what was on its disk.
    pub fn power_on(&self) {
        let full_name = self.full_name();
        let running = power_on(&full_name, &self.place.netns(), &self.layer, &self.home);
        *self.running.lock().unwrap() = running;
    }

    /// Its short name.
    pub fn name(&self) -> &'static str {
        self.place.name
    }

    /// Its name with the domain.
    pub fn full_name(&self) -> String {
        self.place.full_name()
    }

    /// Whether users log in and submit jobs here.
    pub fn submits(&self) -> bool {
        self.place.role != Role::CentralManager
    }

    /// Its init, by its id outside of it.
    pub fn leader(&self) -> i32 {
        self.running.lock().unwrap().leader
    }

    /// Its address in the pool's network.
    pub fn address(&self) -> String {
        self.place.address()
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

    /// Stops the processes whose title starts so, such as `condor_schedd`: they answer nobody.
    #[track_caller]
    pub fn stop(&self, title: &str) {
        let pids = self.processes(title);
        assert!(!pids.is_empty(), "no {title} on {}", self.name());
        pids.into_iter().for_each(signal::stop);
    }

    /// Stopped processes go on.
    pub fn go_on(&self, title: &str) {
        self.processes(title).into_iter().for_each(signal::go_on);
    }

    /// Runs a program as root on the host.
    pub fn run(&self, args: &[&str]) -> Answer {
        self.run_for(60, args)
    }

    /// The same for so many seconds at most.
    pub fn run_for(&self, seconds: u32, args: &[&str]) -> Answer {
        let answer = run(&mut self.command(seconds, args));
        self.note(args, &answer.all());
        answer
    }

    /// A program that is run as root on the host, for so many seconds at most.
    pub fn command(&self, seconds: u32, args: &[&str]) -> Command {
        inside_for(self.leader(), seconds, args)
    }

    /// The host's file system, as its processes see it.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.leader()))
    }

    /// Runs a script as root on the host; it has to succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let answer = self.run(&["sh", "-ec", script]);
        assert!(answer.ok, "on {}: {script}\n{}", self.name(), answer.all());
        answer.stdout
    }

    /// Writes a file of root's on the host.
    pub fn write(&self, file: &str, contents: impl AsRef<[u8]>, mode: u32) {
        // Through the host's own root, so that its mounts are seen; in one step, since what is
        // there may be in use.
        let path = self.root().join(file.trim_start_matches('/'));
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
        self.write(&module(), fs::read(&build.module).unwrap(), 0o644);
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
             systemctl enable -q --now run-pam_idtoken-tokens.mount
             systemctl enable -q --now pam_idtoken-reconcile.timer pam_idtoken-reconcile.path
             systemctl enable -q pam_idtoken-reconcile.service");
    }

    /// Writes the module's configuration: the domains and what is given.
    pub fn configure(&self, more: &str) {
        let (trust, uid) = (self.place.trust_domain(), self.place.uid_domain());
        self.configure_exactly(&format!(
            "trust_domain = \"{trust}\"\nuid_domain = \"{uid}\"\n{more}"
        ));
    }

    /// Writes the module's configuration: what is given and nothing else.
    pub fn configure_exactly(&self, text: &str) {
        self.write(CONFIG, text, 0o644);
    }

    /// Leaves the module without a configuration file.
    pub fn unconfigure(&self) {
        self.sh(&format!("rm -f {CONFIG}"));
    }

    /// Whether somebody listens for ssh.
    ///
    /// It lets nobody in before the host has booted.
    pub fn has_sshd(&self) -> bool {
        if self.root().join("run/nologin").exists() {
            return false;
        }
        let port = format!("{}:22", self.address()).parse().unwrap();
        std::net::TcpStream::connect_timeout(&port, Duration::from_millis(500)).is_ok()
    }

    /// A place in the log to read on from.
    pub fn log_cursor(&self) -> String {
        // What was said before is not said after it.
        let text = self.sh("journalctl --sync; journalctl -q -n 0 --show-cursor");
        text.trim().trim_start_matches("-- cursor: ").to_owned()
    }

    /// The lines of the module in AUTHPRIV since a place in the log.
    pub fn log_since(&self, cursor: &str) -> Vec<String> {
        self.sh("journalctl --sync");
        self.note_keys();
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
        let mut found = None;
        wait_until_none(Duration::from_secs(10), || {
            let lines = self.log_since(cursor);
            found = lines.iter().find(|line| line.contains(part)).cloned();
            (found.is_none()).then(|| format!("no line with {part:?} in {lines:#?}"))
        });
        found.unwrap()
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn take_down(&mut self) {
        self.power_off();
        let mount = self.layer.join("root");
        let _ = run(Command::new("umount").arg("-l").arg(mount));
        let netns = self.place.netns();
        unplug(self.place.net, &netns, self.place.number);
        remove_control_group(&netns);
    }
}

/// Where the module is on a Debian host of this machine's kind.
fn module() -> String {
    let arch = std::env::consts::ARCH;
    format!("/usr/lib/{arch}-linux-gnu/security/pam_idtoken.so")
}
