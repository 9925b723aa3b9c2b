//! The package goes while people are logged in.

use std::time::Duration;

use pam_idtoken_tests::clock::timed;
use pam_idtoken_tests::host::Mode;
use pam_idtoken_tests::pool::{Host, Package, Stay};

use super::pool_with;
use crate::support::PRIVATE;

const CONFIG: &str = "/etc/security/pam_idtoken.toml";

/// Nothing of the package is on the host: no file, no mount, no unit, no line.
#[track_caller]
pub(super) fn is_clean(host: &Host) {
    let left = host.sh("rm -f /root/*.deb
         find / /run -xdev -iname '*idtoken*' -not -path '/proc/*' -not -path '/home/*'
         grep -l idtoken /etc/pam.d/* /var/lib/pam/* || true
         grep /run/pam_idtoken /proc/mounts || true
         systemctl list-units --all --plain --no-legend '*idtoken*'
         dpkg-query -W -f '${Status}' pam-idtoken 2>/dev/null || true");
    assert_eq!(left, "");
}

pub(super) fn leaves_nothing() {
    let package = Package::find();
    let pool = pool_with(&package);
    let ap1 = pool.host("ap1");
    let alice = pool.ssh("alice", "ap1").stay();
    ap1.sh(&format!("echo 'store = \"private\"' >>{CONFIG}"));
    let bob = pool.ssh("bob", "ap1").stay();
    // Somebody stands where private stores are.
    let store = ap1.sh(&format!("echo {PRIVATE}/*"));
    let carol = pool.ssh("carol", "ap1").stay();
    ap1.sh(&format!(
        "cd {} && (setsid sleep 1000 >/dev/null 2>&1 &)",
        store.trim()
    ));
    assert_eq!(pool.tokens("alice").len(), 1);
    let cursor = ap1.log_cursor();

    let said = ap1.apt_remove("remove").must();

    assert!(pool.tokens("alice").is_empty(), "{}", said.all());
    assert_eq!(said.stdout.matches("its token is gone").count(), 3);
    let lines = ap1.log_since(&cursor);
    let ended = |line: &&String| line.contains("token closed by an administrator");
    assert_eq!(lines.iter().filter(ended).count(), 3, "{lines:#?}");
    for (script, expected) in [
        ("grep -l idtoken /etc/pam.d/* || true", ""),
        ("grep /run/pam_idtoken /proc/mounts || true", ""),
        ("ls -A /run/pam_idtoken/tokens", ""),
        ("systemctl is-active '*idtoken*' || true", ""),
        // The configuration and the audit are kept.
        ("grep -c private /etc/security/pam_idtoken.toml", "1\n"),
        ("grep -c revoked /var/lib/pam_idtoken/audit.jsonl", "3\n"),
    ] {
        assert_eq!(ap1.sh(script), expected, "{script}");
    }
    // Who is logged in stays so, leaves in peace, and logs in again.
    let cursor = ap1.log_cursor();
    [alice, bob, carol].into_iter().for_each(Stay::end);
    let told = pool.ssh("bob", "ap1").log_in("echo WELL''COME");
    assert!(
        told.ok && told.screen.contains("WELLCOME"),
        "{}",
        told.screen
    );
    let lines = ap1.sh(&format!(
        "journalctl --sync; journalctl -q -o cat --after-cursor '{cursor}' | grep idtoken || true"
    ));
    assert_eq!(lines, "");

    ap1.sh("pkill -x sleep");
    ap1.apt_remove("purge").must();
    is_clean(ap1);

    // Where systemd does not run units are enabled, and started by the next boot.
    ap1.apt_install_into_image(&package).must();
    let units = "cd /usr/lib/systemd/system; systemctl is-enabled *pam_idtoken*; \
                 systemctl is-active *pam_idtoken* || true";
    let (enabled, inactive) = ("enabled\n".repeat(4), "inactive\n".repeat(4));
    assert_eq!(ap1.sh(units), enabled + &inactive);
    ap1.apt_remove("purge").must();
    is_clean(ap1);
}

pub(super) fn locks_nobody_out() {
    let pool = pool_with(&Package::find());
    let ap1 = pool.host("ap1");
    let home = pool.serve_home("nfs", "ap1");
    // A line of an administrator's, by which a login would need the module.
    ap1.sh("printf 'session \\\\ \\n required pam_idtoken.so debug\\n' >>/etc/pam.d/sshd");
    // What is no stack is in the way of nothing.
    ap1.sh("mkdir /etc/pam.d/directory; ln -s nowhere /etc/pam.d/dangling");
    let sessions = ["alice", "nfs"].map(|user| pool.ssh(user, "ap1").stay());
    let refused = ap1.apt_remove("remove");
    assert!(!refused.ok, "{}", refused.all());
    let named = "/etc/pam.d/sshd: session required pam_idtoken.so debug";
    assert!(refused.all().contains(named), "{}", refused.all());
    // Nothing has happened yet.
    assert_eq!(pool.tokens("alice").len(), 1);
    ap1.sh("grep -q idtoken /etc/pam.d/common-session
            systemctl is-active pam_idtoken-reconcile.timer");

    // optional is enough; the configuration is broken, and a home does not answer.
    ap1.sh("sed -i 's/ required pam_idtoken/ optional pam_idtoken/' /etc/pam.d/sshd");
    ap1.sh(&format!("echo 'lifetme = 3' >>{CONFIG}"));
    home.set(Mode::Stalled);
    let (removed, took) = timed(|| ap1.apt_remove("remove"));
    home.set(Mode::Normal);
    let said = removed.all();
    assert!(
        removed.ok && took < Duration::from_secs(58),
        "{took:?} {said}"
    );
    for part in [
        "take these lines out",
        "/etc/pam.d/sshd: session optional pam_idtoken.so debug",
        "/home/nfs",
        "not every token could be taken away",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(pool.tokens("alice").is_empty(), "{said}");
    pool.ssh("alice", "ap1").run("true").must();
    // What is left closes with its session, by the module that it has.
    sessions.into_iter().for_each(Stay::end);
    pool.wait_for_tokens("nfs", 0);
}
