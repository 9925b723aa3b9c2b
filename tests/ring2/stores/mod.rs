//! The private store: a directory of one session's own, in memory.

pub(crate) mod fallback;
pub(crate) mod hostile;
pub(crate) mod hung;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pam_idtoken_tests::host::Step::{Close, End, Open, PamEnv, Sh, Snapshot, Start, Umask};
use pam_idtoken_tests::host::lab::{ALICE, BOB, names};
use pam_idtoken_tests::host::memory::Memory;
use pam_idtoken_tests::host::{Answers, Lab, Step, Who};

use crate::Test::{self, Root};
use crate::{PAM_SUCCESS, line};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "a private store is announced, the user's alone, and gone after the session",
        announced,
    ),
    Root("nobody else looks into a private store", alone),
    Root("a private store leads to the user's own tokens", own_tokens),
    Root(
        "the private store of a host that was killed goes with the next reconcile",
        killed,
    ),
    Root("a private store is renewed in place", renewed),
    Root(
        "a private store that closes beside a reconcile troubles nobody",
        beside_a_reconcile,
    ),
    Root(
        "a private store that a login is making is waited for, not complained about",
        in_the_making,
    ),
    Root("a disk is no private store", on_disk),
];

const END: Step = End { silent: false };
const VARIABLE: &str = "_CONDOR_SEC_TOKEN_DIRECTORY";

/// A host with its private stores in memory.
pub(crate) struct Stores {
    // First, so that it ends before the directory goes.
    _memory: Memory,
    pub(crate) lab: Lab,
}

impl Stores {
    fn new(configuration: &str) -> Self {
        let lab = Lab::new(Who::Root);
        lab.configure(configuration);
        let memory = Memory::on(&lab.path("run"));
        lab.promise();
        Self {
            _memory: memory,
            lab,
        }
    }

    pub(crate) fn private() -> Self {
        Self::new("store = \"private\"\n")
    }

    /// The private stores there are.
    fn all(&self) -> Vec<String> {
        names(&self.lab.path("run/tokens"))
    }

    /// The only one.
    #[track_caller]
    fn one(&self) -> PathBuf {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        self.lab.path("run/tokens").join(&all[0])
    }

    /// The only token in the only one.
    #[track_caller]
    pub(crate) fn token(&self) -> PathBuf {
        let mut tokens = names(&self.one());
        tokens.retain(|name| name.starts_with("0-session-"));
        assert_eq!(tokens.len(), 1, "{tokens:?}");
        self.one().join(&tokens[0])
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!((self.all(), self.lab.records()), (vec![], vec![]));
    }

    /// A step in which a user does something in the only private store.
    fn in_store(&self, uid: u32, script: &str) -> Step {
        Sh(format!(
            "cd {}/*/ && setpriv --reuid {uid} --regid {uid} --clear-groups sh -c '{script}' 2>&1",
            self.lab.path("run/tokens").display()
        ))
    }
}

/// Where the session is told to look, at each time that was noted.
fn told(answers: &Answers) -> Vec<Option<String>> {
    let values = answers.environment.iter();
    values.map(|all| all.get(VARIABLE).cloned()).collect()
}

fn announced() {
    for mask in [0, 0o777] {
        let stores = Stores::private();
        let run = stores.lab.path("run");
        let look = format!("stat -c '%a %u %g' tokens tokens/* tokens/*/*; ls -d {run:?}/tokens/*");
        let look = Sh(format!("cd {}; {look}", run.display()));
        let seen = stores.lab.run(&[
            Umask(mask),
            Start,
            Snapshot,
            Open(0),
            Snapshot,
            PamEnv,
            Umask(0o022),
            look,
            Umask(mask),
            Close,
            Snapshot,
            PamEnv,
            END,
        ]);
        let (about, store) = seen.answers.shell[0].trim_end().rsplit_once('\n').unwrap();
        let expected = format!("711 0 0\n700 {ALICE} {ALICE}\n600 {ALICE} {ALICE}");
        assert_eq!(about, expected);
        assert_eq!(told(&seen.answers), [Some(store.to_owned()), None, None]);
        let [before, opened, closed] = &seen.answers.snapshots[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(before, opened);
        assert_eq!(before, closed);
        assert!(line(&seen.log, "token opened").contains(store));
        assert_eq!(names(&stores.lab.path("home/alice")), Vec::<String>::new());
        stores.nothing_is_left();
    }
}

fn alone() {
    let stores = Stores::private();
    let path = stores.lab.path("run/tokens").display().to_string();
    let bob = format!("setpriv --reuid {BOB} --regid {BOB} --clear-groups sh -c");
    let script = "ls . 2>&1 && echo listed; cat */* && echo read; \
                  cat $1/* && echo read; ls $1 && echo listed; cd $1 && echo entered; \
                  touch $1/new new && echo written; rm -rf $1; mv $1 other";
    let steps = [
        Open(0),
        Sh(format!(
            "cd {path}; {bob} 'cd {path} && echo passed; {script}' sh $(echo *) 2>/dev/null"
        )),
        stores.in_store(
            ALICE,
            "cat 0-session-* | wc -l; cd .. && ls . || echo refused",
        ),
        Close,
        END,
    ];
    let seen = stores.lab.run(&steps);
    let [bob, alice] = &seen.answers.shell[..] else {
        panic!("{seen:?}")
    };
    assert!(bob.starts_with("passed\n"), "{bob}");
    for done in ["listed", "read", "entered", "written"] {
        assert!(!bob.contains(done), "{bob}");
    }
    assert!(
        alice.starts_with("1\n") && alice.ends_with("refused\n"),
        "{alice}"
    );
    stores.nothing_is_left();
}

fn own_tokens() {
    let stores = Stores::private();
    let (lab, tokens_d) = (&stores.lab, stores.lab.tokens_d());
    fs::create_dir_all(&tokens_d).unwrap();
    for (name, text) in [("theirs", "their own"), ("notes.txt", "text")] {
        fs::write(tokens_d.join(name), text).unwrap();
    }
    for name in ["", "/tokens.d", "/tokens.d/theirs", "/tokens.d/notes.txt"] {
        lab.give(&format!("home/alice/.condor{name}"), ALICE);
    }
    let session = lab.stay("alice", &[Open(0)]);
    let link = stores.one().join("theirs");
    assert_eq!(fs::read_link(&link).unwrap(), tokens_d.join("theirs"));
    assert_eq!(fs::read_to_string(&link).unwrap(), "their own");
    // What comes and goes does so there too.
    fs::rename(tokens_d.join("theirs"), tokens_d.join("other")).unwrap();
    lab.tool(&["reconcile"]).must();
    assert!(fs::symlink_metadata(&link).is_err());
    let other = stores.one().join("other");
    assert_eq!(fs::read_to_string(other).unwrap(), "their own");
    session.end();
    assert_eq!(lab.tokens(), ["notes.txt", "other"]);
    stores.nothing_is_left();
}

fn killed() {
    let stores = Stores::private();
    drop(stores.lab.stay("alice", &[Open(0)]));
    assert!(stores.token().exists());
    let live = stores.lab.stay("bob", &[Open(0)]);
    let said = stores.lab.tool(&["reconcile"]).must().stdout;
    assert!(said.contains("ended: alice"), "{said}");
    assert_eq!(fs::metadata(stores.token()).unwrap().uid(), BOB);
    live.end();
    stores.nothing_is_left();
}

fn renewed() {
    let stores = Stores::private();
    let session = stores.lab.stay("alice", &[Open(0)]);
    let (token, before) = (stores.token(), fs::read(stores.token()).unwrap());
    fs::write(stores.lab.path("keys/POOL"), "the next key").unwrap();
    let said = stores.lab.tool(&["reconcile"]).must().stdout;
    assert!(said.contains("renewed: alice"), "{said}");
    assert_eq!(stores.token(), token);
    assert_ne!(fs::read(&token).unwrap(), before);
    stores.lab.tool(&["verify", token.to_str().unwrap()]).must();
    // Whoever takes the token away gets no other.
    fs::remove_file(&token).unwrap();
    fs::write(stores.lab.path("keys/POOL"), "a third key").unwrap();
    let said = stores.lab.tool(&["reconcile"]).must().stdout;
    assert!(said.contains("removed by their user: alice"), "{said}");
    assert!(!token.exists());
    session.end();
    stores.nothing_is_left();
}

fn beside_a_reconcile() {
    let stores = Stores::private();
    stores.lab.delay(Duration::from_micros(400));
    let done = AtomicBool::new(false);
    let runs = std::thread::scope(|scope| {
        let reconciler = scope.spawn(|| {
            let mut runs = 0;
            while !done.load(Ordering::SeqCst) {
                let said = stores.lab.tool(&["reconcile"]).must().stdout;
                assert!(!said.contains("failed: "), "{said}");
                runs += 1;
            }
            runs
        });
        let rounds: Vec<Step> = (0..500).flat_map(|_| [Open(0), Close, END]).collect();
        let outcome = stores.lab.run(&rounds);
        done.store(true, Ordering::SeqCst);
        assert!(
            outcome
                .answers
                .codes
                .iter()
                .all(|(_, code)| *code == PAM_SUCCESS)
        );
        reconciler.join().unwrap()
    });
    assert!(runs > 20, "only {runs} came in between");
    stores.nothing_is_left();
}

fn in_the_making() {
    let stores = Stores::private();
    let lab = &stores.lab;
    let session = lab.stay("alice", &[Open(0)]);
    let own = lab.tokens_d().join("theirs");
    fs::create_dir_all(lab.tokens_d()).unwrap();
    fs::write(&own, "their own").unwrap();
    // What a login has between mkdir and chown: its record, the lock of that, and root's directory.
    let records = lab.path("state/sessions").join(ALICE.to_string());
    let record = fs::File::open(records.join(&lab.records()[0])).unwrap();
    record.lock().unwrap();
    let dir = stores.one();
    chown(&dir, Some(0), Some(0)).unwrap();
    let said = std::thread::scope(|scope| {
        let reconcile = scope.spawn(|| lab.tool(&["reconcile"]).must().stdout);
        std::thread::sleep(Duration::from_millis(500));
        assert!(!reconcile.is_finished(), "it did not wait for the lock");
        chown(&dir, Some(ALICE), Some(ALICE)).unwrap();
        record.unlock().unwrap();
        reconcile.join().unwrap()
    });
    assert!(!said.contains("failed"), "{said}");
    assert_eq!(fs::read_link(dir.join("theirs")).unwrap(), own);
    session.end();
    stores.nothing_is_left();
}

fn on_disk() {
    let lab = Lab::new(Who::Root);
    lab.configure("store = \"private\"\n");
    let seen = lab.run(&[Open(0), PamEnv, Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert!(line(&seen.log, "no token for").contains("run/tokens is on a disk"));
    assert_eq!(told(&seen.answers), [None, None]);
    assert_eq!(names(&lab.path("run/tokens")), Vec::<String>::new());
    crate::nothing_is_left(&lab);
}
