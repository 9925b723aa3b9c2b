//! Signing keys that can not be used.

use pam_idtoken_tests::pool::Pool;

use super::{KEY, login_works};

fn with_key(pool: &Pool, breaking: &str, why: &[&str]) {
    let breaking = format!("cp -a {KEY} /root/kept; {breaking}");
    let mending = format!("rm -rf {KEY}; mv /root/kept {KEY}");
    login_works(pool, "alice", &breaking, &mending, why);
}

pub(super) fn missing(pool: &Pool) {
    with_key(
        pool,
        &format!("rm {KEY}"),
        &[
            "condor_token_fetch got no token from the schedd",
            // HTCondor's own words: the key of the schedd is the same. More of them depend on what
            // it has read before.
            "it says: Failed to request a session token: DAEMON:1:",
            &format!("It was asked since the signing key {KEY} is not there"),
        ],
    );
}

pub(super) fn open(pool: &Pool) {
    with_key(
        pool,
        &format!("chmod 0644 {KEY}"),
        &[&format!("chmod 0600 {KEY}")],
    );
}

pub(super) fn empty(pool: &Pool) {
    // The schedd, if it were asked, would sign with nothing, and nobody would accept that.
    with_key(
        pool,
        &format!(": >{KEY}"),
        &[&format!("the signing key {KEY} is empty")],
    );
}

pub(super) fn directory(pool: &Pool) {
    with_key(
        pool,
        &format!("rm {KEY}; mkdir -m 700 {KEY}"),
        &["is not a regular file"],
    );
}
