//! Our programs as they run on the scratch host: with its users and its /dev, as whom it runs.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::{ALICE, Lab, Who, allow, is_root};

/// Module, tool and host where any user may read them.
pub(super) fn artefacts() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        allow(dir.path(), 0o755);
        for name in ["libpam_idtoken.so", "idtokenctl"] {
            copy_in(dir.path(), &crate::build_dir().join(name));
        }
        copy_in(dir.path(), &crate::programs_dir().join("pam-host"));
        dir
    })
    .path()
}

/// Copies a built file to where any user may read it.
fn copy_in(dir: &Path, from: &Path) -> PathBuf {
    let to = dir.join(from.file_name().unwrap());
    fs::copy(from, &to).unwrap_or_else(|e| panic!("{}: {e}; run make build first", from.display()));
    allow(&to, 0o755);
    to
}

/// What makes system calls slow; only where it is asked for.
fn delays() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let built = crate::programs_dir().join("examples/libdelays.so");
        copy_in(artefacts(), &built)
    })
}

/// The path of idtokenctl where any user may run it.
pub fn tool() -> PathBuf {
    artefacts().join("idtokenctl")
}

impl Lab {
    /// From now on its programs run under another one, such as valgrind.
    pub fn run_under(&mut self, program: &[&str]) {
        self.under = program.iter().map(|word| (*word).to_owned()).collect();
    }

    /// From now on system calls of the host and of idtokenctl on files take up to so long.
    pub fn delay(&self, longest: Duration) {
        let micros = u64::try_from(longest.as_micros()).unwrap();
        self.delay.store(micros, Ordering::SeqCst);
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

    /// Starts idtokenctl, which whoever calls kills.
    pub fn spawn_tool(&self, args: &[&str]) -> Child {
        let config = self.path("etc/config.toml");
        let mut command = self.command("idtokenctl");
        command.arg("--config").arg(config).args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
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
    pub(super) fn command(&self, program: &str) -> Command {
        self.command_at(&artefacts().join(program))
    }

    fn command_at(&self, program: &Path) -> Command {
        self.write_accounts();
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
        self.confine(&mut command);
        command
    }

    /// A session of its own, the lab's /dev, and who the host runs as.
    fn confine(&self, command: &mut Command) {
        // SAFETY: between fork and exec only a system call is made. A host has a session of its
        // own, as sshd does.
        unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
        if !is_root() {
            return;
        }
        let (who, dev) = (self.who, self.path("dev"));
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
}
