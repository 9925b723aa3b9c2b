//! Modes, access lists, flags and file systems without room.

use std::process::Command;

use pam_idtoken_tests::command::run;

use crate::attack::Attack::{self, Host};
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Host(
        "home, .condor and tokens.d are open to everybody",
        |siege| {
            stays_private(
                siege,
                "mkdir -p .condor/tokens.d; chmod 7777 . .condor .condor/tokens.d",
            );
        },
    ),
    Host("an access list of tokens.d lets another in", |siege| {
        let script = "mkdir -p .condor/tokens.d; chmod 777 . .condor; \
                      hostile-user allow .condor/tokens.d $(id -u bob)";
        stays_private(siege, script);
    }),
    Host("tokens.d can not be changed by anybody", |siege| {
        flagged(siege, "+i");
    }),
    Host("tokens.d can only be added to", |siege| {
        flagged(siege, "+a");
    }),
    Host("the file system of the home is full", full),
];

/// Another user sees the token's name and not what is in it.
#[track_caller]
fn stays_private(siege: &Siege, script: &str) {
    siege.does(script);
    let session = siege.mallory().stay();
    for renewed in [false, true] {
        if renewed {
            siege.renew();
        }
        let dir = "/home/mallory/.condor/tokens.d";
        let sees =
            format!("cd {dir}; t=$(echo 0-session-*); [ -f $t ] && ! cat $t && ! sh -c \">>$t\"");
        let bob = siege
            .host()
            .run(&["runuser", "-u", "bob", "--", "sh", "-c", &sees]);
        assert!(bob.ok, "{}", bob.all());
        let mode = siege.host().sh(&format!("stat -c %a:%U {dir}/0-session-*"));
        assert_eq!(mode, "600:mallory\n");
    }
    session.end();
    siege.nothing_is_left();
    siege.sessions();
}

/// Flags that root alone can set: before the login, and during a session.
fn flagged(siege: &Siege, flag: &str) {
    let dir = siege.pool().home("mallory").join(".condor/tokens.d");
    let set = |flag: &str| {
        let said = run(Command::new("chattr").arg(flag).arg(&dir));
        assert!(said.ok, "{}", said.all());
    };
    let off = flag.replace('+', "-");
    siege.does("mkdir -p .condor/tokens.d");
    set(flag);
    siege.sessions();
    set(&off);
    let session = siege.mallory().stay();
    set(flag);
    siege.renew();
    session.end();
    set(&off);
    siege.reconcile();
    siege.nothing_is_left();
}

fn full(siege: &Siege) {
    siege.does("mkdir .condor");
    siege
        .host()
        .sh("mount -t tmpfs -o size=64k,mode=700,uid=3000 none /home/mallory/.condor");
    siege.does("mkdir .condor/tokens.d; cat /dev/zero >.condor/all 2>/dev/null || true");
    siege.sessions();
    // It fills up while a session is open.
    siege.does("rm .condor/all");
    let session = siege.mallory().stay();
    siege.does("cat /dev/zero >.condor/all 2>/dev/null || true");
    siege.renew();
    session.end();
    siege.reconcile();
    siege.nothing_is_left();
}
