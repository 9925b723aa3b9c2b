//! The life of a session's token, without PAM.
//!
//! [`open::open`] gives a session its token and [`close::Session::close`] takes it
//! away; both are called by the PAM module. In between, and where no close ever
//! came, [`reconcile`] keeps tokens and sessions in step. Everything the two need is here:
//! the [`config`]uration, the [`policy`] that says who is served, the
//! [`issuer`] that signs, the [`home`] store that holds the token, and the
//! [`record`] by which a token is found again whatever became of the process
//! that asked for it.
//!
//! Two rules hold everywhere in this crate. Root never touches a path inside a
//! home: every such step runs on the thread that [`acting`] makes. And no key
//! and no token is ever part of an error, a log line or a record.

pub mod acting;
mod aside;
pub mod audit;
pub mod child;
pub mod close;
pub mod config;
pub mod deadline;
pub mod discovery;
mod ending;
pub mod error;
mod gate;
pub mod holder;
pub mod home;
pub mod host;
mod identity;
pub mod issuer;
pub mod journal;
pub mod linger;
pub mod log;
pub mod name;
pub mod open;
pub mod policy;
pub mod private;
pub mod reconcile;
pub mod record;
mod run_dir;
pub mod stamp;
pub mod state;
pub mod sys;
#[cfg(test)]
mod testing;
pub mod trial;
pub mod user;

pub use error::{Error, Result};
