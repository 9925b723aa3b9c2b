//! The schedds of a pool, as `condor_status -schedd -af:t` tells them, and which are this host's.

use session::child;
use session::config::Config;
use session::deadline::Deadline;
use session::discovery::program;
use session::host::{full_name, short_name};

/// A host name is no longer (RFC 1035), nor the name of any schedd that HTCondor makes of it.
const LONGEST: usize = 255;

/// A schedd that the collector knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// As `-name` takes it.
    pub(super) name: String,
    /// The full name of its host.
    pub(super) machine: String,
    /// Whether that is this host.
    pub(super) is_own: bool,
    /// By how many seconds its clock was ahead of the collector's when it was last heard of; what
    /// the way took counts as behind.
    pub(super) ahead: Option<i64>,
}

/// This host's full name as its HTCondor advertises it, or what it is called.
pub(super) fn this(config: &Config) -> String {
    let program = program(
        &config.condor_config_val,
        config.token.condor_config.as_deref(),
        vec!["FULL_HOSTNAME".to_owned()],
        LONGEST + 1,
    );
    let said = child::run(&program, Deadline::after(config.timeout));
    let said = said.ok().filter(|said| said.status.success());
    let name = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    name.filter(|name| is_name(name)).unwrap_or_else(full_name)
}

/// One schedd a line: name, machine, its clock, the collector's. What is no name is left out and
/// counted: it becomes an argument.
pub(super) fn parse(text: &str, host: &str) -> (Vec<Row>, usize) {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let mut rows: Vec<Row> = lines().filter_map(row).collect();
    let odd = lines().count() - rows.len();
    mark(&mut rows, host);
    (rows, odd)
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.split('\t').map(str::trim);
    let (name, machine) = (cells.next()?, cells.next()?);
    let mut number = || cells.next()?.parse::<i64>().ok();
    let (own, heard) = (number(), number());
    (is_name(name) && is_name(machine)).then(|| Row {
        name: name.to_owned(),
        machine: machine.to_owned(),
        is_own: false,
        ahead: own
            .zip(heard)
            .and_then(|(own, heard)| own.checked_sub(heard)),
    })
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && !name.starts_with('-')
}

/// Whole names tell hosts of two domains apart. Where one has no domain the first parts have to do,
/// if no two hosts have the same.
fn mark(rows: &mut [Row], host: &str) {
    let has_domain = |name: &str| name.contains('.');
    let is_same = |row: &Row| row.machine.eq_ignore_ascii_case(host);
    let is_alike = |row: &Row| {
        !(has_domain(&row.machine) && has_domain(host))
            && short_name(&row.machine) == short_name(host)
    };
    let is_known = rows.iter().any(is_same);
    let mut alike: Vec<String> = rows
        .iter()
        .filter(|row| is_alike(row))
        .map(|row| row.machine.to_ascii_lowercase())
        .collect();
    alike.sort_unstable();
    alike.dedup();
    for row in rows {
        row.is_own = is_same(row) || (!is_known && alike.len() == 1 && is_alike(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_what_is_odd_is_counted_and_does_no_harm() {
        let long = "x".repeat(256);
        let text = format!(
            "ap1.lab.test\tap1.lab.test\t100\t100\n\
             second@ap2.lab.test\tap2.lab.test\t190\t100\n\
             ap3.lab.test\tap3.lab.test\tundefined\t100\n\
             -pool\tx\t1\t1\n\ta\t1\t1\n\nap4\n{long}\tap5\t1\t1\na\u{7}\tap6\t1\t1\n\
             \u{e9}\tap7\t1\t1\nap8\ta b\t1\t1\n"
        );
        let (rows, odd) = parse(&text, "ap2.lab.test");
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.is_own, row.ahead))
            .collect();
        let expected = [
            ("ap1.lab.test", false, Some(0)),
            ("second@ap2.lab.test", true, Some(90)),
            ("ap3.lab.test", false, None),
        ];
        assert_eq!((&seen[..], odd), (&expected[..], 7));
    }

    #[test]
    fn a_host_of_another_domain_is_not_this_one() {
        let own = |machines: &[&str], host: &str| {
            let line = |machine: &&str| format!("s\t{machine}\t1\t1\n");
            let text: String = machines.iter().map(line).collect();
            let (rows, _) = parse(&text, host);
            let own = rows.into_iter().filter(|row| row.is_own);
            own.map(|row| row.machine).collect::<Vec<_>>()
        };
        let both = ["ap1.a.org", "ap1.b.org"];
        assert_eq!(own(&both, "ap1.b.org"), ["ap1.b.org"]);
        assert_eq!(own(&both, "AP1.B.org"), ["ap1.b.org"]);
        assert!(own(&both, "ap1.c.org").is_empty());
        assert!(own(&both, "ap1").is_empty());
        assert_eq!(own(&both[..1], "ap1"), ["ap1.a.org"]);
        assert_eq!(own(&["ap1", "ap2"], "ap1.a.org"), ["ap1"]);
        let twice = ["ap1.a.org", "ap1.a.org"];
        assert_eq!(own(&twice, "ap1"), twice);
    }
}
