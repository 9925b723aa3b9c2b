//! What several themes need: the claims of a session, what is left of it, programs that are not as they should be.

use std::time::Duration;

use pam_idtoken_tests::clock::wait_until_none;
use pam_idtoken_tests::pool::{Host, Pool, Ssh};

/// Else a client on the daemon's own host needs no token.
pub(crate) const TOKENS_ONLY: &str = "export _CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=IDTOKENS";
/// Where private stores are.
pub(crate) const PRIVATE: &str = "/run/pam_idtoken/tokens";

/// The claims of the tokens that HTCondor finds in a session of this user. condor_token_list says
/// them in any order.
#[track_caller]
pub(crate) fn claims(user: &Ssh) -> Vec<serde_json::Value> {
    let list = user.run("condor_token_list").must().stdout;
    let payload = |line: &str| {
        let (_, rest) = line.split_once(" Payload: ").unwrap();
        let (payload, _) = rest.split_once(" File: ").unwrap();
        serde_json::from_str(payload).unwrap()
    };
    list.lines().map(payload).collect()
}

/// The claims of a session of this user on `ap1`, which has one token, and no other session. A login
/// that a busy machine held up for longer than a program may take is made once more.
#[track_caller]
pub(crate) fn only_claims(pool: &Pool, user: &str) -> serde_json::Value {
    pool.wait_for_tokens(user, 0);
    let (ap1, session) = (pool.host("ap1"), pool.ssh(user, "ap1"));
    let cursor = ap1.log_cursor();
    let mut found = claims(&session);
    if found.is_empty() {
        let lines = ap1.log_since(&cursor);
        let is_late = |line: &String| line.contains("did not end within");
        if lines.iter().any(is_late) {
            eprintln!("a login of {user} was held up: {lines:#?}");
            found = claims(&session);
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Asks a schedd and the collector of the pool, by token alone and to write, since a client of
/// 25.14 reads unauthenticated where it may.
pub(crate) fn pings(pool: &Pool) -> String {
    let schedd = pool.hosts().iter().rfind(|host| host.submits()).unwrap();
    let collector = pool.hosts()[0].full_name();
    format!(
        "( {TOKENS_ONLY}; condor_ping -type schedd -name {} WRITE &&
         condor_ping -type collector -name {collector} WRITE )",
        schedd.full_name()
    )
}

/// What [`pings`] says if both are answered as this user.
#[track_caller]
pub(crate) fn both_accept(said: &str, user: &str) {
    let accepted = said.lines().filter(|line| {
        line.contains("succeeded")
            && line.contains("IDTOKENS")
            && line.contains(&format!("as {user} "))
    });
    assert_eq!(accepted.count(), 2, "not as {user}: {said}");
}

/// What records of sessions are left on a host.
pub(crate) const RECORDS: &str =
    "test ! -d /var/lib/pam_idtoken || find /var/lib/pam_idtoken -path '*/sessions/*' -type f";

/// Waits until a script finds nothing on a host. A client of ssh may return before sshd has closed the
/// session, a record goes after its token, and find fails where what it has seen goes.
#[track_caller]
pub(crate) fn wait_until_it_finds_nothing(host: &Host, script: &str) {
    wait_until_none(Duration::from_secs(10), || {
        let found = host.run(&["sh", "-ec", script]);
        (!found.ok || !found.stdout.is_empty()).then_some(found)
    });
}

/// A program of a host that is another one, or none, until the value is dropped.
pub(crate) struct Replaced<'a> {
    host: &'a Host,
    path: &'static str,
}

impl<'a> Replaced<'a> {
    /// The original is beside it, as `<path>.kept`.
    #[track_caller]
    pub(crate) fn by(host: &'a Host, path: &'static str, script: Option<&str>) -> Self {
        host.sh(&format!("mv {path} {path}.kept"));
        let replaced = Self { host, path };
        if let Some(script) = script {
            host.write(path, format!("#!/bin/bash\n{script}\n"), 0o755);
        }
        replaced
    }
}

impl Drop for Replaced<'_> {
    fn drop(&mut self) {
        let path = self.path;
        let _ = self.host.run(&["mv", "-f", &format!("{path}.kept"), path]);
    }
}

/// Processes of a host that are stopped until the value is dropped.
pub(crate) struct Stopped<'a>(&'a Host, &'static str);

impl<'a> Stopped<'a> {
    #[track_caller]
    pub(crate) fn of(host: &'a Host, title: &'static str) -> Self {
        host.stop(title);
        Self(host, title)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.go_on(self.1);
    }
}
