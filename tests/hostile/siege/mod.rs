//! A booted host with a hostile user, and others whose sessions are open all the while.
//!
//! What the attacker does there is in `attacker`, what every attack is judged by in `judge`.

mod attacker;
mod ground;
mod judge;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pam_idtoken_tests::command::Answer;
use pam_idtoken_tests::pool::{Build, DOMAIN, Host, Plan, Pool, Ssh, Stay};
use pam_idtoken_tests::programs_dir;

use crate::manifest::{Manifest, Trees};
use ground::{BAIT, CANARIES, VAULT, installed, trees};

/// The hostile user's uid; `twin` has it, too.
pub(crate) const MALLORY: u32 = 3000;

/// A host under attack.
pub(crate) struct Siege {
    pool: Pool,
    trees: Trees,
    canaries: Vec<PathBuf>,
    secrets: Vec<String>,
    /// Which of two configurations holds.
    turn: AtomicBool,
    /// What the user saw.
    seen: Mutex<String>,
    /// Programs, libraries and documents, before anything happened.
    installed: Manifest,
    /// The sessions of others, from the beginning to the end.
    others: Vec<Stay>,
}

impl Siege {
    /// Boots the host, with what makes attacks easier: sshd takes any variable from its clients, and
    /// users mount file systems of their own. A line of the log says when the module is asked.
    pub(crate) fn begin() -> Self {
        let pool = Plan::of(DOMAIN).hosts(Plan::ONE).boot();
        let host = pool.host("ap1");
        pool.install(&Build::find());
        pool.install_units("ap1");
        let mischief = std::fs::read(programs_dir().join("hostile-user")).unwrap();
        host.write("/usr/local/bin/hostile-user", mischief, 0o755);
        host.sh(&format!(
            "useradd -m -u {MALLORY} -s /bin/bash mallory
             useradd -m -o -u {MALLORY} -s /bin/bash twin
             touch /home/carol/.condor; echo user_allow_other >>/etc/fuse.conf
             printf 'AcceptEnv *\\nPermitUserEnvironment yes\\nMaxSessions 100\\n' \
                 >/etc/ssh/sshd_config.d/a-hostile.conf
             sed -i '/pam_idtoken/i session optional pam_warn.so' /etc/pam.d/sshd
             grep -q pam_warn /etc/pam.d/sshd
             umount /dev/fuse; rm -f /dev/fuse; mknod -m 666 /dev/fuse c 10 229
             systemctl reload ssh"
        ));
        host.sh(&format!("{VAULT}\n{BAIT}"));
        let siege = Self {
            others: Vec::new(),
            installed: Manifest::take(&installed(host)),
            trees: trees(host),
            canaries: Vec::new(),
            secrets: vec!["canary-of-roots".to_owned(), "canary-of-bobs".to_owned()],
            turn: AtomicBool::new(false),
            seen: Mutex::default(),
            pool,
        };
        siege.configure("");
        siege.with_others()
    }

    /// Bob has his token in his home, carol hers in a private store.
    fn with_others(mut self) -> Self {
        self.others = ["bob", "carol"]
            .map(|user| self.ssh(user).lasting(3600).stay())
            .into();
        let tokens =
            "ls /home/bob/.condor/tokens.d/0-session-* /run/pam_idtoken/tokens/*/0-session-*";
        let tokens = self.host().sh(tokens);
        assert_eq!(tokens.lines().count(), 2, "{tokens}");
        let root = self.host().root();
        let inside = |path: &str| root.join(path.trim_start_matches('/'));
        for token in tokens.lines().map(inside) {
            let text = std::fs::read_to_string(&token).unwrap();
            let signature = text.trim().rsplit('.').next().unwrap();
            self.secrets.push(signature.to_owned());
            self.canaries.push(token);
        }
        self.canaries
            .extend(CANARIES.iter().map(|path| inside(path)));
        self
    }

    pub(crate) fn host(&self) -> &Host {
        self.pool.host("ap1")
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn ssh(&self, user: &str) -> Ssh {
        self.pool.ssh(user, "ap1")
    }

    /// The two configurations differ for everybody but those whose tokens are to stay as they are,
    /// however long the attacks take.
    pub(crate) fn configure(&self, more: &str) {
        let turn = if self.turn.load(Ordering::SeqCst) {
            "scope = [\"READ\"]"
        } else {
            ""
        };
        self.host().configure(&format!(
            "\n[[token]]\nusers = [\"bob\", \"carol\"]\nlifetime = \"24h\"\n\n[[token]]\n{turn}\n{more}\n"
        ));
    }

    /// Has every token renewed but theirs, and whatever else a reconcile does.
    pub(crate) fn renew(&self) -> Answer {
        self.turn.fetch_xor(true, Ordering::SeqCst);
        self.configure("");
        self.reconcile()
    }

    pub(crate) fn reconcile(&self) -> Answer {
        let said = self.host().run(&["idtokenctl", "reconcile"]);
        // 3: a home is not as it was, which the log says.
        assert!(matches!(said.code, Some(0 | 3)), "{}", said.all());
        self.note(&said.all());
        said
    }

    /// What the attacker could have seen.
    pub(crate) fn note(&self, text: &str) {
        self.seen.lock().unwrap().push_str(text);
    }

    /// The sessions of the others end: their tokens were there to the last, and go. No program was
    /// touched.
    pub(crate) fn end(&mut self) {
        let now = Manifest::take(&installed(self.host()));
        assert_eq!(self.installed.changes(&now), Vec::<String>::new());
        for (user, other) in ["bob", "carol"].iter().zip(self.others.drain(..)) {
            other.end();
            let host = self.pool.host("ap1");
            let end = Instant::now() + Duration::from_secs(10);
            while !host
                .sh(&format!(
                    "find /home/{user}/.condor /run/pam_idtoken/tokens -user {user} \
                -name '0-session-*' 2>/dev/null || true"
                ))
                .is_empty()
            {
                assert!(Instant::now() < end, "a token of {user} is left");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
