//! Homes as users have them, and as attackers make them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use nix::sys::stat::Mode;
use pam_idtoken_tests::host::Step::{Close, End, Open, Sh, Umask};
use pam_idtoken_tests::host::lab::{ALICE, BOB, names};
use pam_idtoken_tests::host::{Lab, Who};

use crate::Test::{self, Both, Root};
use crate::{PAM_SUCCESS, line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Both("modes are right whatever the host's umask", modes),
    Both(
        "a directory of tokens with five thousand files does no harm",
        crowded,
    ),
    Both(
        "files, FIFOs and directories in the way are errors",
        in_the_way,
    ),
    Both("dead tokens of ours go and a user's own stay", dead_tokens),
    Root(
        "a link to a place that is not the user's is not written through",
        link_to_root,
    ),
    Root(
        "a link to another user's directory is not written through",
        link_to_bob,
    ),
    Root(
        "a link to another place of the user's own is followed",
        link_to_own,
    ),
    Root(
        "a home that the user may not enter is an error",
        closed_home,
    ),
    Root(
        "root takes nobody's files at close, whatever the user put there",
        swapped,
    ),
    Root("state is root's alone", state_modes),
];

const END: pam_idtoken_tests::host::Step = End { silent: false };

fn modes(who: Who) {
    for mask in [0o000, 0o077, 0o777] {
        let lab = Lab::new(who);
        let home = lab.path("home/alice");
        let show = format!(
            "cd {}; stat -c %a .condor .condor/tokens.d .condor/tokens.d/*",
            home.display()
        );
        let seen = lab.run(&[
            Umask(mask),
            Open(0),
            Umask(0o022),
            Sh(show),
            Umask(mask),
            Close,
            END,
        ]);
        assert_eq!(seen.answers.shell[0], "700\n700\n600\n", "umask {mask:o}");
        nothing_is_left(&lab);
    }
}

fn crowded(who: Who) {
    let lab = Lab::new(who);
    fs::create_dir_all(lab.tokens_d()).unwrap();
    for name in ["home/alice/.condor", "home/alice/.condor/tokens.d"] {
        lab.give(name, ALICE);
    }
    for i in 0..5000 {
        fs::write(lab.tokens_d().join(format!("own-{i}")), "x").unwrap();
    }
    let seen = lab.run(&[Open(0), Close, END]);
    assert!(seen.answers.messages.is_empty(), "{:?}", seen.log);
    assert_eq!(lab.tokens().len(), 5000);
}

fn in_the_way(who: Who) {
    let lab = Lab::new(who);
    let condor = lab.path("home/alice/.condor");
    let no_token = || {
        let seen = lab.run(&[Open(0), Close, END]);
        assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
        assert_eq!(seen.answers.messages.len(), 1);
        if who == Who::Root {
            assert!(line(&seen.log, "no token for").contains("/home/alice/.condor"));
        }
        assert_eq!(lab.records(), Vec::<String>::new());
    };
    fs::write(&condor, "a file").unwrap();
    no_token();
    assert_eq!(fs::read(&condor).unwrap(), b"a file");
    fs::remove_file(&condor).unwrap();
    nix::unistd::mkfifo(&condor, Mode::S_IRWXU).unwrap();
    no_token();
    fs::remove_file(&condor).unwrap();
    symlink("no/such/place", &condor).unwrap();
    no_token();
    fs::remove_file(&condor).unwrap();
    fs::create_dir(&condor).unwrap();
    lab.give("home/alice/.condor", ALICE);
    nix::unistd::mkfifo(&condor.join("tokens.d"), Mode::S_IRWXU).unwrap();
    no_token();
}

fn dead_tokens(who: Who) {
    let lab = Lab::new(who);
    fs::create_dir_all(lab.tokens_d()).unwrap();
    for name in ["home/alice/.condor", "home/alice/.condor/tokens.d"] {
        lab.give(name, ALICE);
    }
    let garbage = "0-session-fffffffffffffff0-ap1-0000000000000001";
    let fifo = "0-session-fffffffffffffff1-ap1-0000000000000002";
    fs::write(lab.tokens_d().join(garbage), "no token").unwrap();
    nix::unistd::mkfifo(&lab.tokens_d().join(fifo), Mode::S_IRWXU).unwrap();
    fs::write(lab.tokens_d().join("mine"), "no token").unwrap();
    for name in [garbage, fifo, "mine"] {
        lab.give(&format!("home/alice/.condor/tokens.d/{name}"), ALICE);
    }
    let seen = lab.run(&[Open(0), Close, END]);
    assert!(seen.answers.messages.is_empty(), "{:#?}", seen.log);
    assert_eq!(lab.tokens(), ["mine"]);
}

/// Opens and closes with `.condor` being a link to a directory; what is there afterwards.
fn through_a_link(lab: &Lab, to: &str) -> (usize, Vec<String>) {
    symlink(lab.path(to), lab.path("home/alice/.condor")).unwrap();
    let seen = lab.run(&[Open(0), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    (seen.answers.messages.len(), names(&lab.path(to)))
}

fn link_to_root() {
    let lab = Lab::new(Who::Root);
    fs::create_dir_all(lab.path("roots/tokens.d")).unwrap();
    assert_eq!(
        through_a_link(&lab, "roots"),
        (1, vec!["tokens.d".to_owned()])
    );
    assert_eq!(names(&lab.path("roots/tokens.d")), Vec::<String>::new());
    for dir in ["roots", "roots/tokens.d"] {
        let is = fs::metadata(lab.path(dir)).unwrap();
        assert_eq!((is.mode() & 0o777, is.uid(), is.gid()), (0o755, 0, 0));
    }
    // Nor does removing follow it, to a file with the name of a token.
    let file = lab.path("roots/tokens.d/0-session-fffffffffffffff0-ap1-0000000000000001");
    fs::write(&file, "precious").unwrap();
    lab.run(&[Open(0), Close, END]);
    assert!(file.exists());
}

fn link_to_bob() {
    let lab = Lab::new(Who::Root);
    fs::create_dir_all(lab.path("home/bob/tokens.d")).unwrap();
    lab.give("home/bob/tokens.d", BOB);
    assert_eq!(
        through_a_link(&lab, "home/bob"),
        (1, vec!["tokens.d".to_owned()])
    );
    assert_eq!(names(&lab.path("home/bob/tokens.d")), Vec::<String>::new());
}

fn link_to_own() {
    let lab = Lab::new(Who::Root);
    fs::create_dir(lab.path("work")).unwrap();
    lab.give("work", ALICE);
    assert_eq!(
        through_a_link(&lab, "work"),
        (0, vec!["tokens.d".to_owned()])
    );
    assert_eq!(
        fs::metadata(lab.path("work/tokens.d")).unwrap().uid(),
        ALICE
    );
}

fn closed_home() {
    let lab = Lab::new(Who::Root);
    // Root could enter it; alice can not, and it is as alice that the module tries.
    lab.give("home/alice", 0);
    fs::set_permissions(lab.path("home/alice"), fs::Permissions::from_mode(0o700)).unwrap();
    let seen = lab.run(&[Open(0), Close, END]);
    assert_eq!(seen.answers.messages.len(), 1);
    assert!(
        line(&seen.log, "no token for").contains("Permission denied"),
        "{:#?}",
        seen.log
    );
}

fn swapped() {
    let lab = Lab::new(Who::Root);
    let roots = lab.path("roots");
    fs::create_dir(&roots).unwrap();
    // Between open and close alice replaces the directory by a link to root's, in which a
    // file of the token's very name lies.
    let script = format!(
        "cd {}; name=$(ls); echo precious >{roots}/$name; cd ..; mv tokens.d kept; ln -s {roots} tokens.d",
        lab.tokens_d().display(),
        roots = roots.display()
    );
    let seen = lab.run(&[Open(0), Sh(script), Close, END]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    assert_eq!(names(&roots).len(), 1, "root's file was taken");
    assert!(line(&seen.log, "was not taken away from user=alice").contains("Permission denied"));
    let left = lab.records();
    // The record stays until the token is gone, with a sign that nobody waits for its process.
    assert!(left.len() == 2 && left[0].contains(".ended"), "{left:?}");
}

fn state_modes() {
    let lab = Lab::new(Who::Root);
    let show = format!(
        "cd {}; find . -printf '%m %u %y\\n' | sort -u",
        lab.path("state").display()
    );
    let seen = lab.run(&[Umask(0), Open(0), Sh(show), Close, END]);
    assert_eq!(seen.answers.shell[0], "600 root f\n700 root d\n");
}
