//! What every attack is judged by: what was changed, read, told, left over or late.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pam_idtoken_tests::command::run;

use super::{MALLORY, Siege};
use crate::journal;
use crate::manifest::Manifest;
use crate::score;
use crate::secrets;
use crate::watch::Watch;

/// The users whose sessions are the attacker's.
const THEIRS: &[&str] = &["mallory", "twin"];

/// `timeout`, and by how much a call may take longer on a busy machine.
const LONGEST: Duration = Duration::from_secs(3 + 2);

impl Siege {
    /// Lets it be attacked; what should not have happened.
    pub(crate) fn withstand(&self, attack: impl FnOnce(&Self)) -> Vec<String> {
        let watch = Watch::over(&self.canaries);
        let before = Manifest::take(&self.trees);
        let audit = self.audit();
        watch.seen();
        let cursor = self.host().log_cursor();
        let outcome = catch_unwind(AssertUnwindSafe(|| attack(self)));
        let mut violations = self.ended(&cursor);
        violations.extend(watch.missing());
        violations.extend(watch.seen());
        violations.extend(outcome.err().map(secrets::panic));
        if std::env::var_os("HOSTILE_LOG").is_some() {
            println!("{}", self.host().log_since(&cursor).join("\n"));
        }
        let harmful = journal::harmful(self.host(), &cursor);
        violations.extend(
            harmful
                .into_iter()
                .map(|line| format!("a line of the log: {line:?}")),
        );
        violations.extend(self.told_secrets(&cursor));
        self.tidy(&mut violations);
        violations.extend(before.changes(&Manifest::take(&self.trees)));
        if !self.audit().starts_with(&audit) {
            violations.push("the audit lost something".to_owned());
        }
        violations
    }

    fn audit(&self) -> Vec<u8> {
        std::fs::read(self.host().root().join("var/lib/pam_idtoken/audit.jsonl"))
            .unwrap_or_default()
    }

    /// Waits until all sessions of the attacker's have closed, and judges each by its times.
    fn ended(&self, cursor: &str) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(15);
        let mut logins = journal::logins(self.host(), cursor, THEIRS);
        while logins.iter().any(|login| !login.is_over()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
            logins = journal::logins(self.host(), cursor, THEIRS);
        }
        let mut violations = Vec::new();
        for login in &logins {
            if !login.is_over() {
                violations.push(format!(
                    "a session of which the log says too little: {login:?}"
                ));
            }
            for (what, took) in [("open", login.open()), ("close", login.close())] {
                if took.is_some_and(|took| took > LONGEST) {
                    violations.push(format!("{what} took {took:?}"));
                }
            }
        }
        let times = logins
            .iter()
            .flat_map(|login| [login.open(), login.close()]);
        score::sessions(logins.len(), times.flatten().max().unwrap_or_default());
        violations
    }

    /// Secrets of others where the attacker can read, or where nobody should.
    fn told_secrets(&self, cursor: &str) -> Vec<String> {
        let log = self.host().log_since(cursor).join("\n");
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let audit = String::from_utf8_lossy(&self.audit()).into_owned();
        let mut told = Vec::new();
        for (place, text) in [
            ("the log", log),
            ("what was said", seen),
            ("the audit", audit),
        ] {
            for secret in self.secrets.iter().filter(|secret| text.contains(*secret)) {
                told.push(format!("{secret} is in {place}"));
            }
        }
        let root = self.host().root();
        for dir in ["home/mallory", "home/twin", "tmp", "dev/shm", "var/tmp"] {
            told.extend(secrets::found(&root.join(dir), &self.secrets));
        }
        told
    }

    /// Everything of the attacker's goes, and with it what is known of their sessions.
    fn tidy(&self, violations: &mut Vec<String>) {
        self.turn.store(false, Ordering::SeqCst);
        self.configure("");
        self.host()
            .sh(r"sed -i 's/ user_readenv=1//; s/^# \(session.*pam_keyinit\)/\1/' /etc/pam.d/sshd");
        let home = self.pool.home("mallory");
        let home = home.to_str().unwrap();
        self.host().run(&[
            "sh",
            "-c",
            "for m in $(grep -o ' /home/mallory[^ ]*' /proc/mounts | sort -r); do umount -l $m; done",
        ]);
        let wipe = format!(
            "lsattr -Rda {home} 2>/dev/null | grep -qE '^[^ ]*[ia]' && chattr -R -ia {home}
             chmod 700 {home}; find {home} {home}/../twin -mindepth 1 -delete"
        );
        run(std::process::Command::new("sh").args(["-c", &wipe]));
        let said = self.host().run(&["idtokenctl", "reconcile"]);
        let left = self.host().sh(&format!(
            "find /var/lib/pam_idtoken/sessions/{MALLORY} -type f 2>/dev/null || true"
        ));
        if !left.is_empty() {
            violations.push(format!("records are left: {left}{}", said.all()));
            self.host()
                .sh(&format!("rm -rf /var/lib/pam_idtoken/sessions/{MALLORY}/*"));
        }
    }
}
