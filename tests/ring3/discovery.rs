//! What nobody wrote down is as HTCondor says, and HTCondor may be out of order.

use std::time::Duration;

use pam_idtoken_tests::clock::{once_within, timed};
use pam_idtoken_tests::pool::{DOMAIN, Host, Pool};

use crate::Test;
use crate::support::{Replaced, both_accept, only_claims, pings};

pub(crate) const TESTS: &[Test] = &[
    (
        "without a configuration the token is as HTCondor's says, and follows it",
        unconfigured,
    ),
    (
        "a condor_config_val that hangs costs one login a part of the timeout",
        hangs,
    ),
    (
        "a condor_config_val that fails, or is not there, delays nobody",
        fails,
    ),
];

pub(crate) const TOOL: &str = "/usr/bin/condor_config_val";
const CACHE: &str = "/run/pam_idtoken/htcondor*.kept";
/// The module's `timeout`.
const TIMEOUT: Duration = Duration::from_secs(3);
/// By how much a login may take longer than the one before it on a busy machine.
const NOTHING: Duration = Duration::from_millis(900);

fn unconfigured(pool: &Pool) {
    is_discovered(pool, &format!("alice@{DOMAIN}"), DOMAIN);
    follows(pool, &format!("alice@{DOMAIN}"));
}

/// A login on `ap1` has the token of this subject and issuer, and HTCondor takes it, with nothing
/// in the configuration and without one.
#[track_caller]
pub(crate) fn is_discovered(pool: &Pool, subject: &str, issuer: &str) {
    let (ap1, alice) = (pool.host("ap1"), pool.ssh("alice", "ap1"));
    for has_file in [true, false] {
        if has_file {
            ap1.configure_exactly("");
        } else {
            ap1.unconfigure();
        }
        let claims = only_claims(pool, "alice");
        assert_eq!(
            (&claims["sub"], &claims["iss"]),
            (&subject.into(), &issuer.into())
        );
        both_accept(&alice.run(&pings(pool)).must().stdout, subject);
        pool.wait_for_tokens("alice", 0);
    }
}

/// HTCondor's configuration gets another UID_DOMAIN, and loses it: the next login has it.
#[track_caller]
pub(crate) fn follows(pool: &Pool, before: &str) {
    let (ap1, alice) = (pool.host("ap1"), pool.ssh("alice", "ap1"));
    let file = "/etc/condor/config.d/99-changed";
    ap1.write(file, "UID_DOMAIN = changed.test\n", 0o644);
    let changed = (only_claims(pool, "alice"), alice.run(&pings(pool)));
    ap1.sh(&format!("rm {file}"));
    assert_eq!(changed.0["sub"], "alice@changed.test");
    both_accept(&changed.1.must().stdout, "alice@changed.test");
    assert_eq!(only_claims(pool, "alice")["sub"], before);
    pool.wait_for_tokens("alice", 0);
}

/// What two logins in a row have, how long they take and what the log says of each.
struct Logins {
    have_tokens: [bool; 2],
    took: [Duration; 2],
    lines: [Vec<String>; 2],
}

#[track_caller]
fn logins(pool: &Pool, ap1: &Host) -> Logins {
    let login = || {
        let cursor = ap1.log_cursor();
        let alice = pool.ssh("alice", "ap1");
        let (told, took) = timed(|| alice.log_in("ls ~/.condor/tokens.d; echo WELL''COME"));
        assert!(
            told.ok && told.screen.contains("WELLCOME"),
            "{}",
            told.screen
        );
        let has_token = told.screen.contains("0-session-");
        assert_eq!(told.warnings(), usize::from(!has_token), "{}", told.screen);
        (has_token, took, ap1.log_since(&cursor))
    };
    let (first, second) = (login(), login());
    Logins {
        have_tokens: [first.0, second.0],
        took: [first.1, second.1],
        lines: [first.2, second.2],
    }
}

/// Logins while the tool is so: with what HTCondor said before, and without. The first takes as much
/// longer as is said, the second no longer than usual.
#[track_caller]
fn with_tool(pool: &Pool, script: Option<&str>, why: &str, longest: Duration) {
    pool.host("ap1").unconfigure();
    for is_known in [true, false] {
        once_within(NOTHING, || {
            let (usual, [first, second]) = logins_with_tool(pool, script, why, is_known);
            println!("{why}: {usual:?}, then {first:?} and {second:?}");
            let delayed = first.saturating_sub(longest).max(second);
            delayed.saturating_sub(usual)
        });
    }
}

/// How long a login takes that knows nothing of the tool's replacement, and two that find it; whether
/// these have a token and what is said of them is looked at.
#[track_caller]
fn logins_with_tool(
    pool: &Pool,
    script: Option<&str>,
    why: &str,
    is_known: bool,
) -> (Duration, [Duration; 2]) {
    let ap1 = pool.host("ap1");
    let usual = *logins(pool, ap1).took.iter().max().unwrap();
    let replaced = Replaced::by(ap1, TOOL, script);
    if !is_known {
        ap1.sh(&format!("rm {CACHE}"));
    }
    let logins = logins(pool, ap1);
    drop(replaced);
    assert_eq!(logins.have_tokens, [is_known; 2], "{:?}", logins.lines);
    let expected = if is_known {
        "HTCondor was asked in vain user=alice: what HTCondor said before is used"
    } else {
        "no token for user=alice: trust_domain is not set, and HTCondor was asked in vain"
    };
    for lines in &logins.lines {
        let said = lines
            .iter()
            .filter(|l| l.contains(expected) && l.contains(why));
        assert_eq!(said.count(), 1, "{lines:#?}");
    }
    (usual, logins.took)
}

fn hangs(pool: &Pool) {
    let why = format!("{TOOL} did not end within ");
    with_tool(pool, Some("exec sleep 1000"), &why, TIMEOUT);
}

fn fails(pool: &Pool) {
    let why = format!("{TOOL} ended with exit status: 1 and said: broken");
    with_tool(pool, Some("echo broken >&2; exit 1"), &why, Duration::ZERO);
    let why = format!("{TOOL} is not there");
    with_tool(pool, None, &why, Duration::ZERO);
}
