//! Who gets a token and who passes untouched.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use pam_idtoken_tests::pool::Pool;

use crate::Test;
use crate::support::claims;

pub(crate) const TESTS: &[Test] = &[
    ("root logs in and gets no token", root),
    (
        "a user below min_uid logs in and gets no token",
        below_min_uid,
    ),
    (
        "a user of a denied group logs in and gets no token",
        denied_group,
    ),
    ("only users of an allowed group get a token", allowed_group),
    ("su and cron stay untouched", other_services),
    ("a table is for logins from its remote hosts", remote_hosts),
    (
        "a table is for logins by its methods of sshd",
        ssh_auth_methods,
    ),
];

/// Logs in, gets no token, is told nothing and nothing is logged.
#[track_caller]
fn passes_untouched(pool: &Pool, user: &str) {
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    let told = pool
        .ssh(user, "ap1")
        .log_in("ls ~/.condor/tokens.d; echo WELL''COME");
    assert!(
        told.ok && told.screen.contains("WELLCOME"),
        "{}",
        told.screen
    );
    assert!(!told.screen.contains("0-session-"), "{}", told.screen);
    assert_eq!(told.warnings(), 0);
    assert_eq!(ap1.log_since(&cursor), Vec::<String>::new());
}

#[track_caller]
fn gets_a_token(pool: &Pool, user: &str) {
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    let seen = pool
        .ssh(user, "ap1")
        .run("ls ~/.condor/tokens.d")
        .must()
        .stdout;
    assert!(
        seen.contains("0-session-"),
        "{user} saw {seen:?}; {:#?}",
        ap1.log_since(&cursor)
    );
    pool.wait_for_tokens(user, 0);
    // Else it is told to whoever logs in next.
    ap1.wait_for_log(&cursor, "token closed");
}

fn root(pool: &Pool) {
    passes_untouched(pool, "root");
    pool.host("ap1")
        .configure("min_uid = 0\non_failure = \"deny\"\n");
    passes_untouched(pool, "root");
}

fn below_min_uid(pool: &Pool) {
    passes_untouched(pool, "svc");
    pool.host("ap1").configure("min_uid = 900\n");
    gets_a_token(pool, "svc");
}

fn denied_group(pool: &Pool) {
    gets_a_token(pool, "dave");
    pool.host("ap1").configure("deny_groups = [\"nocondor\"]\n");
    passes_untouched(pool, "dave");
    gets_a_token(pool, "carol");
}

fn allowed_group(pool: &Pool) {
    pool.host("ap1")
        .configure("allow_groups = [\"nocondor\"]\n");
    gets_a_token(pool, "dave");
    passes_untouched(pool, "carol");
}

fn other_services(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    // As if an administrator had put the line into common-session.
    ap1.sh("cp /etc/pam.d/su /tmp/su.kept; echo 'session optional pam_idtoken.so' >>/etc/pam.d/su");
    let seen = ap1.run(&[
        "su",
        "-",
        "alice",
        "-c",
        "ls ~/.condor/tokens.d; echo WELLCOME",
    ]);
    ap1.sh("mv /tmp/su.kept /etc/pam.d/su");
    assert!(seen.ok && seen.stdout.contains("WELLCOME") && !seen.stdout.contains("0-session-"));
    assert_eq!(ap1.log_since(&cursor), Vec::<String>::new());
}

fn remote_hosts(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let network = ap1.address().rsplit_once('.').unwrap().0.to_owned();
    for (hosts, is_for_us) in [
        (format!("\"{network}.0/24\""), true),
        (format!("\"192.0.2.0/24\", \"{network}.254\""), true),
        (format!("\"{network}.1\""), false),
        ("\"192.0.2.0/24\", \".lab.test\"".to_owned(), false),
    ] {
        ap1.configure(&format!("[[token]]\nremote_hosts = [{hosts}]\n"));
        if is_for_us {
            gets_a_token(pool, "carol");
        } else {
            passes_untouched(pool, "carol");
        }
    }
}

fn ssh_auth_methods(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let dir = tempfile::tempdir().unwrap();
    let askpass = dir.path().join("askpass");
    fs::write(&askpass, "#!/bin/sh\necho 'a word of carol'\n").unwrap();
    fs::set_permissions(&askpass, Permissions::from_mode(0o700)).unwrap();
    ap1.sh("echo 'carol:a word of carol' | chpasswd");
    let by_key = pool.ssh("carol", "ap1");
    let by_password = by_key.clone().by_password(&askpass);
    let scope = |ssh| {
        pool.wait_for_tokens("carol", 0);
        let claims = claims(ssh);
        let scope = |claims: &serde_json::Value| claims["scope"].as_str().map(str::to_owned);
        claims.iter().map(scope).collect::<Vec<_>>()
    };
    ap1.configure("[[token]]\nssh_auth_methods = [\"publickey\"]\n");
    gets_a_token(pool, "carol");
    assert_eq!(scope(&by_password), [None; 0]);
    ap1.configure("[[token]]\nssh_auth_methods = [\"password\"]\n");
    passes_untouched(pool, "carol");
    // The first that fits counts, and the others are for the rest.
    ap1.configure(
        "[[token]]\nssh_auth_methods = [\"password\"]\nscope = [\"READ\"]\n\n[[token]]\n",
    );
    assert_eq!(scope(&by_password), [Some("condor:/READ".to_owned())]);
    assert_eq!(scope(&by_key), [None]);
    ap1.sh("passwd -l carol >/dev/null");
    pool.wait_for_tokens("carol", 0);
}
