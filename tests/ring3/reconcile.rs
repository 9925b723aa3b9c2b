//! Tokens follow their sessions: hosts with the units of `make install` enabled.
//!
//! The session of five minutes is sampled while the tests before it run; they
//! leave its host's configuration as it is.

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pam_idtoken_tests::pool::{Build, DOMAIN, Host, Pool};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    (
        "with a reconciler a token lives an hour, and it makes no noise",
        units,
    ),
    (
        "a killed session's token is gone within one period of the timer",
        killed,
    ),
    (
        "fifty sessions killed at random leave nothing after one reconcile",
        killed_at_random,
    ),
    (
        "with a broken configuration a killed session's token goes, and the journal says why",
        broken_configuration,
    ),
    (
        "tmux left behind keeps a valid token across renewals until it ends",
        lingering,
    ),
    (
        "a copy of a token is refused at most its lifetime after logout",
        stolen,
    ),
    (
        "a session of five minutes with tokens of one minute fails at no second",
        five_minutes,
    ),
    (
        "POOL replaced on all hosts: every session works again within two seconds",
        pool_replaced,
    ),
    (
        "a named key replaced host by host fails no command",
        named_key_replaced,
    ),
    (
        "a home that stops answering holds up no other and is returned to",
        stopped_home,
    ),
    (
        "what revoke-expr prints makes the pool refuse that session and no other",
        revoked,
    ),
    (
        "after a power cut a host's tokens are gone and another's are not",
        power_cut,
    ),
];

/// The timer's period, with what a run takes and a margin for a busy machine.
const PERIOD: Duration = Duration::from_secs(15 + 5);
const MINUTE: &str = "lifetime = \"60s\"\non_close = \"linger\"\n";
const KEYS: &str = "/etc/condor/passwords.d";

/// As `prepared`, with the session of five minutes under way.
fn ready(pool: &Pool) {
    prepared(pool);
    Sampler::start(pool);
}

/// Two access points with reconcilers; ap1 has tokens of a minute.
fn prepared(pool: &Pool) {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap();
    if !*done {
        pool.install(&Build::find());
        pool.host("ap1").configure(MINUTE);
        pool.install_units("ap1");
        pool.install_units("ap2");
        *done = true;
    }
    drop(done);
    wait_for("the first reconcile", Duration::from_secs(5), || {
        let seen = |host| {
            pool.host(host)
                .run(&["test", "-e", "/run/pam_idtoken/reconciled"])
                .ok
        };
        seen("ap1") && seen("ap2")
    });
}

/// After the session of five minutes ap1 is as ap2.
fn ready_for_changes(pool: &Pool) {
    prepared(pool);
    Sampler::finish();
    for host in ["ap1", "ap2"] {
        pool.host(host).configure("");
    }
}

#[track_caller]
fn wait_for(what: &str, longest: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < longest,
            "{what}: not within {longest:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

/// Runs the user's commands for so many seconds, once in each, and counts.
fn sampling(seconds: u64) -> String {
    format!(
        "end=$((SECONDS + {seconds})) good=0 out=$(mktemp)
         while [ $SECONDS -lt $end ]; do
             if [ -e enough ]; then echo asked to stop; break; fi
             second=$SECONDS
             if condor_q -global >$out 2>&1 && ! grep -qiE 'fail|error' $out &&
                condor_ping -type schedd -name ap2.{DOMAIN} WRITE >$out 2>&1 && grep -q succeeded $out
             then good=$((good + 1)); else echo \"FAILED in second $second: $(cat $out)\"; fi
             while [ $SECONDS -eq $second ]; do sleep 0.05; done
         done
         rm $out; echo \"good $good\""
    )
}

/// How many samples were good, if none was bad.
#[track_caller]
fn good(said: &str) -> u64 {
    assert!(!said.contains("FAILED"), "{said}");
    let line = said.lines().find_map(|line| line.strip_prefix("good "));
    line.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

/// The session of five minutes, on ap1.
struct Sampler {
    child: Child,
    output: tempfile::TempDir,
}

static SAMPLER: Mutex<Option<Sampler>> = Mutex::new(None);
static SAMPLED: Mutex<Option<String>> = Mutex::new(None);

impl Sampler {
    fn start(pool: &Pool) {
        let mut sampler = SAMPLER.lock().unwrap();
        if sampler.is_some() || SAMPLED.lock().unwrap().is_some() {
            return;
        }
        let output = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(output.path().join("said")).unwrap();
        let mut command = pool.ssh("alice", "ap1").command(400);
        let child = command
            .arg(sampling(300))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        *sampler = Some(Sampler { child, output });
    }

    /// Waits for its end; what it said.
    fn finish() -> Option<String> {
        let mut said = SAMPLED.lock().unwrap();
        if let Some(mut sampler) = SAMPLER.lock().unwrap().take() {
            sampler.child.wait().unwrap();
            let text = std::fs::read_to_string(sampler.output.path().join("said")).unwrap();
            *said = Some(text);
        }
        said.clone()
    }
}

/// The sessions of a user, as idtokenctl lists them.
fn rows(host: &Host, user: &str) -> Vec<serde_json::Value> {
    let list = host.run(&["idtokenctl", "list", "--json"]).must().stdout;
    list.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|row: &serde_json::Value| row["user"] == user)
        .collect()
}

/// The user's token of a session of this host commands the pool, without a login of its own.
fn commands_the_pool(host: &Host, user: &str) -> bool {
    let ping = format!("condor_ping -type schedd -name ap2.{DOMAIN} WRITE");
    let answer = host.run(&["runuser", "-u", user, "--", "sh", "-c", &ping]);
    answer.all().contains("succeeded")
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn units(pool: &Pool) {
    ready(pool);
    let ap2 = pool.host("ap2");
    let session = pool.ssh("dave", "ap2").stay();
    let row = &rows(ap2, "dave")[0];
    let lives = row["expires"].as_u64().unwrap() - now();
    assert!((3500..=3600).contains(&lives), "{row}");
    assert_eq!(row["state"], "live");
    session.end();
    pool.wait_for_tokens("dave", 0);
    let check = ap2
        .run(&["idtokenctl", "check", "--user", "bob"])
        .must()
        .stdout;
    assert!(
        check.contains("a reconciler runs: tokens live 1h"),
        "{check}"
    );
    // Three runs and more.
    let runs = || {
        let text = ap2.sh("stat -c %Y.%y /run/pam_idtoken/reconciled");
        text.trim().to_owned()
    };
    let first = runs();
    wait_for("another run", PERIOD, || runs() != first);
    let second = runs();
    wait_for("one more run", PERIOD, || runs() != second);
    let noise = ap2.sh("journalctl -q --no-pager -o cat -b -u pam_idtoken-reconcile.service");
    assert_eq!(noise, "");
    assert_eq!(
        ap2.sh("systemctl list-units --failed -q 'pam_idtoken*'"),
        ""
    );
}

fn killed(pool: &Pool) {
    ready(pool);
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    let session = pool.ssh("dave", "ap1").stay();
    let row = rows(ap1, "dave").remove(0);
    ap1.sh(&format!("kill -9 {}", row["pid"]));
    session.end();
    wait_for("the token goes", PERIOD, || pool.tokens("dave").is_empty());
    let line = ap1.wait_for_log(&cursor, "ended without a close");
    assert!(line.starts_with("pam_idtoken(reconcile): "), "{line}");
    assert!(line.contains(row["jti"][0].as_str().unwrap()), "{line}");
    assert!(rows(ap1, "dave").is_empty());
}

fn killed_at_random(pool: &Pool) {
    ready(pool);
    let ap2 = pool.host("ap2");
    ap2.sh("systemctl stop pam_idtoken-reconcile.timer pam_idtoken-reconcile.path");
    let (mut killed, mut round) = (0, 0_u64);
    while killed < 50 {
        round += 1;
        assert!(round < 300, "only {killed} of 300 logins were killed");
        let mut login = pool
            .ssh("dave", "ap2")
            .command(60)
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // sshd's privileged process and the one that is the user; opening and closing are
        // within some 100 ms of the first's having its title.
        let title = "sshd-session: dave";
        wait_for("a login", Duration::from_secs(10), || {
            !ap2.processes(title).is_empty() || login.try_wait().unwrap().is_some()
        });
        std::thread::sleep(Duration::from_micros(round * 7919 % 120_000));
        let pids = ap2.processes(title);
        let hits = pids
            .iter()
            .map(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL));
        killed += u32::from(hits.flatten().count() > 0);
        login.wait().unwrap();
    }
    let said = ap2.run(&["idtokenctl", "reconcile"]).must().stdout;
    assert_eq!(pool.tokens("dave"), Vec::<String>::new(), "{said}");
    let left = ap2.sh("find /var/lib/pam_idtoken/sessions -type f");
    assert_eq!(left, "", "{said}");
    ap2.sh("systemctl start pam_idtoken-reconcile.timer pam_idtoken-reconcile.path");
}

fn broken_configuration(pool: &Pool) {
    ready(pool);
    let ap2 = pool.host("ap2");
    let session = pool.ssh("dave", "ap2").stay();
    ap2.configure("lifetme = \"1h\"\n");
    ap2.sh(&format!("kill -9 {}", rows_by_pid(ap2)));
    session.end();
    wait_for("the token goes", PERIOD, || pool.tokens("dave").is_empty());
    let said = ap2.sh("journalctl -q --no-pager -o cat -p err -u pam_idtoken-reconcile.service");
    assert!(
        said.contains("unknown field `lifetme`") && said.contains("nothing was renewed"),
        "{said}"
    );
    ap2.configure("");
    wait_for("all is well", PERIOD, || {
        ap2.run(&["systemctl", "start", "pam_idtoken-reconcile.service"])
            .ok
    });
}

/// The process of dave's session, whatever the configuration.
fn rows_by_pid(host: &Host) -> String {
    host.sh("basename /var/lib/pam_idtoken/sessions/*/*.json | cut -d- -f2")
}

fn lingering(pool: &Pool) {
    ready(pool);
    let ap1 = pool.host("ap1");
    let start = "LC_ALL=C.UTF-8 tmux new-session -d 'sleep 1000'";
    pool.ssh("bob", "ap1").run(start).must();
    // The client of ssh may be back before sshd has closed the session.
    wait_for("the session lingers", Duration::from_secs(5), || {
        rows(ap1, "bob")
            .iter()
            .any(|row| row["state"] == "lingering")
    });
    let expires = || rows(ap1, "bob")[0]["expires"].as_u64().unwrap();
    let (first, started) = (expires(), Instant::now());
    while started.elapsed() < Duration::from_secs(75) {
        assert!(
            commands_the_pool(ap1, "bob"),
            "after {:?}",
            started.elapsed()
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(expires() > first + 45, "it was renewed less than twice");
    // Another session of the same user ends without a trace and changes nothing.
    pool.ssh("bob", "ap1").run("true").must();
    pool.wait_for_tokens("bob", 1);
    ap1.sh("runuser -u bob -- tmux kill-server");
    wait_for("the token goes", PERIOD, || pool.tokens("bob").is_empty());
    assert!(rows(ap1, "bob").is_empty());
}

fn stolen(pool: &Pool) {
    ready(pool);
    let ap1 = pool.host("ap1");
    let copy = "mkdir -m 700 stolen; cp ~/.condor/tokens.d/0-session-* stolen/copy";
    pool.ssh("dave", "ap1").run(copy).must();
    pool.wait_for_tokens("dave", 0);
    let logout = Instant::now();
    let works = || {
        let ping = format!(
            "_CONDOR_SEC_TOKEN_DIRECTORY=/home/dave/stolen \
             condor_ping -type schedd -name ap2.{DOMAIN} WRITE"
        );
        let answer = ap1.run(&["runuser", "-u", "dave", "--", "sh", "-c", &ping]);
        answer.all().contains("succeeded")
    };
    assert!(works(), "a copy works until it expires");
    let until = Duration::from_secs(62).saturating_sub(logout.elapsed());
    wait_for("the copy is refused", until, || !works());
    ap1.sh("rm -r /home/dave/stolen");
}

fn five_minutes(pool: &Pool) {
    ready(pool);
    let said = Sampler::finish().unwrap();
    let good = good(&said);
    assert!((280..=301).contains(&good), "{said}");
    let renewals = pool
        .host("ap1")
        .sh("grep '\"event\":\"renewed\"' /var/lib/pam_idtoken/audit.jsonl | grep -c '\"alice\"'");
    let renewals: u32 = renewals.trim().parse().unwrap();
    assert!(
        (6..=12).contains(&renewals),
        "{renewals} renewals in five minutes"
    );
}

fn write_key(pool: &Pool, host: &str, name: &str, secret: &str) {
    pool.host(host)
        .write(&format!("{KEYS}/{name}"), secret, 0o600);
}

fn pool_replaced(pool: &Pool) {
    ready_for_changes(pool);
    let sessions = [("ap2", "bob"), ("ap1", "alice")];
    let open = sessions.map(|(host, user)| pool.ssh(user, host).stay());
    let tokens = || sessions.map(|(_, user)| pool.tokens(user));
    let before = tokens();
    for round in 0..3 {
        let secret = format!("the pool's key number {round}");
        write_key(pool, "cm", "POOL", &secret);
        for (host, user) in sessions {
            let host = pool.host(host);
            // FS authentication reaches no other host; and one question at a time, since
            // condor_q alone takes two seconds to find that it is refused.
            let ping = format!("condor_ping -type collector -name cm.{DOMAIN} READ");
            let ask = |what: &str| host.run(&["runuser", "-u", user, "--", "sh", "-c", what]);
            let works = || ask(&ping).all().contains("succeeded");
            assert!(!works(), "{user} has a token of the old key");
            write_key(pool, host.name(), "POOL", &secret);
            let took = wait_for(user, Duration::from_secs(2), works);
            println!("{user} on {} again after {took:?}", host.name());
            ask("condor_q -global").must();
        }
    }
    assert_eq!(tokens(), before, "in the same files");
    for session in open {
        session.end();
    }
}

fn named_key_replaced(pool: &Pool) {
    ready_for_changes(pool);
    for host in ["ap1", "ap2"] {
        pool.host(host).configure("kid = [\"next\", \"site\"]\n");
    }
    let sample = |user, host| {
        let mut command: Command = pool.ssh(user, host).command(120);
        command.arg(sampling(90)).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let samples = [("alice", "ap1"), ("bob", "ap2")].map(|(user, host)| (user, sample(user, host)));
    // A daemon tells clients the list of keys it told last until it has read its configuration
    // and is asked for another authorization (SecMan in condor_io/condor_secman.cpp keeps it).
    let tells = |host: &str, key: &str, wanted: bool| {
        let kind = if host == "cm" { "collector" } else { "schedd" };
        let ask = format!(
            "_CONDOR_TOOL_DEBUG=D_SECURITY:2 condor_ping -debug -type {kind} READ WRITE 2>&1"
        );
        pool.host(host).sh("condor_reconfig");
        wait_for("the daemon tells its keys", Duration::from_secs(20), || {
            let said = pool.host(host).run(&["sh", "-c", &ask]).all();
            let mut lists = said.lines().rev();
            let last = lists.find(|line| line.starts_with("IssuerKeys"));
            last.is_some_and(|list| list.contains(key) == wanted)
        });
        std::thread::sleep(Duration::from_secs(2));
    };
    std::thread::sleep(Duration::from_secs(2));
    for host in ["cm", "ap2", "ap1"] {
        write_key(pool, host, "next", "the next key of the site");
        tells(host, "next", true);
    }
    for host in ["ap1", "ap2"] {
        pool.host(host).configure("kid = \"next\"\n");
    }
    std::thread::sleep(Duration::from_secs(2));
    for host in ["ap1", "cm", "ap2"] {
        pool.host(host).sh(&format!("rm {KEYS}/site"));
        tells(host, "site", false);
    }
    for (user, sample) in samples {
        // The samples go on for as long as it took.
        std::fs::write(pool.home(user).join("enough"), "").unwrap();
        let said = sample.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("asked to stop"), "too early: {said}");
        assert!(good(&said) >= 15, "{said}");
        std::fs::remove_file(pool.home(user).join("enough")).unwrap();
    }
    for host in ["cm", "ap1", "ap2"] {
        write_key(pool, host, "site", "a key of the site");
        pool.host(host)
            .sh(&format!("rm {KEYS}/next; condor_reconfig"));
    }
}

fn stopped_home(pool: &Pool) {
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
        std::fs::read(dir.join(&pool.tokens(user)[0])).unwrap()
    };
    let before = (text("carol"), text("alice"));
    ap1.sh("pkill -STOP bindfs");
    for host in ["cm", "ap2", "ap1"] {
        write_key(pool, host, "POOL", "a key while a home is stopped");
    }
    wait_for("alice is renewed", Duration::from_secs(2), || {
        text("alice") != before.1
    });
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

fn revoked(pool: &Pool) {
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

fn power_cut(pool: &Pool) {
    ready_for_changes(pool);
    let here = pool.ssh("alice", "ap1").stay();
    let there = pool.ssh("alice", "ap2").stay();
    pool.wait_for_tokens("alice", 2);
    let ap1 = pool.host("ap1");
    ap1.power_off();
    drop(here);
    assert_eq!(
        pool.tokens("alice").len(),
        2,
        "nobody was there to remove it"
    );
    ap1.power_on();
    wait_for("its token goes", Duration::from_secs(30), || {
        pool.tokens("alice").len() == 1
    });
    assert!(pool.tokens("alice")[0].contains("-ap2-"));
    pool.wait_until_it_answers();
    wait_for("the boot", Duration::from_secs(60), || {
        let state = ap1.run(&["systemctl", "is-system-running"]).stdout;
        ["running\n", "degraded\n"].contains(&state.as_str())
    });
    // Before anybody could log in.
    let order = ap1.sh("for unit in pam_idtoken-reconcile systemd-user-sessions; do
             systemctl show -P ExecMainExitTimestampMonotonic $unit; done");
    let times: Vec<u64> = order.lines().map(|line| line.parse().unwrap()).collect();
    assert!(times[0] > 0 && times[1] > 0, "{order}");
    let first = ap1.sh(
        "journalctl -b -q -o short-monotonic --no-pager | grep -n 'ended without a close\\|user-sessions' ",
    );
    let lines: Vec<&str> = first.lines().collect();
    assert!(lines[0].contains("ended without a close"), "{first}");
    assert!(commands_the_pool(pool.host("ap2"), "alice"));
    there.end();
    pool.wait_for_tokens("alice", 0);
    assert_eq!(ap1.sh("find /var/lib/pam_idtoken/sessions -type f"), "");
}
