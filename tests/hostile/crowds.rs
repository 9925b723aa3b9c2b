//! Too much of everything, and names that are not harmless to whoever prints them.

use std::time::Duration;

use crate::attack::Attack::{self, Host, Planted};
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Host("a million files are in tokens.d", million),
    Planted(
        "sixty thousand dead tokens of 64 KiB are in tokens.d",
        "mkdir -p .condor/tokens.d; cd .condor/tokens.d; python3 -c '
line = b\"eyJhbGciOiJIUzI1NiIsImtpZCI6IlBPT0wifQ.eyJpc3MiOiJsYWIudGVzdCJ9.AAAA\\n\"
first = \"0-session-%016x-ap1-%016x\" % (0, 0)
open(first, \"wb\").write(line * (65536 // len(line)))
import os
for i in range(1, 60000): os.link(first, \"0-session-%016x-ap1-%016x\" % (i, i))'",
    ),
    Planted(
        "a dead token is a file of one TiB, and another of a line without end",
        "mkdir -p .condor/tokens.d; cd .condor/tokens.d
         truncate -s 1T 0-session-fffffffffffffff0-ap1-0000000000000001
         head -c 50M /dev/zero | tr '\\0' . >0-session-fffffffffffffff1-ap1-0000000000000002
         ln -s ../../big own; truncate -s 1T ../../big",
    ),
    Host(
        "names have newlines, escape sequences, 255 bytes and no meaning",
        names,
    ),
    Host("the private store is full of trees without end", trees),
    Host(
        "directories are nested two thousand deep in tokens.d",
        |siege| {
            siege.does(
                "mkdir -p .condor/tokens.d; cd .condor/tokens.d; python3 -c '
import os
for i in range(2000): os.mkdir(\"own\"); os.chdir(\"own\")'",
            );
            siege.sessions();
            siege.does(
                "python3 -c 'import shutil, sys; sys.setrecursionlimit(9000)'; rm -rf .condor",
            );
        },
    ),
];

fn million(siege: &Siege) {
    // In memory, since a disk takes its time for so many.
    siege.does("mkdir .condor");
    siege
        .host()
        .sh("mount -t tmpfs -o nr_inodes=0,mode=700,uid=3000 none /home/mallory/.condor");
    siege.does("mkdir -p .condor/tokens.d; hostile-user crowd .condor/tokens.d 1000000");
    siege.sessions();
    let session = siege.mallory().stay();
    let check = siege
        .host()
        .run(&["timeout", "20", "idtokenctl", "check", "--user", "mallory"]);
    assert!(!check.hung(), "check: {}", check.all());
    siege.renew();
    session.end();
    siege.reconcile();
}

fn names(siege: &Siege) {
    siege.does(
        "mkdir -p .condor/tokens.d; cd .condor/tokens.d; python3 -c '
import os
token = b\"0-session-fffffffffffffff0-ap1-0000000000000001\"
for name in [b\"a\\nAug 1 00:00:00 ap1 pam_idtoken(sshd:session): token opened user=bob\",
    b\"\\x1b[2J\\x1b]0;owned\\x07\", b\"n\" * 255, b\"\\xff\\xfe\", b\"-rf\", b\"--help\", b\"$(reboot)\",
    b\"%n%s%n\", token + b\"\\n\", b\"\\n\" + token, token + b\" \", token.upper(), token[:-1],
    token.replace(b\"ap1\", b\"a\" * 200), token.replace(b\"ap1\", b\"\\x1b[2J\"), b\".\" + token + b\"\\r\",
    b\"0-session-\\xe2\\x80\\xae\", b\"0-session-\" + b\"f\" * 244]:
    open(name, \"w\").write(\"eyJ.\\x1b[2J.x\\n\" * 9)'",
    );
    siege.sessions();
    let tool = |args: &[&str]| siege.host().run(&[&["idtokenctl"], args].concat()).all();
    let session = siege.mallory().stay();
    let printed = [
        tool(&["check", "--user", "mallory"]),
        tool(&["list"]),
        tool(&["reconcile", "--dry-run"]),
        siege.renew().all(),
    ];
    session.end();
    let is_harmful = |c: char| c.is_control() && c != '\n';
    for text in printed {
        let forged = text.lines().any(|line| line.starts_with("Aug 1"));
        assert!(!forged && !text.contains(is_harmful), "{text:?}");
    }
}

fn trees(siege: &Siege) {
    siege.does("touch .condor");
    let session = siege.mallory().stay();
    siege.does_in_private(
        "python3 -c '
import os
for i in range(30000): open(\"f%d\" % i, \"w\").close()
for i in range(300):
    os.makedirs(\"t%d/a/b\" % i); os.mkfifo(\"t%d/a/b/f\" % i); os.chmod(\"t%d/a\" % i, 0)
for i in range(500): os.mkdir(\"deep\"); os.chdir(\"deep\")
os.symlink(\"/srv/vault\", \"out\")'",
    );
    siege.renew();
    session.end();
    // What does not fit into one call is left to the next.
    for _ in 0..5 {
        siege.reconcile();
        std::thread::sleep(Duration::from_millis(100));
    }
    siege.nothing_is_left();
}
