//! What the token is for: the commands of the user guide.

use std::time::{Duration, Instant};

use pam_idtoken_tests::pool::{DOMAIN, Pool};

use crate::Test;

/// While no host has the module yet.
pub(crate) const BEFORE: &[Test] = &[(
    "without the module condor_q -global fails as the user guide says",
    without_the_module,
)];

pub(crate) const TESTS: &[Test] = &[
    (
        "HTCondor accepts the token as the user, from ap1 towards cm and ap2",
        accepted,
    ),
    (
        "condor_q -global on ap1 shows and explains a job submitted on ap2",
        global,
    ),
    ("every condor_status of the user guide works", status),
    (
        "condor_token_list shows the session's token",
        token_list_of_home,
    ),
    ("a job carries the logged jti as AuthTokenId", auth_token_id),
    (
        "a signing key replaced between two logins harms neither",
        key_replaced,
    ),
    ("a named key and a list of kids work", named_key),
    (
        "a token with scope READ can look and not submit",
        scope_read,
    ),
];

fn without_the_module(pool: &Pool) {
    for host in ["ap1", "ap2"] {
        pool.host(host).sh("sed -i /pam_idtoken/d /etc/pam.d/sshd");
    }
    let answer = pool
        .ssh("alice", "ap1")
        .run("ls ~/.condor/tokens.d; condor_q -global");
    assert!(!answer.ok, "{}", answer.all());
    assert!(
        answer
            .stderr
            .contains("Couldn't contact the condor_collector"),
        "{}",
        answer.all()
    );
}

fn accepted(pool: &Pool) {
    for (kind, name) in [("schedd", "ap2"), ("collector", "cm")] {
        let ping = format!("condor_ping -type {kind} -name {name}.{DOMAIN} READ WRITE");
        let said = pool.ssh("alice", "ap1").run(&ping).must().all();
        for level in ["READ", "WRITE"] {
            let line = said
                .lines()
                .find(|line| line.starts_with(&format!("{level} command")));
            let line = line.unwrap_or_else(|| panic!("{said}"));
            assert!(
                line.contains("IDTOKENS") && line.contains("succeeded"),
                "{line}"
            );
            assert!(line.contains(&format!("alice@{DOMAIN}")), "{line}");
        }
    }
}

/// A job that no machine of the pool can run.
pub(crate) const JOB: &str = "executable=/bin/sleep\\narguments=600\\n\
                   requirements=(TARGET.NoSuchThing =?= True)\\nqueue\\n";

/// Submits a job that waits, in a session on a host; its id.
pub(crate) fn submit(pool: &Pool, user: &str, host: &str, options: &str) -> String {
    let script = format!("printf '{JOB}' >job.sub; condor_submit -terse {options} job.sub");
    let said = pool.ssh(user, host).run(&script).must().stdout;
    said.split_whitespace().next().unwrap().to_owned()
}

pub(crate) fn remove(pool: &Pool, host: &str, id: &str) {
    pool.host(host).sh(&format!("condor_rm {id}"));
}

pub(crate) fn global(pool: &Pool) {
    let id = submit(pool, "alice", "ap2", "");
    // The collector hears of the job with the schedd's next update.
    let end = Instant::now() + Duration::from_secs(30);
    let seen = loop {
        let seen = pool
            .ssh("alice", "ap1")
            .run("condor_q -global -nobatch")
            .must()
            .stdout;
        if seen.contains("-- Schedd: ap2") || Instant::now() > end {
            break seen;
        }
    };
    let job = seen
        .lines()
        .find(|line| line.trim_start().starts_with(&format!("{id} ")));
    assert!(
        job.is_some_and(|line| line.contains("alice")),
        "{id} in {seen}"
    );
    let command = format!("condor_q -global -better-analyze {id}");
    let why = pool.ssh("alice", "ap1").run(&command).must().stdout;
    let long_id = format!("{}.000", id.trim_end_matches(".0"));
    let part = format!("The Requirements expression for job {long_id}");
    assert!(why.contains(&part), "{part} in {why}");
    remove(pool, "ap2", &id);
}

pub(crate) fn status(pool: &Pool) {
    let alice = pool.ssh("alice", "ap1");
    let slots = alice.run("condor_status").must().stdout;
    assert!(slots.contains(&format!("cm.{DOMAIN}")), "{slots}");
    alice.run("condor_status -gpus").must();
    let long = alice
        .run(&format!("condor_status -l cm.{DOMAIN}"))
        .must()
        .stdout;
    assert!(long.contains("MyType = \"Machine\""), "{long}");
    let schedds = alice.run("condor_status -schedd").must().stdout;
    assert!(
        schedds.contains("ap1") && schedds.contains("ap2"),
        "{schedds}"
    );
}

fn token_list_of_home(pool: &Pool) {
    token_list(pool, "/home/alice/.condor/tokens.d");
}

pub(crate) fn token_list(pool: &Pool, directory: &str) {
    let list = pool
        .ssh("alice", "ap1")
        .run("condor_token_list")
        .must()
        .stdout;
    let line = list.lines().next().unwrap_or_default();
    assert!(
        line.contains(r#"Header: {"alg":"HS256","kid":"POOL"}"#),
        "{list}"
    );
    assert!(
        line.contains(&format!(r#""sub":"alice@{DOMAIN}""#)),
        "{list}"
    );
    assert!(
        line.contains(&format!("File: {directory}/")) && line.contains("/0-session-"),
        "{list}"
    );
}

fn auth_token_id(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    // To the other access point: FS authentication would win on its own host.
    let id = submit(pool, "alice", "ap1", &format!("-spool -name ap2.{DOMAIN}"));
    let seen = pool
        .host("ap2")
        .sh(&format!("condor_q {id} -af AuthTokenId Owner"));
    let line = ap1.wait_for_log(&cursor, "token opened");
    let jti = line
        .split(' ')
        .find_map(|word| word.strip_prefix("jti="))
        .unwrap();
    assert_eq!(seen.trim(), format!("{jti} alice"));
    remove(pool, "ap2", &id);
}

fn key_replaced(pool: &Pool) {
    let key = "/etc/condor/passwords.d/POOL";
    let old = pool.host("ap1").sh(&format!("base64 -w0 {key}"));
    let works = |part: &str| {
        let ap1 = pool.host("ap1");
        let cursor = ap1.log_cursor();
        let said = pool.ssh("alice", "ap1").run("condor_q -global");
        // Without a token it fails; with one it may have nothing to show.
        assert!(
            said.ok && said.stderr.is_empty(),
            "{part}: {said:?}; {:#?}",
            ap1.log_since(&cursor)
        );
    };
    works("before");
    for host in ["cm", "ap1", "ap2"] {
        pool.host(host)
            .sh(&format!("echo another-key-of-the-pool >{key}"));
    }
    works("after");
    for host in ["cm", "ap1", "ap2"] {
        pool.host(host)
            .sh(&format!("echo {old} | base64 -d >{key}"));
    }
    works("and back");
}

fn named_key(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let command = format!(
        "wc -l <$(ls ~/.condor/tokens.d/0-session-*); \
         condor_ping -type schedd -name ap2.{DOMAIN} WRITE"
    );
    ap1.configure("kid = [\"not-here-yet\", \"site\", \"POOL\"]\n");
    let cursor = ap1.log_cursor();
    let said = pool.ssh("alice", "ap1").run(&command).must().all();
    assert!(
        said.starts_with("2\n") && said.contains("succeeded"),
        "{said}"
    );
    ap1.wait_for_log(&cursor, "kid=site,POOL");
    ap1.wait_for_log(&cursor, "not-here-yet is not there");
    ap1.configure("kid = \"site\"\n");
    let said = pool.ssh("alice", "ap1").run(&command).must().all();
    assert!(
        said.starts_with("1\n") && said.contains("succeeded"),
        "{said}"
    );
}

fn scope_read(pool: &Pool) {
    pool.host("ap1").configure("scope = [\"READ\"]\n");
    let ping = |level: &str| {
        let command = format!("condor_ping -type schedd -name ap2.{DOMAIN} {level}");
        pool.ssh("alice", "ap1").run(&command).all()
    };
    assert!(ping("READ").contains("succeeded"), "{}", ping("READ"));
    assert!(!ping("WRITE").contains("succeeded"), "{}", ping("WRITE"));
}
