//! Users that are not as users are: strange names, shared ids, homes that are elsewhere.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pam_idtoken_tests::host::Step::{self, Close, End, Open, Start, User};
use pam_idtoken_tests::host::lab::{ALICE, names};

use crate::attack::Attack::{self, Cell as InCell, Host};
use crate::cell::Cell;
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    InCell(
        "names have `@`, `\\`, `/`, `..`, blanks and what shells take for commands",
        |cell| {
            let names: [&[u8]; 14] = [
                b"a@lab.test",
                b"LAB\\a",
                b"a/b",
                b"../../etc/a",
                b"..",
                b".",
                b"/",
                b"a b",
                b"-rf",
                b"$(reboot)",
                b"%n%s",
                b"a\tb",
                b"a\x1b[2J",
                b"a'\"`",
            ];
            named(cell, &names);
        },
    ),
    InCell(
        "names have 256 bytes or more, and names are not UTF-8",
        |cell| {
            let (long, longest) = (b"n".repeat(256), b"n".repeat(4000));
            named(
                cell,
                &[
                    &long,
                    &longest,
                    b"\xff\xfe",
                    b"a\xc3",
                    b"\xe2\x80\xae",
                    "\u{e9}".as_bytes(),
                ],
            );
        },
    ),
    InCell("names are in no user database, or of nobody", |cell| {
        for name in [
            &b""[..],
            b"nobody\nroot",
            b"bob\n",
            b"root\0",
            b" root",
            b"\xff",
        ] {
            let name = name.split(|b| *b == 0).next().unwrap();
            cell.run("alice", &session(name));
        }
        cell.nothing_is_left();
    }),
    InCell(
        "names are those of HTCondor's own identities in other spellings",
        |cell| {
            let names: [&[u8]; 7] = [
                b"CONDOR",
                b"condor@lab.test",
                b"LAB\\condor_pool",
                b"Root",
                b"ROOT@x",
                b"condor_pool",
                b"x\\y\\condor@z@w",
            ];
            for (name, home) in accounts(cell, &names) {
                cell.run("alice", &session(&name));
                assert!(
                    !home.join(".condor").exists(),
                    "{} was served",
                    String::from_utf8_lossy(&name)
                );
            }
            cell.nothing_is_left();
        },
    ),
    InCell(
        "homes are /, root's, another's, a process's, not absolute and not there",
        homes,
    ),
    InCell("the home is another's between open and close", |cell| {
        moved(cell, "home/bob");
    }),
    InCell("the home is root's between open and close", |cell| {
        moved(cell, "vault");
    }),
    InCell("the uid is another's between open and close", |cell| {
        let running = cell.lab.stay("alice", &[Open(0)]);
        fs::create_dir(cell.lab.path("home/theirs/eve")).unwrap();
        cell.lab.give("home/theirs/eve", ALICE);
        cell.lab
            .add_account(b"eve", ALICE, &cell.lab.path("home/theirs/eve"));
        cell.run("eve", &[Open(0), Close, END]);
        cell.lab.tool(&["reconcile"]);
        running.end();
        assert_eq!(cell.lab.tokens(), Vec::<String>::new());
        assert!(cell.lab.path("home/theirs/eve/.condor").exists());
        cell.nothing_is_left();
    }),
    Host("two users have one uid", twins),
];

const END: Step = End { silent: false };

fn session(name: &[u8]) -> [Step; 5] {
    [Start, User(name.to_vec()), Open(0), Close, END]
}

/// Accounts with these names, each with a home.
fn accounts(cell: &Cell, names: &[&[u8]]) -> Vec<(Vec<u8>, PathBuf)> {
    let accounts = (0..).zip(names).map(|(number, name)| {
        let (home, uid) = (format!("home/theirs/{number}"), 55_000 + number);
        fs::create_dir_all(cell.lab.path(&home)).unwrap();
        cell.lab.give(&home, uid);
        cell.lab.add_account(name, uid, &cell.lab.path(&home));
        (name.to_vec(), cell.lab.path(&home))
    });
    accounts.collect()
}

/// They log in like others, whether they get a token or not.
fn named(cell: &Cell, names: &[&[u8]]) {
    for (name, home) in accounts(cell, names) {
        let seen = cell.run("alice", &session(&name));
        assert!(!seen.log.is_empty(), "{name:?} passed without a word");
        let left = names_in(&home.join(".condor/tokens.d"));
        assert_eq!(left, Vec::<String>::new(), "{name:?}");
    }
    cell.nothing_is_left();
}

fn names_in(dir: &Path) -> Vec<String> {
    names(dir)
}

fn homes(cell: &Cell) {
    let long = format!("/{}", "d/".repeat(2000));
    let homes: [&[u8]; 13] = [
        b"/",
        b"/root",
        b"/etc",
        b"/proc/self/cwd",
        b"/proc/self/root",
        b"/proc/self/fd",
        b"/dev",
        b"",
        b".",
        b"home",
        b"/no/such/home",
        b"/h\xff",
        long.as_bytes(),
    ];
    let own = [
        "vault",
        "home/bob",
        "home/alice/../bob",
        "state",
        "run/tokens",
    ];
    let own = own.map(|path| cell.lab.path(path).into_os_string());
    let homes = homes
        .into_iter()
        .chain(own.iter().map(|path| path.as_bytes()));
    for home in homes {
        let home = Path::new(std::ffi::OsStr::from_bytes(home));
        cell.lab.add_account(b"eve", ALICE, home);
        cell.run("eve", &[Open(0), Close, END]);
    }
    let link = cell.lab.path("home/theirs/link");
    std::os::unix::fs::symlink(cell.lab.path("vault"), &link).unwrap();
    cell.lab.add_account(b"eve", ALICE, &link);
    cell.run("eve", &[Open(0), Close, END]);
    cell.nothing_is_left();
}

/// The token goes where it was put, whatever the user database says by then.
fn moved(cell: &Cell, to: &str) {
    let running = cell.lab.stay("alice", &[Open(0)]);
    assert_eq!(cell.lab.tokens().len(), 1);
    cell.lab.add_account(b"alice", ALICE, &cell.lab.path(to));
    cell.lab.tool(&["reconcile"]);
    running.end();
    assert_eq!(cell.lab.tokens(), Vec::<String>::new());
    cell.nothing_is_left();
}

fn twins(siege: &Siege) {
    for is_first in [true, false] {
        let (one, other) = (siege.mallory().stay(), siege.ssh("twin").stay());
        siege.renew();
        siege.pool().wait_for_tokens("mallory", 1);
        siege.pool().wait_for_tokens("twin", 1);
        let said = siege
            .host()
            .sh("idtokenctl verify /home/twin/.condor/tokens.d/0-session-*");
        assert!(said.contains("sub   twin@"), "{said}");
        let (ends, stays, user) = if is_first {
            (one, other, "twin")
        } else {
            (other, one, "mallory")
        };
        ends.end();
        siege
            .pool()
            .wait_for_tokens(if is_first { "mallory" } else { "twin" }, 0);
        siege.logs_in("true");
        siege.ssh("twin").run("true").must();
        siege.renew();
        siege.pool().wait_for_tokens(user, 1);
        stays.end();
        siege.pool().wait_for_tokens(user, 0);
    }
    siege.nothing_is_left();
}
