//! Whatever is broken: the login works, the log says why, the user is told once, unless the
//! private store helps.

mod homes;
mod keys;
mod state;

use pam_idtoken_tests::pool::Pool;

use crate::Test;
use crate::support::{RECORDS, wait_until_it_finds_nothing};

pub(crate) const TESTS: &[Test] = &[
    (
        "without the user's home the session has its token in the private store",
        homes::missing,
    ),
    (
        "with a home that can not be written the token is in the private store",
        homes::read_only,
    ),
    (
        "with a home whose .condor is a file the token is in the private store",
        homes::condor_is_a_file,
    ),
    (
        "without the signing key the schedd is asked in vain and the login works",
        keys::missing,
    ),
    (
        "with a signing key that others can read the login works",
        keys::open,
    ),
    ("with an empty signing key the login works", keys::empty),
    (
        "with a directory in place of the signing key the login works",
        keys::directory,
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
    ("a missing state directory is made", state::missing),
    (
        "with a read-only state directory the login works",
        state::read_only,
    ),
    ("with a full state directory the login works", state::full),
    (
        "with a state directory of somebody else the login works",
        state::of_somebody_else,
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
    wait_until_it_finds_nothing(ap1, RECORDS);
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
         rm -f /run/pam_idtoken/htcondor*.kept; mv {tool} {tool}.kept
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
