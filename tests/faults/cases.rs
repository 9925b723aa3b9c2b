//! What is run: an action on a store, in a situation.

use std::fs;

use pam_idtoken_tests::faults::protocol::Hook;
use pam_idtoken_tests::host::Lab;
use pam_idtoken_tests::host::lab::ALICE;

use crate::schedd;
use crate::stand::Stand;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A call into the module.
    Hook(Hook),
    /// `idtokenctl reconcile`.
    Reconcile,
}

/// What is done before a run.
type Prepare = fn(&Stand<'_>);

/// One of them.
pub(crate) struct Case {
    pub(crate) action: Action,
    /// Where the tokens are and who signs.
    pub(crate) store: &'static str,
    /// What there is besides.
    pub(crate) situation: &'static str,
    /// The configuration.
    pub(crate) configure: fn(&Lab),
    /// Whether alice has another session, which lives.
    pub(crate) has_other: bool,
    /// Done before each run.
    pub(crate) prepare: Prepare,
}

impl Case {
    /// What it is called.
    pub(crate) fn name(&self) -> String {
        let action = match self.action {
            Action::Hook(Hook::Open) => "open",
            Action::Hook(Hook::Close) => "close",
            Action::Reconcile => "reconcile",
        };
        let situation = match self.situation {
            "" => String::new(),
            other => format!(", {other}"),
        };
        format!("{action}: {}{situation}", self.store)
    }
}

const OPEN: Action = Action::Hook(Hook::Open);
const CLOSE: Action = Action::Hook(Hook::Close);

const HOME: &str = "home, key";
const PRIVATE: &str = "private store, key";
const SCHEDD: &str = "home, schedd";
/// The domains are asked of HTCondor.
pub(crate) const DISCOVERED: &str = "home, key, discovered";
/// A home that fails, which is a fault by itself.
pub(crate) const FALLBACK: &str = "private store as the home fails, key";
/// Nobody has made a tokens.d for alice.
pub(crate) const FIRST: &str = "first login";
/// Every token is due for renewal.
pub(crate) const REPLACED: &str = "key replaced";

/// A session that lives was ended, and not all of it went.
const ENDED: &str = "one that lives was ended";

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    let case = |action, store, situation, prepare: Prepare| Case {
        action,
        store,
        situation,
        configure: match store {
            PRIVATE => private,
            SCHEDD => by_schedd,
            DISCOVERED => discovered,
            FALLBACK => failing_home,
            _ => home,
        },
        has_other: true,
        prepare,
    };
    let nothing: Prepare = |_| {};
    let (leave, forget_answers, replace_key): (Prepare, Prepare, Prepare) = (
        |stand| stand.leave(),
        |stand| stand.forget_answers(),
        |stand| stand.replace_key(),
    );
    let end_in_vain: Prepare = |stand| stand.end_in_vain();
    let mut cases = vec![
        case(OPEN, HOME, "", nothing),
        case(OPEN, HOME, "after one that was killed", leave),
        case(OPEN, PRIVATE, "", nothing),
        case(OPEN, PRIVATE, "after one that was killed", leave),
        case(OPEN, SCHEDD, "", nothing),
        case(OPEN, DISCOVERED, "", forget_answers),
        case(CLOSE, HOME, "", nothing),
        case(CLOSE, PRIVATE, "", nothing),
        case(Action::Reconcile, HOME, "nothing due", nothing),
        case(Action::Reconcile, HOME, "one ended", leave),
        case(Action::Reconcile, HOME, REPLACED, replace_key),
        case(Action::Reconcile, PRIVATE, "one ended", leave),
        case(Action::Reconcile, PRIVATE, REPLACED, replace_key),
        case(Action::Reconcile, PRIVATE, ENDED, end_in_vain),
        case(Action::Reconcile, SCHEDD, REPLACED, replace_key),
        case(Action::Reconcile, DISCOVERED, REPLACED, |stand| {
            stand.forget_answers();
            stand.replace_key();
        }),
    ];
    let mut without_other = [
        case(OPEN, HOME, FIRST, first_login),
        case(OPEN, FALLBACK, "", nothing),
        case(CLOSE, FALLBACK, "", nothing),
        case(Action::Reconcile, FALLBACK, "one ended", leave),
    ];
    for case in &mut without_other {
        case.has_other = false;
    }
    cases.extend(without_other);
    cases
}

/// How long a login may wait.
const TIMEOUT: &str = "timeout = \"1s\"\n";

fn home(lab: &Lab) {
    lab.configure(TIMEOUT);
}

fn private(lab: &Lab) {
    lab.configure(&format!("{TIMEOUT}store = \"private\"\n"));
}

/// Alice's home has no place for tokens.
fn failing_home(lab: &Lab) {
    home(lab);
    fail_home(lab);
}

/// Something is in the way.
pub(crate) fn fail_home(lab: &Lab) {
    fs::write(lab.path("home/alice/.condor"), "").unwrap();
    lab.give("home/alice/.condor", ALICE);
}

fn by_schedd(lab: &Lab) {
    let program = schedd::program(lab);
    lab.configure(&format!(
        "{TIMEOUT}issuer = \"schedd\"\ncondor_token_fetch = {program:?}\n"
    ));
}

fn discovered(lab: &Lab) {
    lab.configure_with_htcondor(TIMEOUT);
}

/// A user who was never here.
fn first_login(stand: &Stand<'_>) {
    let lab = stand.lab;
    for path in [
        lab.path("home/alice/.condor"),
        lab.path("state/sessions").join(ALICE.to_string()),
    ] {
        let _ = fs::remove_dir_all(path);
    }
}
