//! What the benchmark measures and how it says so.

pub mod bare;
pub mod first;
pub mod rows;

use std::time::Duration;

/// A time that so many per cent of all stayed below, in microseconds.
pub fn quantile(times: &[Duration], per_cent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * per_cent / 100).min(sorted.len() - 1);
    sorted[at].as_secs_f64() * 1e6
}

/// The median, in microseconds.
pub fn median(times: &[Duration]) -> f64 {
    quantile(times, 50)
}
