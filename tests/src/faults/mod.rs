//! System calls that fail: a process whose every call is asked of a supervisor first.
//!
//! It is seccomp's user notification (seccomp_unotify(2)). The process installs a filter, hands the
//! other end of it to its supervisor and from then on stops at each system call, with all its threads
//! and children, until the supervisor has said whether it is done, fails without being done, or is the
//! last one. `fault-host` is the program that is supervised: see [`protocol`].

mod calls;
mod channel;
mod errnos;
mod filter;
mod host;
mod instead;
mod listener;
mod position;
pub mod protocol;
mod seen;
mod supervisor;
mod tasks;

pub use calls::name;
pub use channel::Channel;
pub use errnos::{Fault, errno_name, faults};
pub use filter::{CHANNEL, CLOSED, mark, watch_me};
pub use host::Host;
pub use listener::{Asked, Listener};
pub use position::{Position, Who};
pub use seen::{Call, Plan, Seen};
