//! A program with PAM in it: does what a scenario says and writes down what it saw.
//!
//!     pam-host SCENARIO ANSWERS
//!
//! Its standard output and error stay empty, unless a module writes on them.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pam_idtoken_tests::host::growth::Size;
use pam_idtoken_tests::host::lab::names;
use pam_idtoken_tests::host::pam::{PAM_DATA_SILENT, Transaction};
use pam_idtoken_tests::host::snapshot::Snapshot;
use pam_idtoken_tests::host::{Answers, Scenario, Step};

/// How many sessions are opened at once.
const AT_ONCE: usize = 8;

fn main() {
    let mut args = std::env::args().skip(1);
    let (scenario, answers) = (args.next().unwrap(), args.next().unwrap());
    let scenario: Scenario =
        serde_json::from_str(&std::fs::read_to_string(scenario).unwrap()).unwrap();
    // As any host does before it opens a session: the name service keeps files open.
    let _ = nix::unistd::User::from_name("root");
    let _ = nix::unistd::Group::from_name("root");
    let mut host = Host {
        scenario,
        transaction: None,
        other: None,
        answers: Answers::default(),
    };
    let steps = host.scenario.steps.clone();
    host.run(&steps);
    host.collect();
    std::fs::write(answers, serde_json::to_vec(&host.answers).unwrap()).unwrap();
    // What looks for leaks now waits for a child of its own, and a host that has not called pam_end
    // has its handle still.
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    KEPT.store(Box::into_raw(Box::new(host)), Ordering::SeqCst);
    // Nobody reads it, and what nobody reads is not written.
    std::hint::black_box(&KEPT);
}

/// The host of this process, when it ends.
static KEPT: AtomicPtr<Host> = AtomicPtr::new(std::ptr::null_mut());

struct Host {
    scenario: Scenario,
    transaction: Option<Transaction>,
    other: Option<Transaction>,
    answers: Answers,
}

impl Host {
    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Start => {
                self.transaction();
            }
            Step::Open(flags) => self.call("open", |pam| pam.open(*flags)),
            Step::Close => self.call("close", |pam| pam.close(0)),
            Step::SetCred(flags) => self.call("setcred", |pam| pam.set_cred(*flags)),
            Step::Authenticate => self.call("authenticate", |pam| pam.authenticate(0)),
            Step::Account => self.call("account", |pam| pam.account(0)),
            Step::Password => self.call("password", |pam| pam.password(0)),
            Step::End { silent } => self.end(*silent),
            Step::PamEnv => {
                let environment = self.transaction().environment();
                self.answers.environment.push(environment);
            }
            Step::PutEnv(setting) => self.transaction().put_env(setting),
            Step::User(name) => self.transaction().set_user(name),
            Step::Snapshot => self.answers.snapshots.push(Snapshot::take()),
            Step::Umask(mask) => {
                nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(*mask));
            }
            Step::Groups(groups) => {
                let groups = groups.iter().copied().map(nix::unistd::Gid::from_raw);
                nix::unistd::setgroups(&groups.collect::<Vec<_>>()).unwrap();
            }
            // SAFETY: this program has one thread at this point.
            Step::Env(key, value) => unsafe { std::env::set_var(key, value) },
            Step::IgnoreSigchld => {
                // SAFETY: ignoring a signal runs no code of ours.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            }
            Step::Fork(steps) => self.fork(steps),
            Step::Reaping(steps) => self.reaping(steps),
            Step::Threads(count) => self.threads(*count),
            Step::DefaultSigpipe => {
                // SAFETY: the default action runs no code of ours.
                unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            }
            Step::Other(steps) => {
                std::mem::swap(&mut self.transaction, &mut self.other);
                self.run(steps);
                std::mem::swap(&mut self.transaction, &mut self.other);
            }
            Step::Rounds(count, tokens_d) => {
                for _ in 0..*count {
                    self.round(tokens_d);
                }
            }
            Step::Timed(count) => (0..*count).for_each(|_| self.timed()),
            Step::Repeat { rounds, between } => self.repeat(*rounds, *between),
            Step::Lose(bytes) => std::mem::forget(std::hint::black_box(vec![1_u8; *bytes])),
            Step::Hold { sessions, users } => self.hold(*sessions, *users),
            Step::Wait(file) => {
                std::fs::write(file, "").unwrap();
                while file.exists() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Step::Sh(script) => {
                let mut shell = std::process::Command::new("/bin/sh")
                    .args(["-c", script])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                let mut output = Vec::new();
                let mut stdout = shell.stdout.take().unwrap();
                stdout.read_to_end(&mut output).unwrap();
                // A host that ignores SIGCHLD has nobody to wait for.
                let _ = shell.wait();
                let output = String::from_utf8_lossy(&output).into_owned();
                self.answers.shell.push(output);
            }
        }
    }

    /// A handle of its own.
    fn start(&self) -> Transaction {
        let Scenario {
            confdir,
            service,
            user,
            ..
        } = &self.scenario;
        Transaction::start(confdir, service, user, None).unwrap()
    }

    /// One session; what is wrong with it goes where the output of shells goes.
    fn round(&mut self, tokens_d: &Path) {
        let mut pam = self.start();
        let opened = pam.open(0);
        let shown: Vec<Vec<String>> = (0..8)
            .map(|_| {
                std::thread::sleep(Duration::from_micros(500));
                names(tokens_d)
            })
            .collect();
        let closed = pam.close(0);
        let left = names(tokens_d);
        pam.end(0);
        let tokens =
            |names: &Vec<String>| names.iter().filter(|name| !name.starts_with('.')).count();
        if opened != 0 || closed != 0 || shown.iter().any(|names| tokens(names) != 1) {
            let text = format!("{opened} {closed}, while it was open: {shown:?}");
            self.answers.shell.push(text);
        }
        if !left.is_empty() {
            self.answers
                .shell
                .push(format!("after its close: {left:?}"));
        }
    }

    fn timed(&mut self) {
        let mut pam = self.start();
        let started = Instant::now();
        let opened = pam.open(0);
        let open = started.elapsed();
        let started = Instant::now();
        let closed = pam.close(0);
        self.answers.times.push((open, started.elapsed()));
        self.answers.codes.push(("open".to_owned(), opened));
        self.answers.codes.push(("close".to_owned(), closed));
        pam.end(0);
    }

    /// What fails goes where the output of shells goes.
    fn repeat(&mut self, rounds: usize, between: usize) {
        self.answers.sizes.push(Size::take(0));
        for round in 1..=rounds {
            let mut pam = self.start();
            let codes = [pam.open(0), pam.close(0), pam.end(0)];
            if codes != [0; 3] {
                let text = format!("session {round}: {codes:?}");
                self.answers.shell.push(text);
            }
            if round % between == 0 || round == rounds {
                self.answers.sizes.push(Size::take(round));
            }
        }
    }

    fn transaction(&mut self) -> &mut Transaction {
        let Scenario {
            confdir,
            service,
            user,
            rhost,
            ..
        } = &self.scenario;
        self.transaction.get_or_insert_with(|| {
            Transaction::start(confdir, service, user, rhost.as_deref()).unwrap()
        })
    }

    fn call(&mut self, name: &str, call: impl FnOnce(&mut Transaction) -> i32) {
        let code = call(self.transaction());
        self.answers.codes.push((name.to_owned(), code));
    }

    /// Takes over what the transaction saw, before it ends or the process does.
    fn collect(&mut self) {
        if let Some(pam) = &self.transaction {
            self.answers.messages.extend_from_slice(pam.messages());
            self.answers.environment.push(pam.environment());
        }
    }

    fn end(&mut self, silent: bool) {
        self.collect();
        if let Some(pam) = self.transaction.take() {
            let code = pam.end(if silent { PAM_DATA_SILENT } else { 0 });
            self.answers.codes.push(("end".to_owned(), code));
        }
    }

    fn fork(&mut self, steps: &[Step]) {
        let file = std::env::temp_dir().join(format!("child-{}", std::process::id()));
        // SAFETY: this program has one thread at this point.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                self.answers = Answers::default();
                self.run(steps);
                self.collect();
                std::fs::write(&file, serde_json::to_vec(&self.answers).unwrap()).unwrap();
                // SAFETY: ends the process without touching what it shares with its parent.
                unsafe { libc::_exit(0) };
            }
            nix::unistd::ForkResult::Parent { child } => {
                waitpid(child, None).unwrap();
                let answers = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
                std::fs::remove_file(file).unwrap();
                self.answers.children.push(answers);
            }
        }
    }

    fn reaping(&mut self, steps: &[Step]) {
        let own = std::process::Command::new("/bin/sleep").arg("0.02").spawn();
        let own = Pid::from_raw(own.unwrap().id().cast_signed());
        let done = AtomicBool::new(false);
        let reaped = std::thread::scope(|scope| {
            let reaper = scope.spawn(|| reap(own, &done));
            self.run(steps);
            done.store(true, Ordering::SeqCst);
            reaper.join().unwrap()
        });
        let text = if reaped == [own] {
            "its own".to_owned()
        } else {
            format!("{reaped:?} and not just {own}")
        };
        self.answers.shell.push(text);
    }

    /// Some at once, so that all cores have something to do.
    fn hold(&self, sessions: usize, users: usize) {
        let (ready, told) = std::io::pipe().unwrap();
        let mut ready = std::io::BufReader::new(ready);
        for number in 0..sessions {
            if number >= AT_ONCE {
                ready.read_exact(&mut [0]).unwrap();
            }
            // SAFETY: this program has one thread at this point.
            if let nix::unistd::ForkResult::Child = unsafe { nix::unistd::fork() }.unwrap() {
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).unwrap();
                let user = format!("user{}", number % users);
                let Scenario {
                    confdir, service, ..
                } = &self.scenario;
                let mut pam = Transaction::start(confdir, service, &user, None).unwrap();
                assert_eq!(pam.open(0), 0);
                (&told).write_all(b".").unwrap();
                loop {
                    nix::unistd::pause();
                }
            }
        }
        for _ in 0..sessions.min(AT_ONCE) {
            ready.read_exact(&mut [0]).unwrap();
        }
    }

    fn threads(&mut self, count: usize) {
        let Scenario {
            confdir,
            service,
            user,
            rhost,
            ..
        } = self.scenario.clone();
        let all_open = Barrier::new(count);
        let codes: Vec<(String, i32)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count)
                .map(|_| {
                    scope.spawn(|| {
                        let rhost = rhost.as_deref();
                        let mut pam = Transaction::start(&confdir, &service, &user, rhost).unwrap();
                        let opened = pam.open(0);
                        all_open.wait();
                        let closed = pam.close(0);
                        pam.end(0);
                        [("open".to_owned(), opened), ("close".to_owned(), closed)]
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        self.answers.codes.extend(codes);
    }
}

/// Takes every child that ends, until all is done and its own has ended; a child of somebody
/// else's that is only seen running is there as 0.
fn reap(own: Pid, done: &AtomicBool) -> Vec<Pid> {
    let mut reaped = Vec::new();
    while !done.load(Ordering::SeqCst) || !reaped.contains(&own) {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            // Its own is gone, so somebody else is there.
            Ok(WaitStatus::StillAlive) if reaped.contains(&own) => reaped.push(Pid::from_raw(0)),
            Ok(status) => reaped.extend(status.pid()),
            Err(_) => {}
        }
        reaped.dedup();
        std::thread::sleep(Duration::from_millis(1));
    }
    reaped
}
