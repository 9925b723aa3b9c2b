//! Logins by ssh.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::machine;
use crate::command::{Answer, run};

/// A user at a host's door.
#[derive(Debug, Clone)]
pub struct Ssh {
    key: PathBuf,
    user: String,
    address: String,
    leader: i32,
    options: Vec<String>,
    askpass: Option<PathBuf>,
    seconds: u32,
}

/// What an interactive login showed.
#[derive(Debug)]
pub struct Told {
    /// Whether the login worked and the shell ended well.
    pub ok: bool,
    /// All that the terminal showed.
    pub screen: String,
}

impl Told {
    /// How often the user was told that there is no token.
    pub fn warnings(&self) -> usize {
        self.screen
            .matches("HTCondor: no token for this session")
            .count()
    }
}

impl Ssh {
    pub(super) fn new(key: &Path, user: &str, address: &str, leader: i32) -> Self {
        Self {
            key: key.to_owned(),
            user: user.to_owned(),
            address: address.to_owned(),
            leader,
            options: Vec::new(),
            askpass: None,
            seconds: 60,
        }
    }

    /// The same with one more option of ssh.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(format!("-o{option}"));
        self
    }

    /// The same by password, which this program prints.
    #[must_use]
    pub fn by_password(mut self, askpass: &Path) -> Self {
        self.askpass = Some(askpass.to_owned());
        self
    }

    /// The same for sessions that may last longer than a minute.
    #[must_use]
    pub fn lasting(mut self, seconds: u32) -> Self {
        self.seconds = seconds;
        self
    }

    /// Runs a command in a session of its own.
    pub fn run(&self, command: &str) -> Answer {
        let answer = run(self.client("ssh").arg(self.target()).arg(command));
        assert!(
            !answer.hung(),
            "{command} hung; {}{}",
            answer.all(),
            machine::state(self.leader)
        );
        answer
    }

    /// Logs in with a terminal and a login shell, types the lines and leaves.
    pub fn log_in(&self, lines: &str) -> Told {
        let mut child = self
            .client("ssh")
            .arg("-tt")
            .arg(self.target())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // The shell may be gone before it has read all.
        let _ = stdin.write_all(format!("{lines}\nexit 0\n").as_bytes());
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let hung = output.status.code() == Some(124);
        assert!(!hung, "a login hung; {}", machine::state(self.leader));
        Told {
            ok: output.status.success(),
            screen: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// A session that lasts until the value is dropped.
    pub fn stay(&self) -> Stay {
        let child = self
            .client("ssh")
            .arg(self.target())
            .arg("echo here; cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stay = Stay { child };
        stay.wait_until_it_is_there();
        stay
    }

    /// Copies with scp or talks to sftp: any program of OpenSSH with these arguments.
    pub fn with(&self, program: &str, args: &[&str]) -> Answer {
        run(self.client(program).args(args))
    }

    /// A client that runs the command that is added, for so many seconds at most.
    pub fn command(&self, seconds: u32) -> Command {
        let mut command = self.client_for("ssh", seconds);
        command.arg(self.target());
        command
    }

    /// `user@address`.
    pub fn target(&self) -> String {
        format!("{}@{}", self.user, self.address)
    }

    fn client(&self, program: &str) -> Command {
        self.client_for(program, self.seconds)
    }

    fn client_for(&self, program: &str, seconds: u32) -> Command {
        let mut command = Command::new("timeout");
        command
            .args([&seconds.to_string(), program, "-F", "/dev/null", "-i"])
            .arg(&self.key)
            .args([
                "-oStrictHostKeyChecking=no",
                "-oUserKnownHostsFile=/dev/null",
            ])
            .args(["-oLogLevel=ERROR", "-oConnectTimeout=20"])
            .args(&self.options);
        if let Some(askpass) = &self.askpass {
            command.env("SSH_ASKPASS", askpass);
            command.env("SSH_ASKPASS_REQUIRE", "force");
            command.arg("-oPreferredAuthentications=password");
        } else {
            command.arg("-oBatchMode=yes");
        }
        command
    }
}

/// An open session.
pub struct Stay {
    child: Child,
}

impl Stay {
    fn wait_until_it_is_there(&mut self) {
        use std::io::{BufRead, BufReader};
        let mut line = String::new();
        let stdout = self.child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "here", "the session did not open");
    }

    /// Ends the session and waits for the client.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
