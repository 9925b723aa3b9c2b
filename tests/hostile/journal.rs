//! The sessions of a user as the host's log has them, with times.

use std::collections::BTreeMap;
use std::time::Duration;

use pam_idtoken_tests::pool::Host;

/// One process of sshd's and what was logged of it.
///
/// pam_warn stands before the module on the host, so that nothing but the module is between its lines
/// and the module's.
#[derive(Debug, Default, Clone)]
pub(crate) struct Login {
    opening: Option<u64>,
    opened: Option<u64>,
    /// As the log names it, where there is a token.
    session: Option<String>,
    closing: Option<u64>,
    closed: Option<u64>,
}

impl Login {
    /// From the module being asked to its verdict.
    pub(crate) fn open(&self) -> Option<Duration> {
        between(self.opening, self.opened)
    }

    /// The same at the session's end.
    pub(crate) fn close(&self) -> Option<Duration> {
        between(self.closing, self.closed)
    }

    /// A line of its process's.
    fn hear(&mut self, time: u64, text: &str) {
        let ours = text.strip_prefix("pam_idtoken(sshd:session): ");
        if text.starts_with("pam_warn(sshd:session): function=[pam_sm_close_session]") {
            self.closing = Some(time);
        } else if let Some(ours) = ours.filter(|_| self.closing.is_none()) {
            let has_token = ours.starts_with("token opened");
            if has_token || ours.starts_with("no token for") {
                self.opened = Some(time);
            }
            if has_token {
                self.session = session_of(ours);
            }
        } else if ours.is_some() {
            self.closed = Some(time);
        }
    }

    /// Whether all that is to be logged of it is there.
    pub(crate) fn is_over(&self) -> bool {
        self.opened.is_some()
            && self.closing.is_some()
            && (self.closed.is_some() || self.session.is_none())
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
                text: text_of(&line["MESSAGE"]),
            })
        })
        .collect()
}

/// What has control characters in it is a list of bytes there.
fn text_of(message: &serde_json::Value) -> String {
    let Some(bytes) = message.as_array() else {
        return message.as_str().unwrap_or_default().to_owned();
    };
    let bytes = bytes
        .iter()
        .filter_map(|byte| byte.as_u64()?.try_into().ok());
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

/// The logins of these users since then.
pub(crate) fn logins(host: &Host, cursor: &str, users: &[&str]) -> Vec<Login> {
    let mut logins: BTreeMap<String, Login> = BTreeMap::new();
    for Line { pid, time, text } in lines(host, cursor) {
        let asked = text.strip_prefix("pam_warn(sshd:session): ").unwrap_or("");
        let is_theirs = |user: &&str| asked.contains(&format!(" user=[{user}] "));
        if asked.contains("pam_sm_open_session") && users.iter().any(is_theirs) {
            // A number may come again.
            let login = Login {
                opening: Some(time),
                ..Login::default()
            };
            logins.insert(format!("{pid} {time}"), login);
        } else if text.contains("token closed by an administrator") {
            let id = session_of(&text);
            let is_it = |login: &&mut Login| login.session.is_some() && login.session == id;
            if let Some(login) = logins.values_mut().find(is_it) {
                login.closed = Some(time);
            }
        } else if let Some((_, login)) = logins
            .range_mut(format!("{pid} ")..format!("{pid}!"))
            .next_back()
        {
            login.hear(time, &text);
        }
    }
    logins.into_values().collect()
}

fn session_of(text: &str) -> Option<String> {
    let mut words = text.split(' ');
    words.find_map(|word| word.strip_prefix("session=").map(str::to_owned))
}

/// What was logged that ought to be on one line of the log, and harmless to whoever reads it.
pub(crate) fn harmful(host: &Host, cursor: &str) -> Vec<String> {
    let lines = lines(host, cursor).into_iter().map(|line| line.text);
    let ours = lines.filter(|text| text.starts_with("pam_idtoken("));
    ours.filter(|text| text.chars().any(char::is_control))
        .collect()
}
