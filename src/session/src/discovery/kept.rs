//! What is kept of an answer, and how it is written: one line for each thing, in one
//! order, with a word in front.

use std::fmt::Write as _;

use super::ask::NAMES;
use super::watch::Watched;
use super::{Found, HTCondor, PAUSE, Source, Why};
use crate::identity::Identity;

/// The first line; another form is not read.
const FORM: &str = "pam_idtoken htcondor 2\n";
/// The last line: what is cut off is not read.
const END: &str = "end\n";

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// When it was asked, or was first found changing, in seconds since 1970 UTC.
    pub(super) asked: u64,
    /// Until when nobody asks again while nothing changes.
    pub(super) until: u64,
    /// The last answer there was, a value for each of [`NAMES`].
    pub(super) values: Option<Vec<String>>,
    /// Why there was none when it was last asked.
    pub(super) failure: Option<Why>,
    /// What answer or failure depend on.
    pub(super) watched: Vec<Watched>,
}

impl Kept {
    /// What nothing is known of yet.
    pub(super) fn new(now: u64) -> Self {
        Self {
            asked: now,
            until: now,
            values: None,
            failure: None,
            watched: Vec::new(),
        }
    }

    pub(super) fn answer(&self) -> Option<HTCondor> {
        self.values.as_deref().map(HTCondor::new)
    }

    pub(super) fn found(&self) -> Found {
        match (self.answer(), self.failure.clone()) {
            (Some(answer), None) => Found::Fresh(answer),
            (Some(answer), Some(why)) => Found::Old(answer, why),
            (None, Some(why)) => Found::Nothing(why),
            (None, None) => Found::Nothing(Why::Unasked("nobody was asked".into())),
        }
    }

    /// Whether any of it may be on a file system that does not answer.
    pub(super) fn is_remote(&self) -> bool {
        self.watched.iter().any(|watched| watched.remote)
    }

    /// A tool that is not there costs nothing to look for again; an answer of
    /// before is kept. What hindered one login does not speak for others.
    pub(super) fn is_worth_keeping(&self) -> bool {
        match self.failure {
            Some(Why::Unasked(_)) => false,
            Some(Why::NotInstalled(_)) => self.values.is_some(),
            Some(Why::Broken(_)) | None => true,
        }
    }

    /// The same when a file system did not answer: for a while nobody looks at what
    /// may be on it.
    pub(super) fn without_remote(mut self, why: Why, now: u64) -> Self {
        self.asked = now;
        self.until = now.saturating_add(PAUSE);
        self.failure = Some(why);
        self.watched.retain(|watched| !watched.remote);
        self
    }

    /// The text to keep; none if the source can not be written down.
    pub(super) fn to_text(&self, source: &Source<'_>) -> Option<String> {
        let mut text = head(source)?;
        // Writing to a String does not fail.
        let _ = writeln!(text, "asked {}\nuntil {}", self.asked, self.until);
        for (name, value) in NAMES.iter().zip(self.values.iter().flatten()) {
            line(&mut text, name, value);
        }
        match &self.failure {
            Some(Why::NotInstalled(why)) => line(&mut text, "missing", why),
            Some(Why::Broken(why)) => line(&mut text, "broken", why),
            Some(Why::Unasked(_)) | None => {}
        }
        for watched in &self.watched {
            let place = if watched.remote { "remote" } else { "local" };
            line(&mut text, place, &watched.path);
            if let Some(seen) = watched.seen {
                text.push_str("seen");
                for number in seen {
                    let _ = write!(text, " {number}");
                }
                text.push('\n');
            }
        }
        text.push_str(END);
        Some(text)
    }

    /// Reads the text; none if it is of another source, or if anything is not where it
    /// has to be.
    pub(super) fn from_text(text: &str, source: &Source<'_>) -> Option<Self> {
        let mut lines = Lines(text.strip_prefix(head(source)?.as_str())?);
        let mut kept = Self::new(lines.take("asked")?.parse().ok()?);
        kept.until = lines.take("until")?.parse().ok()?;
        let values: Vec<_> = NAMES.iter().filter_map(|name| lines.take(name)).collect();
        kept.values = match values.len() {
            0 => None,
            all if all == NAMES.len() => Some(values),
            _ => return None,
        };
        kept.failure = match lines.take("missing") {
            Some(why) => Some(Why::NotInstalled(why)),
            None => lines.take("broken").map(Why::Broken),
        };
        loop {
            let (path, remote) = match lines.take("local") {
                Some(path) => (path, false),
                None => match lines.take("remote") {
                    Some(path) => (path, true),
                    None => break,
                },
            };
            let seen = match lines.take("seen") {
                Some(numbers) => Some(seen(&numbers)?),
                None => None,
            };
            kept.watched.push(Watched { path, seen, remote });
        }
        (lines.0 == END).then_some(kept)
    }
}

/// The lines that tell the form and the source.
fn head(source: &Source<'_>) -> Option<String> {
    let mut text = FORM.to_owned();
    line(&mut text, "tool", source.tool.to_str()?);
    if let Some(path) = source.condor_config {
        line(&mut text, "condor_config", path.to_str()?);
    }
    Some(text)
}

/// Adds a line; what would end it is escaped.
fn line(text: &mut String, word: &str, value: &str) {
    text.push_str(word);
    text.push(' ');
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('\n');
}

fn seen(numbers: &str) -> Option<Identity> {
    let mut seen = [0; 7];
    let mut numbers = numbers.split(' ');
    for number in &mut seen {
        *number = numbers.next()?.parse().ok()?;
    }
    numbers.next().is_none().then_some(seen)
}

/// The lines that are left.
struct Lines<'a>(&'a str);

impl Lines<'_> {
    /// What is behind that word, if the next line has it.
    fn take(&mut self, word: &str) -> Option<String> {
        let (line, rest) = self.0.split_once('\n')?;
        let value = line.strip_prefix(word)?.strip_prefix(' ')?;
        let mut text = String::with_capacity(value.len());
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            text.push(match c {
                '\\' => match chars.next()? {
                    '\\' => '\\',
                    'n' => '\n',
                    _ => return None,
                },
                c => c,
            });
        }
        self.0 = rest;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::*;
    use proptest::prelude::*;

    fn source<'a>(tool: &'a str, condor_config: Option<&'a str>) -> Source<'a> {
        Source {
            tool: Path::new(tool),
            condor_config: condor_config.map(Path::new),
            run_dir: Path::new("/run"),
        }
    }

    fn kept(value: &str) -> Kept {
        let watched = |seen, remote| Watched {
            path: value.to_owned(),
            seen,
            remote,
        };
        Kept {
            asked: 5,
            until: u64::MAX,
            values: Some(NAMES.map(|name| format!("{value}{name}")).into()),
            failure: Some(Why::Broken(value.to_owned())),
            watched: vec![
                watched(None, true),
                watched(Some([i64::MIN, 1, 2, 3, 4, 5, i64::MAX]), false),
                watched(None, false),
            ],
        }
    }

    #[test]
    fn what_is_kept_is_for_one_source() {
        let kept = kept("x");
        let text = kept.to_text(&source("/t", Some("/c"))).unwrap();
        assert_eq!(
            Kept::from_text(&text, &source("/t", Some("/c"))),
            Some(kept.clone())
        );
        for other in [
            source("/t", None),
            source("/t", Some("/d")),
            source("/u", Some("/c")),
            source("/t\ncondor_config /c", None),
        ] {
            assert_eq!(Kept::from_text(&text, &other), None, "{other:?}");
        }
        let odd = Source {
            tool: Path::new(OsStr::from_bytes(b"/\xff")),
            ..source("", None)
        };
        assert_eq!(kept.to_text(&odd), None);
    }

    #[test]
    fn what_is_odd_is_not_read() {
        let source = source("/t", None);
        let text = kept("x\\\n").to_text(&source).unwrap();
        for (from, to) in [
            ("htcondor 2", "htcondor 3"),
            ("asked 5", "asked"),
            ("asked 5", "asked -5"),
            ("asked 5", "asked 5\nasked 5"),
            ("UID_DOMAIN", "OTHER"),
            ("broken", "Broken"),
            ("seen -", "seen 0 -"),
            (" 5 9", " 9"),
            ("remote", "seen 1 2 3 4 5 6 7\nremote"),
            ("x\\\\", "x\\t"),
            ("end\n", ""),
            ("end\n", "end"),
            ("end\n", "end\nend\n"),
        ] {
            assert!(text.contains(from), "{from}");
            let odd = text.replacen(from, to, 1);
            assert_eq!(Kept::from_text(&odd, &source), None, "{from} {to}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_value_is_it_comes_back(
            value in "(\\PC|[\n\r\\\\ n]){0,40}",
            path in "/(\\PC|[\n\\\\ ]){0,20}",
            parts in 0..8,
        ) {
            let mut kept = kept(&value);
            if parts & 1 == 0 {
                kept.values = None;
            }
            if parts & 2 == 0 {
                kept.failure = Some(Why::NotInstalled(value));
            }
            if parts & 4 == 0 {
                kept.watched.clear();
            }
            let source = source(&path, Some(&path));
            let text = kept.to_text(&source).unwrap();
            prop_assert_eq!(Kept::from_text(&text, &source), Some(kept));
        }

        #[test]
        fn no_text_makes_the_reader_panic(cut in 0..1000_usize, put in "(\\PC|[\n\\\\ 0-9]){0,9}") {
            let source = source("/t", None);
            let mut text = kept("é\n").to_text(&source).unwrap();
            if cut < text.len() && text.is_char_boundary(cut) {
                text.insert_str(cut, &put);
                let _ = Kept::from_text(&text, &source);
                text.truncate(cut);
                prop_assert_eq!(Kept::from_text(&text, &source), None);
            }
        }
    }
}
