//! Homes that can not take a token: the private store takes it.

use pam_idtoken_tests::pool::{DOMAIN, Pool};

use super::mended;
use crate::support::{PRIVATE, wait_until_it_finds_nothing};

/// Breaks the home by a script, logs in, mends it by another: the session has its token and HTCondor
/// finds it, the user is told nothing, the log and the tool say why.
#[track_caller]
fn falls_back(pool: &Pool, user: &str, breaking: &str, mending: &str, why: &str) {
    let ap1 = pool.host("ap1");
    ap1.sh(breaking);
    let cursor = ap1.log_cursor();
    let told = pool.ssh(user, "ap1").log_in(&format!(
        "stat -c '%a %U %n' $_CONDOR_SEC_TOKEN_DIRECTORY $_CONDOR_SEC_TOKEN_DIRECTORY/*
         condor_ping -type schedd -name ap2.{DOMAIN} WRITE && condor_q -global && echo WELL''COME"
    ));
    let lines = ap1.log_since(&cursor);
    let check = ap1.run(&["idtokenctl", "check", "--user", user]);
    ap1.sh(mending);
    let screen = &told.screen;
    assert!(told.ok && screen.contains("WELLCOME"), "{screen}");
    assert_eq!(told.warnings(), 0, "{screen}");
    assert!(screen.contains(&format!("{user}@{DOMAIN}")), "{screen}");
    for what in [
        format!("700 {user} {PRIVATE}/"),
        format!("600 {user} {PRIVATE}/"),
    ] {
        assert!(screen.contains(&what), "{what} in {screen}");
    }
    let start = format!(
        "pam_idtoken(sshd:session): the tokens are in the private store, since the home can not \
         take them user={user}: "
    );
    let reasons: Vec<&String> = lines.iter().filter(|l| l.starts_with(&start)).collect();
    assert!(reasons.len() == 1 && reasons[0].contains(why), "{lines:#?}");
    let opened = lines.iter().find(|line| line.contains("token opened"));
    let is_said = opened.is_some_and(|line| line.contains(&format!("file={PRIVATE}/")));
    assert!(is_said, "{lines:#?}");
    let warning = check.stdout.lines().find(|line| line.contains(why));
    assert!(
        check.ok && warning.is_some_and(|line| line.starts_with("WARN")),
        "{}",
        check.all()
    );
    wait_until_it_finds_nothing(ap1, &format!("find {PRIVATE} -mindepth 1"));
    mended(pool, user);
}

pub(super) fn missing(pool: &Pool) {
    falls_back(pool, "ghost", "true", "true", "/home/ghost");
}

pub(super) fn read_only(pool: &Pool) {
    let breaking = "mkdir -p /home/real; mount -t tmpfs -o ro tmpfs /home/real";
    falls_back(
        pool,
        "real",
        breaking,
        "umount /home/real; rmdir /home/real",
        "Read-only file system",
    );
}

pub(super) fn condor_is_a_file(pool: &Pool) {
    let breaking = "rm -rf /home/alice/.condor; touch /home/alice/.condor";
    let mending = "rm /home/alice/.condor";
    falls_back(pool, "alice", breaking, mending, "/home/alice/.condor");
}
