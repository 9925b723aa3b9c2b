//! The table that `make proof` ends with: each proof adds rows of what it counted.

use std::fs::File;
use std::io::Write;

/// Adds a row to the file that `IDTOKEN_PROOF` names, and prints it: what was proved, what was
/// counted, and how often it did not hold.
pub fn row(what: &str, counted: &str, violations: usize) {
    println!("proof: {what}: {counted}, {violations} violations");
    if let Some(table) = std::env::var_os("IDTOKEN_PROOF") {
        let mut table = File::options()
            .append(true)
            .create(true)
            .open(table)
            .unwrap();
        writeln!(table, "{what}\t{counted}\t{violations}").unwrap();
    }
}
