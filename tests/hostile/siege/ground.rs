//! What is on the host: root's and others' files to be had, and what no attack may change.

use pam_idtoken_tests::pool::Host;

use super::MALLORY;
use crate::manifest::{Depth, Trees};

/// What is root's alone, and a directory of root's with names of tokens that anybody may list.
pub(super) const VAULT: &str = "
    umask 077; mkdir -p /srv/vault/tokens.d /srv/open/tokens.d
    echo canary-of-roots >/srv/vault/secret; cp /srv/vault/secret /srv/open/secret
    chmod 755 /srv/open /srv/open/tokens.d
    echo canary-of-bobs >/home/bob/secret; chown bob:bob /home/bob/secret
    echo a file of bobs >/home/bob/linked; ln /home/bob/linked /home/bob/linked-too
    chown bob:bob /home/bob/linked
    runuser -u bob -- sh -c 'mkdir -p ~/.condor/tokens.d && echo canary-of-bobs >~/.condor/tokens.d/own'";

/// Tokens of hosts that are dead: whoever could would remove them.
pub(super) const BAIT: &str = "
    for dir in /srv/vault/tokens.d /srv/open/tokens.d; do
        for name in 0-session-fffffffffffffff0-ap1-0000000000000001 \
            .0-session-fffffffffffffff1-ap1-0000000000000002 own; do
            echo canary-of-roots >$dir/$name; touch -d 2001-01-01 $dir/$name
        done
    done";

pub(super) const CANARIES: &[&str] = &[
    "/srv/vault",
    "/srv/vault/secret",
    "/srv/vault/tokens.d",
    "/srv/open/secret",
    "/srv/open/tokens.d/0-session-fffffffffffffff0-ap1-0000000000000001",
    "/srv/open/tokens.d/.0-session-fffffffffffffff1-ap1-0000000000000002",
    "/srv/open/tokens.d/own",
    "/home/bob/secret",
    "/home/bob/.condor/tokens.d/own",
];

pub(super) fn installed(host: &Host) -> Trees {
    Trees {
        root: host.root(),
        roots: vec![("/usr", Depth::Times)],
        ..Trees::default()
    }
}

/// What no attack may change.
pub(super) fn trees(host: &Host) -> Trees {
    let sessions = format!("/var/lib/pam_idtoken/sessions/{MALLORY}");
    let daves = host.sh("id -u dave");
    let daves = format!("/var/lib/pam_idtoken/sessions/{}", daves.trim());
    let theirs = [
        "/home/mallory",
        "/home/twin",
        &sessions,
        // Who logs in beside them now and then.
        "/home/dave",
        &daves,
        // Which is appended to.
        "/var/lib/pam_idtoken/audit.jsonl",
        "/run/pam_idtoken/reconciled",
        "/run/pam_idtoken/htcondor*",
        "/run/pam_idtoken/complaints",
        // Private stores are made and go; what is there at the end is seen.
        "/run/pam_idtoken/tokens/-",
    ];
    Trees {
        root: host.root(),
        roots: [
            "/etc",
            "/root",
            "/srv",
            "/home",
            "/var/lib/pam_idtoken",
            "/run/pam_idtoken",
        ]
        .map(|root| (root, Depth::Contents))
        .into(),
        theirs: theirs.map(str::to_owned).into(),
        put_back: vec!["/etc/security/pam_idtoken.toml", "/etc/pam.d/sshd"],
    }
}
