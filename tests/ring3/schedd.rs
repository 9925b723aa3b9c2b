//! The schedd signs, or something in its place does not.

use std::time::Duration;

use pam_idtoken_tests::clock::{once_within, timed, wait_for, wait_until_none};
use pam_idtoken_tests::pool::{DOMAIN, Host, Pool};

use crate::Test;
use crate::support::{Replaced, Stopped, TOKENS_ONLY, only_claims};

pub(crate) const TESTS: &[Test] = &[
    ("the schedd signs a token that commands the pool", signs),
    (
        "the reconciler has a token renewed by the schedd, and leaves it while that is stopped",
        renewed,
    ),
    (
        "a schedd that is stopped costs a login at most the timeout, and it is told why",
        stopped,
    ),
    (
        "whatever is in place of condor_token_fetch, the login works and nothing is left running",
        bad_programs,
    ),
    (
        "what condor_token_fetch leaves behind ends, and its token counts",
        leaves_something_behind,
    ),
];

const SCHEDD: &str = "issuer = \"schedd\"\n";
const TOOL: &str = "/usr/bin/condor_token_fetch";
/// The module's `timeout`.
const TIMEOUT: Duration = Duration::from_secs(3);
/// By how much a login may take longer on a busy machine.
const MARGIN: Duration = Duration::from_secs(1);

fn signs(pool: &Pool) {
    let (ap1, alice) = (pool.host("ap1"), pool.ssh("alice", "ap1"));
    let ping = format!("{TOKENS_ONLY}; condor_ping -type schedd -name ap2.{DOMAIN} WRITE");
    // As it is asked for, and since there is no key here.
    for (configuration, scope) in [
        (SCHEDD, None),
        (
            "issuer = \"schedd\"\nscope = [\"READ\"]\n",
            Some("condor:/READ"),
        ),
        ("pool_signing_key_file = \"/nowhere\"\n", None),
    ] {
        ap1.configure_exactly(configuration);
        let claims = only_claims(pool, "alice");
        assert_eq!(claims["sub"], format!("alice@{DOMAIN}"));
        assert_eq!(claims["iss"], DOMAIN);
        assert_eq!(claims.get("scope").and_then(|scope| scope.as_str()), scope);
        let [issued, expires] = ["iat", "exp"].map(|name| claims[name].as_i64().unwrap());
        assert!((86_000..=86_400).contains(&(expires - issued)), "{claims}");
        // Without a token it fails; with one it may have nothing to show.
        let said = alice.run("condor_q -global").must();
        assert!(said.stderr.is_empty(), "{}", said.all());
        let writes = alice.run(&ping);
        assert_eq!(writes.ok, scope.is_none(), "{}", writes.all());
        pool.wait_for_tokens("alice", 0);
    }
}

/// What is in the token file of a user's only session.
fn token(pool: &Pool, user: &str) -> String {
    let dir = pool.home(user).join(".condor/tokens.d");
    std::fs::read_to_string(dir.join(&pool.tokens(user)[0])).unwrap()
}

fn renewed(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.configure_exactly(&format!("{SCHEDD}lifetime = \"12s\"\n"));
    let reconcile = || ap1.run(&["idtokenctl", "reconcile", "--every", "2s"]);
    reconcile().must();
    let session = pool.ssh("alice", "ap1").stay();
    let first = token(pool, "alice");
    std::thread::sleep(Duration::from_millis(6100));
    let schedd = Stopped::of(ap1, "condor_schedd");
    let in_vain = reconcile();
    drop(schedd);
    assert!(
        !in_vain.ok && in_vain.stdout.contains("did not end within"),
        "{in_vain:?}"
    );
    assert_eq!(token(pool, "alice"), first);
    let said = reconcile().must().stdout;
    let second = token(pool, "alice");
    assert!(second != first, "{said}");
    // The first has expired by now.
    std::thread::sleep(Duration::from_secs(6));
    let ping = format!("{TOKENS_ONLY}; condor_ping -type schedd -name ap2.{DOMAIN} WRITE");
    let works = ap1.run(&["runuser", "-u", "alice", "--", "bash", "-c", &ping]);
    session.end();
    ap1.sh("rm /run/pam_idtoken/reconciled");
    assert!(
        works.all().contains(&format!("as alice@{DOMAIN} ")),
        "{}",
        works.all()
    );
    pool.wait_for_tokens("alice", 0);
}

fn stopped(pool: &Pool) {
    let (ap1, alice) = (pool.host("ap1"), pool.ssh("alice", "ap1"));
    ap1.configure_exactly(SCHEDD);
    once_within(TIMEOUT, || {
        let (_, usual) = timed(|| alice.log_in("true"));
        let cursor = ap1.log_cursor();
        let schedd = Stopped::of(ap1, "condor_schedd");
        let (told, took) = timed(|| alice.log_in("ls ~/.condor/tokens.d; echo WELL''COME"));
        drop(schedd);
        let screen = &told.screen;
        assert!(told.ok && screen.contains("WELLCOME"), "{screen}");
        assert!(
            !screen.contains("0-session-") && told.warnings() == 1,
            "{screen}"
        );
        println!("{took:?} and not {usual:?}");
        ap1.wait_for_log(
            &cursor,
            &format!("no token for user=alice: {TOOL} got no token from the schedd: {TOOL} did not end within "),
        );
        took.saturating_sub(usual)
    });
    assert_eq!(only_claims(pool, "alice")["sub"], format!("alice@{DOMAIN}"));
}

/// What a program in place of condor_token_fetch may leave running, and how to find it: in a pid
/// namespace of its own, too.
const LEFT: &str = "sleep 4711";

fn left(host: &Host) -> Vec<String> {
    let all = host.sh("ps -eo pid=,user=,args=");
    let is_left = |line: &&str| line.contains(LEFT) || line.contains("/dev/zero");
    all.lines().filter(is_left).map(str::to_owned).collect()
}

#[track_caller]
fn nothing_is_left(host: &Host, of: &str) {
    wait_until_none(Duration::from_secs(10), || {
        let left = left(host);
        (!left.is_empty()).then(|| format!("{of}: {left:?}"))
    });
}

fn bad_programs(pool: &Pool) {
    let (ap1, alice) = (pool.host("ap1"), pool.ssh("alice", "ap1"));
    ap1.configure_exactly(SCHEDD);
    // It would be found.
    ap1.sh(&format!(
        "unshare -fp --kill-child {LEFT} >/dev/null 2>&1 & echo $! >/run/left"
    ));
    wait_for("both are found", Duration::from_secs(5), || {
        left(ap1).len() >= 2
    });
    ap1.sh("kill -9 $(cat /run/left); rm /run/left");
    ap1.sh(&format!(
        "condor_token_create -identity bob@{DOMAIN} -lifetime 60 >/etc/of-bob
         condor_token_create -identity condor@{DOMAIN} -lifetime 60 >/etc/of-condor
         condor_token_create -identity alice@{DOMAIN} >/etc/eternal; chmod 644 /etc/of-* /etc/eternal"
    ));
    let (_, usual) = timed(|| alice.run("true"));
    let late = "did not end within";
    let for_bob = format!("its token is for \"bob@{DOMAIN}\", not for alice");
    let for_condor = format!("its token is for \"condor@{DOMAIN}\", not for alice");
    for (script, why) in [
        (format!("exec {LEFT}"), late),
        ("echo garbage".into(), "it printed no token"),
        ("cat /etc/of-bob".into(), &for_bob),
        ("cat /etc/of-condor".into(), &for_condor),
        (
            "cat /etc/of-bob /etc/eternal".into(),
            "it printed more than one token",
        ),
        ("cat /etc/eternal".into(), "its token never expires"),
        (
            "exec cat /dev/zero".into(),
            "printed more than 65536 bytes and was killed",
        ),
        ("exec cat /dev/zero >&2".into(), late),
        (format!("trap '' TERM HUP; {LEFT} & {LEFT}"), late),
        (
            format!("setsid -f {LEFT}; echo garbage"),
            "it printed no token",
        ),
        (format!("setsid -f {LEFT}; exec setsid -w {LEFT}"), late),
    ] {
        // What ends by itself has its time on a busy machine, too.
        let timeout = if why == late { "1s" } else { "3s" };
        ap1.configure_exactly(&format!("{SCHEDD}timeout = \"{timeout}\"\n"));
        let longest = usual + Duration::from_secs(1) + MARGIN;
        once_within(longest, || {
            let cursor = ap1.log_cursor();
            let replaced = Replaced::by(ap1, TOOL, Some(&script));
            let (said, took) = timed(|| alice.run("echo WELLCOME; find ~/.condor -name '0-*'"));
            nothing_is_left(ap1, &script);
            drop(replaced);
            assert!(
                said.ok && said.stdout == "WELLCOME\n",
                "{script}: {}",
                said.all()
            );
            let line = ap1.wait_for_log(&cursor, "no token for user=alice: ");
            assert!(
                line.contains(TOOL) && line.contains(why),
                "{script}: {line}"
            );
            took
        });
    }
    ap1.sh("rm /etc/of-* /etc/eternal");
}

fn leaves_something_behind(pool: &Pool) {
    let (ap1, alice) = (pool.host("ap1"), pool.ssh("alice", "ap1"));
    ap1.configure_exactly(SCHEDD);
    let script = format!("{LEFT} & setsid -f {LEFT}; exec {TOOL}.kept \"$@\"");
    let login = || timed(|| alice.run("ls ~/.condor/tokens.d; condor_q -global"));
    once_within(MARGIN, || {
        let (_, usual) = login();
        let replaced = Replaced::by(ap1, TOOL, Some(&script));
        let (said, took) = login();
        nothing_is_left(ap1, &script);
        drop(replaced);
        assert!(
            said.ok && said.stdout.starts_with("0-session-"),
            "{}",
            said.all()
        );
        pool.wait_for_tokens("alice", 0);
        took.saturating_sub(usual)
    });
}
