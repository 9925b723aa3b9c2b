//! Another release of HTCondor, and a second pool in reach of the first.

use pam_idtoken_tests::pool::{Build, Plan, Pool, Suite};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    (
        "HTCondor of Debian's sid accepts the token of a login",
        unstable_accepts,
    ),
    (
        "the domains may be anything, or not be said at all",
        domains,
    ),
    (
        "a second pool can be reached, and refuses who has no token of it",
        second_pool,
    ),
];

/// The domain of the other pool.
const OTHER: &str = "other.test";
/// Else a client on the daemon's own host needs no token.
const TOKENS_ONLY: &str = "export _CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=IDTOKENS";

/// A login on `ap1` of a pool of one host has no token, and with the module one that both daemons
/// accept as this user, to write: a client of 25.14 reads unauthenticated where it may.
#[track_caller]
fn accepts(pool: &Pool, user: &str) {
    let pings = format!(
        "{TOKENS_ONLY}; for kind in schedd collector; do
            condor_ping -type $kind -name ap1.{OTHER} WRITE || exit; done"
    );
    let before = pool.ssh("alice", "ap1").run(&pings);
    assert!(!before.ok, "without the module: {}", before.all());
    pool.install(&Build::find());
    let said = pool.ssh("alice", "ap1").run(&pings).must().stdout;
    let accepted = said.lines().filter(|line| {
        line.contains("succeeded")
            && line.contains("IDTOKENS")
            && line.contains(&format!("as {user} "))
    });
    assert_eq!(accepted.count(), 2, "{said}");
    pool.wait_for_tokens("alice", 0);
}

fn unstable_accepts(_: &Pool) {
    let pool = Plan::of(OTHER).suite(Suite::Sid).hosts(Plan::ONE).boot();
    let version = pool.host("ap1").sh("condor_version");
    assert!(version.contains("CondorVersion: 25."), "{version}");
    accepts(&pool, &format!("alice@{OTHER}"));
}

fn domains(_: &Pool) {
    let plan = Plan::of(OTHER).hosts(Plan::ONE);
    let (host, issuer) = (format!("ap1.{OTHER}"), "issuer.test");
    let unsaid = plan.clone().uid_domain(None).trust_domain(None);
    for (plan, uid, trust) in [
        (unsaid.clone(), &host[..], &host[..]),
        (unsaid.suite(Suite::Sid), &host, &host),
        (plan.clone().trust_domain(Some(issuer)), OTHER, issuer),
    ] {
        let pool = plan.boot();
        let said = pool
            .host("ap1")
            .sh("condor_config_val UID_DOMAIN TRUST_DOMAIN");
        assert_eq!(said, format!("{uid}\n{trust}\n"));
        accepts(&pool, &format!("alice@{uid}"));
    }
}

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
    // And it is the token that is missing.
    let token = second.host("cm").sh(&format!(
        "condor_token_create -identity alice@{OTHER} -lifetime 600"
    ));
    let own = "~/.condor/tokens.d/other";
    let said = alice.run(&format!(
        "umask 077; trap 'rm {own}' EXIT; echo '{}' >{own}; {status} &&
         condor_ping -type schedd -pool {cm} -name {ap} WRITE &&
         condor_q -pool {cm} -name {ap} -allusers",
        token.trim()
    ));
    let said = said.must().stdout;
    assert!(said.starts_with(&format!("{ap}\n")), "{said}");
    assert!(said.contains(&format!("alice@{OTHER}")), "{said}");
}
