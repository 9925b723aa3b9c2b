//! What a token may do is what HTCondor lets its holder do.

use pam_idtoken_tests::command::Answer;
use pam_idtoken_tests::pool::{DOMAIN, Pool};

use crate::Test;
use crate::condor::{JOB, remove};
use crate::support::only_claims;

pub(crate) const TESTS: &[Test] = &[
    (
        "with scope READ condor_q -global works and condor_submit is refused",
        read,
    ),
    (
        "students may look and not submit, by a table of their group",
        by_group,
    ),
];

/// Looks at all queues and submits to the other access point: FS authentication would win here.
fn look_and_submit(pool: &Pool, user: &str) -> (Answer, Answer) {
    let user = pool.ssh(user, "ap1");
    let submit =
        format!("printf '{JOB}' >job.sub; condor_submit -terse -spool -name ap2.{DOMAIN} job.sub");
    (user.run("condor_q -global"), user.run(&submit))
}

/// The schedd of ap2 says so, and not the client.
#[track_caller]
fn may_only_look(pool: &Pool, user: &str) {
    let claims = only_claims(pool, user);
    assert_eq!(claims["scope"], "condor:/READ", "{claims}");
    let (look, submit) = look_and_submit(pool, user);
    assert!(look.ok && look.stderr.is_empty(), "{}", look.all());
    let denied =
        format!("Received \"DENIED\" from server for user {user}@{DOMAIN} using method IDTOKENS");
    assert!(
        !submit.ok && submit.all().contains(&denied),
        "{}",
        submit.all()
    );
    pool.wait_for_tokens(user, 0);
}

#[track_caller]
fn may_submit(pool: &Pool, user: &str) {
    let claims = only_claims(pool, user);
    assert!(claims.get("scope").is_none(), "{claims}");
    let (look, submit) = look_and_submit(pool, user);
    assert!(look.ok && look.stderr.is_empty(), "{}", look.all());
    let id = submit.must().stdout;
    remove(pool, "ap2", id.split_whitespace().next().unwrap());
    pool.wait_for_tokens(user, 0);
}

fn read(pool: &Pool) {
    let ap1 = pool.host("ap1");
    may_submit(pool, "alice");
    ap1.configure("scope = [\"READ\"]\n");
    may_only_look(pool, "alice");
}

fn by_group(pool: &Pool) {
    pool.host("ap1")
        .configure("[[token]]\ngroups = [\"students\"]\nscope = [\"READ\"]\n\n[[token]]\n");
    may_only_look(pool, "student");
    may_submit(pool, "alice");
}
