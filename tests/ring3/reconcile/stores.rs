//! The units as they are shipped renew what the schedd signs and what private stores hold.

use std::time::{Duration, Instant};

use pam_idtoken_tests::clock::wait_for;
use pam_idtoken_tests::pool::{DOMAIN, Host, Pool};

use super::{PERIOD, ready, rows};
use crate::support::{PRIVATE, TOKENS_ONLY, wait_until_it_finds_nothing};

/// What tokens live here, in seconds.
const LIFETIME: u64 = 12;
const DROP_INS: &str = "/etc/systemd/system/pam_idtoken-reconcile";

/// The units of a host run every two seconds until the value is dropped; nothing else of them changes.
struct Hurried<'a>(&'a Host);

impl<'a> Hurried<'a> {
    #[track_caller]
    fn units(host: &'a Host) -> Self {
        let hurried = Self(host);
        host.sh(&format!(
            "mkdir -p {DROP_INS}.service.d {DROP_INS}.timer.d
             printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/idtokenctl reconcile --every 2s\\n' \\
                 >{DROP_INS}.service.d/fast.conf
             printf '[Timer]\\nOnActiveSec=\\nOnActiveSec=0\\nOnUnitActiveSec=2s\\nAccuracySec=100ms\\n' \\
                 >{DROP_INS}.timer.d/fast.conf
             systemctl daemon-reload; systemctl restart pam_idtoken-reconcile.timer"
        ));
        hurried
    }

    /// Configures the host, and waits until a run has begun after that and is over.
    #[track_caller]
    fn configure(&self, text: &str) {
        self.0.configure_exactly(text);
        let run = || self.0.sh("stat -c %Y.%y /run/pam_idtoken/reconciled");
        for _ in 0..2 {
            let last = run();
            wait_for("a reconcile", PERIOD, || run() != last);
        }
    }
}

impl Drop for Hurried<'_> {
    fn drop(&mut self) {
        self.0.configure("");
        let as_shipped = format!(
            "rm -r {DROP_INS}.service.d {DROP_INS}.timer.d
             systemctl daemon-reload; systemctl restart pam_idtoken-reconcile.timer"
        );
        let _ = self.0.run(&["sh", "-c", &as_shipped]);
    }
}

const MOUNT: &str = "run-pam_idtoken-tokens.mount";

/// Whether private stores have a file system of their own.
fn is_mounted(host: &Host) -> bool {
    let asked = ["findmnt", "-n", "-t", "tmpfs", "--mountpoint", PRIVATE];
    host.run(&asked).ok
}

pub(super) fn mounted(pool: &Pool) {
    ready(pool);
    let ap2 = pool.host("ap2");
    assert!(is_mounted(ap2));
    // Enabled on a host where somebody has a private store, the unit does not hide it.
    ap2.sh(&format!("systemctl disable -q --now {MOUNT}"));
    ap2.configure("store = \"private\"\n");
    let session = pool.ssh("dave", "ap2").stay();
    let row = rows(ap2, "dave").remove(0);
    ap2.sh(&format!("systemctl enable -q --now {MOUNT}"));
    let waits = !is_mounted(ap2);
    ap2.sh(&format!("test -s {}", row["token"][0].as_str().unwrap()));
    session.end();
    wait_until_it_finds_nothing(ap2, &format!("find {PRIVATE} -mindepth 1"));
    ap2.sh(&format!("systemctl start {MOUNT}"));
    assert!(waits && is_mounted(ap2));
    ap2.configure("");
}

pub(super) fn renewed(pool: &Pool) {
    ready(pool);
    let ap2 = pool.host("ap2");
    assert!(is_mounted(ap2));
    let cursor = ap2.log_cursor();
    let hurried = Hurried::units(ap2);
    for (configuration, directory) in [
        ("issuer = \"schedd\"\n", "/home/dave/.condor/tokens.d"),
        ("issuer = \"schedd\"\nstore = \"private\"\n", PRIVATE),
        ("store = \"private\"\n", PRIVATE),
    ] {
        // Two seconds between two runs and three for a home are half of it.
        hurried.configure(&format!("{configuration}lifetime = \"{LIFETIME}s\"\n"));
        let session = pool.ssh("dave", "ap2").stay();
        let row = || rows(ap2, "dave").remove(0);
        let file = row()["token"][0].as_str().unwrap().to_owned();
        assert!(file.starts_with(directory), "{file}");
        let expires = || row()["expires"].as_u64().unwrap();
        let (first, started) = (expires(), Instant::now());
        let ask = format!(
            "{TOKENS_ONLY}; _CONDOR_SEC_TOKEN_DIRECTORY=$(dirname {file}) \
             condor_ping -type schedd -name ap2.{DOMAIN} WRITE"
        );
        // Until the first would have expired and there were two renewals.
        while started.elapsed() < Duration::from_secs(LIFETIME + 2) || expires() < first + LIFETIME
        {
            let said = ap2.run(&["runuser", "-u", "dave", "--", "bash", "-c", &ask]);
            let at = started.elapsed();
            assert!(
                said.all().contains(&format!("as dave@{DOMAIN} ")),
                "{at:?}: {}",
                said.all()
            );
            assert!(at < Duration::from_secs(40), "renewed too late: {}", row());
            std::thread::sleep(Duration::from_millis(500));
        }
        // sshd is killed: the store goes with the next run.
        ap2.sh(&format!("kill -9 {}", row()["pid"]));
        session.end();
        wait_for("the token goes", PERIOD, || rows(ap2, "dave").is_empty());
        ap2.sh(&format!("test ! -e {file}"));
    }
    wait_until_it_finds_nothing(ap2, &format!("find {PRIVATE} -mindepth 1"));
    drop(hurried);
    let lines = ap2.log_since(&cursor);
    let is_trouble = |line: &&String| line.contains("could not") || line.contains("in vain");
    assert_eq!(lines.iter().find(is_trouble), None);
    let noise = ap2.sh(&format!(
        "journalctl -q --no-pager -o cat -p err -u pam_idtoken-reconcile.service --after-cursor '{cursor}'"
    ));
    assert_eq!(noise, "");
}
