//! A booted host with a hostile user, and others whose sessions are open all the while; what every
//! attack is judged by.

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pam_idtoken_tests::build_dir;
use pam_idtoken_tests::command::{Answer, run};
use pam_idtoken_tests::pool::{Build, DOMAIN, Host, Plan, Pool, Ssh, Stay};

use crate::journal;
use crate::manifest::{Depth, Manifest, Trees};
use crate::score;
use crate::secrets;
use crate::watch::Watch;

/// The hostile user's uid; `twin` has it, too.
pub(crate) const MALLORY: u32 = 3000;
/// The users whose sessions are the attacker's.
const THEIRS: &[&str] = &["mallory", "twin"];
/// `timeout`, and by how much a call may take longer on a busy machine: what is measured has the
/// modules before ours in it.
const LONGEST: Duration = Duration::from_secs(3 + 2);

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
    /// users mount file systems of their own.
    pub(crate) fn begin() -> Self {
        let pool = Plan::of(DOMAIN).hosts(Plan::ONE).boot();
        let host = pool.host("ap1");
        pool.install(&Build::find());
        pool.install_units("ap1");
        let mischief = std::fs::read(build_dir().join("hostile-user")).unwrap();
        host.write("/usr/local/bin/hostile-user", mischief, 0o755);
        host.sh(&format!(
            "useradd -m -u {MALLORY} -s /bin/bash mallory
             useradd -m -o -u {MALLORY} -s /bin/bash twin
             touch /home/carol/.condor; echo user_allow_other >>/etc/fuse.conf
             printf 'AcceptEnv *\\nPermitUserEnvironment yes\\nMaxSessions 100\\n' \
                 >/etc/ssh/sshd_config.d/a-hostile.conf
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

    /// At the door, with the hostile user's key.
    pub(crate) fn mallory(&self) -> Ssh {
        self.ssh("mallory")
    }

    /// The two configurations differ for everybody but those whose tokens are to stay as they are.
    pub(crate) fn configure(&self, more: &str) {
        let turn = if self.turn.load(Ordering::SeqCst) {
            "scope = [\"READ\"]"
        } else {
            ""
        };
        self.host().configure(&format!(
            "\n[[token]]\nusers = [\"bob\", \"carol\"]\n\n[[token]]\n{turn}\n{more}\n"
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

    /// The attacker begins to do something that goes on.
    #[track_caller]
    pub(crate) fn begins(&self, args: &[&str]) -> Mischief {
        let program = [AS_MALLORY, args].concat();
        let mut command = self.host().command(120, &program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Mischief::of(command.spawn().unwrap())
    }

    /// What the attacker could have seen.
    pub(crate) fn note(&self, text: &str) {
        self.seen.lock().unwrap().push_str(text);
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
        let end = Instant::now() + Duration::from_secs(10);
        while !left().is_empty() {
            assert!(Instant::now() < end, "left over: {}", left());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

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
            for (what, took) in [("open", login.opening()), ("close", login.close())] {
                if took.is_some_and(|took| took > LONGEST) {
                    violations.push(format!("{what} took {took:?}"));
                }
            }
        }
        let times = logins
            .iter()
            .flat_map(|login| [login.opening(), login.close()]);
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
            .sh("sed -i 's/ user_readenv=1//' /etc/pam.d/sshd");
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

/// What is root's alone, and a directory of root's with names of tokens that anybody may list.
const VAULT: &str = "
    umask 077; mkdir -p /srv/vault/tokens.d /srv/open/tokens.d
    echo canary-of-roots >/srv/vault/secret; cp /srv/vault/secret /srv/open/secret
    chmod 755 /srv/open /srv/open/tokens.d
    echo canary-of-bobs >/home/bob/secret; chown bob:bob /home/bob/secret
    echo a file of bobs >/home/bob/linked; ln /home/bob/linked /home/bob/linked-too
    chown bob:bob /home/bob/linked
    runuser -u bob -- sh -c 'mkdir -p ~/.condor/tokens.d && echo canary-of-bobs >~/.condor/tokens.d/own'";
/// Tokens of hosts that are dead: whoever could would remove them.
const BAIT: &str = "
    for dir in /srv/vault/tokens.d /srv/open/tokens.d; do
        for name in 0-session-fffffffffffffff0-ap1-0000000000000001 \
            .0-session-fffffffffffffff1-ap1-0000000000000002 own; do
            echo canary-of-roots >$dir/$name; touch -d 2001-01-01 $dir/$name
        done
    done";
const CANARIES: &[&str] = &[
    "/srv/vault",
    "/srv/vault/secret",
    "/srv/vault/tokens.d",
    "/srv/open/secret",
    "/srv/open/tokens.d/0-session-fffffffffffffff0-ap1-0000000000000001",
    "/srv/open/tokens.d/.0-session-fffffffffffffff1-ap1-0000000000000002",
    "/srv/open/tokens.d/own",
    "/home/bob/secret",
    "/home/bob/.condor/tokens.d/own",
];

fn installed(host: &Host) -> Trees {
    Trees {
        root: host.root(),
        roots: vec![("/usr", Depth::Times)],
        ..Trees::default()
    }
}

/// What no attack may change.
fn trees(host: &Host) -> Trees {
    let sessions = format!("/var/lib/pam_idtoken/sessions/{MALLORY}");
    let daves = host.sh("id -u dave");
    let daves = format!("/var/lib/pam_idtoken/sessions/{}", daves.trim());
    let theirs = [
        "/home/mallory",
        "/home/twin",
        &sessions,
        // Who logs in beside them now and then.
        "/home/dave",
        &daves,
        // Which is appended to.
        "/var/lib/pam_idtoken/audit.jsonl",
        "/run/pam_idtoken/reconciled",
        "/run/pam_idtoken/htcondor*",
        "/run/pam_idtoken/complaints",
        // Private stores are made and go; what is there at the end is seen.
        "/run/pam_idtoken/tokens/-",
    ];
    Trees {
        root: host.root(),
        roots: [
            "/etc",
            "/root",
            "/srv",
            "/home",
            "/var/lib/pam_idtoken",
            "/run/pam_idtoken",
        ]
        .map(|root| (root, Depth::Contents))
        .into(),
        theirs: theirs.map(str::to_owned).into(),
        put_back: vec!["/etc/security/pam_idtoken.toml", "/etc/pam.d/sshd"],
    }
}

/// Something that the attacker does until it is stopped.
pub(crate) struct Mischief {
    child: Child,
    /// The last number that it said.
    count: Arc<AtomicUsize>,
    reader: Option<std::thread::JoinHandle<String>>,
}

impl Mischief {
    /// Waits until it has begun.
    #[track_caller]
    pub(crate) fn of(mut child: Child) -> Self {
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let reader = std::thread::spawn(move || {
            let mut last = String::new();
            for line in said.lines().map_while(Result::ok) {
                counted.store(line.parse().unwrap_or(0), Ordering::SeqCst);
                last = line;
            }
            last
        });
        let mischief = Self {
            child,
            count,
            reader: Some(reader),
        };
        assert_eq!(line.trim(), "begun");
        mischief
    }

    /// How far it is, about.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Ends it; how often it did what it does.
    #[track_caller]
    pub(crate) fn stop(mut self) -> usize {
        drop(self.child.stdin.take());
        let ended = self.child.wait().unwrap();
        let last = self.reader.take().unwrap().join().unwrap();
        assert!(ended.success(), "it ended early: {ended}, {last:?}");
        last.parse().unwrap()
    }
}

impl Drop for Mischief {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
