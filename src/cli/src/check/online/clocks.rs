//! Do the clocks of the pool agree with this host's?
//!
//! The collector notes by its own clock when it hears of a daemon (LastHeardFrom), and the daemon
//! says what its clock was then (MyCurrentTime): the two tell each clock from the collector's.

use idtoken::Lifetime;

use super::hosts::Row;
use crate::check::finding::{Finding, Id};

/// What a busy network or a busy host may make of it, in seconds.
const MARGIN: u64 = 5;

/// Compares; `lifetime` is that of the shortest token.
///
/// A token is renewed at half of its life, so a server refuses it in between whose clock is ahead
/// by the other half.
pub(super) fn compare(rows: &[Row], lifetime: Lifetime, findings: &mut Vec<Finding>) {
    let own = rows.iter().find(|row| row.is_own);
    let Some(own) = own.and_then(|row| row.ahead) else {
        let what = "how the clocks of the pool differ is unknown: the collector does not say it of \
                    this host";
        findings.push(Finding::note(Id::OnlineClock, what));
        return;
    };
    let half = lifetime.as_secs() / 2;
    let collector = ("the central manager", Some(0));
    let others = rows.iter().filter(|row| !row.is_own);
    let others = others.map(|row| (row.machine.as_str(), row.ahead));
    let before = findings.len();
    let mut compared = 0;
    for (name, ahead) in [collector].into_iter().chain(others) {
        let Some(ahead) = ahead.map(|ahead| ahead.saturating_sub(own)) else {
            continue;
        };
        compared += 1;
        let seconds = ahead.unsigned_abs();
        if seconds <= MARGIN {
            continue;
        }
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let what = format!("the clock of {name} is {seconds} s {way} this host's");
        let remedy = "have chronyd or systemd-timesyncd keep both";
        findings.push(
            if ahead > 0 && seconds >= half {
                let what = format!("{what}: it refuses tokens before they are renewed");
                Finding::fail(Id::OnlineClock, what).with_remedy(remedy)
            } else {
                Finding::warn(Id::OnlineClock, what, remedy)
            }
            .on(name),
        );
    }
    if findings.len() == before {
        let what =
            format!("the clocks of {compared} hosts of the pool agree with this one to {MARGIN} s");
        findings.push(Finding::ok(Id::OnlineClock, what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    fn compared(clocks: &[(&str, Option<i64>)]) -> Vec<Finding> {
        let row = |(name, ahead): &(&str, Option<i64>)| Row {
            name: (*name).to_owned(),
            machine: format!("{name}.lab.test"),
            is_own: *name == "ap1",
            ahead: *ahead,
        };
        let rows: Vec<Row> = clocks.iter().map(row).collect();
        let mut findings = Vec::new();
        compare(&rows, Lifetime::HOUR, &mut findings);
        findings
    }

    #[test]
    fn clocks_are_compared_with_this_hosts_and_not_with_the_collectors() {
        let well = compared(&[("ap1", Some(0)), ("ap2", Some(-1)), ("ap3", None)]);
        assert!(well.len() == 1 && well[0].is(Level::Ok, "2 hosts"));
        let all_behind = compared(&[("ap1", Some(-100)), ("ap2", Some(-100))]);
        assert!(all_behind.len() == 1);
        assert!(all_behind[0].is(Level::Warn, "central manager is 100 s ahead of"));
        let one = compared(&[("ap1", Some(1)), ("ap2", Some(-99))]);
        assert!(one.len() == 1 && one[0].is(Level::Warn, "ap2.lab.test is 100 s behind"));
        assert_eq!(one[0].host.as_deref(), Some("ap2.lab.test"));
    }

    #[test]
    fn a_clock_that_is_ahead_by_half_a_life_is_a_failure() {
        let far = compared(&[("ap1", Some(0)), ("ap2", Some(1800)), ("ap3", Some(-1800))]);
        assert!(far[0].is(Level::Fail, "refuses tokens"));
        assert!(far[1].is(Level::Warn, "behind"));
        for clocks in [&[("ap2", Some(0))][..], &[("ap1", None)]] {
            assert!(compared(clocks)[0].is(Level::Note, "unknown"));
        }
    }
}
