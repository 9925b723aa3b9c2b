//! Work that may hang, on a thread of its own that nobody waits for longer than
//! a deadline; a thread that is late is left to the kernel.
//!
//! The thread never handles a signal of the host, and the host has as many threads
//! afterwards as it had before.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::deadline::Deadline;

/// Enough for the work of [`crate::home`], with room to spare.
const STACK: usize = 256 * 1024;

/// Why there is no thread.
pub(crate) struct NoThread {
    /// What failed.
    pub(crate) doing: &'static str,
    pub(crate) source: io::Error,
}

/// Runs `job` on a thread of its own, and `meanwhile` on this one; whether the thread is over
/// by the deadline.
///
/// One function for all jobs: each kind of its own would bring the making of threads into
/// every host once more.
pub(crate) fn run(
    job: Box<dyn FnOnce() + Send>,
    deadline: Deadline,
    meanwhile: &mut dyn FnMut(),
) -> Result<bool, NoThread> {
    let over = Arc::new(Over::default());
    let thread = {
        // The thread inherits the mask: no signal of the host is ever handled on it.
        let _mask = BlockedSignals::new()?;
        let says = SaysOver(Arc::clone(&over));
        Builder::new()
            .stack_size(STACK)
            .spawn(move || {
                // The last to be dropped, even by a panic: the job is gone with all it has.
                let _says = says;
                job();
            })
            .map_err(|source| NoThread {
                doing: "make a thread",
                source,
            })?
    };
    meanwhile();
    let is_over = over.wait(deadline.remaining());
    if is_over {
        // Saying so is the thread's last act; joining it gives the host back its thread count.
        let _ = thread.join();
    }
    Ok(is_over)
}

/// Whether a thread is over, and whoever waits for that.
#[derive(Default)]
struct Over {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Over {
    fn wait(&self, patience: Duration) -> bool {
        let is_over = lock(&self.is_over);
        let waited = self
            .changed
            .wait_timeout_while(is_over, patience, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Says that its thread is over, however it ends.
struct SaysOver(Arc<Over>);

impl Drop for SaysOver {
    fn drop(&mut self) {
        *lock(&self.0.is_over) = true;
        self.0.changed.notify_one();
    }
}

/// What is behind a mutex, whoever panicked with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every signal blocked for the calling thread, until dropped.
struct BlockedSignals(SigSet);

impl BlockedSignals {
    fn new() -> Result<Self, NoThread> {
        SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .map(Self)
            .map_err(|errno| NoThread {
                doing: "block signals",
                source: errno.into(),
            })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // Setting a mask that was in force a moment ago does not fail.
        let _ = self.0.thread_set_mask();
    }
}
