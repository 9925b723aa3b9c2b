//! Sessions of several services, one row each.

use std::time::Duration;

use super::{median, quantile};

/// One kind of session with the times it took.
pub struct Row {
    /// The service.
    pub name: String,
    open: Vec<Duration>,
    close: Vec<Duration>,
    /// From pam_start to pam_end, but for what the benchmark does between open and close.
    whole: Vec<Duration>,
}

/// The times of one session.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// pam_open_session.
    pub open: Duration,
    /// pam_close_session.
    pub close: Duration,
    /// pam_start and pam_end.
    pub around: Duration,
}

impl Row {
    /// Without any time yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            open: Vec::new(),
            close: Vec::new(),
            whole: Vec::new(),
        }
    }

    /// Adds a session.
    pub fn note(&mut self, times: Times) {
        let Times {
            open,
            close,
            around,
        } = times;
        self.open.push(open);
        self.close.push(close);
        self.whole.push(open + close + around);
    }

    /// The median of an open and a close together, in microseconds.
    fn both(&self) -> f64 {
        let sums = self.open.iter().zip(&self.close).map(|(a, b)| *a + *b);
        median(&sums.collect::<Vec<_>>())
    }
}

/// Prints all rows and what the module's is against the others.
pub fn print(rows: &[Row]) {
    println!(
        "{:<12} {:>6}  {:>22}  {:>22}",
        "", "", "open (us)", "close (us)"
    );
    println!(
        "{:<12} {:>6}  {:>10}  {:>10}  {:>10}  {:>10}  {:>12}  {:>10}",
        "", "rounds", "median", "p99", "median", "p99", "open + close", "whole"
    );
    for row in rows {
        println!(
            "{:<12} {:>6}  {:>10.1}  {:>10.1}  {:>10.1}  {:>10.1}  {:>12.1}  {:>10.1}",
            row.name,
            row.open.len(),
            median(&row.open),
            quantile(&row.open, 99),
            median(&row.close),
            quantile(&row.close, 99),
            row.both(),
            median(&row.whole),
        );
    }
    let of = |name: &str| rows.iter().find(|row| row.name == name);
    let Some(module) = of("pam_idtoken") else {
        return;
    };
    println!("\nmedians of open + close in the same run (whole: from pam_start to pam_end):");
    for name in ["pam_permit", "bare files"] {
        if let Some(other) = of(name) {
            let ratio = module.both() / other.both();
            println!("  pam_idtoken takes {ratio:.1} times as long as {name}");
        }
    }
    if let (Some(permit), Some(floor)) = (of("pam_permit"), of("bare files")) {
        // libpam asks the audit system at each open and close, whatever the module.
        let ratio = (module.both() - permit.both()) / floor.both();
        println!("  what it adds to pam_permit is {ratio:.1} times bare files");
    }
    if let (Some(permit), Some(calls)) = (of("pam_permit"), of("bare calls")) {
        let both = permit.both() + calls.both();
        println!(
            "  pam_permit and the module's system calls take {both:.1} us: it takes {:.2} times that",
            module.both() / both
        );
    }
    if let Some(other) = of("pam_exec") {
        let ratio = other.both() / module.both();
        println!("  pam_exec takes {ratio:.0} times as long as pam_idtoken");
    }
}
