//! The mode, which may change while a request waits.

use std::sync::{Arc, Condvar, Mutex};

use super::Mode;

/// The mode that is in force.
#[derive(Clone, Default)]
pub(super) struct State(Arc<(Mutex<Mode>, Condvar)>);

impl State {
    pub(super) fn set(&self, mode: Mode) {
        *self.0.0.lock().unwrap() = mode;
        self.0.1.notify_all();
    }

    /// The mode to answer in; waits while there is to be no answer.
    pub(super) fn wait(&self) -> Mode {
        self.wait_while(Mode::Stalled)
    }

    /// The next mode that is not this one.
    pub(super) fn wait_while(&self, waits: Mode) -> Mode {
        let mode = self.0.0.lock().unwrap();
        *self.0.1.wait_while(mode, |mode| *mode == waits).unwrap()
    }
}
