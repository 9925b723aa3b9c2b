//! What `fault-host` is told and what it says: one order at a time, and [`Event::Ended`] after each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A call into the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// pam_open_session.
    Open,
    /// pam_close_session.
    Close,
}

/// What one more process is to do, a child that knows the module already.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// Opens a session and ends without closing it.
    Leave,
    /// Opens a session, and closes it if that is what is watched; ends without more.
    Session(Hook),
    /// Becomes another program, watched or not.
    Become {
        /// The program and its arguments.
        command: Vec<String>,
        /// Where its standard output and error go.
        output: PathBuf,
        /// Whether it is watched.
        is_watched: bool,
    },
}

/// What became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// This process is watched from now on; the listener comes with it.
    Watched(i32),
    /// The watched call returned.
    Returned {
        /// What it returned.
        code: i32,
        /// How long it took, in milliseconds.
        took: u64,
    },
    /// What of the process's own is not as it was before the watched call.
    Changed(Vec<String>),
    /// The process has ended, with this status of wait(2).
    Ended(i32),
}
