//! What a supervisor is to do, and what it saw.

use std::collections::BTreeSet;
use std::path::Path;

use super::calls::name;
use super::errnos::Fault;
use super::position::{Position, Who};

/// A call that was made.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where.
    pub position: Position,
    /// Which thread made it.
    pub who: Who,
    /// The path in its arguments, or the file.
    pub what: String,
    /// Whether it is the file, by its descriptor.
    pub is_by_descriptor: bool,
    /// What can go wrong there, kills included.
    pub faults: Vec<Fault>,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Position { number, nth, .. } = self.position;
        write!(f, "{}#{nth} of {} {}", name(number), self.who, self.what)
    }
}

/// What is to be watched, and what is to happen.
pub struct Plan<'a> {
    /// The program whose calls count; what others do that it starts is theirs.
    pub program: &'a Path,
    /// Whether calls count from the first on, or where the process says so.
    pub from_start: bool,
    /// What goes wrong where; if nothing does all calls are listed.
    pub fault: Option<(Position, Fault)>,
    /// Done after each call that may have taken a file away.
    pub after_each: &'a mut dyn FnMut(),
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// All calls, if nothing was to go wrong.
    pub calls: Vec<Call>,
    /// Calls of which nobody has said what can go wrong, by number.
    pub unknown: BTreeSet<i64>,
    /// How many calls were made.
    pub count: usize,
    /// Whether the call was made at which something was to go wrong.
    pub has_fired: bool,
    /// The watched call returned: its code and how long it took, in milliseconds.
    pub returned: Option<(i32, u64)>,
    /// What was changed of the host.
    pub changed: Vec<String>,
    /// The wait status of the process.
    pub status: i32,
    /// It did not end by itself.
    pub has_hung: bool,
    /// Processes that it left behind and that did not end.
    pub left: usize,
}
