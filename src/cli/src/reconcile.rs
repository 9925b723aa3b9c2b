//! `idtokenctl reconcile`: ends what has ended, renews what is due.

use std::error::Error;

use serde_json::json;
use session::config::Config;
use session::discovery::{Found, Why};
use session::host::Host;
use session::log::Syslog;
use session::reconcile::{Action, Options, Report, Watch, What, reconcile};
use session::user::User;

use crate::args::{Args, ReconcileOptions};
use crate::load::load_and_look;
use crate::output::{Output, complain};

/// The exit code of a run that did all there was to do.
const COMPLETE: u8 = 0;
/// The exit code of a run that has left something to the next one.
pub(crate) const INCOMPLETE: u8 = 3;

/// How often a run is repeated because a key changed while it was under way.
const ROUNDS: usize = 3;

/// Does it; the exit code.
pub(crate) fn run(
    args: &Args,
    given: &ReconcileOptions,
    out: &mut Output,
) -> Result<u8, Box<dyn Error>> {
    let mut options = Options {
        uid: given.user.as_deref().map(uid_of).transpose()?,
        dry_run: given.dry_run,
        every: given.every.map(|every| every.0),
        broken: None,
        trouble: None,
        is_blind: false,
    };
    let log = Syslog::new("pam_idtoken(reconcile)", false);
    let mut all = Report::default();
    for _ in 0..ROUNDS {
        let host = Host::current()?;
        let arguments = args.as_arguments();
        // A typing error is no reason to leave a token behind.
        options.broken = None;
        let config = match load_and_look(&arguments, host.euid) {
            Ok((config, found)) => {
                options.trouble = config.trouble_with(&found);
                options.is_blind =
                    matches!(found, Found::Nothing(Why::Broken(_) | Why::Unasked(_)));
                config
            }
            Err(error) => {
                options.broken = Some(error.to_string());
                Config::fallback(&arguments)
            }
        };
        let before = Watch::of(&config);
        let report = reconcile(&config, &host, &options, &log)?;
        all.sessions = report.sessions;
        // What failed in an earlier round was tried again in this one.
        all.actions
            .retain(|action| !matches!(action.what, What::Failed | What::Waiting));
        all.actions.extend(report.actions);
        if options.dry_run || Watch::of(&config) == before {
            break;
        }
    }
    print(&all, given, out)?;
    // A timer has it in the log, once in a while.
    if let Some(why) = options.trouble.filter(|_| options.every.is_none()) {
        complain(why);
    }
    if let Some(why) = options.broken {
        return Err(format!("{why}; nothing was renewed").into());
    }
    let left = all.count(What::Failed) + all.count(What::Waiting);
    Ok(if left == 0 { COMPLETE } else { INCOMPLETE })
}

/// The uid of a user, by name or number.
pub(crate) fn uid_of(name: &str) -> Result<u32, Box<dyn Error>> {
    match name.parse() {
        Ok(uid) => Ok(uid),
        Err(_) => Ok(User::lookup(name)?.uid),
    }
}

const WORDS: [(What, &str, &str); 9] = [
    (What::Renewed, "renewed", "renew"),
    (What::Delayed, "written late", "write late"),
    (What::Ended, "ended", "end"),
    (What::Finished, "finished", "finish"),
    (
        What::Removed,
        "removed by their user",
        "leave to their user",
    ),
    (What::SetAside, "set aside", "set aside"),
    (What::Tidied, "tidied", "tidy"),
    (
        What::Waiting,
        "waiting for their home",
        "wait for their home",
    ),
    (What::Failed, "failed", "fail"),
];

fn print(
    report: &Report,
    given: &ReconcileOptions,
    out: &mut Output,
) -> Result<(), Box<dyn Error>> {
    for action in &report.actions {
        if given.json {
            out.line(serde_json::to_string(action)?)?;
        } else {
            out.line(in_words(action, given.dry_run))?;
        }
    }
    if given.json {
        let mut counts = serde_json::Map::new();
        for (what, ..) in WORDS {
            let name = serde_json::to_value(what)?;
            counts.insert(
                name.as_str().unwrap_or_default().to_owned(),
                report.count(what).into(),
            );
        }
        let summary =
            json!({"sessions": report.sessions, "dry_run": given.dry_run, "done": counts});
        out.line(json!({ "summary": summary }))?;
    } else {
        out.line(summary(report, given.dry_run))?;
    }
    Ok(())
}

fn in_words(action: &Action, dry_run: bool) -> String {
    let (_, done, would) = WORDS
        .into_iter()
        .find(|(what, ..)| *what == action.what)
        .unwrap_or((action.what, "done", "do"));
    let word = if dry_run {
        format!("would {would}")
    } else {
        done.to_owned()
    };
    let user = action.user.clone();
    let user = user.or_else(|| action.uid.map(|uid| format!("uid {uid}")));
    let session = action.session.map(|session| format!("session {session}"));
    let whom: Vec<String> = [user, session].into_iter().flatten().collect();
    let whom = if whom.is_empty() {
        String::new()
    } else {
        format!("{}: ", whom.join(" "))
    };
    format!("{word}: {whom}{}", action.why)
}

fn summary(report: &Report, dry_run: bool) -> String {
    let mut parts = vec![match report.sessions {
        1 => "1 session".to_owned(),
        n => format!("{n} sessions"),
    }];
    for (what, done, would) in WORDS {
        let count = report.count(what);
        if count > 0 {
            let word = if dry_run { would } else { done };
            parts.push(format!(
                "{count} {}{word}",
                if dry_run { "to " } else { "" }
            ));
        }
    }
    if parts.len() == 1 {
        parts.push("nothing to do".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(what: &[What]) -> Report {
        let action = |what: &What| Action {
            what: *what,
            uid: Some(7),
            user: None,
            session: None,
            why: "because".into(),
        };
        Report {
            sessions: 2,
            actions: what.iter().map(action).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn the_summary_counts_what_was_done() {
        assert_eq!(summary(&report(&[]), false), "2 sessions, nothing to do");
        let some = report(&[What::Ended, What::Renewed, What::Ended]);
        assert_eq!(summary(&some, false), "2 sessions, 1 renewed, 2 ended");
        assert_eq!(summary(&some, true), "2 sessions, 1 to renew, 2 to end");
    }

    #[test]
    fn every_kind_of_action_has_its_words() {
        for (what, done, would) in WORDS {
            let action = &report(&[what]).actions[0];
            assert_eq!(in_words(action, false), format!("{done}: uid 7: because"));
            assert_eq!(
                in_words(action, true),
                format!("would {would}: uid 7: because")
            );
        }
    }
}
