//! What leads somewhere changes all the while sessions open, are renewed and close.

use pam_idtoken_tests::host::Step::Rounds;
use std::time::Duration;

use crate::attack::Attack::{self, Cell as InCell, Host};
use crate::cell::Cell;
use crate::mischief::Mischief;
use crate::score;
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Host(
        ".condor is swapped for links, FIFOs and directories all the while",
        |siege| {
            siege.does(
                "mkdir -p .condor/tokens.d c4; ln -s /srv/vault c1; ln -s /home/bob/.condor c2; \
                    mkfifo c3; ln -s /srv/open c5; ln -s /proc/self/cwd c6",
            );
            race(
                siege,
                siege.begins(&[
                    "sh",
                    "-c",
                    "cd; exec hostile-user exchange .condor c1 c2 c3 c4 c5 c6",
                ]),
            );
        },
    ),
    Host(
        "tokens.d is swapped for links, FIFOs and directories all the while",
        |siege| {
            siege.does(
                "mkdir -p .condor/tokens.d d4; ln -s /srv/vault/tokens.d d1
             ln -s /home/bob/.condor/tokens.d d2; mkfifo d3; ln -s /srv/open/tokens.d d5
             ln -s /proc/thread-self/fd d6; ln -s /run/pam_idtoken/tokens d7",
            );
            race(
                siege,
                siege.begins(&[
                    "sh",
                    "-c",
                    "cd; exec hostile-user exchange .condor/tokens.d d1 d2 d3 d4 d5 d6 d7",
                ]),
            );
        },
    ),
    Host(
        "the token and its temporary file are swapped all the while",
        |siege| {
            siege.does(
                "mkdir -p .condor/tokens.d decoys/d/d; cd decoys; ln -s /home/bob/secret a
             mkfifo b; ln -s /srv/vault/secret c; echo no token >e; hostile-user whiteout f",
            );
            race(
                siege,
                siege.begins(&[
                    "sh",
                    "-c",
                    "cd; exec hostile-user displace .condor/tokens.d decoys",
                ]),
            );
        },
    ),
    Host(
        "the token of the private store is swapped all the while",
        |siege| {
            siege.does("touch .condor; mkdir -p decoys");
            let session = siege.mallory().lasting(600).stay();
            let store = &siege.private_stores()[0];
            siege.does_in_private(
                "mkdir .decoys; cd .decoys; ln -s /srv/vault/secret a; mkfifo b; mkdir d
                 ln -s /home/bob/.condor/tokens.d/own e",
            );
            let racer = siege.begins(&[
                "hostile-user",
                "displace",
                store,
                &format!("{store}/.decoys"),
            ]);
            race(siege, racer);
            session.end();
        },
    ),
    Host(
        "every file of the module's becomes a link as soon as it is there",
        |siege| {
            siege.does("mkdir -p .condor/tokens.d");
            let racer = siege.begins(&[
                "hostile-user",
                "react",
                "/home/mallory/.condor/tokens.d",
                "/srv/vault/secret",
            ]);
            sessions(siege);
            assert!(racer.stop() > 0, "it was never fast enough");
        },
    ),
    InCell(
        ".condor is swapped while hundreds of sessions open and close",
        |cell| {
            cell.does("mkdir -p .condor/tokens.d c3; ln -s ../../vault c1; ln -s ../bob/.condor c2; mkfifo c4");
            many(cell, &["exchange", ".condor", "c1", "c2", "c3", "c4"]);
        },
    ),
    InCell(
        "tokens.d is swapped while hundreds of sessions open and close",
        |cell| {
            cell.does(
                "mkdir -p .condor/tokens.d d3; ln -s ../../../vault/tokens.d d1; \
                   ln -s ../../bob/.condor/tokens.d d2; mkfifo d4; ln -s /proc/self/fd d5",
            );
            many(
                cell,
                &["exchange", ".condor/tokens.d", "d1", "d2", "d3", "d4", "d5"],
            );
        },
    ),
    InCell(
        "tokens are swapped while hundreds of sessions open and close",
        |cell| {
            cell.does(
                "mkdir -p .condor/tokens.d decoys/d; cd decoys; ln -s ../../../bob/secret a; \
                   ln -s ../../../../vault/secret b; mkfifo c; echo no token >e",
            );
            many(cell, &["displace", ".condor/tokens.d", "decoys"]);
        },
    ),
];

/// Each race has at least so many swaps.
const SWAPS: usize = 100_000;

/// How often sessions open, are renewed and close while names are swapped; `HOSTILE_ROUNDS`, or else
/// few enough for a quick run.
fn rounds() -> usize {
    let said = std::env::var("HOSTILE_ROUNDS").ok();
    said.map_or(3, |rounds| {
        rounds.parse().expect("HOSTILE_ROUNDS is no number")
    })
}

fn sessions(siege: &Siege) {
    for _ in 0..rounds() {
        siege.sessions();
    }
}

fn race(siege: &Siege, mut racer: Mischief) {
    sessions(siege);
    while racer.goes_on_below(SWAPS) {
        siege.sessions();
    }
    score::swaps(racer.stop());
}

/// System calls take their time here, so that every step meets a swap.
fn many(cell: &Cell, racer: &[&str]) {
    cell.lab.delay(Duration::from_micros(300));
    let mut racer = cell.begins(racer);
    let mut left = rounds();
    while left > 0 || racer.goes_on_below(SWAPS) {
        left = left.saturating_sub(1);
        let count = 50;
        // What the attacker left of the tokens says nothing here, and root is not to follow links.
        cell.lab.run(&[Rounds(count, cell.lab.path("nowhere"))]);
        cell.lab.tool(&["reconcile"]);
        score::sessions(count, Duration::ZERO);
    }
    score::swaps(racer.stop());
    cell.lab.delay(Duration::ZERO);
}
