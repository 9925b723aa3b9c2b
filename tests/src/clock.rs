//! Waiting for what comes, and measuring what may take no longer: on a machine that others use too,
//! where anything may be held up for a second.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long it took.
pub fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = what();
    (result, started.elapsed())
}

/// Measures up to three times, until it is less than `longest`: a busy machine holds up one of them,
/// what is wrong holds up all.
#[track_caller]
pub fn once_within(longest: Duration, mut measured: impl FnMut() -> Duration) {
    let mut all = Vec::new();
    while all.len() < 3 {
        let took = measured();
        if took < longest {
            return;
        }
        all.push(took);
    }
    panic!("{all:?}, and never less than {longest:?}");
}

/// Waits until it holds, and says how long that took. It is looked at once more when the time is over,
/// however late that is.
#[track_caller]
pub fn wait_for(what: &str, longest: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    wait_until_none(longest, || (!holds()).then_some(what))
}

/// The same until nothing is left, with what is left at the end in the message.
#[track_caller]
pub fn wait_until_none<T: Debug>(
    longest: Duration,
    mut left: impl FnMut() -> Option<T>,
) -> Duration {
    let started = Instant::now();
    loop {
        let is_over = started.elapsed() >= longest;
        let Some(left) = left() else {
            return started.elapsed();
        };
        assert!(!is_over, "not within {longest:?}: {left:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
