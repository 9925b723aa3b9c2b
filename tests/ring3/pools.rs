//! Two pools in reach of each other, and one session that commands both.

use pam_idtoken_tests::pool::{DOMAIN, Plan, Pool, Suite};

use crate::Test;
use crate::condor::JOB;
use crate::support::{TOKENS_ONLY, claims};

pub(crate) const TESTS: &[Test] = &[(
    "a session commands a second pool by a second table, and not without",
    second_pool,
)];

/// The domain of the other pool.
const OTHER: &str = "other.test";
/// Where its key is on an access point of the first.
const KEY: &str = "/etc/condor/other.d/POOL";

fn second_pool(first: &Pool) {
    let second = Plan::of(OTHER)
        .suite(Suite::Sid)
        .hosts(Plan::TWO)
        .beside(first)
        .boot();
    let cm = second.host("cm").full_name();
    let ap = second.host("ap1").full_name();
    let alice = first.ssh("alice", "ap1");
    alice
        .run(&format!("timeout 5 bash -c '</dev/tcp/{cm}/9618'"))
        .must();
    let status = format!("condor_status -pool {cm} -schedd -af Name");
    let refused = alice.run(&status);
    assert!(
        !refused.ok && refused.all().contains("communication error"),
        "{}",
        refused.all()
    );
    // And it is the token that is missing: with the table one session has both.
    know_both(first, &second);
    let said = |claims: &serde_json::Value| {
        ["iss", "sub"].map(|name| claims[name].as_str().unwrap().to_owned())
    };
    first.wait_for_tokens("alice", 0);
    let mut tokens: Vec<_> = claims(&alice).iter().map(said).collect();
    tokens.sort();
    let both = [DOMAIN, OTHER].map(|domain| [domain.to_owned(), format!("alice@{domain}")]);
    assert_eq!(tokens, both);
    let cursor = first.host("ap1").log_cursor();
    let said = alice.run(&format!(
        "set -e; {TOKENS_ONLY}
         condor_q -global; echo -- first
         condor_ping -type schedd -name ap2.{DOMAIN} WRITE; echo -- second
         {status}
         condor_ping -type schedd -pool {cm} -name {ap} WRITE
         printf '{JOB}' >job.sub; condor_submit -terse -pool {cm} -remote {ap} job.sub
         for i in $(seq 100); do
             condor_q -pool {cm} -global -nobatch | grep Schedd && break; sleep 0.2; done
         condor_q -pool {cm} -name {ap} -af Owner User AuthTokenId"
    ));
    let said = said.must().stdout;
    let (here, there) = said.split_once("-- second\n").unwrap();
    assert!(here.contains("-- first\n"), "{said}");
    assert!(here.contains(&format!("as alice@{DOMAIN} ")), "{said}");
    assert!(there.starts_with(&format!("{ap}\n")), "{said}");
    assert!(there.contains(&format!("as alice@{OTHER} ")), "{said}");
    assert!(there.contains(&format!("-- Schedd: {ap}")), "{said}");
    let last: Vec<&str> = there.lines().last().unwrap().split(' ').collect();
    assert_eq!(last[..2], ["alice", &format!("alice@{OTHER}")], "{said}");
    let opened = first.host("ap1").wait_for_log(&cursor, "token opened");
    assert!(
        opened.contains(&format!(",{} ", last[2])),
        "{} in {opened}",
        last[2]
    );
    first.wait_for_tokens("alice", 0);
}

/// The key of the other pool is on this access point, and a table names it.
fn know_both(first: &Pool, second: &Pool) {
    let key = second
        .host("cm")
        .sh("base64 -w0 /etc/condor/passwords.d/POOL");
    let ap1 = first.host("ap1");
    ap1.sh(&format!(
        "mkdir -p -m 700 $(dirname {KEY}); umask 077; echo {key} | base64 -d >{KEY}"
    ));
    ap1.configure_exactly(&format!(
        "[[token]]\n\n[[token]]\nname = \"other\"\ntrust_domain = \"{OTHER}\"\n\
         uid_domain = \"{OTHER}\"\npool_signing_key_file = \"{KEY}\"\n"
    ));
}
