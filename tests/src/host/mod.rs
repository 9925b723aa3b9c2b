//! A host of the module for ring 2: the real libpam in a child process.
//!
//! The child, `pam-host`, is told what to do by a [`Scenario`] and answers with
//! [`Answers`]. It runs as root or as an ordinary user, sees users of its own
//! through nss_wrapper, and has a /dev/log of its own.

pub mod condor;
pub mod core;
pub mod growth;
pub mod hung;
pub mod lab;
mod log;
pub mod memory;
pub mod pam;
mod running;
pub mod snapshot;
mod squash;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use growth::Size;
use serde::{Deserialize, Serialize};
use snapshot::Snapshot;

pub use lab::{Lab, Outcome, Who};
pub use running::Running;
pub use squash::{Mode, Squash};

/// What the host does, in this order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Step {
    /// pam_start. Made by itself before the first step that needs it.
    Start,
    /// pam_open_session with these flags.
    Open(i32),
    /// pam_close_session.
    Close,
    /// pam_setcred with this flag.
    SetCred(i32),
    /// pam_authenticate.
    Authenticate,
    /// pam_acct_mgmt.
    Account,
    /// pam_chauthtok.
    Password,
    /// pam_end, with PAM_DATA_SILENT or not.
    End {
        /// As a forked child calls it.
        silent: bool,
    },
    /// Notes the PAM environment.
    PamEnv,
    /// Sets a variable in the PAM environment, as the host does: `NAME=value`.
    PutEnv(String),
    /// Takes a snapshot of the process.
    Snapshot,
    /// Sets PAM_USER, as some modules do: any bytes but NUL.
    User(Vec<u8>),
    /// Sets the umask.
    Umask(u32),
    /// Takes these supplementary groups and no others.
    Groups(Vec<u32>),
    /// Sets an environment variable of the process.
    Env(String, String),
    /// Ignores SIGCHLD.
    IgnoreSigchld,
    /// SIGPIPE ends the process, as in a program that is not Rust.
    DefaultSigpipe,
    /// Does the steps with a second handle, which stays.
    Other(Vec<Step>),
    /// Opens and closes this many sessions, one after the other; each has its token all the
    /// while and leaves nothing in this tokens.d.
    Rounds(usize, PathBuf),
    /// Opens and closes this many sessions, one after the other, and notes how long that took.
    Timed(usize),
    /// Opens and closes so many sessions, one after the other and as fast as it can, and looks so
    /// often, at the beginning and at the end at least, at what the process has.
    Repeat {
        /// How many sessions.
        rounds: usize,
        /// How many of them lie between two looks.
        between: usize,
    },
    /// Loses a block of memory of so many bytes, as a module with a fault would.
    Lose(usize),
    /// Opens this many sessions, each in a process of its own that lives until this one ends, of
    /// as many users in turn.
    Hold {
        /// How many sessions.
        sessions: usize,
        /// How many users there are, see [`Lab::add_users`].
        users: usize,
    },
    /// Does the steps in a forked child, which inherits the handle, and waits for it.
    Fork(Vec<Step>),
    /// Does the steps while another thread waits for every child there is, as a host may that
    /// has children of its own: one that ends meanwhile. Who was waited for goes where the
    /// output of shells goes.
    Reaping(Vec<Step>),
    /// Opens and closes a session in this many threads at once, each with a handle of its own.
    Threads(usize),
    /// Runs a shell command.
    Sh(String),
    /// Makes this file and waits until it is gone.
    Wait(PathBuf),
}

/// One host process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scenario {
    /// Where the service files are.
    pub confdir: String,
    /// The service.
    pub service: String,
    /// `PAM_USER`.
    pub user: String,
    /// `PAM_RHOST`.
    pub rhost: Option<String>,
    /// What it does.
    pub steps: Vec<Step>,
}

/// What the host saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Answers {
    /// The return code of each PAM call, by name, in order.
    pub codes: Vec<(String, i32)>,
    /// What the conversation was given: message style and text.
    pub messages: Vec<(i32, String)>,
    /// The PAM environment at each [`Step::PamEnv`] and each pam_end.
    pub environment: Vec<BTreeMap<String, String>>,
    /// One for each [`Step::Snapshot`].
    pub snapshots: Vec<Snapshot>,
    /// What each [`Step::Repeat`] saw.
    pub sizes: Vec<Size>,
    /// What the shell commands printed.
    pub shell: Vec<String>,
    /// How long each open and each close of [`Step::Timed`] took.
    pub times: Vec<(Duration, Duration)>,
    /// What the forked children saw.
    pub children: Vec<Answers>,
}
