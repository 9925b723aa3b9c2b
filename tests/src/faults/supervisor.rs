//! Who is asked for each system call, and says no to one of them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::calls::name;
use super::channel::Channel;
use super::errnos::{Fault, faults, gives};
use super::filter::MARK;
use super::instead::Instead;
use super::listener::{Asked, Listener};
use super::position::{Position, Who, kind, subject};
use super::protocol::Event;
use super::seen::{Call, Plan, Seen};
use super::tasks::{Task, Tasks, program};

/// After what nobody waits any longer for processes that hang.
const HUNG: Duration = Duration::from_secs(15);
/// How long what a process leaves behind may live on.
const LEFT: Duration = Duration::from_secs(3);

/// Beginnings of the names of calls that take a file away, or its name.
const TAKES: [&str; 4] = ["unlink", "rename", "rmdir", "move_mount"];

/// A supervisor at work.
pub(super) struct Supervisor<'a> {
    plan: Plan<'a>,
    tasks: Tasks,
    host: i32,
    listener: Option<Listener>,
    processes: BTreeSet<i32>,
    counts: HashMap<u64, usize>,
    is_on: bool,
    /// The errno of what lasts, from the call on at which it began.
    lasting: Option<i32>,
    /// Whether a file may have gone since somebody looked.
    has_changed: bool,
    /// Takes the place of descriptors that are closed though close(2) fails.
    closed: OwnedFd,
    seen: Seen,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(plan: Plan<'a>) -> Self {
        let closed = CString::new("closed").unwrap();
        Self {
            tasks: Tasks::new(program(plan.program)),
            is_on: plan.from_start,
            plan,
            host: 0,
            listener: None,
            processes: BTreeSet::new(),
            counts: HashMap::new(),
            lasting: None,
            has_changed: false,
            closed: memfd_create(closed.as_c_str(), MFdFlags::MFD_CLOEXEC).unwrap(),
            seen: Seen::default(),
        }
    }

    /// Answers until the process and everything that came of it has ended.
    pub(super) fn run(mut self, channel: &Channel) -> io::Result<Seen> {
        let mut end = Instant::now() + HUNG;
        let mut has_ended = false;
        while !has_ended || self.listener.is_some() {
            let (calls, talks) = self.wait(channel, end);
            let listener = self.listener.as_ref().filter(|_| calls);
            if let Some(asked) = listener.and_then(Listener::next) {
                self.answer(asked);
            }
            if talks {
                has_ended = self.hear(channel)?;
                if has_ended {
                    end = Instant::now() + LEFT;
                }
            }
            if Instant::now() > end {
                if has_ended {
                    self.seen.left = self.processes.len();
                } else {
                    self.seen.has_hung = true;
                }
                for process in &self.processes {
                    let _ = kill(Pid::from_raw(*process), Signal::SIGKILL);
                }
                end = Instant::now() + LEFT;
            }
        }
        Ok(self.seen)
    }

    /// Whether a call and whether a message is there; a listener that hung up goes.
    fn wait(&mut self, channel: &Channel, end: Instant) -> (bool, bool) {
        let left = end.saturating_duration_since(Instant::now());
        let patience = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap();
        let mut ends = vec![PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        ends.extend(
            self.listener
                .as_ref()
                .map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)),
        );
        poll(&mut ends, patience).unwrap();
        let of = |number: usize| {
            let end = ends.get(number).and_then(PollFd::revents);
            end.unwrap_or(PollFlags::empty())
        };
        let (talks, calls) = (of(0), of(1));
        if calls.contains(PollFlags::POLLHUP) {
            self.listener = None;
        }
        (
            calls.contains(PollFlags::POLLIN),
            talks.intersects(PollFlags::POLLIN | PollFlags::POLLHUP),
        )
    }

    /// A message; whether the process has ended.
    fn hear(&mut self, channel: &Channel) -> io::Result<bool> {
        let (event, with) = channel.receive::<Event>()?;
        match event {
            Event::Watched(pid) => {
                self.host = pid;
                self.processes.insert(pid);
                self.listener = with.map(Listener::new);
            }
            Event::Returned { code, took } => self.seen.returned = Some((code, took)),
            Event::Changed(changed) => self.seen.changed = changed,
            Event::Ended(status) => {
                self.seen.status = status;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn answer(&mut self, asked: Asked) {
        if asked.number == MARK {
            self.is_on = asked.args[0] != 0;
            self.with(|listener| listener.returns(asked, 0));
            return;
        }
        let task = self.tasks.of(asked.task, asked.number);
        self.processes.insert(task.process);
        let fault = (self.is_on && task.is_ours)
            .then(|| self.note(&asked, &task))
            .flatten();
        let lasting = self.lasting.filter(|_| self.is_on && task.is_ours);
        let again = lasting
            .filter(|errno| gives(&asked, *errno))
            .map(Fault::Errno);
        if let Some(fault) = fault.or(again) {
            self.seen.has_fired = true;
            self.fail(asked, &task, fault);
            return;
        }
        if asked.number == libc::SYS_execve {
            self.tasks.becomes_another(task.process);
        }
        let name = name(asked.number);
        self.has_changed |= TAKES.iter().any(|takes| name.starts_with(takes));
        self.with(|listener| listener.go_on(asked));
    }

    /// Counts a call; what is to go wrong there.
    fn note(&mut self, asked: &Asked, task: &Task) -> Option<Fault> {
        if std::mem::take(&mut self.has_changed) {
            (self.plan.after_each)();
        }
        let can_fail = faults(asked);
        let who = Who {
            is_host: task.process == self.host,
            is_first: task.process == asked.task,
        };
        let (what, is_by_descriptor) = subject(asked, task.process);
        let kind = kind(asked.number, who, &what, can_fail.as_deref());
        let count = self.counts.entry(kind).or_default();
        let position = Position {
            kind,
            number: asked.number,
            nth: *count,
        };
        *count += 1;
        self.seen.count += 1;
        let Some((wanted, fault)) = self.plan.fault else {
            if position.is_one_more() {
                return None;
            }
            let mut faults = can_fail.unwrap_or_else(|| {
                self.seen.unknown.insert(asked.number);
                Vec::new()
            });
            // What only asks, or sets what ends with the process, leaves the world as it is: a kill
            // there is the same as at the next call.
            if !faults.is_empty() {
                faults.push(Fault::Kill);
                if !who.is_host {
                    faults.push(Fault::KillHost);
                }
            }
            self.seen.calls.push(Call {
                position,
                who,
                what,
                is_by_descriptor,
                faults,
            });
            return None;
        };
        (wanted == position).then_some(fault)
    }

    fn fail(&mut self, asked: Asked, task: &Task, fault: Fault) {
        if let Fault::Lasting(errno) = fault {
            self.lasting = Some(errno);
        }
        self.has_changed |= matches!(fault, Fault::Done(_));
        self.with(|listener| {
            let instead = Instead {
                listener,
                process: task.process,
                host: self.host,
                closed: self.closed.as_fd(),
            };
            instead.answer(asked, fault);
        });
    }

    fn with(&self, what: impl FnOnce(&Listener)) {
        if let Some(listener) = &self.listener {
            what(listener);
        }
    }
}
