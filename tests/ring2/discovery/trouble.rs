//! HTCondor can not be asked.

use std::fs;
use std::time::Duration;

use pam_idtoken_tests::clock::{once_within, timed};
use pam_idtoken_tests::host::Who;

use super::{ANSWERS, asked, domains, lab, login, settings, tool};
use crate::Test::{self, Root};
use crate::line;

pub(crate) const TESTS: &[Test] = &[
    Root(
        "without an answer of HTCondor's the login goes on, and one line says why",
        in_vain,
    ),
    Root(
        "a condor_config_val that hangs costs one login its time and no other",
        hangs,
    ),
    Root(
        "what HTCondor said before is used while it can not be asked",
        old,
    ),
];

const BROKEN: [(&str, &str); 4] = [
    (
        "echo 'Configuration Error Line 3' >&2; exit 1",
        "ended with exit status: 1 and said: Configuration Error Line 3; run it by hand",
    ),
    ("echo hello", "printed something else than it was asked for"),
    ("exec yes", "printed more than 131072 bytes and was killed"),
    ("", "is not there; install it or correct the path"),
];

fn in_vain() {
    for (script, why) in BROKEN {
        let lab = lab(Who::Root, "");
        tool(&lab, script);
        if script.is_empty() {
            fs::remove_file(lab.path("bin/condor_config_val")).unwrap();
        }
        let seen = login(&lab);
        let said = line(&seen.log, "no token for user=alice: ");
        let vain = "trust_domain is not set, and HTCondor was asked in vain: ";
        assert!(said.contains(vain) && said.contains(why), "{said}");
        assert_eq!(seen.log.len(), 1, "{:#?}", seen.log);
        assert_eq!(seen.answers.messages.len(), 1);
        assert_eq!(seen.answers.shell, [""]);
        // With the domains it can be done without; that it is broken is said all the same.
        lab.configure(&settings(&lab, ""));
        let seen = login(&lab);
        assert_eq!(domains(&seen).0, "pool.lab.test");
        let warned = seen.log.iter().filter(|line| line.contains(why)).count();
        assert_eq!(warned, usize::from(!script.is_empty()), "{:#?}", seen.log);
    }
}

fn hangs() {
    let lab = lab(Who::Root, "timeout = \"2s\"\n");
    tool(&lab, "exec sleep 3600");
    let fails = || {
        let (seen, took) = timed(|| login(&lab));
        line(&seen.log, "no token for user=alice: ");
        line(&seen.log, "condor_config_val did not end within");
        took
    };
    let first = fails();
    let range = Duration::from_millis(900)..Duration::from_secs(5);
    assert!(range.contains(&first), "{first:?}");
    once_within(Duration::from_millis(900), fails);
    assert_eq!(asked(&lab), 1);
    // Once it was corrected nobody waits for the next hour.
    tool(&lab, ANSWERS);
    assert_eq!(domains(&login(&lab)).0, "pool.found.test");
}

fn old() {
    let lab = lab(Who::Root, "");
    login(&lab);
    let times = asked(&lab);
    tool(&lab, "echo oops >&2; exit 1");
    for _ in 0..2 {
        let seen = login(&lab);
        assert_eq!(domains(&seen).0, "pool.found.test");
        let said = line(&seen.log, "HTCondor was asked in vain");
        assert!(said.contains("what HTCondor said before is used"), "{said}");
        assert!(said.contains("oops"), "{said}");
    }
    assert_eq!(asked(&lab), times + 1);
    let said = lab.tool(&["check"]).stdout;
    assert!(said.contains("HTCondor can not be asked: "), "{said}");
}
