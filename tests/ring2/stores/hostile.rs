//! What a user may put into their private store.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pam_idtoken_tests::host::Step::{Close, Open, Sh, Snapshot, Start};
use pam_idtoken_tests::host::lab::{ALICE, names};

use super::{END, Stores};
use crate::Test::{self, Root};
use crate::{PAM_SUCCESS, line};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "whatever a user puts into their private store goes, and nothing elsewhere",
        hostile,
    ),
    Root(
        "what is mounted on a private store does not keep it",
        mounted,
    ),
];

/// Root's, which alice may list and read.
fn precious(stores: &Stores) -> PathBuf {
    let roots = stores.lab.path("roots");
    fs::create_dir_all(roots.join("inner")).unwrap();
    for name in ["precious", "inner/precious"] {
        fs::write(roots.join(name), "precious").unwrap();
    }
    roots
}

#[track_caller]
fn is_untouched(roots: &Path) {
    assert_eq!(names(roots), ["inner", "precious"]);
    assert_eq!(names(&roots.join("inner")), ["precious"]);
    assert_eq!(fs::read(roots.join("precious")).unwrap(), b"precious");
}

fn hostile() {
    let stores = Stores::private();
    let roots = precious(&stores);
    // A token of alice's own elsewhere is not what is removed either.
    fs::create_dir_all(stores.lab.tokens_d()).unwrap();
    let own = "0-session-fffffffffffffff0-ap1-0000000000000001";
    fs::write(stores.lab.tokens_d().join(own), "hers").unwrap();
    symlink(&roots, stores.lab.path("home/alice/link")).unwrap();
    let script = format!(
        "set -e; t=$(echo 0-session-*); mkdir -p a/b/c .hidden/d; mv $t a/b/c; \
         ln -s {roots}/precious $t; ln -s {roots} dir; ln -s {roots} {own}; mkfifo fifo; \
         ln -s {home} .{own}; ln -s . self; ln -s ../.. up; echo x >a/b/c/x; ln a/b/c/x hard; \
         ln -s {roots} a/b/dir; chmod 000 a/b/c/x a/b/c a/b a .hidden/d; \
         i=0; while [ $i -lt 40 ]; do mkdir deep; cd deep; i=$((i+1)); done; mkfifo f; \
         chmod 311 ..; chmod 000 .; echo made",
        roots = roots.display(),
        home = stores.lab.tokens_d().display(),
    );
    let steps = [
        Start,
        Snapshot,
        Open(0),
        stores.in_store(ALICE, &script),
        stores.in_store(ALICE, "chmod 000 .; echo closed"),
        Close,
        Snapshot,
        END,
    ];
    let seen = stores.lab.run(&steps);
    assert_eq!(seen.answers.shell, ["made\n", "closed\n"]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    line(&seen.log, "token closed");
    assert_eq!(seen.answers.snapshots[0], seen.answers.snapshots[1]);
    stores.nothing_is_left();
    is_untouched(&roots);
    assert_eq!(stores.lab.tokens(), [own]);
}

fn mounted() {
    for place in ["m", "deep/er", "."] {
        let stores = Stores::private();
        let roots = precious(&stores);
        let run = stores.lab.path("run/tokens").display().to_string();
        // As root, since users of every host can not; FUSE lets them.
        let mount = format!(
            "cd {run}/*/ && mkdir -p deep/er m && chown -R {ALICE} deep m && touch m/x && \
             mount -t tmpfs none {place} && cd {run}/*/{place} && mkdir bound && \
             mount --bind {} bound && ls bound",
            roots.display()
        );
        let left = Sh(format!("grep -c {run}/ /proc/self/mounts; ls {run}"));
        let seen = stores.lab.run(&[Open(0), Sh(mount), Close, left, END]);
        assert_eq!(
            seen.answers.shell,
            ["inner\nprecious\n", "0\n"],
            "{place}: {:#?}",
            seen.log
        );
        line(&seen.log, "token closed");
        stores.nothing_is_left();
        is_untouched(&roots);
    }
}
