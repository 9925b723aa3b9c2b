//! What the hostile user does on the host: logins, commands, and what goes on beside them.

use std::process::Stdio;
use std::time::Duration;

use pam_idtoken_tests::clock::wait_until_none;
use pam_idtoken_tests::command::Answer;
use pam_idtoken_tests::pool::Ssh;

use super::{MALLORY, Siege};
use crate::mischief::Mischief;

/// The timer's, at most, with its inaccuracy.
const PERIOD: Duration = Duration::from_secs(16);

const AS_MALLORY: &[&str] = &[
    "runuser",
    "-u",
    "mallory",
    "--",
    "env",
    "HOME=/home/mallory",
    "USER=mallory",
    "PATH=/usr/local/bin:/usr/bin:/bin",
];

impl Siege {
    /// At the door, with the hostile user's key.
    pub(crate) fn mallory(&self) -> Ssh {
        self.ssh("mallory")
    }

    /// A login of the attacker's works; what the command printed.
    #[track_caller]
    pub(crate) fn logs_in(&self, command: &str) -> String {
        let said = self.mallory().run(&format!("echo in; {command}"));
        assert!(
            said.ok && said.stdout.starts_with("in\n"),
            "a login: {}",
            said.all()
        );
        self.note(&said.all());
        said.stdout["in\n".len()..].to_owned()
    }

    /// Sessions open, are renewed and close, one within the other and one after the other.
    #[track_caller]
    pub(crate) fn sessions(&self) {
        let first = self.mallory().stay();
        self.logs_in("true");
        self.renew();
        first.end();
        self.logs_in("true");
    }

    /// The attacker does something, before or beside sessions of theirs.
    #[track_caller]
    pub(crate) fn does(&self, script: &str) -> String {
        let said = self.may_do(script);
        assert!(said.ok, "{script}: {}", said.all());
        said.stdout
    }

    /// The same with what may not work.
    pub(crate) fn may_do(&self, script: &str) -> Answer {
        let script = format!("cd; {script}");
        let said = self
            .host()
            .run(&[AS_MALLORY, &["sh", "-ec", &script]].concat());
        self.note(&said.all());
        said
    }

    /// Does something in the private stores of the attacker's sessions, whose paths those know.
    #[track_caller]
    pub(crate) fn does_in_private(&self, script: &str) {
        for store in self.private_stores() {
            self.does(&format!("cd {store}; {script}"));
        }
    }

    /// The paths of the attacker's private stores: at least one is there.
    #[track_caller]
    pub(crate) fn private_stores(&self) -> Vec<String> {
        let find = format!("find /run/pam_idtoken/tokens -mindepth 1 -maxdepth 1 -uid {MALLORY}");
        let stores: Vec<String> = self.host().sh(&find).lines().map(str::to_owned).collect();
        assert!(!stores.is_empty(), "no private store");
        stores
    }

    /// From now on pam_env reads what users say, before the module is asked.
    pub(crate) fn have_pam_env_read(&self) {
        self.host()
            .sh("sed -i 's/pam_env.so/pam_env.so user_readenv=1/' /etc/pam.d/sshd");
    }

    /// From now on pam_keyinit is not asked: before it opens a session's keyring it makes the user
    /// the real uid of sshd's process, and until it has, any process of theirs may send it signals.
    /// That is over when the module is asked, and it is not the module's to mend.
    pub(crate) fn do_without_pam_keyinit(&self) {
        let host = self.host();
        host.sh(r"sed -i 's/^session.*pam_keyinit/# &/' /etc/pam.d/sshd");
        host.sh("grep -q '^# session.*pam_keyinit' /etc/pam.d/sshd");
    }

    /// The attacker begins to do something that goes on.
    #[track_caller]
    pub(crate) fn begins(&self, args: &[&str]) -> Mischief {
        let program = [AS_MALLORY, args].concat();
        let mut command = self.host().command(600, &program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Mischief::of(command.spawn().unwrap())
    }

    /// Nothing of the attacker's sessions is left: neither tokens nor records.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        let left = || {
            self.host().sh(&format!(
                "find /home/mallory/.condor/tokens.d -name '*0-session-*' 2>/dev/null || true
                 find /var/lib/pam_idtoken/sessions/{MALLORY} /run/pam_idtoken/tokens -uid {MALLORY} \
                      2>/dev/null || true
                 find /var/lib/pam_idtoken/sessions/{MALLORY} -type f 2>/dev/null || true"
            ))
        };
        // What a close had to leave is the next reconcile's.
        wait_until_none(PERIOD * 2, || Some(left()).filter(|left| !left.is_empty()));
    }
}
