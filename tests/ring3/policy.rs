//! Who gets a token and who passes untouched.

use pam_idtoken_tests::pool::Pool;

use crate::Test;

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
