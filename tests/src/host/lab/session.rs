//! Runs of the host: sessions of a user of a service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{Lab, allow, number};
use crate::host::{Answers, Running, Scenario, Step};

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

impl Lab {
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

    pub(in crate::host) fn finish(&self, child: Child, output: &Path) -> Outcome {
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
}
