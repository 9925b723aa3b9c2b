//! A scratch host for ring 2: keys, configuration, users and homes in a
//! directory of its own, and the child that plays the host.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, mknod};

use super::log::Daemon;
use super::running::Running;
use super::{Answers, Scenario, Step};
use crate::command::must;
use crate::secrets::Said;

/// uid and gid of alice, who has a home here.
pub const ALICE: u32 = 54_321;
/// Another user.
pub const BOB: u32 = 54_322;
/// The first of many.
const FIRST_USER: u32 = 60_000;

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

/// What one run of the host left.
#[derive(Debug)]
pub struct Outcome {
    /// What the host saw.
    pub answers: Answers,
    /// The module's lines in the log, from `pam_idtoken(` on.
    pub log: Vec<String>,
}

impl Outcome {
    /// The return codes of a call, in order.
    pub fn codes(&self, name: &str) -> Vec<i32> {
        self.answers
            .codes
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, code)| *code)
            .collect()
    }
}

/// Module, tool and host where any user may read them.
fn artefacts() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        allow(dir.path(), 0o755);
        for name in ["libpam_idtoken.so", "idtokenctl", "pam-host"] {
            copy_in(dir.path(), name);
        }
        dir
    })
    .path()
}

/// Copies a built file to where any user may read it.
fn copy_in(dir: &Path, built: &str) -> PathBuf {
    let from = crate::build_dir().join(built);
    let to = dir.join(from.file_name().unwrap());
    fs::copy(&from, &to)
        .unwrap_or_else(|e| panic!("{}: {e}; run make build first", from.display()));
    allow(&to, 0o755);
    to
}

/// What makes system calls slow; only where it is asked for.
fn delays() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| copy_in(artefacts(), "examples/libdelays.so"))
}

/// The path of idtokenctl where any user may run it.
pub fn tool() -> PathBuf {
    artefacts().join("idtokenctl")
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

    /// Writes the configuration: what every test needs, and what is given.
    pub fn configure(&self, more: &str) {
        self.write_configuration(
            "trust_domain = \"pool.lab.test\"\nuid_domain = \"lab.test\"\n",
            more,
        );
    }

    /// The same without the domains: HTCondor has to be asked for them.
    pub fn configure_without_domains(&self, more: &str) {
        self.write_configuration("", more);
    }

    fn write_configuration(&self, domains: &str, more: &str) {
        let text = format!(
            "{domains}state_dir = {:?}\nrun_dir = {:?}\npassword_directory = {:?}\n\
             min_uid = 1\nservices = [\"test\"]\n{more}",
            self.path("state"),
            self.path("run"),
            self.path("keys"),
        );
        fs::write(self.path("etc/config.toml"), text).unwrap();
        allow(&self.path("etc/config.toml"), 0o644);
        if self.who == Who::Alice {
            self.give("etc/config.toml", ALICE);
        }
    }

    /// The module as it is named in a service file, with its configuration.
    pub fn module(&self, arguments: &str) -> String {
        let module = artefacts().join("libpam_idtoken.so");
        let config = self.path("etc/config.toml");
        format!(
            "{} config={} {arguments}",
            module.display(),
            config.display()
        )
    }

    /// Makes the service `test` of the module alone, with these arguments.
    pub fn line(&self, arguments: &str) {
        let module = self.module(arguments);
        let text: String = ["auth", "account", "password", "session"]
            .iter()
            .map(|kind| format!("{kind} required {module}\n"))
            .collect();
        self.service("test", &text);
    }

    /// Makes the service `test` of the module between two marks: see [`crate::faults`].
    pub fn line_between_marks(&self) {
        let (module, marks) = (
            self.module(""),
            crate::build_dir().join("examples/libmarks.so"),
        );
        let marks = marks.canonicalize().unwrap();
        let marks = marks.display();
        let text = format!(
            "auth required {module}\nsession required {marks} begin\n\
             session required {module}\nsession required {marks} end\n"
        );
        self.service("test", &text);
    }

    /// Writes a service file.
    pub fn service(&self, name: &str, text: &str) {
        fs::write(self.path("pam.d").join(name), text).unwrap();
        allow(&self.path("pam.d").join(name), 0o644);
    }

    /// Makes a program of a shell script, or another one of it.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let (text, bin) = (format!("#!/bin/sh\n{text}\n"), self.path("bin"));
        let (new, program) = (self.path("etc/script"), bin.join(name));
        fs::create_dir_all(&bin).unwrap();
        fs::write(&new, text).unwrap();
        // By another process: while a child of this one has it open for writing, which it got
        // from another test's thread, nobody can run it.
        let paths = [&new, &program].map(|path| path.to_str().unwrap());
        must("install", &["-m", "755", paths[0], paths[1]]);
        program
    }

    /// Runs the host for alice.
    pub fn run(&self, steps: &[Step]) -> Outcome {
        self.run_as("alice", "test", steps)
    }

    /// Runs the host for a user of a service.
    pub fn run_as(&self, user: &str, service: &str, steps: &[Step]) -> Outcome {
        let (child, output) = self.start(user, service, steps);
        self.finish(child, &output)
    }

    /// Starts the host with these steps and comes back when they are done; the
    /// session is closed when the value is asked to end.
    pub fn stay(&self, user: &str, steps: &[Step]) -> Running<'_> {
        self.stay_and(user, steps, &[Step::Close, Step::End { silent: false }])
    }

    /// The same with what comes after that instead of closing the session.
    pub fn stay_and(&self, user: &str, steps: &[Step], then: &[Step]) -> Running<'_> {
        let door = self.path("tmp").join(format!("door-{}", number()));
        let wait = [Step::Wait(door.clone())];
        let (child, output) = self.start(user, "test", &[steps, &wait[..], then].concat());
        let mut running = Running {
            lab: self,
            child: Some(child),
            output,
            door,
        };
        while !running.door.exists() {
            let ended = running.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the host ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        running
    }

    /// Starts the host, which whoever calls kills.
    pub fn spawn(&self, user: &str, steps: &[Step]) -> Child {
        self.start(user, "test", steps).0
    }

    fn start(&self, user: &str, service: &str, steps: &[Step]) -> (Child, PathBuf) {
        let scenario = Scenario {
            confdir: self.path("pam.d").display().to_string(),
            service: service.into(),
            user: user.into(),
            rhost: Some("192.0.2.7".into()),
            steps: steps.to_vec(),
        };
        let number = number();
        let file = |name: &str| self.path("tmp").join(format!("{name}-{number}"));
        let (input, output) = (file("scenario"), file("answers"));
        fs::write(&input, serde_json::to_vec(&scenario).unwrap()).unwrap();
        allow(&input, 0o644);
        let mut command = self.command("pam-host");
        command.arg(&input).arg(&output);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        (child, output)
    }

    /// Runs the host for alice; it has something to complain about, and this is what.
    pub fn complaint(&self, steps: &[Step]) -> String {
        let (child, _) = self.start("alice", "test", steps);
        let said = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&said.stderr).into_owned()
    }

    pub(super) fn finish(&self, child: Child, output: &Path) -> Outcome {
        let said = child.wait_with_output().unwrap();
        self.note([&said.stdout, &said.stderr]);
        assert!(
            said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(),
            "the host ended with {}: {}{}",
            said.status,
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
        let answers: Answers = serde_json::from_slice(&fs::read(output).unwrap()).unwrap();
        // What a shell printed is a test's own doing.
        self.note([format!("{:?} {:?}", answers.messages, answers.environment)]);
        Outcome {
            answers,
            log: self.read_log(),
        }
    }

    /// From now on its programs run under another one, such as valgrind.
    pub fn run_under(&mut self, program: &[&str]) {
        self.under = program.iter().map(|word| (*word).to_owned()).collect();
    }

    /// From now on system calls of the host and of idtokenctl on files take up to so long.
    pub fn delay(&self, longest: Duration) {
        let micros = u64::try_from(longest.as_micros()).unwrap();
        self.delay.store(micros, Ordering::SeqCst);
    }

    /// Starts idtokenctl, which whoever calls kills.
    pub fn spawn_tool(&self, args: &[&str]) -> Child {
        let config = self.path("etc/config.toml");
        let mut command = self.command("idtokenctl");
        command.arg("--config").arg(config).args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Makes the users `user0`, `user1` and so on, with a home each.
    pub fn add_users(&self, count: u32) {
        for number in 0..count {
            let home = format!("home/user{number}");
            fs::create_dir(self.path(&home)).unwrap();
            self.give(&home, FIRST_USER + number);
        }
        self.users.store(u64::from(count), Ordering::SeqCst);
    }

    /// Adds an account by its line of passwd, or puts it in front of one that is there.
    pub fn add_account(&self, name: &[u8], uid: u32, home: &Path) {
        let rest = format!(":x:{uid}:{uid}::{}:/bin/sh\n", home.display());
        let line = [name, rest.as_bytes()].concat();
        self.accounts.lock().unwrap().splice(0..0, line);
    }

    /// The uid that alice has here.
    #[allow(clippy::unused_self)]
    pub fn alice_uid(&self) -> u32 {
        alice_uid()
    }

    /// Runs idtokenctl with the lab's configuration.
    pub fn tool(&self, args: &[&str]) -> crate::command::Answer {
        let config = self.path("etc/config.toml");
        let answer = crate::command::run(
            self.command("idtokenctl")
                .arg("--config")
                .arg(config)
                .args(args),
        );
        self.note([answer.all()]);
        answer
    }

    /// Notes what was said, and the keys and the tokens of a schedd that there are now.
    fn note<T: AsRef<[u8]>>(&self, texts: impl IntoIterator<Item = T>) {
        let mut said = self.said.lock().unwrap();
        said.note_keys(&self.path("keys"));
        said.note_tokens(&fs::read_to_string(self.path("tmp/answer")).unwrap_or_default());
        texts.into_iter().for_each(|text| said.note(text));
    }

    /// All that was said and written so far, with the log, the records and the audit.
    pub fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.read_log();
        self.note([""; 0]);
        let mut said = self.said.lock().unwrap();
        for name in ["state", "run"] {
            said.note_files(&self.path(name));
        }
        said
    }

    /// A program of ours that is not for users, with one end of a channel at this descriptor.
    pub fn helper(&self, program: &Path, end: &impl AsFd, at: RawFd) -> Command {
        let mut command = self.command_at(program);
        let end = end.as_fd().as_raw_fd();
        // SAFETY: between fork and exec only a system call is made. The descriptor is open until then.
        unsafe {
            command.pre_exec(move || {
                // dup2(2) of a descriptor on itself would leave it to be closed by execve(2).
                let done = if end == at {
                    libc::fcntl(end, libc::F_SETFD, 0)
                } else {
                    libc::dup2(end, at)
                };
                if done < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            })
        };
        command
    }

    /// One of our programs on the scratch host: its users, its /dev/log, its uid.
    fn command(&self, program: &str) -> Command {
        self.command_at(&artefacts().join(program))
    }

    fn command_at(&self, program: &Path) -> Command {
        let (uid, dev) = (alice_uid(), self.path("dev"));
        let passwd = format!(
            "root:x:0:0::/root:/bin/sh\ncondor:x:77:77::/nowhere:/bin/sh\n\
             alice:x:{uid}:{uid}::{0}/alice:/bin/sh\nbob:x:{BOB}:{BOB}::{0}/bob:/bin/sh\n\
             ghost:x:54323:54323::{0}/none:/bin/sh\nAD\\carol:x:54324:54324::{0}/carol:/bin/sh\n\
             carol@ad.test:x:54324:54324::{0}/carol:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n",
            self.path("home").display()
        );
        let more = 0..u32::try_from(self.users.load(Ordering::SeqCst)).unwrap();
        let more = more.map(|number| {
            let (id, home) = (FIRST_USER + number, self.path("home"));
            format!(
                "user{number}:x:{id}:{id}::{}/user{number}:/bin/sh\n",
                home.display()
            )
        });
        let passwd = passwd + &more.collect::<String>();
        let passwd = [&self.accounts.lock().unwrap()[..], passwd.as_bytes()].concat();
        let group = format!("root:x:0:\nalice:x:{uid}:\nbob:x:{BOB}:\npool:x:54400:alice,bob\n");
        for (name, text) in [("passwd", passwd), ("group", group.into_bytes())] {
            // A host that has it open keeps what it has.
            let path = self.path("etc").join(name);
            if fs::read(&path).is_ok_and(|there| there == text) {
                continue;
            }
            // In one step: another program may be reading it.
            let new = self.path("etc").join(format!("{name}-{}", number()));
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
        let mut command = match &self.under[..] {
            [] => Command::new(program),
            [under, args @ ..] => {
                let mut command = Command::new(under);
                command.args(args).arg(program);
                command
            }
        };
        let mut preload = "libnss_wrapper.so".to_owned();
        let delay = self.delay.load(Ordering::SeqCst);
        if delay > 0 {
            preload = format!("{preload}:{}", delays().display());
        }
        command
            .env_clear()
            .env("LD_PRELOAD", preload)
            .env("IDTOKEN_DELAY", delay.to_string())
            .env("NSS_WRAPPER_PASSWD", self.path("etc/passwd"))
            .env("NSS_WRAPPER_GROUP", self.path("etc/group"))
            .env("TMPDIR", self.path("tmp"))
            // Sanitizers bear no second C library; the tests need none (nss_wrapper(1)).
            .env("NSS_WRAPPER_DISABLE_DEEPBIND", "1")
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some(options) = std::env::var_os("ASAN_OPTIONS") {
            command.env("ASAN_OPTIONS", options);
        }
        // SAFETY: between fork and exec only a system call is made. A host has a session of its
        // own, as sshd does.
        unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
        let who = self.who;
        if is_root() {
            // SAFETY: between fork and exec only system calls are made, on data made before.
            unsafe {
                command.pre_exec(move || {
                    unshare(CloneFlags::CLONE_NEWNS)?;
                    let none = None::<&str>;
                    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
                    mount(Some(dev.as_path()), "/dev", none, MsFlags::MS_BIND, none)?;
                    if who == Who::Alice {
                        let id = libc::gid_t::from(ALICE);
                        let ok = libc::setgroups(0, std::ptr::null()) == 0
                            && libc::setgid(id) == 0
                            && libc::setuid(ALICE) == 0;
                        if !ok {
                            return Err(std::io::Error::last_os_error());
                        }
                    }
                    Ok(())
                });
            }
        }
        command
    }

    /// The module's lines that nobody has read yet; libpam has its own.
    pub fn read_log(&self) -> Vec<String> {
        let lines = self.log.as_ref().map(Daemon::read).unwrap_or_default();
        self.note(&lines);
        let module = |text: &String| {
            let (level, rest) = text.split_at(text.find('>')? + 1);
            let start = rest.find("pam_idtoken(")?;
            assert!(!rest.trim_end().contains('\n'), "{text:?}");
            Some(format!("{level} {}", rest[start..].trim_end()))
        };
        lines.iter().filter_map(module).collect()
    }

    /// A log daemon that listens on a stream and hangs up at once, until the lab goes.
    pub fn with_log_that_hangs_up(&mut self) {
        self.without_log();
        let socket = UnixListener::bind(self.path("dev/log")).unwrap();
        allow(&self.path("dev/log"), 0o666);
        std::thread::spawn(move || socket.incoming().for_each(drop));
    }

    /// Takes /dev/log away.
    pub fn without_log(&mut self) {
        self.log = None;
        let _ = fs::remove_file(self.path("dev/log"));
    }
}

impl Drop for Lab {
    /// No test leaves a secret in what was said or written, whatever it is about.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let places = self.said().conclude();
        assert!(places.is_empty(), "secrets were told: {places:#?}");
    }
}

/// Alice is who runs the tests if that is not root.
fn alice_uid() -> u32 {
    if is_root() {
        ALICE
    } else {
        nix::unistd::geteuid().as_raw()
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
