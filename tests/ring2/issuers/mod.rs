//! The schedd signs: condor_token_fetch is run, which here is a script.

pub(crate) mod answers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use pam_idtoken_tests::host::Step::{self, Close, End, Open, Reaping, Start};
use pam_idtoken_tests::host::lab::ALICE;
use pam_idtoken_tests::host::{Lab, Who};

use crate::Test::{self, Both, Root};
use crate::tokens::{Asked, now};
use crate::{line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Both(
        "a schedd's token is the session's, and a newer one takes its place",
        taken_and_renewed,
    ),
    Root(
        "the schedd is asked as the user, with nothing of the host's",
        as_the_user,
    ),
    Root(
        "a host that waits for all of its children finds its own and no other",
        reaping,
    ),
    Both(
        "auto is the key if it can be read, else the schedd, and names both reasons",
        auto,
    ),
];

const END: Step = End { silent: false };

/// A lab whose tokens come from this script, which has its time; `$answer` is a good token.
fn lab(who: Who, script: &str, more: &str) -> Lab {
    let lab = patient_lab(who, script, &format!("timeout = \"20s\"\n{more}"));
    answer(&lab, &Asked::default().token(&lab));
    lab
}

/// The same that waits for it as long as it may.
pub(crate) fn patient_lab(who: Who, script: &str, more: &str) -> Lab {
    let lab = Lab::new(who);
    // Runs of many sessions take their time.
    answer(&lab, &Asked::default().expires(now() + 1800).token(&lab));
    fetch(&lab, script);
    lab.configure(&format!(
        "issuer = \"schedd\"\ncondor_token_fetch = {:?}\n{more}",
        program(&lab)
    ));
    lab
}

fn program(lab: &Lab) -> PathBuf {
    lab.path("bin/condor_token_fetch")
}

fn fetch(lab: &Lab, script: &str) {
    let answer = lab.path("tmp/answer");
    let text = format!("answer={}\n{script}", answer.display());
    lab.script("condor_token_fetch", &text);
}

fn answer(lab: &Lab, token: &str) {
    let path = lab.path("tmp/answer");
    fs::write(&path, format!("{token}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// The schedd signs with the key that the lab has now.
pub(crate) fn answer_anew(lab: &Lab) {
    answer(lab, &Asked::default().token(lab));
}

fn in_home(lab: &Lab) -> String {
    fs::read_to_string(lab.tokens_d().join(&lab.tokens()[0])).unwrap()
}

fn answered(lab: &Lab) -> String {
    fs::read_to_string(lab.path("tmp/answer")).unwrap()
}

fn taken_and_renewed(who: Who) {
    let lab = lab(who, "cat $answer", "");
    let session = lab.stay("alice", &[Open(0)]);
    let first = in_home(&lab);
    assert_eq!(first, answered(&lab));
    answer(&lab, &Asked::default().token(&lab));
    lab.tool(&["reconcile"]).must();
    assert_eq!(in_home(&lab), first, "renewed for no reason");
    // What the schedd signs with is another key now.
    fs::write(lab.path("keys/POOL"), "the next key").unwrap();
    answer(&lab, &Asked::default().expires(now() + 4).token(&lab));
    let said = lab.tool(&["reconcile"]).must().stdout;
    assert!(said.contains("renewed: alice"), "{said}");
    assert_eq!(in_home(&lab), answered(&lab));
    // A schedd that has gone takes no token away.
    fetch(&lab, "exit 1");
    std::thread::sleep(Duration::from_millis(2100));
    let said = lab.tool(&["reconcile"]);
    assert_eq!(said.code, Some(3), "{}", said.all());
    assert_eq!(in_home(&lab), answered(&lab));
    fetch(&lab, "cat $answer");
    answer(&lab, &Asked::default().token(&lab));
    let said = lab.tool(&["reconcile"]).must().stdout;
    assert!(said.contains("half of its life is over"), "{said}");
    assert_eq!(in_home(&lab), answered(&lab));
    session.end();
    nothing_is_left(&lab);
}

fn as_the_user() {
    let script = "exec 3>>${answer%answer}seen
        grep -E '^(Uid|Gid|Groups|Cap...|Umask|Sig(Blk|Ign)):' /proc/self/status >&3
        env | grep -v ^PWD= | sort >&3; pwd >&3
        echo $* >&3; exec 3>&-; ls -l /proc/self/fd | sed 's/.* \\([0-9] -> \\)/\\1/' \
        >>${answer%answer}streams; cat $answer";
    let lab = lab(
        Who::Root,
        script,
        "lifetime = \"10m\"\nscope = [\"READ\", \"WRITE\"]\nkid = \"POOL\"\nschedd_name = \"s\"\n",
    );
    answer(&lab, &Asked::default().scope("READ").token(&lab));
    let session = lab.stay("alice", &[Step::Env("SECRET".into(), "x".into()), Open(0)]);
    let seen = || fs::read_to_string(lab.path("tmp/seen")).unwrap();
    let none = "0000000000000000";
    let ids = [ALICE; 4].map(|id| format!("\t{id}")).concat();
    let bound = seen();
    let bound = bound.lines().find(|line| line.starts_with("CapBnd"));
    let expected = format!(
        "Umask:\t0077\nUid:{ids}\nGid:{ids}\nGroups:\t{ALICE} 54400 \nSigBlk:\t{none}\n\
         SigIgn:\t{none}\nCapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\n{}\nCapAmb:\t{none}\n\
         HOME={}\nPATH=/usr/bin:/bin\nUSER=alice\n/\n\
         -lifetime 600 -name s -key POOL -authz READ -authz WRITE\n",
        bound.unwrap(),
        lab.path("home/alice").display()
    );
    assert_eq!(seen(), expected);
    // A renewal goes the same way.
    fs::write(lab.path("keys/POOL"), "the next key").unwrap();
    lab.tool(&["reconcile"]).must();
    assert_eq!(seen(), expected.repeat(2));
    session.end();
    let streams = fs::read_to_string(lab.path("tmp/streams")).unwrap();
    let streams: Vec<&str> = streams
        .lines()
        .filter(|line| line.contains(" -> "))
        .collect();
    // The last is the directory that ls(1) reads.
    assert_eq!(streams.len(), 8, "{streams:?}");
    assert_eq!(streams[0], "0 -> /dev/null");
    assert!(streams[2].starts_with("2 -> pipe:["), "{streams:?}");
    assert!(streams[3].starts_with("3 -> /proc/"), "{streams:?}");
    nothing_is_left(&lab);
}

fn reaping() {
    let lab = lab(Who::Root, "sleep 0.2; cat $answer", "");
    let seen = lab.run(&[Start, Reaping(vec![Open(0), Close]), END]);
    assert_eq!(seen.answers.shell, ["its own"]);
    line(&seen.log, "token opened");
    line(&seen.log, "token closed");
}

fn auto(who: Who) {
    let lab = lab(who, "touch ${answer%answer}ran; cat $answer", "");
    let auto = format!("condor_token_fetch = {:?}\n", program(&lab));
    lab.configure(&auto);
    let cat = || Step::Sh(format!("cat {}/*", lab.tokens_d().display()));
    let login = || lab.run(&[Open(0), cat(), Close, END]);
    let ran = lab.path("tmp/ran");
    let by_key = login().answers.shell;
    assert!(by_key[0].starts_with("eyJ") && by_key[0] != answered(&lab));
    assert!(!ran.exists(), "the schedd was asked though the key is here");
    fs::remove_file(lab.path("keys/POOL")).unwrap();
    assert_eq!(login().answers.shell, [answered(&lab)]);
    assert!(ran.exists());
    fetch(&lab, "exit 1");
    let seen = login();
    assert_eq!(seen.answers.messages.len(), 1);
    if who == Who::Root {
        let said = line(&seen.log, "no token for user=alice: ");
        let both = ["it printed no token", "keys/POOL is not there"];
        assert!(both.iter().all(|why| said.contains(why)), "{said}");
    }
    nothing_is_left(&lab);
}
