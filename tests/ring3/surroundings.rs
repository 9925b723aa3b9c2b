//! What goes wrong around a host: file servers and daemons that are not as they should be.

use pam_idtoken_tests::host::Mode;
use pam_idtoken_tests::pool::{DOMAIN, Pool};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    (
        "a home that root may not enter has its token while the session lives",
        squashed_home,
    ),
    (
        "a schedd that is stopped answers nobody until it goes on",
        stopped_schedd,
    ),
];

const PING: &str = "condor_ping -type schedd -name ap2";

fn squashed_home(pool: &Pool) {
    let home = pool.serve_home("nfs", "ap1");
    let ap1 = pool.host("ap1");
    let root = ap1.run(&["ls", "/home/nfs"]);
    assert!(root.stderr.contains("Permission denied"), "{}", root.all());
    let nfs = pool.ssh("nfs", "ap1");
    let said = nfs.run(&format!(
        "set -e; df . | grep -c squash-home; ls ~/.condor/tokens.d; {PING}.{DOMAIN} WRITE"
    ));
    let said = said.must().stdout;
    assert!(said.contains("0-session-"), "{said}");
    assert!(said.contains(&format!("nfs@{DOMAIN}")), "{said}");
    pool.wait_for_tokens("nfs", 0);
    home.set(Mode::ReadOnly);
    let told = nfs.log_in("ls ~/.condor/tokens.d");
    assert!(
        told.ok && !told.screen.contains("0-session-"),
        "{}",
        told.screen
    );
    drop(home);
    ap1.sh("ls /home/nfs/.condor/tokens.d");
}

fn stopped_schedd(pool: &Pool) {
    let alice = pool.ssh("alice", "ap1");
    let ping = format!("timeout 2 {PING}.{DOMAIN} WRITE; echo code $?");
    pool.host("ap2").stop("condor_schedd");
    let stopped = alice.run(&ping).must().stdout;
    pool.host("ap2").go_on("condor_schedd");
    assert!(stopped.ends_with("code 124\n"), "{stopped}");
    let went_on = alice.run(&ping).must().stdout;
    assert!(went_on.ends_with("code 0\n"), "{went_on}");
    pool.wait_for_tokens("alice", 0);
}
