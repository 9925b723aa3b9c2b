//! One bound on everything in a call that may wait.

use std::time::{Duration, Instant};

/// The moment by which a call has to be done.
///
/// It is made once at the entry of a call and handed down, so that several
/// waits together never take longer than the configured `timeout`.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    end: Instant,
}

impl Deadline {
    /// A deadline `timeout` from now.
    pub fn after(timeout: Duration) -> Self {
        let started = Instant::now();
        Self {
            started,
            end: started + timeout,
        }
    }

    /// The same wait, over `part` earlier: what comes after it has that long.
    #[must_use]
    pub fn earlier(&self, part: Duration) -> Self {
        let end = self.end.checked_sub(part).unwrap_or(self.started);
        Self { end, ..*self }
    }

    /// The same moment for a wait that begins now.
    #[must_use]
    pub fn from_now(&self) -> Self {
        let started = Instant::now();
        Self { started, ..*self }
    }

    /// What is left, zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// How long it is since the deadline was made.
    pub fn waited(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_and_never_goes_below_zero() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(deadline.passed());
        assert_eq!(deadline.remaining(), Duration::ZERO);
        let minute = Deadline::after(Duration::from_secs(60));
        assert!(!minute.passed() && minute.earlier(Duration::from_secs(60)).passed());
        assert!(minute.earlier(Duration::from_secs(30)).remaining() > Duration::from_secs(20));
    }
}
