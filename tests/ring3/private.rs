//! The private store: everything works with it, and nobody else sees it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pam_idtoken_tests::pool::{DOMAIN, Host, Pool};

use crate::Test;
use crate::condor::{global, status, token_list};
use crate::support::{PRIVATE, RECORDS, both_accept, pings, wait_until_it_finds_nothing};

pub(crate) const TESTS: &[Test] = &[
    (
        "with store = private the commands of the user guide work",
        user_guide,
    ),
    (
        "with store = private shells and commands have their token, and nothing is in the home",
        shells_and_commands,
    ),
    (
        "with store = private scp and sftp work, have the variable and leave nothing",
        copies,
    ),
    ("nobody else can see a private store", secret),
    ("a private store has the user's own tokens", own_tokens),
    (
        "a killed session's private store is gone after a reconcile",
        killed,
    ),
];

const VARIABLE: &str = "_CONDOR_SEC_TOKEN_DIRECTORY";

fn prepare(pool: &Pool) -> &Host {
    let ap1 = pool.host("ap1");
    ap1.configure("store = \"private\"\n");
    ap1
}

fn find_stores() -> String {
    format!("test ! -d {PRIVATE} || find {PRIVATE} -mindepth 1")
}

/// All that is in private stores.
fn stores(host: &Host) -> String {
    host.sh(&find_stores())
}

#[track_caller]
fn wait_until_nothing_is_left(host: &Host) {
    wait_until_it_finds_nothing(host, &find_stores());
    wait_until_it_finds_nothing(host, RECORDS);
}

fn user_guide(pool: &Pool) {
    let ap1 = prepare(pool);
    global(pool);
    status(pool);
    token_list(pool, PRIVATE);
    wait_until_nothing_is_left(ap1);
}

fn shells_and_commands(pool: &Pool) {
    let ap1 = prepare(pool);
    let alice = pool.ssh("alice", "ap1");
    ap1.sh("rm -rf /home/alice/.condor");
    let user = format!("alice@{DOMAIN}");
    // HTCondor's clients make ~/.condor, for their known_hosts.
    let lines = format!(
        "find ~ -name .condor; {}; condor_q -global && echo COMM''ANDED && stat -c '%a %U %F' ${VARIABLE} ${VARIABLE}/*
         find ~ -name tokens.d; rm -rf ~/.condor",
        pings(pool)
    );
    let is_so = |said: &str| {
        both_accept(said, &user);
        for part in ["COMMANDED", "700 alice directory", "600 alice regular file"] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("/home/alice/.condor"), "{said}");
        wait_until_nothing_is_left(ap1);
    };
    is_so(&alice.run(&lines).must().stdout);
    let told = alice.log_in(&lines);
    assert!(told.ok && told.warnings() == 0, "{}", told.screen);
    is_so(&told.screen);
}

fn copies(pool: &Pool) {
    let ap1 = prepare(pool);
    let carol = pool.ssh("carol", "ap1");
    ap1.sh("rm -rf /home/carol/.condor /home/carol/copy");
    let there = format!("{}:copy", carol.target());
    for old in [&["-O"][..], &[]] {
        let args = [old, &["/etc/hostname", &there]].concat();
        carol.with("scp", &args).must();
        assert!(pool.home("carol").join("copy").exists());
        std::fs::remove_file(pool.home("carol").join("copy")).unwrap();
    }
    wait_until_nothing_is_left(ap1);
    let mut sftp = carol
        .command(60)
        .args(["-s", "sftp"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let variable =
        format!("tr '\\0' '\\n' </proc/$(pgrep -u carol sftp-server)/environ | grep ^{VARIABLE}=");
    let has_it = loop {
        let said = ap1.run(&["sh", "-c", &variable]);
        if said.ok || Instant::now() > end {
            break said;
        }
    };
    let during = stores(ap1);
    drop(sftp.stdin.take());
    sftp.wait().unwrap();
    let value = has_it
        .stdout
        .trim()
        .trim_start_matches(&format!("{VARIABLE}="));
    assert!(
        value.starts_with(PRIVATE) && during.contains(value),
        "{has_it:?} {during}"
    );
    wait_until_nothing_is_left(ap1);
    ap1.sh("test ! -e /home/carol/.condor");
}

/// The private store of the only session there is.
fn only_store(host: &Host) -> String {
    let list = host.run(&["idtokenctl", "list", "--json"]).must().stdout;
    let row: serde_json::Value = serde_json::from_str(list.trim()).unwrap();
    let file = row["token"][0].as_str().unwrap();
    assert!(file.starts_with(PRIVATE), "{row}");
    file.rsplit_once('/').unwrap().0.to_owned()
}

fn secret(pool: &Pool) {
    let ap1 = prepare(pool);
    let session = pool.ssh("alice", "ap1").stay();
    let store = only_store(ap1);
    let token = stores(ap1).lines().last().unwrap().to_owned();
    let said = pool.ssh("bob", "ap1").run(&format!(
        "ls {PRIVATE} && echo SEEN; ls {store} && echo SEEN; cat {token} && echo SEEN
         touch {store}/x && echo SEEN; touch {PRIVATE}/x && echo SEEN
         mv {store} {PRIVATE}/y && echo SEEN; {VARIABLE}={store} condor_token_list
         ls -A ${VARIABLE}"
    ));
    let is_there = ap1.run(&["test", "-s", &token]).ok;
    session.end();
    assert!(is_there && !said.stdout.contains("SEEN"), "{}", said.all());
    assert_eq!(
        said.stderr.matches("Permission denied").count(),
        6,
        "{}",
        said.all()
    );
    assert!(
        !said.all().contains(&format!("alice@{DOMAIN}")),
        "{}",
        said.all()
    );
    // Bob's own is the only one that bob sees.
    assert_eq!(said.stdout.lines().count(), 1, "{}", said.all());
    wait_until_nothing_is_left(ap1);
}

/// condor_token_list shows no links (condor_tools/token_list.cpp); whoever authenticates reads them.
fn own_tokens(pool: &Pool) {
    let ap1 = prepare(pool);
    let own = "/home/alice/.condor/tokens.d/own";
    ap1.sh(&format!(
        "runuser -u alice -- mkdir -p -m 700 $(dirname {own})
         condor_token_create -identity own@{DOMAIN} -lifetime 600 >/run/own
         chown alice: /run/own; chmod 600 /run/own; mv /run/own {own}"
    ));
    let alice = pool.ssh("alice", "ap1");
    let ask = format!("readlink ${VARIABLE}/own; {}", pings(pool));
    // The session's is the first, and their own is for where the session has none.
    let both = alice.run(&ask);
    ap1.configure_exactly("store = \"private\"\ntrust_domain = \"elsewhere.test\"\n");
    let own_alone = alice.run(&ask);
    ap1.sh(&format!("test -s {own}; rm {own}"));
    for (said, user) in [(both, "alice"), (own_alone, "own")] {
        let said = said.must().stdout;
        assert!(said.starts_with(&format!("{own}\n")), "{said}");
        both_accept(&said, &format!("{user}@{DOMAIN}"));
    }
    wait_until_nothing_is_left(ap1);
}

fn killed(pool: &Pool) {
    let ap1 = prepare(pool);
    let session = pool.ssh("bob", "ap1").stay();
    let store = only_store(ap1);
    let list = ap1.run(&["idtokenctl", "list", "--json"]).must().stdout;
    let row: serde_json::Value = serde_json::from_str(list.trim()).unwrap();
    ap1.sh(&format!("kill -9 {}", row["pid"]));
    session.end();
    assert!(
        stores(ap1).starts_with(&store),
        "nobody was there to remove it"
    );
    let said = ap1.run(&["idtokenctl", "reconcile"]).must().stdout;
    assert_eq!(stores(ap1), "", "{said}");
    assert_eq!(ap1.sh(RECORDS), "");
}
