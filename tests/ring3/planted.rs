//! Tokens that lie around: none of them harms a session.

use pam_idtoken_tests::pool::{DOMAIN, Pool};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("an expired token planted first harms nobody", expired),
    (
        "a token of a wrong key planted first harms nobody",
        wrong_key,
    ),
    ("garbage planted first harms nobody", garbage),
    (
        "dead tokens of ended sessions are removed, a user's own are not",
        dead_ones_go,
    ),
];

/// Makes a token with HTCondor's own tool; `sleep` lets it expire.
fn make(pool: &Pool, key: &str, lifetime: u32) -> String {
    let script = format!(
        "umask 077; printf '{key}' >/tmp/key; \
         _CONDOR_SEC_TOKEN_POOL_SIGNING_KEY_FILE=/tmp/key \
         condor_token_create -identity alice@{DOMAIN} -lifetime {lifetime}; rm /tmp/key"
    );
    pool.host("ap1").sh(&script)
}

fn with_the_pools_key(pool: &Pool, lifetime: u32) -> String {
    let command = format!("condor_token_create -identity alice@{DOMAIN} -lifetime {lifetime}");
    pool.host("ap1").sh(&command)
}

/// Puts a file into alice's tokens.d, as alice would.
fn plant(pool: &Pool, name: &str, text: &str) {
    pool.host("ap1").sh(&format!(
        "runuser -u alice -- sh -ec 'umask 077; mkdir -p ~/.condor/tokens.d; \
         cat >~/.condor/tokens.d/{name}' <<'E'\n{text}\nE"
    ));
}

fn unplant(pool: &Pool) {
    pool.host("ap1").sh("rm -f /home/alice/.condor/tokens.d/*");
}

/// Alice commands the pool in a session although these files are there.
fn harmless(pool: &Pool, text: &str) {
    unplant(pool);
    let names = ["00-first", "0-zzz", "aaa", "idtoken_maq"];
    for name in names {
        plant(pool, name, text);
    }
    // The test would prove nothing if HTCondor did not stumble over them.
    let ping = format!("condor_ping -type schedd -name ap2.{DOMAIN} WRITE");
    let without = pool
        .host("ap1")
        .run(&["runuser", "-u", "alice", "--", "sh", "-c", &ping]);
    assert!(!without.all().contains("succeeded"), "{}", without.all());
    let ours = pool
        .ssh("alice", "ap1")
        .run(&format!("{ping}; condor_q -global"))
        .must()
        .all();
    assert!(ours.contains("succeeded"), "{ours}");
    let left = pool.tokens("alice");
    for name in names {
        assert!(
            left.contains(&name.to_owned()),
            "{name} is gone from {left:?}"
        );
    }
    unplant(pool);
}

fn expired(pool: &Pool) {
    let token = with_the_pools_key(pool, 1);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    harmless(pool, token.trim());
}

fn wrong_key(pool: &Pool) {
    let token = make(pool, "not the key of the pool", 600);
    harmless(pool, token.trim());
}

fn garbage(pool: &Pool) {
    harmless(pool, "this is no token");
}

fn dead_ones_go(pool: &Pool) {
    unplant(pool);
    let expired = with_the_pools_key(pool, 1);
    let valid = with_the_pools_key(pool, 600);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    // As a session of 1970 would have been called, on this host and on the other.
    let here = "0-session-fffffffffffffff0-ap1-0000000000000001";
    let there = "0-session-fffffffffffffff1-ap2-0000000000000002";
    let alive = "0-session-fffffffffffffff2-ap2-0000000000000003";
    plant(pool, here, &expired);
    plant(pool, there, &expired);
    plant(pool, alive, &valid);
    plant(pool, "mine", &expired);
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    pool.ssh("alice", "ap1").run("true").must();
    pool.wait_for_tokens("alice", 3);
    // The other host's is expired by less than its clock may be behind.
    assert_eq!(pool.tokens("alice"), [there, alive, "mine"]);
    let line = format!("dead token removed user=alice file=/home/alice/.condor/tokens.d/{here}");
    ap1.wait_for_log(&cursor, &line);
    ap1.wait_for_log(&cursor, "token closed user=alice");
    unplant(pool);
}
