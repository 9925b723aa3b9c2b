//! What the module answers, and what it does when calls come in any order.

use pam_idtoken_tests::host::Step::{
    Account, Authenticate, Close, End, Fork, Open, Other, Password, SetCred, Sh,
};
use pam_idtoken_tests::host::{Lab, Step, Who};

use crate::Test::{self, Both, Root};
use crate::{PAM_SUCCESS, line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Both(
        "closing twice takes no other session's token away",
        close_twice_beside_another,
    ),
    Both(
        "a close without data takes no token of a session that another handle keeps",
        close_without_data_beside_another,
    ),
    Both(
        "a session that got no token takes no other's away",
        failed_beside_another,
    ),
    Both(
        "open and close succeed, with a token in between",
        open_and_close,
    ),
    Both("closing twice is closing once", close_twice),
    Both("closing without opening does nothing", close_without_open),
    Both("opening twice makes one token", open_twice),
    Both("closing and opening again makes a new token", reopen),
    Both(
        "setcred before, after and in between touches nothing",
        setcred,
    ),
    Both(
        "in an auth, account or password stack it neither lets in nor keeps out",
        other_stacks,
    ),
    Both(
        "alone in a stack for a service it does not serve it succeeds",
        other_service,
    ),
    Both("ending without a close deletes nothing", end_without_close),
    Both(
        "a forked child that ends the handle deletes nothing",
        forked_end,
    ),
    Both("a forked child may close for its parent", forked_close),
    Both(
        "a close with a new handle in the same process finds the session",
        close_with_new_handle,
    ),
    Root(
        "root gets no token even if everything fails and failures deny",
        root_never,
    ),
];

const END: Step = End { silent: false };

/// Lists alice's tokens.d from inside the host.
fn look(lab: &Lab) -> Step {
    Sh(format!("ls {} 2>/dev/null", lab.tokens_d().display()))
}

fn open_and_close(who: Who) {
    let lab = Lab::new(who);
    let verify = format!("stat -c '%a %u' {}/*", lab.tokens_d().display());
    let seen = lab.run(&[Open(0), look(&lab), Sh(verify), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    let [names, about] = &seen.answers.shell[..] else {
        panic!("{seen:?}")
    };
    assert!(
        names.starts_with("0-session-") && names.lines().count() == 1,
        "{names}"
    );
    assert!(
        about.starts_with("600 ") && !about.ends_with(" 0\n"),
        "{about}"
    );
    assert!(seen.answers.messages.is_empty() && seen.answers.environment[0].is_empty());
    nothing_is_left(&lab);
    if who == Who::Root {
        assert_eq!(seen.log.len(), 2, "{:#?}", seen.log);
        // Facility AUTHPRIV, severity info.
        assert!(
            seen.log[0].starts_with("<86> pam_idtoken(test:session): token opened user=alice ")
        );
        assert!(seen.log[0].contains(" rhost=192.0.2.7 "), "{}", seen.log[0]);
        assert!(
            seen.log[1].starts_with("<86> pam_idtoken(test:session): token closed user=alice ")
        );
    }
}

fn close_twice(who: Who) {
    let lab = Lab::new(who);
    let seen = lab.run(&[Open(0), Close, Close, END]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS, PAM_SUCCESS]);
    nothing_is_left(&lab);
    if who == Who::Root {
        line(&seen.log, "token closed");
    }
}

fn close_twice_beside_another(who: Who) {
    let lab = Lab::new(who);
    let other = vec![Open(0)];
    let seen = lab.run(&[Open(0), Other(other), Close, Close, look(&lab), END]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS, PAM_SUCCESS]);
    assert_eq!(seen.answers.shell[0].lines().count(), 1, "{seen:?}");
    assert_eq!(lab.records().len(), 1);
}

fn close_without_data_beside_another(who: Who) {
    let lab = Lab::new(who);
    let seen = lab.run(&[Open(0), Other(vec![Close, END]), look(&lab), Close, END]);
    assert_eq!(seen.answers.shell[0].lines().count(), 1, "{seen:?}");
    nothing_is_left(&lab);
}

fn failed_beside_another(who: Who) {
    let lab = Lab::new(who);
    let move_key = |from: &str, to: &str| {
        Sh(format!(
            "mv {} {}",
            lab.path(from).display(),
            lab.path(to).display()
        ))
    };
    let seen = lab.run(&[
        Open(0),
        move_key("keys/POOL", "keys/away"),
        Other(vec![Open(0), Close, END]),
        move_key("keys/away", "keys/POOL"),
        look(&lab),
        Close,
        END,
    ]);
    assert_eq!(seen.answers.messages.len(), 1, "of the other handle");
    assert_eq!(seen.answers.shell[2].lines().count(), 1, "{seen:?}");
    nothing_is_left(&lab);
}

fn close_without_open(who: Who) {
    let lab = Lab::new(who);
    let seen = lab.run(&[Close, END]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    assert!(seen.log.is_empty() && !lab.path("home/alice/.condor").exists());
}

fn open_twice(who: Who) {
    let lab = Lab::new(who);
    let seen = lab.run(&[Open(0), Open(0), look(&lab), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS, PAM_SUCCESS]);
    assert_eq!(seen.answers.shell[0].lines().count(), 1);
    nothing_is_left(&lab);
}

fn reopen(who: Who) {
    let lab = Lab::new(who);
    let seen = lab.run(&[Open(0), look(&lab), Close, Open(0), look(&lab), Close, END]);
    let [first, second] = &seen.answers.shell[..] else {
        panic!("{seen:?}")
    };
    assert!(first.starts_with("0-session-") && second.starts_with("0-session-"));
    assert_ne!(first, second);
    nothing_is_left(&lab);
}

fn setcred(who: Who) {
    let lab = Lab::new(who);
    // Establish, reinitialize, refresh, delete.
    let flags = [2, 8, 16, 4];
    let all = flags.map(SetCred);
    let mut steps = all.to_vec();
    steps.push(Open(0));
    steps.extend(all.clone());
    steps.extend([look(&lab), Close]);
    steps.extend(all);
    steps.push(END);
    lab.service(
        "test",
        &format!(
            "auth required pam_permit.so\nauth required {0}\nsession required {0}\n",
            lab.module("")
        ),
    );
    let seen = lab.run(&steps);
    assert_eq!(seen.codes("setcred"), [PAM_SUCCESS; 12]);
    assert_eq!(seen.answers.shell[0].lines().count(), 1);
    nothing_is_left(&lab);
}

fn other_stacks(who: Who) {
    let lab = Lab::new(who);
    let calls = [Authenticate, Account, Password];
    let codes = |service: &str| {
        let seen = lab.run_as("alice", service, &calls);
        assert!(seen.log.is_empty(), "{:#?}", seen.log);
        seen.answers
            .codes
            .iter()
            .map(|(_, code)| *code == PAM_SUCCESS)
            .collect::<Vec<_>>()
    };
    // A stack of nothing but PAM_IGNORE lets nobody in.
    assert_eq!(codes("test"), [false, false, false]);
    for (other, verdict) in [("pam_permit.so", true), ("pam_deny.so", false)] {
        let text: String = ["auth", "account", "password"]
            .iter()
            .map(|kind| {
                format!(
                    "{kind} required {other}\n{kind} required {}\n",
                    lab.module("")
                )
            })
            .collect();
        lab.service("both", &text);
        assert_eq!(codes("both"), [verdict; 3], "{other}");
    }
    nothing_is_left(&lab);
}

fn other_service(who: Who) {
    let lab = Lab::new(who);
    lab.configure("");
    std::fs::copy(lab.path("pam.d/test"), lab.path("pam.d/cron")).unwrap();
    let seen = lab.run_as("alice", "cron", &[Open(0), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    assert!(seen.log.is_empty() && seen.answers.messages.is_empty());
    assert!(!lab.path("home/alice/.condor").exists() && !lab.path("state").exists());
}

fn end_without_close(who: Who) {
    let lab = Lab::new(who);
    lab.run(&[Open(0), END]);
    assert_eq!((lab.tokens().len(), lab.records().len()), (1, 1));
    // The process is gone: the next login of the user tidies up.
    let seen = lab.run(&[Open(0), look(&lab), Close, END]);
    assert_eq!(seen.answers.shell[0].lines().count(), 1);
    nothing_is_left(&lab);
}

fn forked_end(who: Who) {
    let lab = Lab::new(who);
    let child = Fork(vec![End { silent: true }]);
    let seen = lab.run(&[Open(0), child, look(&lab), Close, END]);
    assert_eq!(seen.answers.shell[0].lines().count(), 1);
    assert_eq!(
        seen.answers.children[0].codes,
        [("end".to_owned(), PAM_SUCCESS)]
    );
    nothing_is_left(&lab);
}

fn forked_close(who: Who) {
    let lab = Lab::new(who);
    let seen = lab.run(&[Open(0), Fork(vec![Close]), look(&lab), Close, END]);
    assert_eq!(seen.answers.shell[0], "");
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    nothing_is_left(&lab);
    if who == Who::Root {
        line(&seen.log, "token closed");
    }
}

fn close_with_new_handle(who: Who) {
    let lab = Lab::new(who);
    let seen = lab.run(&[Open(0), END, look(&lab), Close, END]);
    assert_eq!(seen.answers.shell[0].lines().count(), 1);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    nothing_is_left(&lab);
}

fn root_never() {
    let lab = Lab::new(Who::Root);
    lab.configure("on_failure = \"deny\"\n");
    std::fs::remove_file(lab.path("keys/POOL")).unwrap();
    for user in ["root", "toor", "condor"] {
        let seen = lab.run_as(user, "test", &[Open(0), Close, END]);
        assert_eq!(seen.codes("open"), [PAM_SUCCESS], "{user}");
        assert!(seen.log.is_empty(), "{:#?}", seen.log);
    }
}
