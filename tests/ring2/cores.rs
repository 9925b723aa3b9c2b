//! Cores of hosts and of idtokenctl: no key and no token is in them (I5). A key is there while it signs,
//! and what reconcile signs with while it runs is the derived key alone.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pam_idtoken_tests::host::Step::{Close, End, Env, Open};
use pam_idtoken_tests::host::hung::Mirror;
use pam_idtoken_tests::host::{Lab, Step, Who, core};
use pam_idtoken_tests::proof;
use pam_idtoken_tests::secrets::{Said, Secrets};

use crate::Test::{self, Root};
use crate::reconcile::hung::with_hung_home;
use crate::stores::Stores;
use crate::{issuers, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "a core of a host has no key and no token after open and after close",
        home,
    ),
    Root(
        "a core of a host with private stores has no key and no token",
        private,
    ),
    Root(
        "a core of a host that a schedd signs for has no key and no token",
        schedd,
    ),
    Root(
        "a core of a host whose session failed has no key and no token",
        failed,
    ),
    Root(
        "a core of a reconcile at work has the derived key and nothing else",
        reconcile,
    ),
    Root(
        "a core of a check at work has the derived key and nothing else",
        check,
    ),
    Root("a core of a host that holds a secret has it", held),
    Root("a key and a token that a host tells are found", told),
];

const END: Step = End { silent: false };

/// Letters, so that a host can be made to hold it: nothing else has such a row of them.
fn random_key() -> String {
    let bytes = fs::read("/proc/sys/kernel/random/uuid").unwrap();
    let more = fs::read("/proc/sys/kernel/random/uuid").unwrap();
    let all = [bytes, more].concat();
    all.into_iter()
        .filter(u8::is_ascii_alphanumeric)
        .map(char::from)
        .collect()
}

/// What signs and verifies while idtokenctl runs.
const IN_USE: [&str; 2] = ["derived key of", "words of the derived key of"];

/// A lab with a key that nobody has by chance, and what is looked for.
struct Cores<'a> {
    lab: &'a Lab,
    secrets: Secrets,
    taken: usize,
    bytes: usize,
    found: BTreeSet<String>,
}

impl<'a> Cores<'a> {
    fn new(lab: &'a Lab) -> Self {
        let mut cores = Self {
            lab,
            secrets: Secrets::default(),
            taken: 0,
            bytes: 0,
            found: BTreeSet::new(),
        };
        cores.new_key();
        cores
    }

    /// Another key, by which every token is to be made anew.
    fn new_key(&mut self) {
        let key = random_key();
        fs::write(self.lab.path("keys/POOL"), &key).unwrap();
        self.secrets.add_key("POOL", key.as_bytes());
    }

    /// The tokens that there are now.
    fn note_tokens(&mut self, files: &[PathBuf]) {
        assert!(!files.is_empty());
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            idtoken::lines(&text).for_each(|token| self.secrets.add_token(token));
        }
    }

    /// Takes a core of a host with an open session, whose token files these are, and one of a host whose
    /// session has closed.
    fn after_open_and_close(&mut self, files: impl Fn() -> Vec<PathBuf>) {
        let session = self.lab.stay("alice", &[Open(0)]);
        self.note_tokens(&files());
        self.take(session.pid());
        session.end();
        let before = self.secrets.count();
        let session = self.lab.stay_and("alice", &[Open(0), Close], &[END]);
        // The audit says which those were.
        for token in self.lab.said().tokens() {
            self.secrets.add_token(token);
        }
        assert!(self.secrets.count() > before || self.lab.path("tmp/answer").exists());
        self.take(session.pid());
        session.end();
    }

    /// Takes a core and looks through it.
    fn take(&mut self, pid: u32) {
        self.look_through(&core::of(pid, &self.lab.path("etc")), &[]);
    }

    /// What may be there is told by its beginning.
    fn look_through(&mut self, core: &[u8], may_be_there: &[&str]) {
        let found = self.secrets.find(core).into_keys();
        let wrong = found.filter(|what| !may_be_there.iter().any(|may| what.starts_with(may)));
        self.found.extend(wrong);
        self.taken += 1;
        self.bytes += core.len();
    }

    #[track_caller]
    fn end(self, which: &str) {
        proof::row(
            &format!("cores: {which}"),
            &format!(
                "{} cores, {} MiB, {} forms of secrets",
                self.taken,
                self.bytes >> 20,
                self.secrets.count()
            ),
            self.found.len(),
        );
        assert!(self.found.is_empty(), "{:#?}", self.found);
    }
}

/// Alice's token files.
fn alices(lab: &Lab) -> Vec<PathBuf> {
    let names = lab.tokens().into_iter();
    names.map(|name| lab.tokens_d().join(name)).collect()
}

fn home() {
    let lab = Lab::new(Who::Root);
    // As sites have several keys.
    lab.configure("kid = [\"POOL\", \"site\"]\n");
    let mut cores = Cores::new(&lab);
    let named = random_key();
    fs::write(lab.path("keys/site"), &named).unwrap();
    fs::set_permissions(lab.path("keys/site"), Permissions::from_mode(0o600)).unwrap();
    cores.secrets.add_key("site", named.as_bytes());
    cores.after_open_and_close(|| alices(&lab));
    nothing_is_left(&lab);
    let session = lab.stay("alice", &[Open(0), Close, Open(0)]);
    cores.note_tokens(&alices(&lab));
    cores.take(session.pid());
    session.end();
    cores.end("host, home");
}

fn private() {
    let stores = Stores::private();
    let mut cores = Cores::new(&stores.lab);
    cores.after_open_and_close(|| vec![stores.token()]);
    cores.end("host, private store");
}

fn schedd() {
    let lab = issuers::patient_lab(Who::Root, "cat $answer", "");
    let mut cores = Cores::new(&lab);
    issuers::answer_anew(&lab);
    cores.after_open_and_close(|| alices(&lab));
    cores.end("host, by a schedd");
}

fn failed() {
    let lab = Lab::new(Who::Root);
    fs::write(lab.path("home/alice/.condor"), "in the way").unwrap();
    let mut cores = Cores::new(&lab);
    let session = lab.stay_and("alice", &[Open(0)], &[Close, END]);
    assert!(lab.tokens().is_empty());
    cores.take(session.pid());
    session.end();
    cores.end("host, failed open");
}

/// Runs a tool while bob's home does not answer, takes its memory when it has gone as far as that, and
/// lets it end. A thread that waits for a home stops for no debugger, so there are no registers.
fn core_of_tool(cores: &mut Cores<'_>, args: &[&str], home: &Mirror) {
    home.stop();
    let mut tool = cores.lab.spawn_tool(args);
    for pid in waiting(tool.id()) {
        cores.look_through(&core::memory_of(pid), &IN_USE);
    }
    home.go_on();
    tool.wait().unwrap();
}

/// The tool and the worker that it watches, once one of their threads waits for the home.
fn waiting(tool: u32) -> Vec<u32> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let children = format!("/proc/{tool}/task/{tool}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        let all: Vec<u32> = [tool].into_iter().chain(children).collect();
        if all.iter().any(|pid| waits_for_a_home(*pid)) {
            return all;
        }
        assert!(Instant::now() < end, "it did not come to the home");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn waits_for_a_home(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let wait = |path: PathBuf| fs::read_to_string(path.join("wchan")).unwrap_or_default();
    threads
        .flatten()
        .any(|thread| wait(thread.path()).contains("request_wait_answer"))
}

fn reconcile() {
    let (lab, mirror) = with_hung_home();
    lab.configure("timeout = \"20s\"\n");
    let mut cores = Cores::new(&lab);
    let both = [lab.stay("alice", &[Open(0)]), lab.stay("bob", &[Open(0)])];
    cores.note_tokens(&alices(&lab));
    cores.new_key();
    core_of_tool(&mut cores, &["reconcile"], &mirror);
    // Alice's was renewed before bob's home was waited for.
    cores.note_tokens(&alices(&lab));
    for session in both {
        session.end();
    }
    cores.end("idtokenctl reconcile, at work");
}

fn check() {
    let (lab, mirror) = with_hung_home();
    lab.configure("timeout = \"20s\"\n");
    let mut cores = Cores::new(&lab);
    let session = lab.stay("bob", &[Open(0)]);
    core_of_tool(&mut cores, &["check", "--user", "bob"], &mirror);
    session.end();
    cores.end("idtokenctl check, at work");
}

/// What the others do not find is found where it is.
fn held() {
    let lab = Lab::new(Who::Root);
    let mut cores = Cores::new(&lab);
    let key = fs::read_to_string(lab.path("keys/POOL")).unwrap();
    let session = lab.stay("alice", &[Env("TOLD".into(), key), Open(0)]);
    cores.take(session.pid());
    session.end();
    let told: Vec<_> = cores.found.iter().map(String::as_str).collect();
    assert_eq!(told, ["bytes of the key POOL"]);
}

/// What every lab looks for when it goes, see its `drop`: the audit says which tokens were made.
fn told() {
    let lab = Lab::new(Who::Root);
    lab.configure("scope = [\"READ\", \"WRITE\"]\n");
    lab.line("debug");
    let session = lab.stay("alice", &[Open(0)]);
    let token = fs::read_to_string(lab.tokens_d().join(&lab.tokens()[0])).unwrap();
    session.end();
    let mut said = lab.said();
    assert_eq!(said.tokens(), [token.trim()]);
    assert!(said.check().is_empty());
    let signature = token.trim().rsplit('.').next().unwrap();
    for (told, wanted) in [
        (signature, "signature of the token"),
        ("a scratch key", "bytes of the key POOL"),
        (
            "612073637261746368206b6579",
            "bytes of the key POOL, in hex,",
        ),
    ] {
        let before = said.check().len();
        said.note(format!("a line with {told} in it"));
        let found = said.check();
        assert!(
            found.len() > before && found.keys().any(|what| what.starts_with(wanted)),
            "{found:?}"
        );
    }
    // Nobody else is to find it.
    *said = Said::default();
}
