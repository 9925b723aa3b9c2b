//! What a user's processes do to those that serve them, and to what these need.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::attack::Attack::{self, Host};
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Host(
        "locks, leases and watches are held on everything in the home",
        |siege| {
            siege.does("mkdir -p .condor/tokens.d; for i in $(seq 50); do
            echo x >.condor/tokens.d/0-session-fffffffffffffff0-ap1-00000000000000$(printf %02x $i); done");
            let dirs = [
                "/home/mallory/.condor",
                "/run/pam_idtoken/tokens",
                "/home/mallory",
            ];
            let held = siege.begins(&[&["hostile-user", "hold"][..], &dirs].concat());
            siege.sessions();
            siege.does("mv .condor kept; touch .condor");
            siege.sessions();
            assert!(held.stop() > 2);
            siege.nothing_is_left();
        },
    ),
    Host(
        "sshd and the threads of the module are traced, read, limited and signalled",
        |siege| {
            siege.do_without_pam_keyinit();
            let poking = siege.begins(&["hostile-user", "poke"]);
            for _ in 0..4 {
                siege.sessions();
            }
            // A program that becomes the user is theirs only when it is another program.
            siege.configure("issuer = \"schedd\"");
            for _ in 0..3 {
                siege.logs_in("true");
            }
            assert_eq!(poking.stop(), 0, "so often it worked");
        },
    ),
    Host(
        "the user's own part of sshd is stopped and killed",
        |siege| {
            for signals in [
                &["KILL"][..],
                &["STOP", "KILL"],
                &["TERM"],
                &["HUP"],
                &["SEGV"],
            ] {
                let session = siege.mallory().stay();
                for signal in signals {
                    siege.may_do(&format!("pkill -{signal} -u mallory sshd"));
                }
                drop(session);
                siege.nothing_is_left();
            }
        },
    ),
    Host("condor_token_fetch is stopped by its user", |siege| {
        fetching(siege, "STOP");
    }),
    Host("condor_token_fetch is killed by its user", |siege| {
        fetching(siege, "KILL");
    }),
    Host("logins are broken off at any moment", broken_off),
    Host("twenty logins at once hold up nobody", |siege| {
        let many: Vec<Child> = (0..20).map(|_| login(siege, "true")).collect();
        siege.ssh("dave").run("true").must();
        for mut login in many {
            assert!(login.wait().unwrap().success());
        }
        siege.pool().wait_for_tokens("dave", 0);
        siege.host().sh("rm -rf /home/dave/.condor");
        siege.nothing_is_left();
    }),
];

fn login(siege: &Siege, command: &str) -> Child {
    let mut client = siege.mallory().command(60);
    client
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    client.spawn().unwrap()
}

/// The program that asks the schedd runs as the user, so they may do with it what they like.
fn fetching(siege: &Siege, signal: &str) {
    siege.configure("issuer = \"schedd\"");
    let script = format!(
        "echo begun; while ! read -t 0; do pkill -{signal} -u mallory condor_token_f; done; echo 1"
    );
    let hunter = siege.begins(&["bash", "-c", &script]);
    for _ in 0..3 {
        siege.logs_in("true");
    }
    hunter.stop();
    siege.may_do("pkill -KILL -u mallory condor_token_f");
    siege.nothing_is_left();
}

fn broken_off(siege: &Siege) {
    for round in 0..30 {
        let mut client = login(siege, "sleep 1");
        std::thread::sleep(Duration::from_millis(20 * round));
        let pid = Pid::from_raw(client.id().cast_signed());
        kill(pid, Signal::SIGTERM).unwrap();
        client.wait().unwrap();
    }
    let end = Instant::now() + Duration::from_secs(10);
    while !siege.host().processes("sshd-session: mallory").is_empty() {
        assert!(Instant::now() < end, "sshd does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    siege.reconcile();
    siege.nothing_is_left();
}
