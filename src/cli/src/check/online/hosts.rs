//! The schedds of a pool, as `condor_status -schedd -af:t` tells them.

use session::host::short_name;

/// A schedd that the collector knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// As `-name` takes it.
    pub(super) name: String,
    /// The full name of its host.
    pub(super) machine: String,
    /// By how many seconds its clock was ahead of the collector's when it was last heard of; what
    /// the way took counts as behind.
    pub(super) ahead: Option<i64>,
}

impl Row {
    /// Whether it is on the host of this short name.
    pub(super) fn is_of(&self, host: &str) -> bool {
        short_name(&self.machine) == host
    }
}

/// One schedd a line: name, machine, its clock, the collector's. What is no name is left out: it
/// becomes an argument.
pub(super) fn parse(text: &str) -> Vec<Row> {
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.split('\t').map(str::trim);
        let (name, machine) = (cells.next()?, cells.next()?);
        let mut number = || cells.next()?.parse::<i64>().ok();
        let (own, heard) = (number(), number());
        let is_name =
            !name.is_empty() && !name.starts_with('-') && !name.contains(char::is_whitespace);
        is_name.then(|| Row {
            name: name.to_owned(),
            machine: machine.to_owned(),
            ahead: own
                .zip(heard)
                .and_then(|(own, heard)| own.checked_sub(heard)),
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_what_is_odd_does_no_harm() {
        let text = "ap1.lab.test\tap1.lab.test\t100\t100\n\
                    second@ap2.lab.test\tap2.lab.test\t190\t100\n\
                    ap3.lab.test\tap3.lab.test\tundefined\t100\n\
                    -pool\tx\t1\t1\n\ta\t1\t1\n\nap4\n";
        let rows = parse(text);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.ahead))
            .collect();
        let expected = [
            ("ap1.lab.test", Some(0)),
            ("second@ap2.lab.test", Some(90)),
            ("ap3.lab.test", None),
        ];
        assert_eq!(seen, expected);
        assert!(rows[1].is_of("ap2") && !rows[1].is_of("ap1"));
    }
}
