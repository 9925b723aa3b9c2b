//! The host around the module: sshd's use of PAM, the state directory.

use std::path::Path;
use std::process::{Command, Stdio};

use session::config::Config;
use session::state;

use super::Finding;

const SSHD: &str = "/usr/sbin/sshd";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

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
