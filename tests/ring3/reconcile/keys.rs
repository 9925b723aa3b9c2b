//! Keys that are replaced, and tokens that are revoked.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pam_idtoken_tests::clock::wait_for;
use pam_idtoken_tests::pool::{DOMAIN, Host, Pool};

use super::sampler::{good, sampling};
use super::{PERIOD, Without, commands_the_pool, ready_for_changes, rows};

/// How long the path unit has on a busy machine.
const LATEST: Duration = Duration::from_secs(20);

/// Replaces POOL on a host and waits until that holds; whether it was by the path unit, which has the
/// time alone before the timer goes on.
#[track_caller]
fn renewed(pool: &Pool, host: &Host, secret: &str, mut holds: impl FnMut() -> bool) -> bool {
    let timer = Without::units(host, &["timer"]);
    pool.write_key(host.name(), "POOL", secret);
    let written = Instant::now();
    let mut is_so = holds();
    while !is_so && written.elapsed() < LATEST {
        is_so = holds();
    }
    println!("{} after {:?}: {is_so}", host.name(), written.elapsed());
    drop(timer);
    if !is_so {
        wait_for("the timer renews", PERIOD, holds);
    }
    is_so
}

/// The names of a user's tokens, without the file that a renewal under way writes.
fn tokens(pool: &Pool, user: &str) -> Vec<String> {
    let mut names = pool.tokens(user);
    names.retain(|name| name.starts_with("0-session-"));
    names
}

pub(super) fn pool_replaced(pool: &Pool) {
    ready_for_changes(pool);
    let sessions = [("ap2", "bob"), ("ap1", "alice")];
    let open = sessions.map(|(host, user)| pool.ssh(user, host).stay());
    let tokens = || sessions.map(|(_, user)| tokens(pool, user));
    let before = tokens();
    let mut by_the_path_unit = 0;
    for round in 0..3 {
        let secret = format!("the pool's key number {round}");
        pool.write_key("cm", "POOL", &secret);
        for (host, user) in sessions {
            let host = pool.host(host);
            // FS authentication reaches no other host; and one question at a time, since
            // condor_q alone takes two seconds to find that it is refused.
            let ping = format!("condor_ping -type collector -name cm.{DOMAIN} READ");
            let ask = |what: &str| host.run(&["runuser", "-u", user, "--", "sh", "-c", what]);
            let works = || ask(&ping).all().contains("succeeded");
            assert!(!works(), "{user} has a token of the old key");
            by_the_path_unit += u32::from(renewed(pool, host, &secret, works));
            ask("condor_q -global").must();
        }
    }
    println!("{by_the_path_unit} of 6 before the timer");
    assert!(by_the_path_unit > 0, "the path unit renews nothing");
    assert_eq!(tokens(), before, "in the same files");
    for session in open {
        session.end();
    }
}

pub(super) fn named_key_replaced(pool: &Pool) {
    ready_for_changes(pool);
    for host in ["ap1", "ap2"] {
        pool.host(host).configure("kid = [\"next\", \"site\"]\n");
    }
    let sample = |user, host| {
        let mut command: Command = pool.ssh(user, host).command(360);
        command.arg(sampling(300)).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let samples = [("alice", "ap1"), ("bob", "ap2")].map(|(user, host)| (user, sample(user, host)));
    std::thread::sleep(Duration::from_secs(2));
    for host in ["cm", "ap2", "ap1"] {
        pool.write_key(host, "next", "the next key of the site");
        pool.wait_until_it_tells(host, "next", true);
    }
    for host in ["ap1", "ap2"] {
        pool.host(host).configure("kid = \"next\"\n");
    }
    std::thread::sleep(Duration::from_secs(2));
    for host in ["ap1", "cm", "ap2"] {
        pool.remove_key(host, "site");
        pool.wait_until_it_tells(host, "site", false);
    }
    for (user, sample) in samples {
        // The samples go on for as long as it took.
        std::fs::write(pool.home(user).join("enough"), "").unwrap();
        let said = sample.wait_with_output().unwrap();
        std::fs::remove_file(pool.home(user).join("enough")).unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("asked to stop"), "too early: {said}");
        assert!(good(&said) >= 5, "{said}");
    }
    for host in ["cm", "ap1", "ap2"] {
        pool.write_key(host, "site", "a key of the site");
        pool.remove_key(host, "next");
        pool.host(host).sh("condor_reconfig");
    }
}

pub(super) fn stopped_home(pool: &Pool) {
    ready_for_changes(pool);
    let ap1 = pool.host("ap1");
    ap1.sh("mkdir -p /srv/carol; mount --bind /home/carol /srv/carol
         bindfs -o allow_other -o nonempty /srv/carol /home/carol");
    let sessions = [
        pool.ssh("carol", "ap1").stay(),
        pool.ssh("alice", "ap1").stay(),
    ];
    let text = |user: &str| {
        let dir = pool.home(user).join(".condor/tokens.d");
        std::fs::read(dir.join(&tokens(pool, user)[0])).unwrap()
    };
    let before = (text("carol"), text("alice"));
    ap1.sh("pkill -STOP bindfs");
    let key = "a key while a home is stopped";
    for host in ["cm", "ap2"] {
        pool.write_key(host, "POOL", key);
    }
    renewed(pool, ap1, key, || text("alice") != before.1);
    // Its own run is over by now, and some more.
    std::thread::sleep(Duration::from_secs(5));
    assert!(text("carol") == before.0, "who renewed it?");
    let said = ap1.run(&["idtokenctl", "reconcile"]);
    assert_eq!(said.code, Some(3), "{}", said.all());
    assert!(
        said.stdout.contains("the home /home/carol did not answer"),
        "{}",
        said.all()
    );
    ap1.sh("pkill -CONT bindfs");
    wait_for("carol is renewed", PERIOD, || text("carol") != before.0);
    assert!(commands_the_pool(ap1, "carol"));
    for session in sessions {
        session.end();
    }
    pool.wait_for_tokens("carol", 0);
    ap1.sh("umount -l /home/carol /srv/carol");
}

pub(super) fn revoked(pool: &Pool) {
    ready_for_changes(pool);
    let (ap1, ap2) = (pool.host("ap1"), pool.host("ap2"));
    let sessions = [
        pool.ssh("alice", "ap1").stay(),
        pool.ssh("carol", "ap1").stay(),
    ];
    let id = rows(ap1, "alice")[0]["session"]
        .as_str()
        .unwrap()
        .to_owned();
    let expression = ap1
        .run(&["idtokenctl", "revoke-expr", "--session", &id])
        .must()
        .stdout;
    ap2.write("/etc/condor/config.d/99-revoked", expression, 0o644);
    ap2.sh("condor_reconfig");
    wait_for("the token is refused", Duration::from_secs(10), || {
        !commands_the_pool(ap1, "alice")
    });
    assert!(commands_the_pool(ap1, "carol"));
    ap2.sh("rm /etc/condor/config.d/99-revoked; condor_reconfig");
    wait_for("it is not any more", Duration::from_secs(10), || {
        commands_the_pool(ap1, "alice")
    });
    ap1.run(&["idtokenctl", "end", &id]).must();
    pool.wait_for_tokens("alice", 0);
    assert!(!commands_the_pool(ap1, "alice"));
    for session in sessions {
        session.end();
    }
}
