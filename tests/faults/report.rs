//! What came of it: rows for the table of proofs, and a report in `target`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use pam_idtoken_tests::faults::{Fault, name};
use pam_idtoken_tests::proof;

use crate::work::{Result, part_name};

/// Writes the report; whether all held.
pub(crate) fn write(results: &[Result]) -> ExitCode {
    let mut text = String::new();
    let mut violations = 0;
    for result in results {
        violations += case(&mut text, result);
    }
    calls(&mut text, results);
    let path = pam_idtoken_tests::build_dir().with_file_name("faults.txt");
    fs::write(&path, text).unwrap();
    println!(
        "which calls, which errors, what did not hold: {}",
        path.display()
    );
    if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One case: its row, and what did not hold.
fn case(text: &mut String, result: &Result) -> usize {
    let errnos: BTreeSet<Fault> = result.points.iter().map(|point| point.fault).collect();
    let unreached = result.points.iter().filter(|point| !point.is_reached);
    let broken = result
        .points
        .iter()
        .filter(|point| !point.violations.is_empty());
    // Threads that are not in step miss a few; many are runs that prove nothing.
    let missed = unreached.clone().count();
    let is_missed = missed * 50 > result.points.len();
    let violations =
        broken.clone().count() + usize::from(!result.without.is_empty()) + usize::from(is_missed);
    // A delay that comes and goes would be among these.
    let stalled = result.points.iter().filter(|point| point.stalls > 0);
    let again = match stalled.clone().count() {
        0 => String::new(),
        count => format!(", {count} made again"),
    };
    let counted = format!(
        "{} calls, {} faults, {} runs, {missed} missed{again}{}",
        result.calls.len(),
        errnos.len(),
        result.points.len(),
        part_name(),
    );
    proof::row(&result.name, &counted, violations);
    let _ = writeln!(
        text,
        "{}: {counted}, {violations} violations, {:?} a run",
        result.name,
        result.took / u32::try_from(result.points.len().max(1)).unwrap(),
    );
    for what in &result.without {
        let _ = writeln!(text, "  without a fault: {what}");
    }
    for point in broken {
        let _ = writeln!(
            text,
            "  {}: {:?}",
            at(result, point.call, point.fault),
            point.violations
        );
    }
    for point in stalled {
        let _ = writeln!(
            text,
            "  made again, as the machine stood still: {}",
            at(result, point.call, point.fault)
        );
    }
    for point in unreached {
        let _ = writeln!(
            text,
            "  not reached: {}",
            at(result, point.call, point.fault)
        );
    }
    violations
}

fn at(result: &Result, call: usize, fault: Fault) -> String {
    format!("{} {fault}", result.calls[call])
}

/// Every system call: where, what it gave, what did not hold.
fn calls(text: &mut String, results: &[Result]) {
    #[derive(Default)]
    struct Row {
        positions: usize,
        faults: BTreeSet<Fault>,
        runs: usize,
        violations: usize,
    }
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for result in results {
        for call in &result.calls {
            rows.entry(name(call.position.number))
                .or_default()
                .positions += 1;
        }
        for point in &result.points {
            let row = rows
                .entry(name(result.calls[point.call].position.number))
                .or_default();
            row.runs += 1;
            row.faults.insert(point.fault);
            row.violations += usize::from(!point.violations.is_empty());
        }
    }
    let _ = writeln!(
        text,
        "\n{:<16} {:>9} {:>6} {:>10}  faults",
        "system call", "positions", "runs", "violations"
    );
    for (name, row) in rows {
        let faults: Vec<String> = row.faults.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "{name:<16} {:>9} {:>6} {:>10}  {}",
            row.positions,
            row.runs,
            row.violations,
            faults.join(" ")
        );
    }
}
