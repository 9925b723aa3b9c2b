//! A host of ring 2 under attack: for users that no sshd lets in, and for races that need more
//! sessions than sshd can open.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, chown};
use pam_idtoken_tests::host::lab::{ALICE, BOB};
use pam_idtoken_tests::host::memory::Memory;
use pam_idtoken_tests::host::{Lab, Outcome, Step, Who};
use pam_idtoken_tests::programs_dir;

use crate::manifest::{Depth, Manifest, Trees};
use crate::mischief::Mischief;
use crate::score;
use crate::secrets;
use crate::watch::Watch;

/// `timeout`, and by how much a call may take longer on a busy machine.
const LONGEST: Duration = Duration::from_secs(3 + 2);
const SECRET: &str = "canary-of-others";

/// The host; alice is who attacks.
pub(crate) struct Cell {
    // Goes before the lab's directory.
    _memory: Memory,
    pub(crate) lab: Lab,
    _bin: tempfile::TempDir,
    program: PathBuf,
}

/// Lets a host be attacked; what should not have happened.
pub(crate) fn withstand(attack: fn(&Cell)) -> Vec<String> {
    let cell = Cell::new();
    let canaries = ["vault", "vault/secret", "vault/tokens.d", "home/bob/secret"];
    let watch = Watch::over(&canaries.map(|name| cell.lab.path(name)));
    let trees = cell.trees();
    let before = Manifest::take(&trees);
    watch.seen();
    let outcome = catch_unwind(AssertUnwindSafe(|| attack(&cell)));
    let mut violations: Vec<String> = outcome.err().map(secrets::panic).into_iter().collect();
    violations.extend(watch.missing());
    violations.extend(watch.seen());
    violations.extend(before.changes(&Manifest::take(&trees)));
    let dirs = ["home/alice", "home/theirs", "state"].map(|name| cell.lab.path(name));
    let secret = [SECRET.to_owned()];
    violations.extend(dirs.iter().flat_map(|dir| secrets::found(dir, &secret)));
    violations
}

impl Cell {
    fn new() -> Self {
        let lab = Lab::new(Who::Root);
        let memory = Memory::on(&lab.path("run"));
        lab.promise();
        fs::create_dir_all(lab.path("vault/tokens.d")).unwrap();
        fs::create_dir_all(lab.path("home/theirs")).unwrap();
        for (name, mode) in [
            ("vault", 0o700),
            ("vault/secret", 0o600),
            ("home/bob/secret", 0o600),
        ] {
            use std::os::unix::fs::PermissionsExt;
            if name.ends_with("secret") {
                fs::write(lab.path(name), SECRET).unwrap();
            }
            fs::set_permissions(lab.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir_all(lab.path("home/bob/.condor/tokens.d")).unwrap();
        for name in ["secret", ".condor", ".condor/tokens.d"] {
            lab.give(&format!("home/bob/{name}"), BOB);
        }
        // What is dead by its name, where root alone could remove it.
        for dir in ["vault/tokens.d", "home/bob/.condor/tokens.d"] {
            let bait = "0-session-fffffffffffffff0-ap1-0000000000000001";
            fs::write(lab.path(dir).join(bait), SECRET).unwrap();
        }
        let bin = tempfile::tempdir().unwrap();
        let program = bin.path().join("hostile-user");
        fs::copy(programs_dir().join("hostile-user"), &program).unwrap();
        chown(bin.path(), Some(Uid::from_raw(ALICE)), None).unwrap();
        Self {
            _memory: memory,
            lab,
            _bin: bin,
            program,
        }
    }

    fn trees(&self) -> Trees {
        let roots = ["/keys", "/etc", "/pam.d", "/home", "/vault"];
        Trees {
            root: self.lab.path(""),
            roots: roots.map(|root| (root, Depth::Contents)).into(),
            // The lab's own accounts change with what it runs.
            theirs: ["/home/alice", "/home/theirs", "/etc/passwd*", "/etc/group*"]
                .map(str::to_owned)
                .into(),
            put_back: Vec::new(),
        }
    }

    /// One of theirs does something.
    #[track_caller]
    pub(crate) fn does(&self, script: &str) {
        let script = format!("cd {}; {script}", self.lab.path("home/alice").display());
        let said = as_alice("sh").args(["-ec", &script]).output().unwrap();
        assert!(said.status.success(), "{script}: {said:?}");
    }

    /// Begins to do something that goes on.
    #[track_caller]
    pub(crate) fn begins(&self, args: &[&str]) -> Mischief {
        let mut command = as_alice(self.program.to_str().unwrap());
        command.args(args).current_dir(self.lab.path("home/alice"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Mischief::of(command.spawn().unwrap())
    }

    /// Runs a host for a user: whoever they are, libpam is told that all is well, and in time.
    #[track_caller]
    pub(crate) fn run(&self, user: &str, steps: &[Step]) -> Outcome {
        let started = Instant::now();
        let seen = self.lab.run_as(user, "test", steps);
        let took = started.elapsed();
        let calls = ["open", "close"].map(|call| seen.codes(call));
        let opened = calls[0].len();
        let calls = calls.concat();
        assert!(
            calls.iter().all(|code| *code == 0),
            "{calls:?}: {:#?}",
            seen.log
        );
        let longest = LONGEST * u32::try_from(calls.len().max(1)).unwrap();
        assert!(took < longest, "{took:?}");
        score::sessions(opened, Duration::ZERO);
        seen
    }

    /// No record is left after a reconcile, whosever it was.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        let said = self.lab.tool(&["reconcile"]);
        let found = Command::new("find")
            .arg(self.lab.path("state/sessions"))
            .args(["-type", "f"])
            .output()
            .unwrap();
        assert!(found.stdout.is_empty(), "{}{found:?}", said.all());
    }
}

/// A program of the attacker's.
fn as_alice(program: &str) -> Command {
    let id = ALICE.to_string();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "--",
        program,
    ]);
    command
}
