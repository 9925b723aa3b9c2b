//! Whatever is broken: the login works, the log says why, the user is told once, unless the
//! private store helps.

use pam_idtoken_tests::pool::{DOMAIN, Pool};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    (
        "without the user's home the session has its token in the private store",
        home_missing,
    ),
    (
        "with a home that can not be written the token is in the private store",
        home_read_only,
    ),
    (
        "with a home whose .condor is a file the token is in the private store",
        condor_is_a_file,
    ),
    (
        "without the signing key the schedd is asked in vain and the login works",
        key_missing,
    ),
    (
        "with a signing key that others can read the login works",
        key_open,
    ),
    ("with an empty signing key the login works", key_empty),
    (
        "with a directory in place of the signing key the login works",
        key_directory,
    ),
    (
        "with a configuration that is no TOML the login works",
        config_syntax,
    ),
    (
        "with an unknown key in the configuration the login works",
        config_unknown_key,
    ),
    (
        "with a configuration that others can write the login works",
        config_unsafe,
    ),
    (
        "without a trust domain, and nobody to ask for it, the login works",
        config_unset,
    ),
    ("a missing state directory is made", state_missing),
    (
        "with a read-only state directory the login works",
        state_read_only,
    ),
    ("with a full state directory the login works", state_full),
    (
        "with a state directory of somebody else the login works",
        state_unsafe,
    ),
    (
        "the module missing does not keep anybody out",
        module_missing,
    ),
    (
        "on_failure = deny refuses a user without a token, and only such",
        deny,
    ),
    (
        "an unknown argument is logged and harms nobody",
        unknown_argument,
    ),
];

const KEY: &str = "/etc/condor/passwords.d/POOL";
const CONFIG: &str = "/etc/security/pam_idtoken.toml";
const STATE: &str = "/var/lib/pam_idtoken";
const PRIVATE: &str = "/run/pam_idtoken/tokens";

/// Breaks the host by a script, logs in, mends the host by another.
#[track_caller]
fn login_works(pool: &Pool, user: &str, breaking: &str, mending: &str, why: &[&str]) {
    let ap1 = pool.host("ap1");
    ap1.sh(breaking);
    let cursor = ap1.log_cursor();
    let told = pool
        .ssh(user, "ap1")
        .log_in("echo WELL''COME; ls ~/.condor/tokens.d");
    let lines = ap1.log_since(&cursor);
    let check = ap1.run(&["idtokenctl", "check", "--user", user]);
    ap1.sh(mending);
    assert!(
        told.ok && told.screen.contains("WELLCOME"),
        "{}",
        told.screen
    );
    assert!(!told.screen.contains("0-session-"), "{}", told.screen);
    assert_eq!(told.warnings(), 1, "{}", told.screen);
    assert!(
        told.screen.contains("Please tell your administrator."),
        "{}",
        told.screen
    );
    let start = format!("pam_idtoken(sshd:session): no token for user={user}: ");
    let reasons: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with(&start))
        .collect();
    assert_eq!(reasons.len(), 1, "{lines:#?}");
    for why in why {
        assert!(reasons[0].contains(why), "{}", reasons[0]);
        assert!(
            !check.ok && check.stdout.contains(why),
            "idtokenctl check: {}",
            check.all()
        );
    }
    assert!(
        !check.stdout.contains("This host is ready"),
        "{}",
        check.stdout
    );
    mended(pool, user);
}

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
    let note = check.stdout.lines().find(|line| line.contains(why));
    assert!(
        check.ok && note.is_some_and(|line| line.starts_with("note")),
        "{}",
        check.all()
    );
    assert_eq!(ap1.sh(&format!("find {PRIVATE} -mindepth 1")), "");
    mended(pool, user);
}

/// The next login has its token, and nothing of the broken one is left.
#[track_caller]
fn mended(pool: &Pool, user: &str) {
    let ap1 = pool.host("ap1");
    if user == "alice" {
        let seen = pool
            .ssh(user, "ap1")
            .run("ls ~/.condor/tokens.d")
            .must()
            .stdout;
        assert_eq!(seen.lines().count(), 1, "{seen}");
        pool.wait_for_tokens(user, 0);
    }
    let left = ap1.sh(&format!("find {STATE} -path '*/sessions/*' -type f"));
    assert_eq!(left, "");
}

fn home_missing(pool: &Pool) {
    falls_back(pool, "ghost", "true", "true", "/home/ghost");
}

fn home_read_only(pool: &Pool) {
    let breaking = "mkdir -p /home/real; mount -t tmpfs -o ro tmpfs /home/real";
    falls_back(
        pool,
        "real",
        breaking,
        "umount /home/real; rmdir /home/real",
        "Read-only file system",
    );
}

fn condor_is_a_file(pool: &Pool) {
    let breaking = "mv /home/alice/.condor /home/alice/kept; touch /home/alice/.condor";
    let mending = "rm /home/alice/.condor; mv /home/alice/kept /home/alice/.condor";
    falls_back(pool, "alice", breaking, mending, "/home/alice/.condor");
}

fn with_key(pool: &Pool, breaking: &str, why: &[&str]) {
    let breaking = format!("cp -a {KEY} /root/kept; {breaking}");
    let mending = format!("rm -rf {KEY}; mv /root/kept {KEY}");
    login_works(pool, "alice", &breaking, &mending, why);
}

fn key_missing(pool: &Pool) {
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

fn key_open(pool: &Pool) {
    with_key(
        pool,
        &format!("chmod 0644 {KEY}"),
        &[&format!("chmod 0600 {KEY}")],
    );
}

fn key_empty(pool: &Pool) {
    // The schedd, if it were asked, would sign with nothing, and nobody would accept that.
    with_key(
        pool,
        &format!(": >{KEY}"),
        &[&format!("the signing key {KEY} is empty")],
    );
}

fn key_directory(pool: &Pool) {
    with_key(
        pool,
        &format!("rm {KEY}; mkdir -m 700 {KEY}"),
        &["is not a regular file"],
    );
}

fn with_config(pool: &Pool, breaking: &str, why: &str) {
    let mending = format!("chmod 644 {CONFIG}; mv /root/kept {CONFIG}");
    login_works(
        pool,
        "alice",
        &format!("cp -a {CONFIG} /root/kept; {breaking}"),
        &mending,
        &[why],
    );
}

fn config_syntax(pool: &Pool) {
    with_config(
        pool,
        &format!("echo 'services = [' >>{CONFIG}"),
        &format!("{CONFIG} line "),
    );
}

fn config_unknown_key(pool: &Pool) {
    let why = format!("{CONFIG} line 3, key lifetme: unknown field");
    with_config(pool, &format!("echo 'lifetme = \"1h\"' >>{CONFIG}"), &why);
}

fn config_unsafe(pool: &Pool) {
    with_config(
        pool,
        &format!("chmod 0666 {CONFIG}"),
        &format!("chmod 0644 {CONFIG}"),
    );
}

fn config_unset(pool: &Pool) {
    let tool = "/usr/bin/condor_config_val";
    let breaking = format!(
        "cp -a {CONFIG} /root/kept; sed -i /trust_domain/d {CONFIG}
         rm -f /run/pam_idtoken/htcondor.json; mv {tool} {tool}.kept
         printf '#!/bin/sh\necho it is late >&2; exit 1\n' >{tool}; chmod 755 {tool}"
    );
    login_works(
        pool,
        "alice",
        &breaking,
        &format!("mv {tool}.kept {tool}; mv /root/kept {CONFIG}"),
        &[
            "trust_domain is not set, and HTCondor was asked in vain: /usr/bin/condor_config_val \
             ended with exit status: 1 and said: it is late",
            "set it in /etc/security/pam_idtoken.toml to what `condor_config_val TRUST_DOMAIN`",
        ],
    );
}

fn state_missing(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.sh(&format!("rm -rf {STATE}"));
    mended(pool, "alice");
    assert_eq!(
        ap1.sh(&format!("stat -c '%a %U' {STATE} {STATE}/sessions")),
        "700 root\n700 root\n"
    );
}

fn state_read_only(pool: &Pool) {
    let breaking = format!("mkdir -p -m 700 {STATE}; mount -t tmpfs -o ro,mode=700 tmpfs {STATE}");
    login_works(
        pool,
        "alice",
        &breaking,
        &format!("umount {STATE}"),
        &["Read-only file system"],
    );
}

fn state_full(pool: &Pool) {
    let breaking = format!(
        "mkdir -p -m 700 {STATE}; mount -t tmpfs -o size=64k,mode=700 tmpfs {STATE}; \
         cat /dev/zero >{STATE}/filler 2>/dev/null || true"
    );
    login_works(
        pool,
        "alice",
        &breaking,
        &format!("umount {STATE}"),
        &["No space left on device"],
    );
}

fn state_unsafe(pool: &Pool) {
    let breaking = format!("mkdir -p -m 700 {STATE}; chmod 0777 {STATE}");
    login_works(
        pool,
        "alice",
        &breaking,
        &format!("chmod 0700 {STATE}"),
        &[&format!("chmod 0755 {STATE}")],
    );
}

fn module_missing(pool: &Pool) {
    let module = "/usr/lib/x86_64-linux-gnu/security/pam_idtoken.so";
    let ap1 = pool.host("ap1");
    ap1.sh(&format!("mv {module} /root/kept"));
    let answer = pool.ssh("alice", "ap1").run("true");
    let check = ap1.run(&["idtokenctl", "check"]);
    ap1.sh(&format!("mv /root/kept {module}"));
    assert!(answer.ok, "{}", answer.all());
    assert!(
        !check.ok && check.stdout.contains("not in libpam's module directory"),
        "{}",
        check.all()
    );
}

fn deny(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.sh("sed -i 's/optional *pam_idtoken.so/required pam_idtoken.so/' /etc/pam.d/sshd");
    ap1.configure("on_failure = \"deny\"\n");
    pool.ssh("alice", "ap1").run("true").must();
    ap1.sh(&format!("mv {KEY} /root/kept"));
    let (alice, root, svc) = (
        pool.ssh("alice", "ap1").run("echo IN"),
        pool.ssh("root", "ap1").run("echo IN"),
        pool.ssh("svc", "ap1").run("echo IN"),
    );
    ap1.sh(&format!(
        "mv /root/kept {KEY}; sed -i 's/required pam_idtoken.so/optional pam_idtoken.so/' /etc/pam.d/sshd"
    ));
    assert!(!alice.ok && !alice.stdout.contains("IN"), "{}", alice.all());
    assert!(root.ok && svc.ok, "{root:?} {svc:?}");
    mended(pool, "alice");
}

fn unknown_argument(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.sh(
        "sed -i 's/pam_idtoken.so.*/pam_idtoken.so bogus lifetime_unrenewed=2h/' /etc/pam.d/sshd",
    );
    let cursor = ap1.log_cursor();
    let before = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    pool.ssh("alice", "ap1").run("true").must();
    ap1.sh("sed -i 's/pam_idtoken.so.*/pam_idtoken.so/' /etc/pam.d/sshd");
    ap1.wait_for_log(&cursor, "unknown argument ignored argument=bogus");
    let line = ap1.wait_for_log(&cursor, "token opened");
    let exp = line
        .split(' ')
        .find_map(|word| word.strip_prefix("exp="))
        .unwrap();
    assert!(
        (before + 7190..before + 7300).contains(&exp.parse::<u64>().unwrap()),
        "{line}"
    );
    pool.wait_for_tokens("alice", 0);
}
