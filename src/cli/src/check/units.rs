//! The units of systemd: those of the reconciler, and what others do to /tmp.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use session::config::{Config, Store};

use super::ask::ask;
use super::finding::{Finding, Id};

const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// There while systemd is init (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

const TIMER: &str = "pam_idtoken-reconcile.timer";
const PATH: &str = "pam_idtoken-reconcile.path";
const SERVICE: &str = "pam_idtoken-reconcile.service";
const MOUNT: &str = "run-pam_idtoken-tokens.mount";
/// Debian's name and Red Hat's, and HTCondor's own.
const OTHERS: [&str; 3] = ["ssh.service", "sshd.service", "condor.service"];
const PROPERTIES: &str = "LoadState,ActiveState,UnitFileState,Result,ExecMainStatus,\
                          ExecMainExitTimestamp,LastTriggerUSec,PrivateTmp";

/// While a reconcile runs systemd has forgotten how the last one went: so often it is asked again,
/// and so long after it was asked before. Mostly a run is over at once.
const AGAIN: u32 = 15;
const PAUSE: Duration = Duration::from_millis(200);

type Properties = BTreeMap<String, String>;

/// What systemd says of the units.
pub(super) struct Units(BTreeMap<&'static str, Properties>);

impl Units {
    /// Asks; the finding says why nobody could be asked.
    pub(super) fn ask() -> Result<Self, Finding> {
        if !Path::new(BOOTED).is_dir() {
            let what = "systemd does not run here: its units were not looked at";
            let finding = Finding::note(Id::ReconcilerTimer, what);
            return Err(finding.with_remedy("let cron run `idtokenctl reconcile`, see admin.md"));
        }
        Self::settled(Self::ask_systemd, PAUSE)
    }

    /// Asks until no reconcile is under way, or it takes its time.
    fn settled<E>(ask: impl Fn() -> Result<Self, E>, pause: Duration) -> Result<Self, E> {
        let mut units = ask()?;
        for _ in 0..AGAIN {
            if !units.is_under_way() {
                break;
            }
            std::thread::sleep(pause);
            units = ask()?;
        }
        Ok(units)
    }

    fn ask_systemd() -> Result<Self, Finding> {
        let show = format!("--property={PROPERTIES}");
        let names: Vec<&'static str> = [TIMER, PATH, SERVICE, MOUNT]
            .into_iter()
            .chain(OTHERS)
            .collect();
        let args: Vec<&str> = ["show", &show, "--"]
            .into_iter()
            .chain(names.clone())
            .collect();
        match ask(SYSTEMCTL, &args) {
            Ok(text) => Ok(Self::parse(&names, &text)),
            Err(why) => {
                let what = format!("systemd could not be asked for its units: {why}");
                Err(Finding::warn(
                    Id::ReconcilerTimer,
                    what,
                    "run `systemctl status`",
                ))
            }
        }
    }

    /// One paragraph for each unit, in the order of the names.
    fn parse(names: &[&'static str], text: &str) -> Self {
        let units = names.iter().zip(text.split("\n\n")).map(|(name, text)| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            let properties = lines.map(|(key, value)| (key.to_owned(), value.to_owned()));
            (*name, properties.collect())
        });
        Self(units.collect())
    }

    fn get(&self, unit: &str, property: &str) -> &str {
        let properties = self.0.get(unit);
        properties
            .and_then(|all| all.get(property))
            .map_or("", String::as_str)
    }

    fn is_there(&self, unit: &str) -> bool {
        !matches!(self.get(unit, "LoadState"), "" | "not-found" | "masked")
    }

    fn is_active(&self, unit: &str) -> bool {
        self.get(unit, "ActiveState") == "active"
    }

    fn is_enabled(&self, unit: &str) -> bool {
        self.get(unit, "UnitFileState") == "enabled"
    }

    fn is_under_way(&self) -> bool {
        self.get(SERVICE, "ActiveState") == "activating"
    }

    /// The services that have a /tmp of their own.
    pub(super) fn with_private_tmp(&self) -> Vec<&'static str> {
        let has = |unit: &&str| self.is_there(unit) && self.get(unit, "PrivateTmp") == "yes";
        OTHERS.into_iter().filter(has).collect()
    }

    /// What there is to say of the module's own units; `is_fresh` if somebody reconciles.
    pub(super) fn look(&self, config: &Config, is_fresh: bool, findings: &mut Vec<Finding>) {
        if !self.is_there(TIMER) {
            let state = self.get(TIMER, "LoadState");
            let what = format!("the unit {TIMER} is {state}");
            findings.push(if is_fresh {
                let but = "and something else runs idtokenctl reconcile";
                Finding::note(Id::ReconcilerTimer, format!("{what}, {but}"))
            } else {
                let remedy = "install the units, or let cron run `idtokenctl reconcile`";
                Finding::warn(Id::ReconcilerTimer, what, remedy)
            });
            return;
        }
        findings.push(self.timer());
        findings.push(self.path());
        findings.push(self.at_boot());
        findings.push(self.last_run());
        if config.store == Store::Home || self.is_active(MOUNT) {
            findings.push(self.mount());
        }
    }

    fn timer(&self) -> Finding {
        let remedy = format!("run `systemctl enable --now {TIMER}`");
        match (self.is_active(TIMER), self.is_enabled(TIMER)) {
            (true, true) => {
                let last = match self.get(TIMER, "LastTriggerUSec") {
                    "" => "and has not started a reconcile yet".to_owned(),
                    last => format!("and started the last reconcile at {last}"),
                };
                Finding::ok(Id::ReconcilerTimer, format!("{TIMER} is active {last}"))
            }
            (true, false) => {
                let what = format!("{TIMER} is active and not enabled: it does not start at boot");
                Finding::warn(Id::ReconcilerTimer, what, remedy)
            }
            (false, true) => {
                let state = self.get(TIMER, "ActiveState");
                let what = format!(
                    "{TIMER} is enabled and {state}: the tokens of open sessions are not renewed and \
                     expire"
                );
                let remedy = format!("run `systemctl start {TIMER}`");
                Finding::fail(Id::ReconcilerTimer, what).with_remedy(remedy)
            }
            (false, false) => {
                let what = format!("{TIMER} is installed and neither active nor enabled");
                let remedy = format!("{remedy}, or mask it if cron runs `idtokenctl reconcile`");
                Finding::warn(Id::ReconcilerTimer, what, remedy)
            }
        }
    }

    fn path(&self) -> Finding {
        if self.is_active(PATH) && self.is_enabled(PATH) {
            return Finding::ok(Id::ReconcilerPath, format!("{PATH} is active"));
        }
        let what = format!(
            "{PATH} is {} and {}: a replaced key is followed by the timer only",
            self.get(PATH, "ActiveState"),
            or_unknown(self.get(PATH, "UnitFileState")),
        );
        let remedy = format!("run `systemctl enable --now {PATH}`");
        Finding::warn(Id::ReconcilerPath, what, remedy)
    }

    fn at_boot(&self) -> Finding {
        if self.is_enabled(SERVICE) {
            let what = "a reconcile runs at boot, before users can log in";
            return Finding::ok(Id::ReconcilerBoot, what);
        }
        let what = format!(
            "{SERVICE} is not enabled: after a power cut users may log in before tokens of before \
             are gone"
        );
        let remedy = format!("run `systemctl enable {SERVICE}`");
        Finding::warn(Id::ReconcilerBoot, what, remedy)
    }

    fn last_run(&self) -> Finding {
        let (result, code) = (
            self.get(SERVICE, "Result"),
            self.get(SERVICE, "ExecMainStatus"),
        );
        let when = self.get(SERVICE, "ExecMainExitTimestamp");
        let look = format!("see `journalctl -u {SERVICE}` and the log of pam_idtoken");
        if self.is_under_way() {
            let what = "a reconcile is under way and takes its time: nobody can tell how the last \
                        one went";
            return Finding::warn(
                Id::ReconcilerRun,
                what,
                format!("ask again; if it stays so {look}"),
            );
        }
        if result != "success" || self.get(SERVICE, "ActiveState") == "failed" {
            let what = format!("the last reconcile failed: {result}, exit code {code}, {when}");
            return Finding::fail(Id::ReconcilerRun, what).with_remedy(look);
        }
        match (when, code) {
            ("" | "n/a", _) => Finding::note(
                Id::ReconcilerRun,
                format!("{SERVICE} has not run since boot"),
            ),
            (when, "0") => Finding::ok(
                Id::ReconcilerRun,
                format!("the last reconcile went well: {when}"),
            ),
            (when, code) => {
                let what = format!(
                    "the last reconcile left something to the next one: exit code {code}, {when}"
                );
                Finding::warn(Id::ReconcilerRun, what, look)
            }
        }
    }

    fn mount(&self) -> Finding {
        if self.is_active(MOUNT) {
            let what = "private stores have a file system of their own";
            return Finding::ok(Id::PrivateMount, what);
        }
        let what = format!("{MOUNT} is not active: with private stores a user could fill /run");
        let remedy = format!("run `systemctl enable --now {MOUNT}`");
        Finding::note(Id::PrivateMount, what).with_remedy(remedy)
    }
}

fn or_unknown(state: &str) -> &str {
    if state.is_empty() {
        "of no known state"
    } else {
        state
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::check::finding::Level;

    /// What systemctl of Debian 13 prints, a little shortened.
    fn parsed(timer: &str, service: &str) -> Units {
        let path = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n";
        let gone = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n";
        let names = [TIMER, PATH, SERVICE, MOUNT, "ssh.service"];
        let text = format!("{timer}\n{path}\n{service}\n{gone}\n{path}PrivateTmp=yes\n");
        Units::parse(&names, &text)
    }

    fn shown(timer: &str, service: &str) -> Vec<Finding> {
        found(&parsed(timer, service))
    }

    fn found(units: &Units) -> Vec<Finding> {
        assert_eq!(units.with_private_tmp(), ["ssh.service"]);
        let config = Config::parse("", Path::new("/x.toml")).unwrap();
        let mut findings = Vec::new();
        units.look(&config, true, &mut findings);
        findings
    }

    const GOOD: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
                        LastTriggerUSec=Wed 2026-11-25 21:00:00 UTC\n";
    const RAN: &str = "LoadState=loaded\nActiveState=inactive\nUnitFileState=enabled\n\
                       Result=success\nExecMainStatus=0\n\
                       ExecMainExitTimestamp=Wed 2026-11-25 21:00:00 UTC\n";

    fn levels(findings: &[Finding]) -> Vec<(&'static str, Level)> {
        let both = |finding: &Finding| (finding.id.as_str(), finding.level);
        findings.iter().map(both).collect()
    }

    #[test]
    fn units_that_run_are_well() {
        let findings = shown(GOOD, RAN);
        let well = |name| (name, Level::Ok);
        let expected = [
            "reconciler-timer",
            "reconciler-path",
            "reconciler-boot",
            "reconciler-run",
        ];
        let mut expected = expected.map(well).to_vec();
        expected.push(("private-mount", Level::Note));
        assert_eq!(levels(&findings), expected);
        assert!(
            findings[0]
                .message
                .contains("the last reconcile at Wed 2026")
        );
    }

    #[test]
    fn a_timer_that_was_stopped_is_a_failure_and_one_that_nobody_wanted_is_not() {
        let stopped = GOOD.replace("=active", "=inactive");
        assert!(shown(&stopped, RAN)[0].is(Level::Fail, "enabled and inactive"));
        let failed = GOOD.replace("=active", "=failed");
        assert!(shown(&failed, RAN)[0].is(Level::Fail, "enabled and failed"));
        let disabled = stopped.replace("=enabled", "=disabled");
        assert!(shown(&disabled, RAN)[0].is(Level::Warn, "neither active nor enabled"));
        let started = GOOD.replace("=enabled", "=disabled");
        assert!(shown(&started, RAN)[0].is(Level::Warn, "does not start at boot"));
        let masked = GOOD.replace("=loaded", "=masked");
        assert_eq!(
            levels(&shown(&masked, RAN)),
            [("reconciler-timer", Level::Note)]
        );
    }

    #[test]
    fn a_run_that_failed_is_told_with_its_code() {
        let run = |from: &str, to: &str| shown(GOOD, &RAN.replace(from, to)).remove(3);
        let failed = run("=success\nExecMainStatus=0", "=exit-code\nExecMainStatus=1");
        assert!(failed.is(Level::Fail, "failed: exit-code, exit code 1, Wed"));
        let left = run("ExecMainStatus=0", "ExecMainStatus=3");
        assert!(left.is(Level::Warn, "exit code 3"));
        let never = run(
            "ExecMainExitTimestamp=Wed 2026-11-25 21:00:00 UTC",
            "ExecMainExitTimestamp=",
        );
        assert!(never.is(Level::Note, "has not run since boot"));
    }

    /// A run that has begun: systemd says nothing of the last one.
    fn under_way() -> Units {
        let service = RAN.replace("=inactive", "=activating");
        let when = "ExecMainExitTimestamp=Wed 2026-11-25 21:00:00 UTC";
        parsed(GOOD, &service.replace(when, "ExecMainExitTimestamp="))
    }

    #[test]
    fn a_run_that_is_under_way_is_no_run_that_never_was() {
        let run = found(&under_way()).remove(3);
        assert!(run.is(Level::Warn, "a reconcile is under way"));
    }

    #[test]
    fn a_run_that_is_under_way_hides_no_failure() {
        let failed = RAN.replace("=success\nExecMainStatus=0", "=exit-code\nExecMainStatus=1");
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            Ok::<_, ()>(match asked.get() {
                1 | 2 => under_way(),
                _ => parsed(GOOD, &failed),
            })
        };
        let units = Units::settled(ask, Duration::ZERO).unwrap();
        assert!(found(&units).remove(3).is(Level::Fail, "exit code 1"));
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn a_run_that_does_not_end_is_not_waited_for() {
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            Ok::<_, ()>(under_way())
        };
        let units = Units::settled(ask, Duration::ZERO).unwrap();
        assert!(found(&units).remove(3).is(Level::Warn, "takes its time"));
        assert_eq!(asked.get(), AGAIN + 1);
    }
}
