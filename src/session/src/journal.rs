//! Says what happened to a session: one line in the log, one in the audit file.

use crate::audit::{self, Event, Pen};
use crate::host::Host;
use crate::log::{Line, Log};
use crate::record::{Record, TokenFile};

/// Where it is said.
#[derive(Clone, Copy)]
pub struct Journal<'a> {
    /// The audit file.
    pub audit: &'a Pen,
    /// The moment and the process.
    pub host: &'a Host,
    /// The log.
    pub log: &'a dyn Log,
}

impl Event {
    /// The words by which people grep for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Opened => "token opened",
            Self::Pending => "token may have been opened by a home that did not answer",
            Self::Delayed => "token opened late, when the home answered",
            Self::Renewed => "token renewed",
            Self::Lingers => "token kept while processes of its session live",
            Self::Removed => "token was removed by its user and is not renewed",
            Self::Dropped => "token closed that is not made any more",
            Self::Closed => "token closed",
            Self::Ended => "token closed after its session ended without a close",
            Self::Finished => "token closed after the last process of its session",
            Self::Revoked => "token closed by an administrator",
            Self::Checked => "token made to check the pool",
        }
    }

    fn is_new_token(self) -> bool {
        matches!(self, Self::Opened | Self::Delayed | Self::Renewed)
    }

    /// Whether it happens in the process that the user's login or logout runs in.
    fn is_by_the_user(self) -> bool {
        matches!(self, Self::Opened | Self::Lingers | Self::Closed)
    }
}

impl Journal<'_> {
    /// What can be done before it is known what there is to say, which comes soon.
    pub fn make_ready(&self) {
        self.log.make_ready();
        self.audit.make_ready();
    }

    /// Writes both lines, about all tokens of the session.
    pub fn say(&self, event: Event, record: &Record) {
        self.log_line(event, record, &record.files, None);
        self.note(event, record, &record.files);
    }

    /// Writes the line of the log about some token files, with a reason if there is one.
    pub fn log_line(&self, event: Event, record: &Record, files: &[TokenFile], why: Option<&str>) {
        let tokens = || files.iter().flat_map(|file| &file.tokens);
        let mut line = Line::new(event.words())
            .field("user", &record.user.name)
            .field("uid", record.user.uid)
            .field("session", record.session)
            .field("jti", list(tokens().map(|token| &token.jti)));
        if event.is_new_token() {
            let paths = files.iter().map(|file| file.name.to_string());
            let paths = paths.map(|name| record.directory().join(name).display().to_string());
            line = line
                .field("kid", list(tokens().map(|token| &token.kid)))
                .field("exp", list(tokens().map(|token| token.expires)))
                .field_if("rhost", record.login.rhost.as_ref())
                .field("file", list(paths));
        }
        line = line.field_if("why", why);
        if event.is_by_the_user() {
            self.log.info(&line);
        } else {
            self.log.notice(&line);
        }
    }

    /// Writes the line of the audit file about some token files.
    pub fn note(&self, event: Event, record: &Record, files: &[TokenFile]) {
        let entry = audit::Entry::new(event, record, files, self.host.now());
        self.audit.note(&entry, self.log);
    }
}

/// The values with commas.
pub(crate) fn list<T: std::fmt::Display>(values: impl Iterator<Item = T>) -> String {
    let values: Vec<String> = values.map(|value| value.to_string()).collect();
    values.join(",")
}
