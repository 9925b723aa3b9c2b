//! A session has a token while it lives and leaves nothing.

use pam_idtoken_tests::pool::{DOMAIN, Pool};

use crate::Test;
use crate::support::{RECORDS, wait_until_it_finds_nothing};

pub(crate) const TESTS: &[Test] = &[
    (
        "a session has a private valid token of its user",
        private_and_valid,
    ),
    ("nothing is left after logout", nothing_is_left),
    (
        "two sessions on one host end in either order",
        two_on_one_host,
    ),
    (
        "two sessions on two hosts with one home end in either order",
        two_on_two_hosts,
    ),
    (
        "the newest session is read first on every host",
        newest_first,
    ),
    (
        "a shared connection has one token until its last shell ends",
        control_master,
    ),
    ("scp and sftp work and leave nothing", copies),
    (
        "twenty logins at once all have their token and leave nothing",
        twenty_at_once,
    ),
    (
        "a killed session leaves no token after the next login",
        killed,
    ),
    ("opening and closing are one line each in AUTHPRIV", logged),
    ("two sessions have two ids", two_ids),
];

const SHOW: &str = "stat -c '%a %U %F %n' ~/.condor/tokens.d/* ~/.condor/tokens.d ~/.condor";

fn private_and_valid(pool: &Pool) {
    let before = now();
    let shown = pool.ssh("alice", "ap1").run(SHOW).must().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(lines[0].starts_with("600 alice regular file /home/alice/.condor/tokens.d/0-session-"));
    assert!(lines[0].contains("-ap1-"), "{shown}");
    assert_eq!(lines[1], "700 alice directory /home/alice/.condor/tokens.d");
    assert_eq!(lines[2], "700 alice directory /home/alice/.condor");
    pool.wait_for_tokens("alice", 0);
    wait_until_it_finds_nothing(pool.host("ap1"), RECORDS);

    let session = pool.ssh("alice", "ap1").stay();
    let name = &pool.tokens("alice")[0];
    let file = format!("/home/alice/.condor/tokens.d/{name}");
    let verdict = pool
        .host("ap1")
        .run(&["idtokenctl", "verify", &file])
        .must()
        .stdout;
    assert!(verdict.contains("line 1: valid"), "{verdict}");
    assert!(
        verdict.contains(&format!("sub   alice@{DOMAIN}")),
        "{verdict}"
    );
    assert!(verdict.contains(&format!("iss   {DOMAIN}")), "{verdict}");
    let list = pool
        .host("ap1")
        .run(&["idtokenctl", "list", "--json"])
        .must()
        .stdout;
    let row: serde_json::Value = serde_json::from_str(list.trim()).unwrap();
    let expires = row["expires"].as_u64().unwrap();
    assert!(
        (before + 86_300..before + 86_600).contains(&expires),
        "{row}"
    );
    session.end();
    pool.wait_for_tokens("alice", 0);
}

fn nothing_is_left(pool: &Pool) {
    pool.ssh("alice", "ap1").run("true").must();
    pool.wait_for_tokens("alice", 0);
    let names: Vec<String> = std::fs::read_dir(pool.home("alice").join(".condor/tokens.d"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.is_empty(), "{names:?}");
    wait_until_it_finds_nothing(pool.host("ap1"), RECORDS);
}

/// Runs a command that needs a token, in a session that is already open.
fn commands_the_pool(pool: &Pool, host: &str) -> bool {
    // As the user and not by ssh: a new login would bring a token of its own.
    let script = format!("condor_ping -type schedd -name ap2.{DOMAIN} WRITE");
    let answer = pool
        .host(host)
        .run(&["runuser", "-u", "alice", "--", "sh", "-c", &script]);
    answer.all().contains("succeeded")
}

fn two_on_one_host(pool: &Pool) {
    for newest_first in [true, false] {
        let first = pool.ssh("alice", "ap1").stay();
        let second = pool.ssh("alice", "ap1").stay();
        pool.wait_for_tokens("alice", 2);
        let (ends, stays) = if newest_first {
            (second, first)
        } else {
            (first, second)
        };
        ends.end();
        pool.wait_for_tokens("alice", 1);
        assert!(commands_the_pool(pool, "ap1"));
        stays.end();
        pool.wait_for_tokens("alice", 0);
        assert!(!commands_the_pool(pool, "ap1"));
    }
}

fn two_on_two_hosts(pool: &Pool) {
    for (ends, stays) in [("ap1", "ap2"), ("ap2", "ap1")] {
        let first = pool.ssh("alice", "ap1").stay();
        let second = pool.ssh("alice", "ap2").stay();
        pool.wait_for_tokens("alice", 2);
        assert!(commands_the_pool(pool, "ap1") && commands_the_pool(pool, "ap2"));
        let (ending, staying) = if ends == "ap1" {
            (first, second)
        } else {
            (second, first)
        };
        ending.end();
        pool.wait_for_tokens("alice", 1);
        assert!(pool.tokens("alice")[0].contains(&format!("-{stays}-")));
        assert!(commands_the_pool(pool, "ap1") && commands_the_pool(pool, "ap2"));
        staying.end();
        pool.wait_for_tokens("alice", 0);
    }
}

fn newest_first(pool: &Pool) {
    let first = pool.ssh("alice", "ap2").stay();
    let old = pool.tokens("alice")[0].clone();
    let second = pool.ssh("alice", "ap1").stay();
    let tokens = pool.tokens("alice");
    assert_eq!(tokens.len(), 2);
    assert!(
        tokens[0].contains("-ap1-") && tokens[1] == old,
        "{tokens:?}"
    );
    first.end();
    second.end();
    pool.wait_for_tokens("alice", 0);
}

fn control_master(pool: &Pool) {
    let socket = pool.home("").join("control");
    let path = format!("ControlPath={}", socket.display());
    let master = pool
        .ssh("bob", "ap1")
        .option("ControlMaster=yes")
        .option(&path)
        .stay();
    let shell = pool
        .ssh("bob", "ap1")
        .option("ControlMaster=no")
        .option(&path);
    for _ in 0..3 {
        shell.run("true").must();
        assert_eq!(pool.tokens("bob").len(), 1);
    }
    let second = shell.stay();
    assert_eq!(pool.tokens("bob").len(), 1);
    second.end();
    assert_eq!(pool.tokens("bob").len(), 1);
    master.end();
    pool.wait_for_tokens("bob", 0);
}

fn copies(pool: &Pool) {
    let carol = pool.ssh("carol", "ap1");
    let there = format!("{}:copy", carol.target());
    carol.with("scp", &["/etc/hostname", &there]).must();
    assert!(pool.home("carol").join("copy").exists());
    pool.wait_for_tokens("carol", 0);
    let dir = tempfile::tempdir().unwrap();
    let back = dir.path().join("back");
    carol.with("sftp", &[&there, back.to_str().unwrap()]).must();
    assert!(back.exists());
    pool.wait_for_tokens("carol", 0);
}

fn twenty_at_once(pool: &Pool) {
    let ask = "ls ~/.condor/tokens.d | head -1; condor_ping -type schedd WRITE";
    let answers: Vec<_> = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..20)
            .map(|i| {
                let host = if i % 2 == 0 { "ap1" } else { "ap2" };
                scope.spawn(move || pool.ssh("carol", host).run(ask))
            })
            .collect();
        logins
            .into_iter()
            .map(|login| login.join().unwrap())
            .collect()
    });
    for answer in answers {
        assert!(answer.stdout.starts_with("0-session-"), "{}", answer.all());
        assert!(answer.all().contains("succeeded"), "{}", answer.all());
    }
    pool.wait_for_tokens("carol", 0);
    for host in ["ap1", "ap2"] {
        wait_until_it_finds_nothing(pool.host(host), RECORDS);
    }
}

fn killed(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    let session = pool.ssh("bob", "ap1").stay();
    let killed = pool.tokens("bob");
    let list = ap1.run(&["idtokenctl", "list", "--json"]).must().stdout;
    let row: serde_json::Value = serde_json::from_str(list.trim()).unwrap();
    let jti = row["jti"][0].as_str().unwrap().to_owned();
    ap1.sh(&format!("kill -9 {}", row["pid"]));
    session.end();
    assert_eq!(pool.tokens("bob"), killed, "nobody was there to remove it");
    let seen = pool
        .ssh("bob", "ap1")
        .run("ls ~/.condor/tokens.d")
        .must()
        .stdout;
    assert_eq!(seen.lines().count(), 1, "{seen}");
    assert!(!seen.contains(&killed[0]));
    pool.wait_for_tokens("bob", 0);
    let line = ap1.wait_for_log(&cursor, "ended without a close");
    assert!(line.contains(&jti) && line.contains("user=bob"), "{line}");
    ap1.wait_for_log(&cursor, "token closed user=bob");
}

fn logged(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    pool.ssh("alice", "ap1").run("true").must();
    ap1.wait_for_log(&cursor, "token closed");
    let lines = ap1.log_since(&cursor);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    // No reconciler is installed here.
    assert!(lines[0].contains("no reconciler was seen") && lines[0].contains("lifetime=24h"));
    let lines = &lines[1..];
    let field = |line: usize, key: &str| -> String {
        let key = format!("{key}=");
        let word = lines[line].split(' ').find(|word| word.starts_with(&key));
        word.unwrap_or_else(|| panic!("no {key} in {}", lines[line]))
            .to_owned()
    };
    assert!(lines[0].starts_with("pam_idtoken(sshd:session): token opened user=alice uid=1000 "));
    assert!(lines[1].starts_with("pam_idtoken(sshd:session): token closed user=alice uid=1000 "));
    assert_eq!(field(0, "session"), field(1, "session"));
    assert_eq!(field(0, "jti"), field(1, "jti"));
    assert_eq!(field(0, "kid"), "kid=POOL");
    assert!(field(0, "rhost").contains("10.88."));
    assert!(field(0, "exp")[4..].parse::<u64>().unwrap() > now());
    assert!(field(0, "file").starts_with("file=/home/alice/.condor/tokens.d/0-session-"));
}

fn two_ids(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    pool.ssh("alice", "ap1").run("true").must();
    pool.ssh("alice", "ap1").run("true").must();
    pool.wait_for_tokens("alice", 0);
    let lines = ap1.log_since(&cursor);
    let opened: Vec<&str> = lines
        .iter()
        .filter(|line| line.contains("token opened"))
        .flat_map(|line| {
            line.split(' ')
                .filter(|w| w.starts_with("session=") || w.starts_with("jti="))
        })
        .collect();
    let different: std::collections::HashSet<&&str> = opened.iter().collect();
    assert_eq!((opened.len(), different.len()), (4, 4), "{lines:#?}");
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
