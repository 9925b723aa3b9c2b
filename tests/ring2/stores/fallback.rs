//! Homes on a file server: what they can not take goes into the private store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use pam_idtoken_tests::host::Step::{Close, Open, PamEnv, Sh, Snapshot, Start};
use pam_idtoken_tests::host::lab::{ALICE, names};
use pam_idtoken_tests::host::{Lab, Mode, Outcome, Running, Squash, Step, Who};

use super::{END, Stores, told};
use crate::Test::{self, Root};
use crate::reconcile::wait_until;
use crate::{PAM_SUCCESS, line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "on a home that refuses root a session is as on any other",
        refuses_root,
    ),
    Root(
        "what a home can not take is in the private store for all of the session",
        takes_nothing,
    ),
    Root(
        "with neither home nor memory there is no token and nothing left of one",
        nowhere,
    ),
    Root(
        "a token that a home took though it said no goes with the next reconcile",
        taken_all_the_same,
    ),
];

pub(super) const TIMEOUT: Duration = Duration::from_millis(500);
/// What the machine may take on top of that.
pub(super) const SLACK: Duration = Duration::from_secs(8);

/// Alice's home on a server.
pub(super) struct Served {
    // First, so that it ends before the directory goes.
    pub(super) server: Squash,
    pub(super) stores: Stores,
}

impl Served {
    /// She has a token of her own there.
    pub(super) fn new(configuration: &str) -> Self {
        let timeout = TIMEOUT.as_millis();
        let stores = Stores::new(&format!("timeout = \"{timeout}ms\"\n{configuration}"));
        let server = serve(&stores.lab);
        Self { server, stores }
    }

    pub(super) fn lab(&self) -> &Lab {
        &self.stores.lab
    }

    /// What is on the server in tokens.d.
    pub(super) fn on_disk(&self) -> Vec<String> {
        names(&self.lab().path("disk/.condor/tokens.d"))
    }

    /// A login that is noted; what comes before the logout is up to the caller.
    #[track_caller]
    pub(super) fn login(&self) -> Running<'_> {
        let started = Instant::now();
        let running = self.lab().stay_and(
            "alice",
            &[Start, Snapshot, Open(0), Snapshot, PamEnv],
            &[Snapshot, Close, Snapshot, PamEnv, END],
        );
        let took = started.elapsed();
        assert!(took < TIMEOUT + SLACK, "{took:?}");
        running
    }

    /// The token that is in the private store is one.
    #[track_caller]
    pub(super) fn token_is_good(&self) -> Vec<u8> {
        let token = self.stores.token();
        self.lab().tool(&["verify", token.to_str().unwrap()]).must();
        fs::read(token).unwrap()
    }

    #[track_caller]
    pub(super) fn reconciles(&self) {
        wait_until(|| self.lab().tool(&["reconcile"]).ok);
    }
}

fn serve(lab: &Lab) -> Squash {
    fs::rename(lab.path("home/alice"), lab.path("disk")).unwrap();
    fs::create_dir(lab.path("home/alice")).unwrap();
    let tokens_d = lab.path("disk/.condor/tokens.d");
    fs::create_dir_all(&tokens_d).unwrap();
    fs::write(tokens_d.join("hers"), "her own").unwrap();
    for name in ["", "/tokens.d", "/tokens.d/hers"] {
        lab.give(&format!("disk/.condor{name}"), ALICE);
    }
    fs::set_permissions(lab.path("disk"), fs::Permissions::from_mode(0o700)).unwrap();
    Squash::mount(&lab.path("disk"), &lab.path("home/alice"))
}

#[track_caller]
pub(super) fn logs_out(running: Running<'_>) -> Outcome {
    let started = Instant::now();
    let seen = running.end();
    let took = started.elapsed();
    assert!(took < TIMEOUT + SLACK, "{took:?}");
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    assert!(seen.answers.messages.is_empty(), "{:#?}", seen.log);
    seen
}

/// It was told of a private store until it closed.
#[track_caller]
pub(super) fn was_private(seen: &Outcome) {
    let told = told(&seen.answers);
    assert!(told[0].as_ref().unwrap().contains("/run/tokens/"));
    assert_eq!(told[1..], [None, None]);
    line(&seen.log, "the tokens are in the private store, since");
}

fn refuses_root() {
    let served = Served::new("");
    let session = served.login();
    let name = served.on_disk()[0].clone();
    assert_eq!(served.on_disk(), [name.as_str(), "hers"]);
    let file = served.lab().path("disk/.condor/tokens.d").join(&name);
    let before = fs::read(&file).unwrap();
    fs::write(served.lab().path("keys/POOL"), "the next key").unwrap();
    served.lab().tool(&["reconcile"]).must();
    assert_ne!(fs::read(&file).unwrap(), before);
    let seen = logs_out(session);
    assert_eq!(seen.log.len(), 3, "{:#?}", seen.log);
    let [first, rest @ ..] = &seen.answers.snapshots[..] else {
        panic!("{seen:?}")
    };
    assert!(rest.iter().all(|later| first == later));
    assert_eq!(served.on_disk(), ["hers"]);
    served.stores.nothing_is_left();
}

fn takes_nothing() {
    let served = Served::new("");
    for mode in [
        Mode::Full,
        Mode::FullAtClose,
        Mode::ReadOnly,
        Mode::RenamesAndFails,
    ] {
        served.server.set(mode);
        let session = served.login();
        assert_eq!(served.on_disk(), ["hers"], "{mode:?}");
        let before = served.token_is_good();
        let hers = served.stores.one().join("hers");
        assert!(fs::symlink_metadata(hers).unwrap().is_symlink());
        let key = format!("the key while it is {mode:?}");
        fs::write(served.lab().path("keys/POOL"), key).unwrap();
        served.lab().tool(&["reconcile"]).must();
        assert_ne!(served.token_is_good(), before);
        let seen = logs_out(session);
        was_private(&seen);
        for part in ["token opened", "token closed"] {
            line(&seen.log, part);
        }
        let [first, rest @ ..] = &seen.answers.snapshots[..] else {
            panic!("{seen:?}")
        };
        assert!(rest.iter().all(|later| first == later), "{mode:?}");
        served.stores.nothing_is_left();
        assert_eq!(served.on_disk(), ["hers"], "{mode:?}");
    }
}

fn nowhere() {
    let lab = Lab::new(Who::Root);
    let server = serve(&lab);
    server.set(Mode::Full);
    let env: Step = PamEnv;
    let ls = Sh(format!("ls {}", lab.path("run/tokens").display()));
    let seen = lab.run(&[Start, Snapshot, Open(0), Snapshot, env, ls, Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(seen.answers.messages.len(), 1);
    assert!(line(&seen.log, "the private store can not take the tokens").contains("is on a disk"));
    assert!(line(&seen.log, "no token for").contains("No space left"));
    assert_eq!(told(&seen.answers), [None, None]);
    assert_eq!(seen.answers.shell, [""]);
    assert_eq!(seen.answers.snapshots[0], seen.answers.snapshots[1]);
    nothing_is_left(&lab);
    assert_eq!(names(&lab.path("disk/.condor/tokens.d")), ["hers"]);
    drop(server);
}

fn taken_all_the_same() {
    let lab = Lab::new(Who::Root);
    let server = serve(&lab);
    let tokens_d = lab.path("disk/.condor/tokens.d");
    server.set(Mode::RenamesAndBreaks);
    let session = lab.stay("alice", &[Open(0)]);
    let all = names(&tokens_d);
    assert_eq!(all.len(), 2, "{all:?}");
    // The session goes on, and has no token: what the home has is nobody's.
    server.set(Mode::Normal);
    lab.tool(&["reconcile"]).must();
    assert_eq!(names(&tokens_d), ["hers"]);
    nothing_is_left(&lab);
    let seen = session.end();
    assert!(line(&seen.log, "no token for").contains("Input/output error"));
    let audit = fs::read_to_string(lab.path("state/audit.jsonl")).unwrap();
    assert!(audit.contains(r#""event":"pending""#), "{audit}");
    drop(server);
}
