//! A home on NFS with root_squash, as far as anybody can tell: [`crate::squash`] serves it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::command::run;
use crate::signal;
pub use crate::squash::Mode;

/// A directory that is served; no longer when this is dropped.
///
/// The server is a process of its own outside of every host, so that a host's processes are only
/// the host's.
pub struct Squash {
    server: Child,
    talk: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
    mount: PathBuf,
    inside: Option<i32>,
}

impl Squash {
    /// Serves `directory` at `mount`; both may be the same.
    pub fn mount(directory: &Path, mount: &Path) -> Self {
        Self::start(directory, mount, None)
    }

    /// Serves `directory`, as seen from here, at `mount` in the mount namespace of a process.
    ///
    /// [`crate::pool::Pool::serve_home`] does so for a host.
    pub fn inside(leader: i32, directory: &Path, mount: &Path) -> Self {
        Self::start(directory, mount, Some(leader))
    }

    fn start(directory: &Path, mount: &Path, inside: Option<i32>) -> Self {
        let program = crate::programs_dir().join("squash-home");
        let mut command = Command::new(&program);
        if let Some(leader) = inside {
            command.args(["--inside", &leader.to_string()]);
        }
        let server = command
            .args([directory, mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A signal from the terminal is for the tests, which then end it.
            .process_group(0)
            .spawn();
        let mut server = server.unwrap_or_else(|error| panic!("{program:?}: {error}"));
        let (stdin, stdout) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        let squash = Self {
            server,
            talk: Mutex::new((Some(stdin), BufReader::new(stdout))),
            mount: mount.to_owned(),
            inside,
        };
        squash.hear("mounted");
        squash
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.server.id()).unwrap()
    }

    #[track_caller]
    fn hear(&self, expected: &str) {
        let mut line = String::new();
        self.talk.lock().unwrap().1.read_line(&mut line).unwrap();
        assert_eq!(
            line.trim_end(),
            expected,
            "from the server of {:?}",
            self.mount
        );
    }

    /// What it does with requests that come from now on.
    #[track_caller]
    pub fn set(&self, mode: Mode) {
        let line = serde_json::to_string(&mode).unwrap();
        let mut talk = self.talk.lock().unwrap();
        writeln!(talk.0.as_mut().unwrap(), "{line}").unwrap();
        drop(talk);
        self.hear(&line);
    }

    /// It answers nobody and takes no request from now on, as an NFS server that is off: whoever
    /// asks waits, and can be killed. [`Mode::Stalled`] is the one that does not let go.
    pub fn hang(&self) {
        signal::stop(self.pid());
    }

    /// It is there again.
    pub fn go_on(&self) {
        signal::go_on(self.pid());
    }
}

impl Drop for Squash {
    fn drop(&mut self) {
        self.go_on();
        // The end of its input; whoever still waits for it is let go with ECONNABORTED.
        if let Ok(talk) = self.talk.get_mut() {
            drop(talk.0.take());
        }
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.server.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = self.server.kill();
                let _ = self.server.wait();
                self.unmount();
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Squash {
    /// For a server that did not do so itself.
    fn unmount(&self) {
        let unmount = [
            OsStr::new("umount"),
            OsStr::new("-l"),
            self.mount.as_os_str(),
        ];
        let mut command = match self.inside {
            None => Command::new("env"),
            Some(leader) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &leader.to_string(), "-m", "--"]);
                command
            }
        };
        let _ = run(command.args(unmount));
    }
}
