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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_of_three_is_in_time() {
        let mut times = [3, 2, 0].map(|seconds| seconds * SECOND).into_iter();
        once_within(SECOND, || times.next().unwrap());
        assert_eq!(times.next(), None);
    }

    #[test]
    #[should_panic = "[1s, 2s, 3s], and never less than 1s"]
    fn what_is_late_three_times_is_late() {
        let mut times = (1..=3).map(|seconds| seconds * SECOND);
        once_within(SECOND, || times.next().unwrap());
    }

    #[test]
    fn a_look_that_takes_longer_than_the_time_is_not_the_last() {
        let mut looks = 0;
        wait_for("the second", Duration::from_millis(20), || {
            looks += 1;
            std::thread::sleep(Duration::from_millis(30));
            looks == 2
        });
    }

    #[test]
    #[should_panic = "not within 20ms: \"rain\""]
    fn what_never_comes_is_not_waited_for_for_ever() {
        wait_for("rain", Duration::from_millis(20), || false);
    }
}
