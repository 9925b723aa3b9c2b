//! The host around the module: sshd's use of PAM, the state directory.

use std::path::Path;
use std::time::Duration;

use session::config::{Config, TokenSettings};
use session::stamp::{is_fresh, is_often_enough};
use session::state;
use session::user::gid_of;

use super::ask::ask;
use super::finding::{Finding, Id, table_number};

const SSHD: &str = "/usr/sbin/sshd";
/// The period of the timer that comes with the module.
const TIMER: Duration = Duration::from_secs(15);

/// Whether sshd asks PAM at all; nothing if sshd can not be asked.
pub(super) fn use_pam() -> Option<Finding> {
    if !Path::new(SSHD).exists() {
        return None;
    }
    judge_use_pam(&ask(SSHD, &["-T"]).ok()?)
}

fn judge_use_pam(answer: &str) -> Option<Finding> {
    let value = answer
        .lines()
        .find_map(|line| line.strip_prefix("usepam "))?;
    Some(if value == "yes" {
        Finding::ok(Id::SshdPam, "sshd uses PAM")
    } else {
        let what = "sshd does not use PAM: its sessions never reach the module";
        Finding::fail(Id::SshdPam, what)
            .with_remedy("set `UsePAM yes` in /etc/ssh/sshd_config and reload sshd")
    })
}

/// Whether records can be written.
pub(super) fn state(config: &Config, euid: u32, findings: &mut Vec<Finding>) {
    let dir = &config.state_dir;
    let id = Id::StateDirectory;
    let finding = match state::probe(dir, euid) {
        Ok(state::Probe::Ready) => Finding::ok(
            id,
            format!("records can be written under {}", dir.display()),
        ),
        Ok(state::Probe::Missing) => Finding::ok(
            id,
            format!(
                "{} is not there yet; the first session makes it",
                dir.display()
            ),
        ),
        Err(error) => Finding::fail(id, error),
    };
    findings.push(finding.about(dir));
}

/// Groups that nobody is in by a typing error.
pub(super) fn groups(config: &Config, findings: &mut Vec<Finding>) {
    let tables = config.tables.iter().enumerate();
    let tables = tables.map(|(at, table)| {
        let number = table_number(config, at);
        ("groups of a [[token]] table", number, &table.when.groups)
    });
    let lists = [
        ("allow_groups", None, &config.allow_groups),
        ("deny_groups", None, &config.deny_groups),
    ];
    for (key, table, groups) in lists.into_iter().chain(tables) {
        for group in groups {
            let mut finding = match gid_of(group) {
                Ok(Some(_)) => continue,
                Ok(None) => {
                    let what = format!("{key} names {group}, and there is no such group");
                    let remedy = format!("correct it in {}", config.file.display());
                    Finding::fail(Id::Groups, what).with_remedy(remedy)
                }
                Err(error) => Finding::fail(Id::Groups, error),
            };
            finding.table = table;
            findings.push(finding.about(&config.file));
        }
    }
}

/// Whether somebody renews tokens, and what their lifetime is by that; true if so.
pub(super) fn reconciler(config: &Config, euid: u32, findings: &mut Vec<Finding>) -> bool {
    let now = session::host::now();
    let renewed = config.shortest_lifetime();
    let unrenewed = config
        .tables
        .iter()
        .map(|table| table.token.lifetime_of(false));
    let unrenewed = unrenewed.min().unwrap_or(config.token.lifetime_unrenewed);
    let is_seen = is_fresh(&config.run_dir, renewed, now, euid);
    findings.push(if is_seen {
        let what = format!("a reconciler runs: tokens live {renewed} and are renewed");
        Finding::ok(Id::Reconciler, what)
    } else {
        Finding::warn(
            Id::Reconciler,
            format!(
                "no reconciler was seen: tokens live {unrenewed} and are not renewed, and nothing \
                 tidies up after a crash but the user's next login"
            ),
            "run `systemctl enable --now pam_idtoken-reconcile.timer pam_idtoken-reconcile.path` and \
             `systemctl enable pam_idtoken-reconcile.service`",
        )
    });
    if !is_often_enough(TIMER, renewed, config.timeout) {
        findings.push(Finding::warn(
            Id::Lifetime,
            format!(
                "a lifetime of {renewed} is too short to be renewed by a timer of {} s: tokens are \
                 made to last {unrenewed}",
                TIMER.as_secs(),
            ),
            "make it at least twice the timer's period and `timeout` together",
        ));
    }
    for (at, table) in config.tables.iter().enumerate() {
        capped(&table.token, table_number(config, at), findings);
    }
    is_seen
}

/// Lifetimes that the pool's own limits cut.
fn capped(token: &TokenSettings, table: Option<usize>, findings: &mut Vec<Finding>) {
    for (key, wanted, renews) in [
        ("lifetime", token.lifetime, true),
        ("lifetime_unrenewed", token.lifetime_unrenewed, false),
    ] {
        let capped = token.lifetime_of(renews);
        if capped < wanted {
            let mut finding = Finding::note(
                Id::Lifetime,
                format!("{key} is {wanted}, and the pool's own limits make it {capped}"),
            )
            .with_remedy("look at token_max_age and issued_token_expiration");
            finding.table = table;
            findings.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/x.toml")).unwrap()
    }

    #[test]
    fn a_group_that_is_not_there_is_a_failure() {
        let mut findings = Vec::new();
        let text = "allow_groups = [\"root\"]\ndeny_groups = [\"no-such-group\"]";
        groups(&config(text), &mut findings);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].is(Level::Fail, "deny_groups names no-such-group"));
    }

    #[test]
    fn a_lifetime_that_the_pool_cuts_is_named() {
        let mut findings = Vec::new();
        let text = "run_dir = \"/no/such/dir\"\ntoken_max_age = \"2h\"";
        reconciler(&config(text), 0, &mut findings);
        assert!(findings[0].is(Level::Warn, "tokens live 2h and are not renewed"));
        assert!(findings[1].is(Level::Note, "lifetime_unrenewed is 24h"));
        assert_eq!(findings.len(), 2);
        findings.clear();
        reconciler(
            &config("run_dir = \"/no/such/dir\"\nlifetime = \"20s\""),
            0,
            &mut findings,
        );
        assert!(findings[1].is(Level::Warn, "a lifetime of 20s is too short"));
    }

    #[test]
    fn an_sshd_without_pam_is_a_failure() {
        assert!(
            judge_use_pam("port 22\nusepam no\n")
                .unwrap()
                .is(Level::Fail, "does not use")
        );
        assert!(
            judge_use_pam("port 22\nusepam yes\n")
                .unwrap()
                .is(Level::Ok, "uses PAM")
        );
        assert!(judge_use_pam("port 22\n").is_none());
    }
}
