//! The host around the module: sshd's use of PAM, the state directory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use session::config::{Config, TokenSettings};
use session::stamp::{is_fresh, is_often_enough};
use session::state;
use session::user::gid_of;

use super::Finding;

const SSHD: &str = "/usr/sbin/sshd";
/// The period of the timer that comes with the module.
const TIMER: Duration = Duration::from_secs(15);

/// Whether sshd asks PAM at all; nothing if sshd can not be asked.
pub(super) fn use_pam() -> Option<Finding> {
    if !Path::new(SSHD).exists() {
        return None;
    }
    let asked = Command::new(SSHD)
        .arg("-T")
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|answer| answer.status.success())?;
    judge_use_pam(&String::from_utf8_lossy(&asked.stdout))
}

fn judge_use_pam(answer: &str) -> Option<Finding> {
    let value = answer
        .lines()
        .find_map(|line| line.strip_prefix("usepam "))?;
    Some(if value == "yes" {
        Finding::good("sshd uses PAM")
    } else {
        Finding::bad("sshd does not use PAM: its sessions never reach the module")
            .with_remedy("set `UsePAM yes` in /etc/ssh/sshd_config and reload sshd")
    })
}

/// Whether records can be written.
pub(super) fn state(config: &Config, euid: u32, findings: &mut Vec<Finding>) {
    let dir = &config.state_dir;
    findings.push(match state::probe(dir, euid) {
        Ok(state::Probe::Ready) => {
            Finding::good(format!("records can be written under {}", dir.display()))
        }
        Ok(state::Probe::Missing) => Finding::good(format!(
            "{} is not there yet; the first session makes it",
            dir.display()
        )),
        Err(error) => Finding::bad(error),
    });
}

/// Groups that nobody is in by a typing error.
pub(super) fn groups(config: &Config, findings: &mut Vec<Finding>) {
    let tables = config.tables.iter();
    let tables = tables.map(|table| ("groups of a [[token]] table", &table.when.groups));
    let lists = [
        ("allow_groups", &config.allow_groups),
        ("deny_groups", &config.deny_groups),
    ];
    for (key, groups) in lists.into_iter().chain(tables) {
        for group in groups {
            match gid_of(group) {
                Ok(Some(_)) => {}
                Ok(None) => findings.push(
                    Finding::bad(format!("{key} names {group}, and there is no such group"))
                        .with_remedy(format!("correct it in {}", config.file.display())),
                ),
                Err(error) => findings.push(Finding::bad(error)),
            }
        }
    }
}

/// Whether somebody renews tokens, and what their lifetime is by that.
pub(super) fn reconciler(config: &Config, euid: u32, findings: &mut Vec<Finding>) {
    let now = session::host::now();
    let renewed = config.shortest_lifetime();
    let unrenewed = config
        .tables
        .iter()
        .map(|table| table.token.lifetime_of(false));
    let unrenewed = unrenewed.min().unwrap_or(config.token.lifetime_unrenewed);
    findings.push(if is_fresh(&config.run_dir, renewed, now, euid) {
        Finding::good(format!(
            "a reconciler runs: tokens live {renewed} and are renewed"
        ))
    } else {
        Finding::odd(
            format!(
                "no reconciler was seen: tokens live {unrenewed} and are not renewed, and nothing \
                 tidies up after a crash but the user's next login"
            ),
            "run `systemctl enable --now pam_idtoken-reconcile.timer pam_idtoken-reconcile.path` and \
             `systemctl enable pam_idtoken-reconcile.service`",
        )
    });
    if !is_often_enough(TIMER, renewed, config.timeout) {
        findings.push(Finding::odd(
            format!(
                "a lifetime of {renewed} is too short to be renewed by a timer of {} s: tokens are \
                 made to last {unrenewed}",
                TIMER.as_secs(),
            ),
            "make it at least twice the timer's period and `timeout` together",
        ));
    }
    for table in &config.tables {
        capped(&table.token, findings);
    }
}

/// Lifetimes that the pool's own limits cut.
fn capped(token: &TokenSettings, findings: &mut Vec<Finding>) {
    for (key, wanted, renews) in [
        ("lifetime", token.lifetime, true),
        ("lifetime_unrenewed", token.lifetime_unrenewed, false),
    ] {
        let capped = token.lifetime_of(renews);
        if capped < wanted {
            findings.push(Finding::odd(
                format!("{key} is {wanted}, and the pool's own limits make it {capped}"),
                "look at token_max_age and issued_token_expiration",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/x.toml")).unwrap()
    }

    #[test]
    fn a_group_that_is_not_there_is_bad() {
        let mut findings = Vec::new();
        let text = "allow_groups = [\"root\"]\ndeny_groups = [\"no-such-group\"]";
        groups(&config(text), &mut findings);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].is(Level::Bad, "deny_groups names no-such-group"));
    }

    #[test]
    fn a_lifetime_that_the_pool_cuts_is_odd() {
        let mut findings = Vec::new();
        let text = "run_dir = \"/no/such/dir\"\ntoken_max_age = \"2h\"";
        reconciler(&config(text), 0, &mut findings);
        assert!(findings[0].is(Level::Odd, "tokens live 2h and are not renewed"));
        assert!(findings[1].is(Level::Odd, "lifetime_unrenewed is 24h"));
        assert_eq!(findings.len(), 2);
        findings.clear();
        reconciler(
            &config("run_dir = \"/no/such/dir\"\nlifetime = \"20s\""),
            0,
            &mut findings,
        );
        assert!(findings[1].is(Level::Odd, "a lifetime of 20s is too short"));
    }

    #[test]
    fn an_sshd_without_pam_is_bad() {
        assert!(
            judge_use_pam("port 22\nusepam no\n")
                .unwrap()
                .is(Level::Bad, "does not use")
        );
        assert!(
            judge_use_pam("port 22\nusepam yes\n")
                .unwrap()
                .is(Level::Good, "uses PAM")
        );
        assert!(judge_use_pam("port 22\n").is_none());
    }
}
