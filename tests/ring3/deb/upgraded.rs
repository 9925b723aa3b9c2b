//! An upgrade while people are logged in.

use std::time::{Duration, Instant};

use pam_idtoken_tests::pool::{Host, Package};

use super::{LINES, accepted, pool_with};
use crate::support::{PRIVATE, wait_until_it_finds_nothing};

const CONFIG: &str = "/etc/security/pam_idtoken.toml";
/// What a session holds in its home or in its private store.
const HELD: &str = "cat /home/*/.condor/tokens.d/0-session-* /run/pam_idtoken/tokens/*/0-session-*";

/// Waits until the token in alice's home is another one than this.
#[track_caller]
pub(super) fn wait_for_another(host: &Host, before: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while host.sh("cat /home/alice/.condor/tokens.d/*") == before {
        assert!(Instant::now() < end, "the token is not renewed");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(super) fn keeps() {
    let dir = tempfile::tempdir().unwrap();
    let package = Package::find();
    let pool = pool_with(&package.before(dir.path()));
    let ap1 = pool.host("ap1");
    // The administrator's changes: the file, the line, a timer that is off.
    ap1.sh(&format!(
        "sed -i 's/^#lifetime = .*/lifetime = \"30m\"/' {CONFIG}
         sed -i 's/pam_idtoken.so/& debug/' /etc/pam.d/common-session
         systemctl disable -q pam_idtoken-reconcile.service"
    ));
    let alice = pool.ssh("alice", "ap1").stay();
    ap1.sh(&format!("echo 'store = \"private\"' >>{CONFIG}"));
    let bob = pool.ssh("bob", "ap1").stay();
    let kept = format!("cat {CONFIG}; {LINES}; systemctl is-enabled *pam_idtoken* || true");
    let kept = format!("cd /usr/lib/systemd/system; {kept}; stat -c %i {PRIVATE}; {HELD}");
    let before = ap1.sh(&kept);
    let cursor = ap1.log_cursor();

    ap1.apt_install(&package).must();

    assert_eq!(ap1.sh(&kept), before);
    let version = ap1.sh("dpkg-query -W -f '${Version}' pam-idtoken");
    assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
    // Both sessions have the module that they began with, and the new tool renews their tokens.
    let mapped = ap1.sh("for pid in $(pgrep -f '^sshd.*\\[priv\\]'); do
             grep -l 'pam_idtoken.so (deleted)' /proc/$pid/maps; done | wc -l");
    assert_eq!(mapped.trim(), "2");
    let held = ap1.sh("cat /home/alice/.condor/tokens.d/*");
    ap1.sh(
        "cp -p /etc/condor/passwords.d/POOL /root/new; head -c 64 /dev/urandom >/root/new
            mv /root/new /etc/condor/passwords.d/POOL",
    );
    wait_for_another(ap1, &held);
    bob.end();
    ap1.wait_for_log(&cursor, "token closed user=bob");
    alice.end();
    ap1.wait_for_log(&cursor, "token closed user=alice");
    wait_until_it_finds_nothing(ap1, &format!("ls {PRIVATE}; idtokenctl list --json"));
    pool.wait_for_tokens("alice", 0);
    let wrong = ["was not", "could not", "in vain"];
    let lines = ap1.log_since(&cursor);
    let wrong = lines
        .iter()
        .any(|line| wrong.iter().any(|part| line.contains(part)));
    assert!(!wrong, "{lines:#?}");
    ap1.sh(&format!("sed -i /private/d {CONFIG}"));
    accepted(&pool);
}
