//! idtokenctl on a real host.

use std::time::Duration;

use pam_idtoken_tests::clock::timed;
use pam_idtoken_tests::host::Mode;
use pam_idtoken_tests::pool::{DOMAIN, Pool, Stay};

use crate::Test;
use crate::support::{RECORDS, wait_until_it_finds_nothing};

pub(crate) const TESTS: &[Test] = &[
    (
        "idtokenctl check says that a ready host is ready and leaves nothing",
        check_ready,
    ),
    (
        "idtokenctl check names what is wrong with the stack",
        check_stack,
    ),
    ("idtokenctl check says why a user gets no token", check_user),
    (
        "idtokenctl list shows who has which token from where until when",
        list,
    ),
    (
        "idtokenctl verify tells HTCondor's tokens apart and never shows a signature",
        verify,
    ),
    (
        "a stolen token is ended and revoked though the configuration is broken",
        broken_configuration,
    ),
    (
        "idtokenctl end --all ends the tokens of all sessions but one whose home hangs, in time",
        end_all,
    ),
    (
        "idtokenctl show-config names the origin of each value",
        show_config,
    ),
];

fn check_ready(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.sh("rm -rf /home/carol/.condor");
    let answer = ap1.run(&["idtokenctl", "check", "--user", "carol"]).must();
    assert!(
        answer.stdout.ends_with("This host is ready.\n"),
        "{}",
        answer.all()
    );
    for part in [
        "sshd uses PAM",
        "carol is served",
        "a token can be signed and verifies: kid POOL",
    ] {
        assert!(answer.stdout.contains(part), "{}", answer.stdout);
    }
    ap1.sh("test ! -e /home/carol/.condor");
}

fn check_stack(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.sh("cp /etc/pam.d/sshd /root/kept");
    let bad = |script: &str, part: &str| {
        ap1.sh(script);
        let answer = ap1.run(&["idtokenctl", "check"]);
        ap1.sh("cp /root/kept /etc/pam.d/sshd");
        assert!(
            !answer.ok && answer.stdout.contains(part),
            "{}",
            answer.all()
        );
        assert!(
            answer.stdout.contains("-> "),
            "no remedy in {}",
            answer.stdout
        );
    };
    bad(
        "sed -i /pam_idtoken/d /etc/pam.d/sshd",
        "no session line for pam_idtoken.so",
    );
    bad(
        "echo 'session required pam_mkhomedir.so' >>/etc/pam.d/sshd",
        "pam_mkhomedir.so comes after",
    );
    ap1.sh("rm /root/kept");
}

fn check_user(pool: &Pool) {
    let ap1 = pool.host("ap1");
    for (user, part) in [
        ("root", "root, condor and condor_pool never get a token"),
        ("svc", "uid 900 is below min_uid"),
        ("nobody-here", "no user \"nobody-here\""),
    ] {
        let answer = ap1.run(&["idtokenctl", "check", "--user", user]);
        assert!(
            !answer.ok && answer.stdout.contains(part),
            "{}",
            answer.all()
        );
    }
}

fn broken_configuration(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let session = pool.ssh("alice", "ap1").stay();
    ap1.configure("lifetme = 3\n");
    let listed = ap1.run(&["idtokenctl", "list"]);
    let revoked = ap1.run(&["idtokenctl", "revoke-expr", "--user", "alice"]);
    let ended = ap1.run(&["idtokenctl", "end", "--user", "alice"]);
    let left = pool.tokens("alice");
    ap1.configure("");
    session.end();
    for answer in [&listed, &revoked, &ended] {
        assert!(answer.ok, "{}", answer.all());
        let why = "key lifetme: unknown field";
        assert!(answer.stderr.contains(why), "{}", answer.all());
    }
    assert!(listed.stdout.contains("alice"), "{}", listed.all());
    assert!(revoked.stdout.contains("member(jti"), "{}", revoked.all());
    assert_eq!(left, Vec::<String>::new(), "{}", ended.all());
}

fn end_all(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let home = pool.serve_home("nfs", "ap1");
    let users = ["alice", "alice", "bob", "nfs"];
    let sessions = users.map(|user| pool.ssh(user, "ap1").stay());
    // Its server has taken a request: not even kill -9 ends who asks.
    home.set(Mode::Stalled);
    let (ended, took) = timed(|| ap1.run(&["idtokenctl", "end", "--all"]));
    let left = users.map(|user| pool.tokens(user).len());
    let listed = ap1.sh("idtokenctl list --json");
    home.set(Mode::Normal);
    assert_eq!(left, [0, 0, 0, 1], "{}", ended.all());
    assert_eq!(ended.code, Some(1), "{}", ended.all());
    assert_eq!(ended.stdout.matches("its token is gone").count(), 3);
    let named = ended.stderr.contains("/home/nfs");
    assert!(
        named && ended.stderr.lines().count() == 1,
        "{}",
        ended.all()
    );
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(listed.lines().count() == 1, "{listed}");
    // It is not forgotten, and the others close as if nothing had been.
    let again = ap1.run(&["idtokenctl", "end", "--all"]).must();
    assert_eq!(again.stdout.matches("its token is gone").count(), 1);
    let cursor = ap1.log_cursor();
    sessions.into_iter().for_each(Stay::end);
    ap1.run(&["idtokenctl", "end", "--all"]).must();
    assert_eq!(ap1.log_since(&cursor), Vec::<String>::new());
    pool.wait_for_tokens("nfs", 0);
}

fn list(pool: &Pool) {
    let ap1 = pool.host("ap1");
    wait_until_it_finds_nothing(ap1, RECORDS);
    let session = pool.ssh("alice", "ap1").stay();
    let table = ap1.run(&["idtokenctl", "list"]).must().stdout;
    let json = ap1.run(&["idtokenctl", "list", "--json"]).must().stdout;
    let other = pool
        .host("ap2")
        .run(&["idtokenctl", "list", "--json"])
        .must()
        .stdout;
    session.end();
    assert!(table.starts_with("SESSION"), "{table}");
    let row: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    for (key, value) in [("user", "alice"), ("service", "sshd")] {
        assert_eq!(row[key], value, "{row}");
        assert!(table.lines().nth(1).unwrap().contains(value), "{table}");
    }
    assert_eq!(row["uid"], 1000);
    assert!(row["from"].as_str().unwrap().ends_with(".254"), "{row}");
    assert!(row["expires"].as_u64().unwrap() > row["since"].as_u64().unwrap());
    let files = row["token"].as_array().unwrap();
    let dir = "/home/alice/.condor/tokens.d/";
    assert!(
        files.len() == 1 && files[0].as_str().unwrap().starts_with(dir),
        "{row}"
    );
    assert_eq!(other, "", "the sessions of another host");
    pool.wait_for_tokens("alice", 0);
    wait_until_it_finds_nothing(ap1, RECORDS);
    assert_eq!(ap1.run(&["idtokenctl", "list", "--json"]).must().stdout, "");
}

fn verify(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.sh(&format!(
        "cd /root; condor_token_create -identity bob@{DOMAIN} -lifetime 600 >good; \
         condor_token_create -identity bob@{DOMAIN} -lifetime 1 >old; sleep 2.1; \
         {{ echo '# two tokens'; cat good old; echo nonsense; }} >three"
    ));
    ap1.run(&["idtokenctl", "verify", "/root/good"]).must();
    let answer = ap1.run(&["idtokenctl", "verify", "/root/three"]);
    assert!(!answer.ok);
    for part in [
        "line 2: valid",
        "line 3: not valid: expired for ",
        "line 4: not valid: not a token",
    ] {
        assert!(answer.stdout.contains(part), "{}", answer.all());
    }
    let from_stdin = ap1
        .run(&["sh", "-c", "idtokenctl verify - </root/good"])
        .must();
    assert!(from_stdin.stdout.contains(&format!("bob@{DOMAIN}")));
    let token = ap1.sh("cat /root/good");
    let signature = token.trim().rsplit('.').next().unwrap();
    assert!(!format!("{}{}", answer.all(), from_stdin.all()).contains(signature));
    ap1.sh("rm /root/good /root/old /root/three");
}

fn show_config(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.configure("min_uid = 1234\n");
    let shown = ap1.run(&["idtokenctl", "show-config"]).must().stdout;
    assert!(shown.contains("min_uid = 1234  # from the file"), "{shown}");
    assert!(shown.contains("timeout = \"3000ms\"  # default"), "{shown}");
    assert!(
        shown.contains("scope = [\"unrestricted\"]  # default"),
        "{shown}"
    );
    // What it prints is a configuration with the same effect.
    ap1.write("/root/shown.toml", &shown, 0o644);
    let again = ap1
        .run(&["idtokenctl", "--config", "/root/shown.toml", "show-config"])
        .must();
    assert!(again.stdout.contains("min_uid = 1234"), "{}", again.stdout);
    ap1.sh("rm /root/shown.toml");
}
