//! Other releases of HTCondor, and other domains.

use pam_idtoken_tests::pool::{Build, Plan, Pool, Suite};

use crate::OwnTest;
use crate::check::{levels, report};
use crate::discovery::{follows, is_discovered};
use crate::support::pings;

pub(crate) const TESTS: &[OwnTest] = &[
    (
        "HTCondor of Debian's sid accepts the token of a login without a configuration",
        unstable_accepts,
    ),
    (
        "the domains may be anything, or not be said at all",
        domains,
    ),
];

/// The domain of the other pool.
const OTHER: &str = "other.test";
/// A login on `ap1` of a pool of one host has no token, and with the module one that both daemons
/// accept as this user, without a word of configuration.
#[track_caller]
fn accepts(pool: &Pool, user: &str, issuer: &str) {
    let before = pool.ssh("alice", "ap1").run(&pings(pool));
    assert!(!before.ok, "without the module: {}", before.all());
    pool.install(&Build::find());
    is_discovered(pool, user, issuer);
}

fn unstable_accepts() {
    let pool = Plan::of(OTHER).suite(Suite::Sid).hosts(Plan::ONE).boot();
    let version = pool.host("ap1").sh("condor_version");
    assert!(version.contains("CondorVersion: 25."), "{version}");
    let user = format!("alice@{OTHER}");
    accepts(&pool, &user, OTHER);
    follows(&pool, &user);
    let args = [
        "idtokenctl",
        "check",
        "--user",
        "alice",
        "--online",
        "--json",
    ];
    let report = report(&pool.host("ap1").run(&args));
    for id in ["online-schedd", "online-collector"] {
        assert_eq!(levels(&report, id)[0].0, "ok", "{report}");
    }
}

fn domains() {
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
        accepts(&pool, &format!("alice@{uid}"), trust);
    }
}
