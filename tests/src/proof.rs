//! The table that `make proof` ends with: each proof adds rows of what it counted.

use std::fs::File;
use std::io::Write;

use crate::secrets::checked;

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
        // In one piece: others may add rows meanwhile.
        let row = format!("{what}\t{counted}\t{violations}\n");
        table.write_all(row.as_bytes()).unwrap();
    }
}

/// Adds a row of all that the hosts of this process have told by now, see [`crate::secrets`].
pub fn told(ring: &str) {
    let [hosts, bytes, secrets, found] = checked();
    if hosts > 0 {
        let counted = format!(
            "{hosts} hosts, {} KiB, {secrets} forms of secrets",
            bytes >> 10
        );
        row(
            &format!("told: logs, audit, records, outputs, {ring}"),
            &counted,
            found,
        );
    }
}
