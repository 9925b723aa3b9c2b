//! The sessions of a user as the host's log has them, with times.

use std::collections::BTreeMap;
use std::time::Duration;

use pam_idtoken_tests::pool::Host;

/// One process of sshd's and what was logged of it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Login {
    accepted: Option<u64>,
    opened: Option<u64>,
    has_token: bool,
    closing: Option<u64>,
    closed: Option<u64>,
}

impl Login {
    /// From the user's key being accepted to the module's verdict: no less than its time.
    pub(crate) fn opening(&self) -> Option<Duration> {
        between(self.accepted, self.opened)
    }

    /// From the session's end, as the module before ours logs it, to ours.
    pub(crate) fn close(&self) -> Option<Duration> {
        between(self.closing, self.closed)
    }

    /// Whether all that is to be logged of it is there.
    pub(crate) fn is_over(&self) -> bool {
        self.opened.is_some()
            && self.closing.is_some()
            && (self.closed.is_some() || !self.has_token)
    }
}

fn between(from: Option<u64>, to: Option<u64>) -> Option<Duration> {
    Some(Duration::from_micros(to?.saturating_sub(from?)))
}

/// A line of the log.
struct Line {
    pid: String,
    /// In microseconds since 1970.
    time: u64,
    text: String,
}

/// All that went to AUTH, which is where sshd's own lines go, and to AUTHPRIV since then.
fn lines(host: &Host, cursor: &str) -> Vec<Line> {
    host.sh("journalctl --sync");
    let said = host.sh(&format!(
        "journalctl -q --no-pager -o json --after-cursor '{cursor}' SYSLOG_FACILITY=4 \
         SYSLOG_FACILITY=10 \
         --output-fields=MESSAGE,_SOURCE_REALTIME_TIMESTAMP,_PID"
    ));
    said.lines()
        .filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let time = line["_SOURCE_REALTIME_TIMESTAMP"].as_str();
            let time = time.or(line["__REALTIME_TIMESTAMP"].as_str())?;
            Some(Line {
                pid: line["_PID"].as_str()?.to_owned(),
                time: time.parse().ok()?,
                text: line["MESSAGE"].as_str().unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

/// The logins of these users since then.
pub(crate) fn logins(host: &Host, cursor: &str, users: &[&str]) -> Vec<Login> {
    let mut logins: BTreeMap<String, Login> = BTreeMap::new();
    for Line { pid, time, text } in lines(host, cursor) {
        let is_accepted =
            |user: &&str| text.starts_with(&format!("Accepted publickey for {user} "));
        if users.iter().any(is_accepted) {
            // A number may come again.
            let login = Login {
                accepted: Some(time),
                ..Login::default()
            };
            logins.insert(format!("{pid} {time}"), login);
            continue;
        }
        let newest = logins
            .range_mut(format!("{pid} ")..format!("{pid}!"))
            .next_back();
        let Some((_, login)) = newest else {
            continue;
        };
        let ours = text.strip_prefix("pam_idtoken(sshd:session): ");
        let is_verdict =
            |text: &str| text.starts_with("token opened") || text.starts_with("no token for");
        if text.starts_with("pam_unix(sshd:session): session closed") {
            login.closing = Some(time);
        } else if let Some(ours) = ours.filter(|_| login.closing.is_none()) {
            if is_verdict(ours) {
                login.opened = Some(time);
                login.has_token |= ours.starts_with("token opened");
            }
        } else if ours.is_some() {
            login.closed = Some(time);
        }
    }
    logins.into_values().collect()
}

/// What was logged that ought to be on one line of the log, and harmless to whoever reads it.
pub(crate) fn harmful(host: &Host, cursor: &str) -> Vec<String> {
    let lines = lines(host, cursor).into_iter().map(|line| line.text);
    let ours = lines.filter(|text| text.starts_with("pam_idtoken("));
    ours.filter(|text| text.chars().any(char::is_control))
        .collect()
}
