//! What condor_ping says, and what that means.
//!
//! With `-verbose` it prints one line for each thing it knows of a connection that was made, and
//! the stack of errors of one that was not (condor_tools/ping_tool.cpp).

use session::child::Said;
use session::child::redact::redacted;
use session::record::Minted;

use crate::check::finding::{Finding, Id};

/// Names that releases of HTCondor have for the same method.
const TOKENS: [&str; 4] = ["IDTOKENS", "IDTOKEN", "TOKENS", "TOKEN"];
/// So much of what a tool says is passed on.
const SHOWN: usize = 200;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Collector,
    /// By the name that the collector has for it.
    Schedd(String),
    /// Whoever is on this host.
    OwnSchedd,
}

impl Target {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Schedd(_) | Self::OwnSchedd => "schedd",
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Collector => "the collector".to_owned(),
            Self::Schedd(name) => format!("the schedd {name}"),
            Self::OwnSchedd => "the schedd of this host".to_owned(),
        }
    }
}

/// What became of the question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The token was accepted, and so was the right.
    Accepted { identity: String, version: String },
    /// The token was accepted, and not the right.
    Denied(String),
    /// Accepted as somebody whom the token does not name, or by another method.
    AsAnother(String),
    /// The token was not accepted.
    Refused(String),
    /// Nobody answered.
    None(String),
}

impl Answer {
    pub(super) fn of(said: &Said, tokens: &[Minted]) -> Self {
        let text = format!("{}\n{}", String::from_utf8_lossy(&said.stdout), said.stderr);
        Self::read(&redacted(&text), said.status.success(), tokens)
    }

    fn read(text: &str, succeeded: bool, tokens: &[Minted]) -> Self {
        let value = |name: &str| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim).unwrap_or_default()
        };
        let is_ours = |identity: &str| tokens.iter().any(|token| token.subject == identity);
        let denied = text.lines().find_map(|line| {
            let rest = line.split_once("\"DENIED\" from server for user ")?.1;
            rest.split_once(" using method ")
        });
        let (identity, method) = match denied {
            Some((identity, method)) => (identity, method.trim_end_matches('.')),
            None => (value("Remote Mapping"), value("Authenticated using")),
        };
        if identity.is_empty() && method.is_empty() {
            let text = on_one_line(text);
            return if text.contains("AUTHENTICATE:") {
                Self::Refused(text)
            } else {
                Self::None(text)
            };
        }
        if !is_ours(identity) || !TOKENS.contains(&method) {
            return Self::AsAnother(on_one_line(&format!("{identity} by {method}")));
        }
        if denied.is_some() || !succeeded || value("Authorized") != "TRUE" {
            return Self::Denied(identity.to_owned());
        }
        let version = value("Remote Version");
        let version = version
            .split_whitespace()
            .nth(1)
            .unwrap_or("of an unknown version");
        Self::Accepted {
            identity: identity.to_owned(),
            version: on_one_line(version),
        }
    }

    pub(super) fn judge(self, target: &Target, right: &str) -> Finding {
        let id = match target {
            Target::Collector => Id::OnlineCollector,
            Target::Schedd(_) | Target::OwnSchedd => Id::OnlineSchedd,
        };
        let who = target.words();
        let finding = match self {
            Self::Accepted { identity, version } => Finding::ok(
                id,
                format!("{who} (HTCondor {version}) accepts the token: {right} as {identity}"),
            ),
            Self::Denied(identity) => Finding::warn(
                id,
                format!("{who} accepts the token of {identity} and denies {right} to them"),
                format!("look at ALLOW_{right} and DENY_{right} of HTCondor on that host"),
            ),
            Self::AsAnother(whom) => Finding::fail(
                id,
                format!("{who} answers, but not to the token: as {whom}"),
            )
            .with_remedy(
                "look at UID_DOMAIN, SEC_DEFAULT_AUTHENTICATION_METHODS and the map files of \
                 HTCondor on that host",
            ),
            Self::Refused(why) => Finding::fail(id, format!("{who} refuses the token: {why}"))
                .with_remedy(
                    "compare its signing key with this host's, by `sha256sum`; then TRUST_DOMAIN, the \
                     clock and SEC_TOKEN_REVOCATION_EXPR; its log has the reason under DC_AUTHENTICATE",
                ),
            Self::None(why) => Finding::fail(id, format!("{who} gives no answer: {why}"))
                .with_remedy(
                    "is HTCondor running there, may its port be reached, and does the collector \
                     accept tokens?",
                ),
        };
        match target {
            Target::Schedd(name) => finding.on(name),
            Target::Collector | Target::OwnSchedd => finding,
        }
    }
}

/// What a tool says about a failure, on one line and without a token: it had one to read.
pub(super) fn shown(said: &Said) -> String {
    let stdout = String::from_utf8_lossy(&said.stdout);
    on_one_line(&redacted(&format!("{}\n{stdout}", said.stderr)))
}

fn on_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let all = lines.collect::<Vec<_>>().join("; ");
    match all.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &all[..end]),
        None if all.is_empty() => "it says nothing".to_owned(),
        None => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use crate::check::finding::Level;
    use crate::check::online::tests::token;

    /// What condor_ping of 23.9.6 prints.
    const ACCEPTED: &str = "Destination:                 schedd ap2.lab.test\n\
        Remote Version:              $CondorVersion: 23.9.6 2026-07-12 PackageID: 23.9.6+dfsg $\n\
        Session ID:                  ap2:113:1795644484:1\n\
        Encryption:                  AES\n\
        Authenticated using:         IDTOKENS\n\
        All authentication methods:  TOKEN\n\
        Remote Mapping:              alice@lab.test\n\
        Authorized:                  TRUE\n\n";
    const REFUSED: &str = "WRITE failed!\nAUTHENTICATE:1003:Failed to authenticate with any method\n\
        AUTHENTICATE:1004:Failed to authenticate using IDTOKENS\n\n";
    const DENIED: &str = "WRITE failed!\nSECMAN:2010:Received \"DENIED\" from server for user \
        alice@lab.test using method IDTOKENS.\n\n";

    fn judged(text: &str, succeeded: bool) -> Finding {
        let answer = Answer::read(text, succeeded, &[token(None)]);
        answer.judge(&Target::Schedd("ap2.lab.test".into()), "WRITE")
    }

    #[test]
    fn an_answer_is_judged_by_method_and_identity() {
        let well = judged(ACCEPTED, true);
        let part = "ap2.lab.test (HTCondor 23.9.6) accepts the token: WRITE as alice@lab.test";
        assert!(well.is(Level::Ok, part), "{well:?}");
        assert_eq!(well.host.as_deref(), Some("ap2.lab.test"));
        let by_fs = ACCEPTED.replace("IDTOKENS", "FS");
        assert!(judged(&by_fs, true).is(Level::Fail, "as alice@lab.test by FS"));
        let bob = ACCEPTED.replace("alice@", "bob@");
        assert!(judged(&bob, true).is(Level::Fail, "as bob@lab.test"));
        let not = ACCEPTED.replace("TRUE", "FALSE");
        assert!(judged(&not, true).is(Level::Warn, "denies WRITE"));
    }

    fn said(stdout: &str) -> Said {
        Said {
            status: ExitStatus::from_raw(256),
            stdout: stdout.as_bytes().to_vec().into(),
            stderr: String::new(),
        }
    }

    #[test]
    fn no_token_that_a_tool_prints_is_passed_on() {
        let secret = format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", "a".repeat(90), "b".repeat(43));
        let by_another = ACCEPTED.replace("alice@lab.test", &secret);
        let of_a_version = ACCEPTED.replace("23.9.6 ", &format!("{secret} "));
        for text in [
            &secret,
            &by_another,
            &of_a_version,
            &format!("{REFUSED}{secret}"),
        ] {
            let said = said(text);
            let finding = Answer::of(&said, &[token(None)]);
            let finding = finding.judge(&Target::Collector, "READ");
            for shown in [finding.message, shown(&said)] {
                assert!(
                    !shown.contains("aaaa") && !shown.contains("bbbb"),
                    "{shown}"
                );
            }
        }
        assert!(shown(&said(&secret)).contains("[token]"));
        let long = ACCEPTED.replace("alice@lab.test", &"x ".repeat(5000));
        assert!(judged(&long, true).message.len() < 300);
    }

    #[test]
    fn a_refusal_and_a_denial_and_silence_are_told_apart() {
        let refused = judged(REFUSED, false);
        assert!(refused.is(
            Level::Fail,
            "refuses the token: WRITE failed!; AUTHENTICATE:1003"
        ));
        assert!(refused.remedy.unwrap().contains("sha256sum"));
        assert!(judged(DENIED, false).is(Level::Warn, "accepts the token of alice@lab.test"));
        let gone = judged("ERROR: couldn't locate ap2.lab.test!\n", false);
        assert!(gone.is(Level::Fail, "gives no answer: ERROR: couldn't locate"));
        assert!(judged("", false).is(Level::Fail, "it says nothing"));
        let long = judged(&"x".repeat(5000), false);
        assert!(long.message.len() < 300);
    }
}
