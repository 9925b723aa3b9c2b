//! What is put in place of a token between its session's opening, its renewal and its end.

use crate::attack::Attack::{self, Host};
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Host("the token becomes a link to another's token", |siege| {
        replaced(
            siege,
            "rm $t; ln -s $(ls /home/bob/.condor/tokens.d/0-* 2>/dev/null || echo /home/bob/secret) $t",
        );
    }),
    Host("the token becomes a link to a file of root's", |siege| {
        replaced(
            siege,
            "rm $t; ln -s /srv/vault/secret $t; ln -s /srv/vault/secret .$t",
        );
    }),
    Host(
        "the token becomes a FIFO, and so does its temporary file",
        |siege| {
            replaced(siege, "rm $t; mkfifo $t .$t");
        },
    ),
    Host(
        "the token becomes a directory, and so does its temporary file",
        |siege| {
            replaced(
                siege,
                "rm $t; mkdir -p $t/deep .$t/deep; touch $t/deep/file",
            );
        },
    ),
    Host("the token becomes a device", |siege| {
        replaced(
            siege,
            "rm $t; hostile-user whiteout $t; hostile-user whiteout .$t",
        );
    }),
    Host("the token becomes a name of another's file", |siege| {
        let session = siege.mallory().stay();
        siege.host().sh(
            "cd /home/mallory/.condor/tokens.d; t=$(ls); ln -f /home/bob/linked $t; \
             ln -f /home/bob/linked .$t",
        );
        siege.renew();
        session.end();
        siege.nothing_is_left();
    }),
    Host(
        "the token is written over, made immense and read-only",
        |siege| {
            replaced(siege, "truncate -s 1T $t; chmod 0 $t");
            replaced(siege, "echo eyJhbGciOiJub25lIn0.e30. >$t; chmod 4777 $t");
        },
    ),
    Host("tokens.d becomes a link to another's", |siege| {
        replaced(
            siege,
            "cd ..; mv tokens.d kept; ln -s /home/bob/.condor/tokens.d tokens.d",
        );
    }),
    Host("tokens.d becomes a link to root's", |siege| {
        replaced(
            siege,
            "cd ..; mv tokens.d kept; ln -s /srv/open/tokens.d tokens.d",
        );
    }),
    Host(".condor becomes a link to another's", |siege| {
        replaced(
            siege,
            "cd; mv .condor kept; ln -s /home/bob/.condor .condor",
        );
    }),
    Host(".condor is removed with all that is in it", |siege| {
        replaced(siege, "cd; rm -rf .condor");
        siege.nothing_is_left();
    }),
    Host(
        "the home, .condor and tokens.d are closed to their own user",
        |siege| {
            replaced(
                siege,
                "chmod 0 $t; chmod 0 ~/.condor/tokens.d; chmod 0 ~/.condor; chmod 0 ~",
            );
            siege
                .host()
                .sh("cd /home/mallory; chmod 700 . .condor .condor/tokens.d");
            siege.reconcile();
            siege.nothing_is_left();
        },
    ),
    Host(
        "tokens.d can not be written to when its session ends",
        |siege| {
            replaced(siege, "chmod 500 .");
            siege.does("chmod 700 .condor/tokens.d");
            siege.reconcile();
            siege.nothing_is_left();
        },
    ),
    Host("two tokens have each other's names", exchanged),
    Host(
        "the private store's token becomes links, FIFOs and directories",
        private,
    ),
];

/// What happens to the token of a session that is open; it is renewed and closed then.
#[track_caller]
fn replaced(siege: &Siege, script: &str) {
    let session = siege.mallory().stay();
    siege.does(&format!(
        "cd .condor/tokens.d; t=$(ls | head -n 1); {script}"
    ));
    siege.renew();
    // Another opens and closes beside it.
    siege.logs_in("true");
    session.end();
    siege.reconcile();
}

fn exchanged(siege: &Siege) {
    let (first, second) = (siege.mallory().stay(), siege.mallory().stay());
    siege.does("cd .condor/tokens.d; set -- *; mv $1 a; mv $2 $1; mv a $2");
    first.end();
    siege.renew();
    // The one that lives has a token yet.
    siege.pool().wait_for_tokens("mallory", 1);
    second.end();
    siege.nothing_is_left();
}

fn private(siege: &Siege) {
    siege.does("touch .condor");
    for script in [
        "rm $t; ln -s /srv/vault/secret $t; ln -s /srv/vault/secret .$t",
        "rm $t; mkfifo $t .$t",
        "rm $t; mkdir -p $t/deep .$t/deep",
        "ln -s /srv/vault a; ln -s /home/bob b; ln -s .. up; ln -s . self; chmod 0 .",
        "rm -rf ./*; hostile-user whiteout $t; chmod 777 .",
    ] {
        let session = siege.mallory().stay();
        siege.does_in_private(&format!("t=$(echo 0-session-*); {script}"));
        siege.renew();
        session.end();
        siege.reconcile();
        siege.nothing_is_left();
    }
}
