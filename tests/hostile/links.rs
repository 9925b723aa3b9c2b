//! What is in the way when a session opens: links out of the home, and what is no directory or no
//! file at all.

use crate::attack::Attack::{self, Host, Planted};
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Planted(
        ".condor leads to a directory of root's",
        "ln -s /srv/vault .condor",
    ),
    Planted(
        ".condor leads to another user's",
        "ln -s /home/bob/.condor .condor",
    ),
    Planted(
        "tokens.d leads to another user's",
        "mkdir .condor; ln -s /home/bob/.condor/tokens.d .condor/tokens.d",
    ),
    Planted(
        "tokens.d leads to a directory of root's with dead tokens",
        "mkdir .condor; ln -s /srv/open/tokens.d .condor/tokens.d",
    ),
    Planted(
        "tokens.d leads to the private stores",
        "mkdir .condor; ln -s /run/pam_idtoken/tokens .condor/tokens.d",
    ),
    Planted(
        "tokens.d leads to the records",
        "mkdir .condor; ln -s /var/lib/pam_idtoken/sessions/3000 .condor/tokens.d",
    ),
    Planted(
        "tokens.d leads to the signing keys",
        "mkdir .condor; ln -s /etc/condor/passwords.d .condor/tokens.d",
    ),
    Planted(
        ".condor leads where the process of the module is",
        "mkdir c; ln -s /proc/self/cwd .condor",
    ),
    Planted(
        ".condor leads into the process of the module",
        "ln -s /proc/self .condor",
    ),
    Planted(
        "tokens.d leads to what the module has open",
        "mkdir .condor; ln -s /proc/thread-self/fd .condor/tokens.d",
    ),
    Host(
        "tokens.d leads to a directory that the module has open",
        open_directories,
    ),
    Planted(
        "tokens.d leads to root's by the process of the module",
        "mkdir .condor; ln -s /proc/self/root/srv/vault/tokens.d .condor/tokens.d",
    ),
    Planted(
        "links lead to each other",
        "ln -s b .condor; ln -s .condor b",
    ),
    Planted(
        "forty links lead to one another, and the last to root's",
        "ln -s /srv/vault l0; for i in $(seq 39); do ln -s l$((i-1)) l$i; done; ln -s l39 .condor",
    ),
    Planted(
        ".condor is a link of 4,095 bytes",
        "ln -s $(head -c 4095 /dev/zero | tr '\\0' /) .condor",
    ),
    Planted(".condor is a file", "echo mine >.condor"),
    Planted(".condor is a FIFO", "mkfifo .condor"),
    Planted(
        "tokens.d is a FIFO",
        "mkdir .condor; mkfifo .condor/tokens.d",
    ),
    Planted(
        ".condor is a socket that nobody listens on",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\".condor\")'",
    ),
    Planted(".condor is a device", "hostile-user whiteout .condor"),
    Planted(
        "tokens.d is a device",
        "mkdir .condor; hostile-user whiteout .condor/tokens.d",
    ),
    Planted(
        "tokens.d leads to a terminal, zeros without end and a full device",
        "mkdir -p .condor/tokens.d; cd .condor/tokens.d; ln -s /dev/tty a; ln -s /dev/zero b
         ln -s /dev/full 0-session-fffffffffffffff0-ap1-0000000000000001
         ln -s /dev/zero 0-session-fffffffffffffff1-ap1-0000000000000002",
    ),
    Planted(
        "dead tokens are links to others' files",
        "mkdir -p .condor/tokens.d; cd .condor/tokens.d
         ln -s /home/bob/secret 0-session-fffffffffffffff0-ap1-0000000000000001
         ln -s /srv/vault/secret .0-session-fffffffffffffff1-ap1-0000000000000002
         ln -s /home/bob/.condor/tokens.d/own own; ln -s /srv/open/secret other",
    ),
    Planted(
        "dead tokens are FIFOs, sockets, devices and directories",
        "mkdir -p .condor/tokens.d; cd .condor/tokens.d
         mkfifo 0-session-fffffffffffffff0-ap1-0000000000000001
         mkdir -p 0-session-fffffffffffffff1-ap1-0000000000000002/deep
         hostile-user whiteout 0-session-fffffffffffffff2-ap1-0000000000000003
         mkfifo .0-session-fffffffffffffff3-ap1-0000000000000004; mkfifo own
         mkdir .0-session-fffffffffffffff4-ap1-0000000000000005
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(
             \"0-session-fffffffffffffff5-ap1-0000000000000006\")'",
    ),
    Host("dead tokens are names of others' files", hard_links),
];

/// Whatever the numbers are: each of the descriptors that sshd and the tool may have.
fn open_directories(siege: &Siege) {
    for number in [3, 4, 5, 6, 7, 8, 9, 10, 11, 12] {
        siege.does(&format!(
            "rm -rf .condor; mkdir .condor; ln -s /proc/self/fd/{number} .condor/tokens.d"
        ));
        siege.logs_in("true");
    }
    siege.renew();
}

/// As if the kernel let them: those of a file server may.
fn hard_links(siege: &Siege) {
    siege.does("mkdir -p .condor/tokens.d");
    siege
        .host()
        .sh("cd /home/mallory/.condor/tokens.d; ln /home/bob/linked \
             0-session-fffffffffffffff0-ap1-0000000000000001
         ln /home/bob/linked .0-session-fffffffffffffff1-ap1-0000000000000002
         ln /home/bob/linked own; ln /home/bob/linked .0-session-now");
    siege.sessions();
    siege.renew();
}
