//! Holds a thread back until it may go on.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::aside::lock;

/// Where a thread waits for what it needs to go on.
pub(crate) struct Gate<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    Waiting,
    Open(T),
    Closed,
}

impl<T> Gate<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::Waiting),
            changed: Condvar::new(),
        }
    }

    /// Lets one thread pass, which takes `with` along.
    pub(crate) fn open(&self, with: T) {
        self.set(State::Open(with));
    }

    /// Lets nobody pass any more who has not passed; whoever waits goes away.
    pub(crate) fn close(&self) {
        self.set(State::Closed);
    }

    /// Waits until the gate is open or closed; none if it is closed.
    pub(crate) fn pass(&self) -> Option<T> {
        let is_waiting = |state: &mut State<T>| matches!(state, State::Waiting);
        let state = self.changed.wait_while(lock(&self.state), is_waiting);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Closed) {
            State::Open(with) => Some(with),
            State::Waiting | State::Closed => None,
        }
    }

    fn set(&self, state: State<T>) {
        *lock(&self.state) = state;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn who_waits_passes_when_it_opens_and_one_passes() {
        let gate = Gate::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.pass());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            gate.open(7);
            assert_eq!(waiting.join().unwrap(), Some(7));
        });
        assert_eq!(gate.pass(), None);
    }

    #[test]
    fn nobody_passes_when_it_is_closed_and_nothing_is_kept() {
        let (gate, share) = (Gate::new(), Arc::new(()));
        gate.open(Arc::clone(&share));
        gate.close();
        assert_eq!(Arc::strong_count(&share), 1);
        assert_eq!(gate.pass(), None);
        let gate: Gate<()> = Gate::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.pass());
            gate.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}
