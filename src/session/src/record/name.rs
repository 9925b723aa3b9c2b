//! The names of a session's files in the state directory.

use std::fmt;
use std::str::FromStr;

use crate::holder::Holder;
use crate::name::{NotAName, SessionId};

const SUFFIX: &str = ".json";
const DAMAGED: &str = ".damaged";
const ENDED: &str = ".ended";
const PENDING: &str = ".pending";
const STRAYED: &str = ".strayed";
const NEW: &str = ".json.new";

/// The name of a record's file: `<session>-<pid>-<start>-<boot>.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordName {
    /// The session.
    pub session: SessionId,
    /// The process that holds it.
    pub holder: Holder,
}

/// What a file by the name of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The record.
    Record,
    /// A record that could not be read and was set aside.
    Damaged,
    /// A sign that the session has ended.
    Ended,
    /// A sign that its home did not answer when it opened.
    Pending,
    /// A sign that its tokens are in the private store, since its home did not answer.
    Strayed,
    /// A record that is being written.
    Unfinished,
}

impl RecordName {
    /// Reads the name of a file; none if it is not one of ours.
    pub fn parse(file: &str) -> Option<(Self, Kind)> {
        let parsed = if let Some(stem) = file.strip_prefix('.') {
            (stem.strip_suffix(NEW)?, Kind::Unfinished)
        } else if let Some(stem) = file.strip_suffix(SUFFIX) {
            (stem, Kind::Record)
        } else if let Some(stem) = file.strip_suffix(DAMAGED) {
            (stem, Kind::Damaged)
        } else if let Some(stem) = file.strip_suffix(ENDED) {
            (stem, Kind::Ended)
        } else if let Some(stem) = file.strip_suffix(STRAYED) {
            (stem, Kind::Strayed)
        } else {
            (file.strip_suffix(PENDING)?, Kind::Pending)
        };
        Some((Self::from_stem(parsed.0).ok()?, parsed.1))
    }

    /// The name of the record while it is being written.
    pub fn unfinished(&self) -> String {
        format!(".{}{NEW}", self.stem())
    }

    /// The name of the sign that the session has ended.
    pub fn ended(&self) -> String {
        format!("{}{ENDED}", self.stem())
    }

    /// The name of the sign that its home did not answer.
    pub fn pending(&self) -> String {
        format!("{}{PENDING}", self.stem())
    }

    /// The name of the sign that its tokens are in the private store.
    pub fn strayed(&self) -> String {
        format!("{}{STRAYED}", self.stem())
    }

    /// The name of the record when it was set aside.
    pub fn damaged(&self) -> String {
        format!("{}{DAMAGED}", self.stem())
    }

    fn stem(&self) -> String {
        let Holder { pid, start, boot } = &self.holder;
        format!("{}-{pid}-{start}-{boot}", self.session)
    }

    fn from_stem(stem: &str) -> Result<Self, NotAName> {
        let mut parts = stem.splitn(4, '-');
        let mut next = || parts.next().ok_or(NotAName);
        let session = next()?.parse()?;
        let pid = next()?.parse().map_err(|_| NotAName)?;
        let start = next()?.parse().map_err(|_| NotAName)?;
        let boot = next()?.to_owned();
        let made = Self {
            session,
            holder: Holder { pid, start, boot },
        };
        // A number has one spelling only: no sign, no leading zero.
        if made.stem() == stem {
            Ok(made)
        } else {
            Err(NotAName)
        }
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SUFFIX}", self.stem())
    }
}

impl FromStr for RecordName {
    type Err = NotAName;

    fn from_str(name: &str) -> Result<Self, NotAName> {
        Self::from_stem(name.strip_suffix(SUFFIX).ok_or(NotAName)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> RecordName {
        RecordName {
            session: SessionId::random().unwrap(),
            holder: Holder {
                pid: 7,
                start: 9,
                boot: "0b9d2f6e-aaaa-bbbb-cccc-0123456789ab".into(),
            },
        }
    }

    #[test]
    fn a_record_is_found_by_its_name() {
        let name = name();
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        let text = name.to_string();
        for bad in [
            "",
            ".json",
            &text[1..],
            &text.replace("-7-", "-07-"),
            &text.replace("-7-", "-+7-"),
            &format!(".{text}"),
            &format!("{text}~"),
        ] {
            assert_eq!(bad.parse::<RecordName>(), Err(NotAName), "{bad}");
        }
    }

    #[test]
    fn what_lies_beside_a_record_is_told_apart() {
        let name = name();
        for (file, kind) in [
            (name.to_string(), Kind::Record),
            (name.damaged(), Kind::Damaged),
            (name.ended(), Kind::Ended),
            (name.pending(), Kind::Pending),
            (name.strayed(), Kind::Strayed),
            (name.unfinished(), Kind::Unfinished),
        ] {
            assert_eq!(RecordName::parse(&file), Some((name.clone(), kind)));
            assert_eq!(RecordName::parse(&format!("{file}x")), None, "{file}");
        }
        assert_eq!(RecordName::parse("notes"), None);
    }
}
