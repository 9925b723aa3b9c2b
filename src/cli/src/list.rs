//! `idtokenctl list`: the sessions of this host and what they are doing.

use std::error::Error;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use session::config::Config;
use session::holder::boot_id;
use session::open::lingers;
use session::record::{Phase, Record};
use session::stamp::is_fresh;
use session::state::{Listing, Sessions};

use crate::args::{Args, ListOptions};
use crate::load::load_or_default;
use crate::output::{Output, complain};

/// What a session is doing; the names are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its holder runs and its token is renewed.
    Live,
    /// It closed, and processes of it are left.
    Lingering,
    /// It ended without a close.
    Orphan,
    /// It lives, and no reconciler is seen that would renew its token.
    Unrenewed,
    /// Its user removed the token.
    Removed,
    /// Its home did not answer when it opened, and has had no token yet.
    Pending,
}

impl State {
    fn of(
        record: &Record,
        boot: &str,
        listing: &Listing,
        renewed: bool,
    ) -> session::error::Result<Self> {
        let is_ended = listing.ended.contains(&record.session);
        let is_held = !is_ended && record.holder.is_alive_in(boot)?;
        let lingers = !is_ended && lingers(record, boot);
        Ok(match record.phase {
            Phase::Lingering if lingers && !record.is_removed() => Self::Lingering,
            Phase::Lingering if lingers => Self::Removed,
            Phase::Lingering => Self::Orphan,
            Phase::Open if !is_held && lingers => Self::Lingering,
            _ if !is_held => Self::Orphan,
            _ if record.is_removed() => Self::Removed,
            _ if listing.pending.contains(&record.session) => Self::Pending,
            Phase::Open if renewed => Self::Live,
            Phase::Open => Self::Unrenewed,
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Lingering => "lingering",
            Self::Orphan => "orphan",
            Self::Unrenewed => "unrenewed",
            Self::Removed => "removed by user",
            Self::Pending => "waiting for the home",
        })
    }
}

/// One session; the names are part of the interface.
#[derive(Debug, Serialize)]
struct Row {
    session: String,
    state: State,
    user: String,
    uid: u32,
    service: String,
    from: Option<String>,
    since: u64,
    expires: u64,
    pid: u32,
    token: Vec<String>,
    jti: Vec<String>,
    kid: Vec<String>,
}

impl Row {
    fn new(record: &Record, state: State) -> Self {
        Self {
            session: record.session.to_string(),
            state,
            user: record.user.name.clone(),
            uid: record.user.uid,
            service: record.login.service.clone(),
            from: record.login.rhost.clone(),
            since: record.opened,
            expires: record.expires(),
            pid: record.holder.pid,
            token: record
                .paths()
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
            jti: record.tokens().map(|t| t.jti.to_string()).collect(),
            kid: record.tokens().map(|t| t.kid.to_string()).collect(),
        }
    }
}

const HEAD: [&str; 8] = [
    "SESSION", "STATE", "USER", "SERVICE", "FROM", "SINCE", "EXPIRES", "TOKEN",
];

impl Row {
    fn cells(&self) -> [String; 8] {
        [
            self.session.clone(),
            self.state.to_string(),
            self.user.clone(),
            self.service.clone(),
            self.from.clone().unwrap_or_else(|| "-".into()),
            utc(self.since),
            utc(self.expires),
            self.token.join(" "),
        ]
    }
}

/// Lists sessions; false when a record could not be read.
pub(crate) fn run(
    args: &Args,
    options: &ListOptions,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let euid = session::host::euid();
    let config = load_or_default(&args.as_arguments(), euid);
    let found = collect(&config, euid)?;
    if options.json {
        for row in &found.rows {
            out.line(serde_json::to_string(row)?)?;
        }
    } else {
        table(&found.rows, out)?;
    }
    let orphans = found.rows.iter().filter(|row| row.state == State::Orphan);
    let orphans = orphans.count();
    if orphans > 0 {
        complain(format!(
            "{orphans} of them ended without a close; the next reconcile, or the next login of \
             their user, removes their tokens"
        ));
    }
    Ok(found.whole)
}

struct Found {
    rows: Vec<Row>,
    whole: bool,
}

fn collect(config: &Config, euid: u32) -> Result<Found, Box<dyn Error>> {
    let boot = boot_id()?;
    let now = session::host::now();
    let renewed = is_fresh(&config.run_dir, config.shortest_lifetime(), now, euid);
    let mut found = Found {
        rows: Vec::new(),
        whole: true,
    };
    for uid in Sessions::uids(&config.state_dir)? {
        let Some(sessions) = Sessions::existing(&config.state_dir, uid, euid)? else {
            continue;
        };
        let listing = sessions.list()?;
        for name in &listing.records {
            match sessions.read(name) {
                Ok(Some(record)) => {
                    let state = State::of(&record, &boot, &listing, renewed)?;
                    found.rows.push(Row::new(&record, state));
                }
                Ok(None) => {}
                Err(error) => {
                    found.whole = false;
                    complain(error);
                }
            }
        }
        for name in &listing.damaged {
            found.whole = false;
            complain(format!(
                "the record of session {} (uid {uid}) is damaged and was set aside",
                name.session
            ));
        }
    }
    found.rows.sort_by_key(|row| row.since);
    Ok(found)
}

fn table(rows: &[Row], out: &mut Output) -> Result<(), Box<dyn Error>> {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; 8];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out.line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Seconds since 1970 as `2026-01-31T12:00:00Z`.
pub(crate) fn utc(seconds: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(253_402_300_799))) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, State, utc};

    #[test]
    fn the_line_in_the_guide_is_what_a_monitor_reads() {
        let (id, jti) = ("8c41f2a90b6d37e5", "5f0d6a3c9be14782a1c0d4e7f3b29866");
        let row = Row {
            session: id.into(),
            state: State::Live,
            user: "alice".into(),
            uid: 1001,
            service: "sshd".into(),
            from: Some("192.0.2.7".into()),
            since: 1_785_571_200,
            expires: 1_785_574_800,
            pid: 4711,
            token: vec![format!(
                "/home/alice/.condor/tokens.d/0-session-e738607436d4ffff-ap1-{id}"
            )],
            jti: vec![jti.into()],
            kid: vec!["POOL".into()],
        };
        let line = serde_json::to_string(&row).unwrap();
        let documents = crate::guides::documents();
        let is_there = |(_, text): &(_, String)| text.lines().any(|other| other.trim() == line);
        assert!(documents.iter().any(is_there), "{line}");
    }

    #[test]
    fn the_states_in_the_guide_are_all_and_have_their_names() {
        let documents = crate::guides::documents();
        for state in [
            State::Live,
            State::Lingering,
            State::Orphan,
            State::Unrenewed,
            State::Removed,
            State::Pending,
        ] {
            let name = serde_json::to_value(state).unwrap();
            let row = format!("| {state}, `{}` |", name.as_str().unwrap());
            let is_there = |(_, text): &(_, String)| text.contains(&row);
            assert!(documents.iter().any(is_there), "{row}");
        }
    }

    #[test]
    fn any_number_is_a_time() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_785_571_200), "2026-08-01T08:00:00Z");
        assert_eq!(utc(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
