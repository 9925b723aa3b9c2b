//! `idtokenctl list`: the sessions that hold a token now.

use std::error::Error;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use session::config::Config;
use session::holder::boot_id;
use session::record::Record;
use session::state::Sessions;

use crate::args::{Args, ListOptions};
use crate::output::{Output, complain};

/// One session; the names are part of the interface.
#[derive(Debug, Serialize)]
struct Row {
    session: String,
    user: String,
    uid: u32,
    service: String,
    from: Option<String>,
    since: u64,
    expires: u64,
    pid: u32,
    token: String,
    jti: Vec<String>,
    kid: Vec<String>,
}

impl From<&Record> for Row {
    fn from(record: &Record) -> Self {
        Self {
            session: record.session.to_string(),
            user: record.user.name.clone(),
            uid: record.user.uid,
            service: record.service.clone(),
            from: record.rhost.clone(),
            since: record.opened,
            expires: record.expires,
            pid: record.holder.pid,
            token: record.token_path().display().to_string(),
            jti: record.tokens.iter().map(|t| t.jti.to_string()).collect(),
            kid: record.tokens.iter().map(|t| t.kid.to_string()).collect(),
        }
    }
}

const HEAD: [&str; 7] = [
    "SESSION", "USER", "SERVICE", "FROM", "SINCE", "EXPIRES", "TOKEN",
];

impl Row {
    fn cells(&self) -> [String; 7] {
        [
            self.session.clone(),
            self.user.clone(),
            self.service.clone(),
            self.from.clone().unwrap_or_else(|| "-".into()),
            utc(self.since),
            utc(self.expires),
            self.token.clone(),
        ]
    }
}

/// Lists live sessions; false when a record could not be read.
pub(crate) fn run(
    args: &Args,
    options: &ListOptions,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let euid = session::host::euid();
    let config = Config::load(&args.as_arguments(), euid)?;
    let found = collect(&config, euid)?;
    if options.json {
        for row in &found.rows {
            out.line(serde_json::to_string(row)?)?;
        }
    } else {
        table(&found.rows, out)?;
    }
    if found.ended > 0 {
        complain(format!(
            "{} more records belong to sessions that ended without a close; the next login of \
             their user removes them",
            found.ended
        ));
    }
    Ok(found.whole)
}

struct Found {
    rows: Vec<Row>,
    ended: usize,
    whole: bool,
}

fn collect(config: &Config, euid: u32) -> Result<Found, Box<dyn Error>> {
    let boot = boot_id()?;
    let mut found = Found {
        rows: Vec::new(),
        ended: 0,
        whole: true,
    };
    for uid in Sessions::uids(&config.state_dir)? {
        let Some(sessions) = Sessions::existing(&config.state_dir, uid, euid)? else {
            continue;
        };
        for name in sessions.names()? {
            if !name.holder.is_alive_in(&boot)? {
                found.ended += 1;
                continue;
            }
            match sessions.read(&name) {
                Ok(record) => found.rows.extend(record.as_ref().map(Row::from)),
                Err(error) => {
                    found.whole = false;
                    complain(error);
                }
            }
        }
    }
    found.rows.sort_by_key(|row| row.since);
    Ok(found)
}

fn table(rows: &[Row], out: &mut Output) -> Result<(), Box<dyn Error>> {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; 7];
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
    use super::utc;

    #[test]
    fn any_number_is_a_time() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_785_571_200), "2026-08-01T08:00:00Z");
        assert_eq!(utc(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
