//! A scratch host on which one case is run again and again.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pam_idtoken_tests::faults::{Fault, Host, Plan, Position, Seen};
use pam_idtoken_tests::host::Step::Open;
use pam_idtoken_tests::host::lab::tool;
use pam_idtoken_tests::host::memory::Memory;
use pam_idtoken_tests::host::{Lab, Running, Who};

use crate::cases::{Action, Case};
use crate::inventory::Inventory;
use crate::schedd;

/// The host, with sessions of bob's and mostly of alice's that live.
pub(crate) struct Stand<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) case: &'a Case,
    pub(crate) host: Host,
    _live: Vec<Running<'a>>,
    /// One of alice's that lives and has ended.
    ended: RefCell<Option<Running<'a>>>,
    pub(crate) before: Inventory,
}

/// One run: what was seen, and what did not hold.
pub(crate) struct Run {
    pub(crate) seen: Seen,
    pub(crate) violations: Vec<String>,
    took: Duration,
}

impl Run {
    /// Whether what did not hold may be because the machine stood still for most of what a home may
    /// take: then it holds on another scratch host.
    pub(crate) fn may_be_a_stall(&self) -> bool {
        !self.violations.is_empty() && self.took > Duration::from_millis(700)
    }

    /// The calls that both made, and everything that did not hold. Nearly all are made each time.
    pub(crate) fn in_common_with(mut self, other: Self) -> Self {
        let made: HashSet<Position> = other.seen.calls.iter().map(|call| call.position).collect();
        let before = self.seen.calls.len();
        self.seen.calls.retain(|call| made.contains(&call.position));
        let dropped = before - self.seen.calls.len();
        if dropped * 10 > before {
            self.violations.push(format!(
                "{dropped} of {before} calls are not made each time"
            ));
        }
        self.seen.unknown.extend(other.seen.unknown);
        self.violations.extend(other.violations);
        self.took = self.took.max(other.took);
        self
    }
}

/// Has a new scratch host for a case.
pub(crate) fn with_stand<T>(case: &Case, work: impl FnOnce(&mut Stand<'_>) -> T) -> T {
    let lab = Lab::new(Who::Root);
    let _memory = Memory::on(&lab.path("run"));
    lab.promise();
    (case.configure)(&lab);
    lab.line_between_marks();
    let mut live = vec![lab.stay("bob", &[Open(0)])];
    if case.has_other {
        live.push(lab.stay("alice", &[Open(0)]));
    }
    let mut stand = Stand {
        host: Host::start(&lab, "alice"),
        lab: &lab,
        case,
        _live: live,
        ended: RefCell::default(),
        before: Inventory::default(),
    };
    // The directories that a first session makes are there from now on.
    stand.leave();
    let (status, said) = stand.reconcile();
    assert_eq!(status, 0, "{said}");
    stand.before = Inventory::of(&lab);
    assert_eq!(stand.before.tokens().len(), 1 + usize::from(case.has_other));
    work(&mut stand)
}

impl Stand<'_> {
    /// A session that nobody closes.
    pub(crate) fn leave(&self) {
        self.host.leave();
    }

    /// A session that an administrator has ended, and that goes on; its token could not be removed.
    pub(crate) fn end_in_vain(&self) {
        self.ended.replace(Some(self.lab.stay("alice", &[Open(0)])));
        let new = Inventory::of(self.lab).since(&self.before, true);
        let mut new = new.iter().filter_map(|what| what.strip_prefix("left: "));
        let is_record = |name: &&str| Path::new(name).extension().is_some_and(|it| it == "json");
        let record = new.find(is_record).unwrap();
        fs::write(self.lab.path(record).with_extension("ended"), "").unwrap();
    }

    /// HTCondor has to be asked anew.
    pub(crate) fn forget_answers(&self) {
        for entry in fs::read_dir(self.lab.path("run")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with("htcondor-") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// Every token is due for renewal.
    pub(crate) fn replace_key(&self) {
        let key = self.lab.path("keys/POOL");
        let number: u64 = fs::read_to_string(&key)
            .ok()
            .and_then(|text| text.strip_prefix("key ")?.parse().ok())
            .unwrap_or_default();
        fs::write(&key, format!("key {}", number + 1)).unwrap();
        if self.lab.path("tmp/answer-alice").exists() {
            schedd::sign(self.lab);
        }
    }

    /// One run, with something that goes wrong or without.
    pub(crate) fn run(&self, fault: Option<(Position, Fault)>) -> Run {
        (self.case.prepare)(self);
        // What went wrong in the run before would be a reason to do less in this one.
        let _ = fs::remove_dir_all(self.lab.path("run/complaints"));
        self.lab.read_log();
        let started = Instant::now();
        let mut lost = Vec::new();
        let is_reconcile = self.case.action == Action::Reconcile;
        let mut after_each = || {
            if is_reconcile && lost.is_empty() {
                lost.extend(self.without_token());
            }
        };
        let program = if is_reconcile {
            tool()
        } else {
            self.host.program().to_owned()
        };
        let plan = Plan {
            program: &program,
            from_start: is_reconcile,
            fault,
            after_each: &mut after_each,
        };
        let seen = match self.case.action {
            Action::Hook(hook) => self.host.session(hook, plan),
            Action::Reconcile => self.host.watched(self.command(), self.output(), plan),
        };
        let mut violations = lost;
        violations.extend(self.went_wrong(&seen, fault));
        violations.extend(self.is_left(fault.map(|(_, fault)| fault)));
        Run {
            seen,
            violations,
            took: started.elapsed(),
        }
    }

    fn command(&self) -> Vec<String> {
        let config = self.lab.path("etc/config.toml");
        let words = [tool(), "--config".into(), config, "reconcile".into()];
        words.map(|word: PathBuf| word.display().to_string()).into()
    }

    fn output(&self) -> PathBuf {
        self.lab.path("tmp/said")
    }

    /// A reconcile that nothing is done to: its status and what it said.
    pub(crate) fn reconcile(&self) -> (i32, String) {
        let status = self.host.run(self.command(), self.output());
        (status, fs::read_to_string(self.output()).unwrap())
    }
}
