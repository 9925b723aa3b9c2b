//! Does somebody keep this host's clock?

use std::io;
use std::time::Duration;

use session::sys::{ClockError, clock_error};

use super::finding::{Finding, Id};

/// From here on the kernel itself takes its clock for wrong; systemd's timedatectl says by this,
/// too, whether a clock is synchronized (`ntp_synced` in basic/time-util.c), and not by STA_UNSYNC,
/// which chronyd leaves set where it is not to touch the hardware's clock.
const UNSYNCHRONIZED: Duration = Duration::from_secs(16);

/// Asks the kernel.
pub(super) fn look() -> Finding {
    judge(clock_error())
}

fn judge(answer: io::Result<ClockError>) -> Finding {
    match answer {
        Ok(ClockError(error)) if error < UNSYNCHRONIZED => Finding::ok(
            Id::Clock,
            format!(
                "the clock is synchronized, to {} ms at worst by the kernel's account",
                error.as_millis().max(1)
            ),
        ),
        Ok(_) => Finding::warn(
            Id::Clock,
            "the clock is synchronized by nobody: servers refuse a token one second after its end, \
             by their own clocks",
            "run chronyd or systemd-timesyncd, and look at `timedatectl`; on a virtual machine \
             the host may do it unseen: then --online compares the clocks",
        ),
        Err(error) => Finding::note(
            Id::Clock,
            format!("whether the clock is synchronized is unknown: the kernel says {error}"),
        )
        .with_remedy("look on the machine that this container runs on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    #[test]
    fn a_clock_is_judged_by_its_error_and_not_guessed() {
        let of = |millis| judge(Ok(ClockError(Duration::from_millis(millis))));
        assert!(of(250).is(Level::Ok, "250 ms"));
        assert!(of(15_999).is(Level::Ok, "synchronized"));
        assert!(of(16_000).is(Level::Warn, "by nobody"));
        let unknown = judge(Err(io::ErrorKind::PermissionDenied.into()));
        assert!(unknown.is(Level::Note, "is unknown"));
    }
}
