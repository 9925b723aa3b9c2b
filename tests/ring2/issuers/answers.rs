//! What the schedd's tool may do and print, and what becomes of the login then.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use pam_idtoken_tests::clock::{once_within, timed};
use pam_idtoken_tests::host::Step::{self, Close, IgnoreSigchld, Open, Snapshot, Start};
use pam_idtoken_tests::host::{Lab, Outcome, Who};

use super::{END, answer, answered, fetch, lab, patient_lab, program};
use crate::Test::{self, Root};
use crate::tokens::{Asked, now};
use crate::{PAM_SUCCESS, line, nothing_is_left, running};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "whatever else the schedd's tool does, its token is taken and nothing is left running",
        odd_and_good,
    ),
    Root(
        "an answer of the schedd's that is not the user's short-lived token is refused",
        refused,
    ),
    Root(
        "a schedd that does not answer costs its time and no more",
        silent,
    ),
    Root(
        "a schedd's tool that can not be run is named with the reason",
        not_run,
    ),
];

/// One login, by hosts of two kinds: what both saw, and that they were not disturbed.
#[track_caller]
fn logins(lab: &Lab) -> [Outcome; 2] {
    [&[][..], &[IgnoreSigchld]].map(|first| {
        let steps = [
            Start,
            Snapshot,
            Open(0),
            Snapshot,
            Step::Sh(format!("cat {}/*", lab.tokens_d().display())),
            Close,
            Snapshot,
            END,
        ];
        let started = Instant::now();
        let seen = lab.run(&[first, &steps].concat());
        let took = started.elapsed();
        // Two thirds of the timeout are more.
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
        let [before, opened, closed] = &seen.answers.snapshots[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(before, opened);
        assert_eq!(before, closed);
        nothing_is_left(lab);
        let token = answered(lab);
        let log = seen.log.join("\n");
        for part in token.trim().split('.').filter(|part| part.len() > 20) {
            assert!(!log.contains(part), "{log}");
        }
        seen
    })
}

fn odd_and_good() {
    let lab = lab(Who::Root, "", "");
    // A time for sleep(1) that no other process has as an argument.
    let marker = format!("3600.{}", std::process::id());
    for script in [
        "echo hello; echo; printf 'Token: '; cat $answer; exit 0",
        // A pipe holds 64 KiB.
        "head -c 1000000 /dev/zero | tr '\\0' x >&2; cat $answer",
        "cat $answer; kill -9 $$",
        "cat $answer; sleep MARKER & exit 0",
        "cat $answer; setsid sleep MARKER & sleep 0.05; exit 0",
        "cat $answer; setsid sh -c 'trap \"\" TERM HUP INT; sleep MARKER & wait' & sleep 0.05",
        "cat $answer; setsid sleep MARKER </dev/null >/dev/null 2>&1 & sleep 0.05; exit 0",
    ] {
        fetch(&lab, &script.replace("MARKER", &marker));
        for seen in logins(&lab) {
            assert_eq!(seen.answers.shell, [answered(&lab)], "{script}");
            assert!(seen.answers.messages.is_empty(), "{script}");
            line(&seen.log, "token opened");
            assert_eq!(seen.log.len(), 2, "{script}: {:#?}", seen.log);
        }
        assert_eq!(running(&marker), Vec::<String>::new(), "{script}");
    }
}

/// No token, with one line that says why.
#[track_caller]
fn fails(lab: &Lab, script: &str, why: &str) {
    fetch(lab, script);
    told(lab, why);
}

#[track_caller]
fn told(lab: &Lab, why: &str) {
    for seen in logins(lab) {
        let said = line(&seen.log, "no token for user=alice: ");
        assert!(said.contains(why), "{said}");
        assert_eq!(seen.log.len(), 1, "{:#?}", seen.log);
        assert_eq!(seen.answers.messages.len(), 1);
    }
}

fn refused() {
    let lab = lab(Who::Root, "", "scope = [\"READ\"]\nkid = [\"POOL\"]\n");
    let asked = || Asked::default().scope("READ");
    for (asked, why) in [
        (asked().subject("bob"), "its token is for \"bob@lab.test\""),
        (
            asked().subject("alice@other.test"),
            "is for \"alice@other.test",
        ),
        (asked().issuer("other.test"), "of the trust domain"),
        (asked().never_expires(), "its token never expires"),
        (asked().expires(now() - 5), "its token has expired already"),
        (asked().expires(now() + 7200), "its token lives longer than"),
        (asked().kid("site"), "is signed with the key site"),
        (asked().scope("WRITE"), "may be used for more than scope"),
        (asked().no_scope(), "may be used for more than scope"),
    ] {
        answer(&lab, &asked.token(&lab));
        fails(&lab, "cat $answer", why);
    }
    answer(&lab, &asked().token(&lab));
    for (script, why) in [
        ("echo garbage; echo more", "it printed no token; run it"),
        ("printf '\\377\\376'", "what it printed is no text"),
        (
            "echo 'Failed to fetch: not allowed' >&2; exit 1",
            "no token and ended with exit status: 1; it says: Failed to fetch: not allowed;",
        ),
        ("cat $answer >&2; exit 1", "it says: [token];"),
        (
            "cat $answer $answer | tr -d '\\n' | head -c 400; exit 1",
            "no token",
        ),
        ("cat $answer $answer", "it printed more than one token"),
        ("exec yes", "printed more than 65536 bytes"),
        ("kill -9 $$", "ended with signal: 9"),
    ] {
        fails(&lab, script, why);
    }
}

fn silent() {
    let lab = patient_lab(Who::Root, "", "timeout = \"1s\"\n");
    let marker = format!("3601.{}", std::process::id());
    for script in [
        "exec sleep MARKER",
        "cat $answer; trap '' TERM HUP INT; sleep MARKER; sleep MARKER",
        "setsid sleep MARKER & sleep MARKER",
    ] {
        let script = script.replace("MARKER", &marker);
        once_within(Duration::from_secs(3), || {
            let ((), took) = timed(|| fails(&lab, &script, "did not end within"));
            // Two thirds of the timeout, twice.
            assert!(took > Duration::from_millis(1200), "{took:?}");
            took
        });
        assert_eq!(running(&marker), Vec::<String>::new(), "{script}");
    }
}

fn not_run() {
    let lab = lab(Who::Root, "cat $answer", "");
    fs::set_permissions(program(&lab), fs::Permissions::from_mode(0o644)).unwrap();
    let denied = "condor_token_fetch (exec: Permission denied";
    told(&lab, denied);
    fs::remove_file(program(&lab)).unwrap();
    told(&lab, "condor_token_fetch is not there; install it");
    fs::create_dir(program(&lab)).unwrap();
    told(&lab, denied);
}
