//! Two lanes: tests on the pool of all, and beside them, in a process of their own, tests that boot
//! their own hosts. Hosts wait more than they compute.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitCode};

use libtest_mimic::Arguments;

/// Set for the process of the second lane.
const SECOND: &str = "IDTOKEN_RING3_SECOND";

/// Which tests this process runs.
pub(crate) enum Lanes {
    /// All, one after the other: some were chosen by name, or they are only listed.
    All,
    /// Those on the pool of all; the process of the others, and what it says.
    First(Child, File),
    /// The others.
    Second,
}

impl Lanes {
    /// Starts the process of the second lane if all tests are to run.
    pub(crate) fn of(arguments: &Arguments) -> Self {
        if std::env::var_os(SECOND).is_some() {
            return Self::Second;
        }
        if arguments.list || arguments.filter.is_some() || !arguments.skip.is_empty() {
            return Self::All;
        }
        let said = tempfile::tempfile().unwrap();
        let second = Command::new(std::env::current_exe().unwrap())
            .env(SECOND, "1")
            .stdout(said.try_clone().unwrap())
            .stderr(said.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self::First(second, said)
    }

    /// What its row of the proofs is called.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::All | Self::First(..) => "ring 3",
            Self::Second => "ring 3, hosts of their own",
        }
    }

    pub(crate) fn has_shared(&self) -> bool {
        !matches!(self, Self::Second)
    }

    pub(crate) fn has_own(&self) -> bool {
        !matches!(self, Self::First(..))
    }

    /// Waits for the second lane and shows what it said; the result of both.
    pub(crate) fn join(self, own: ExitCode) -> ExitCode {
        let Self::First(mut second, mut said) = self else {
            return own;
        };
        let ended = second.wait().unwrap();
        let mut text = String::new();
        said.rewind().unwrap();
        said.read_to_string(&mut text).unwrap();
        println!("beside them, on hosts of their own:\n{text}");
        if ended.success() {
            own
        } else {
            ExitCode::FAILURE
        }
    }
}
