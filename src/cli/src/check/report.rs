//! The findings, for people or for a monitor.

use std::error::Error;

use serde::Serialize;

use super::finding::{Finding, Level};
use super::online::was_asked;
use crate::args::{Args, CheckOptions};
use crate::output::Output;

/// The form of the document; another number means that fields have changed their meaning or gone.
pub(crate) const VERSION: u32 = 1;

/// The one document of `--json`; the names are part of the interface.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) version: u32,
    pub(crate) tool: &'static str,
    /// In seconds since 1970 UTC.
    pub(crate) time: u64,
    pub(crate) host: String,
    pub(crate) service: &'a str,
    pub(crate) user: Option<&'a str>,
    /// Whether the pool was asked, which may be wanted and not be done.
    pub(crate) online: bool,
    pub(crate) ready: bool,
    /// The worst of all findings.
    pub(crate) level: Level,
    pub(crate) findings: &'a [Finding],
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        args: &'a Args,
        options: &'a CheckOptions,
        host: String,
        time: u64,
        findings: &'a [Finding],
    ) -> Self {
        let levels = findings.iter().map(|finding| finding.level);
        let level = levels.max().unwrap_or(Level::Ok);
        Self {
            version: VERSION,
            tool: env!("CARGO_PKG_VERSION"),
            time,
            host,
            service: &args.service,
            user: options.user.as_deref(),
            online: was_asked(findings),
            ready: level < Level::Fail,
            level,
            findings,
        }
    }

    /// One line for each finding, its remedy below it, and what to make of them at the end.
    pub(crate) fn tell(&self, out: &mut Output) -> Result<(), Box<dyn Error>> {
        for finding in self.findings {
            let table = finding
                .table
                .map(|table| format!("[[token]] table {table}: "));
            let table = table.unwrap_or_default();
            out.line(format!(
                "{}  {table}{}",
                finding.level.word(),
                finding.message
            ))?;
            if let Some(remedy) = &finding.remedy {
                out.line(format!("      -> {remedy}"))?;
            }
        }
        for line in self.summary() {
            out.line(line)?;
        }
        Ok(())
    }

    /// The last line is the answer.
    fn summary(&self) -> Vec<String> {
        let count = |level| {
            let of_it = self.findings.iter().filter(|f| f.level == level);
            of_it.count()
        };
        let warnings = match count(Level::Warn) {
            0 => None,
            1 => Some("1 warning.".to_owned()),
            n => Some(format!("{n} warnings.")),
        };
        let answer = match count(Level::Fail) {
            0 => "This host is ready.".to_owned(),
            1 => "This host is not ready: 1 finding to act on.".to_owned(),
            n => format!("This host is not ready: {n} findings to act on."),
        };
        warnings.into_iter().chain([answer]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Id;
    use clap::Parser;

    fn told(findings: &[Finding]) -> (serde_json::Value, Vec<String>) {
        let args = Args::parse_from(["idtokenctl", "check", "--user", "alice"]);
        let crate::args::Command::Check(options) = &args.command else {
            unreachable!();
        };
        let report = Report::new(&args, options, "ap1".into(), 7, findings);
        (serde_json::to_value(&report).unwrap(), report.summary())
    }

    #[test]
    fn a_warning_is_ready_and_a_failure_is_not() {
        let warn = || Finding::warn(Id::Clock, "a", "b");
        let (json, words) = told(&[Finding::ok(Id::Store, "x"), warn()]);
        assert_eq!(
            (&json["ready"], &json["level"]),
            (&true.into(), &"warn".into())
        );
        assert_eq!(words, ["1 warning.", "This host is ready."]);
        let (json, words) = told(&[Finding::fail(Id::Token, "x"), warn()]);
        assert_eq!(
            (&json["ready"], &json["level"]),
            (&false.into(), &"fail".into())
        );
        assert_eq!(words[1], "This host is not ready: 1 finding to act on.");
        assert_eq!(told(&[]).1, ["This host is ready."]);
    }

    #[test]
    fn a_finding_has_all_its_fields_whatever_is_known() {
        let mut finding = Finding::warn(Id::OnlineSchedd, "a", "b").on("ap2");
        finding.table = Some(2);
        let (json, _) = told(&[finding, Finding::ok(Id::RunAsRoot, "c")]);
        let said = serde_json::json!([
            {"id": "online-schedd", "level": "warn", "message": "a", "remedy": "b", "file": null,
             "table": 2, "host": "ap2"},
            {"id": "run-as-root", "level": "ok", "message": "c", "remedy": null, "file": null,
             "table": null, "host": null},
        ]);
        assert_eq!(json["findings"], said);
        assert_eq!(json["online"], true);
        assert_eq!(told(&[]).0["online"], false);
        assert_eq!(
            (&json["version"], &json["user"]),
            (&1.into(), &"alice".into())
        );
    }
}
