//! What all attacks together count.

use std::sync::Mutex;
use std::time::Duration;

use pam_idtoken_tests::proof;

/// What was counted so far.
static SCORE: Mutex<Score> = Mutex::new(Score::new());

struct Score {
    attacks: usize,
    sessions: usize,
    swaps: usize,
    slowest: Duration,
    violations: usize,
}

impl Score {
    const fn new() -> Self {
        Self {
            attacks: 0,
            sessions: 0,
            swaps: 0,
            slowest: Duration::ZERO,
            violations: 0,
        }
    }
}

/// So many sessions were opened, and the module took no longer than this for any of them.
pub(crate) fn sessions(count: usize, slowest: Duration) {
    let mut score = SCORE.lock().unwrap();
    score.sessions += count;
    score.slowest = score.slowest.max(slowest);
}

/// So often a name was made to lead somewhere else.
pub(crate) fn swaps(count: usize) {
    SCORE.lock().unwrap().swaps += count;
}

/// An attack is over.
pub(crate) fn attack(violations: usize) {
    let mut score = SCORE.lock().unwrap();
    score.attacks += 1;
    score.violations += violations;
}

/// Adds the row to the table of proofs.
pub(crate) fn tell() {
    let score = SCORE.lock().unwrap();
    let counted = format!(
        "{} attacks, {} sessions, {} swaps, slowest {:.1} s",
        score.attacks,
        score.sessions,
        score.swaps,
        score.slowest.as_secs_f64()
    );
    proof::row("hostile users", &counted, score.violations);
}
