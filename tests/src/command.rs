//! Running other programs.

use std::process::{Command, Stdio};

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whether its exit code was 0.
    pub ok: bool,
    /// Its exit code, if it was not killed; 124 is what timeout(1) says when time is up.
    pub code: Option<i32>,
    /// What it wrote.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Answer {
    /// Both streams, for a message.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Whether it was ended by timeout(1).
    pub fn hung(&self) -> bool {
        self.code == Some(124)
    }

    /// The answer of a program that had to succeed.
    #[track_caller]
    pub fn must(self) -> Self {
        assert!(self.ok, "{}", self.all());
        self
    }
}

/// Runs a program with nothing on its standard input.
#[track_caller]
pub fn run(command: &mut Command) -> Answer {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Answer {
        ok: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program that has to succeed.
#[track_caller]
pub fn must(program: &str, args: &[&str]) -> Answer {
    let answer = run(Command::new(program).args(args));
    assert!(answer.ok, "{program} {}: {}", args.join(" "), answer.all());
    answer
}
