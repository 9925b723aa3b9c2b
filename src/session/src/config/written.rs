//! What a written value means, in a file or an argument, or why it means nothing.
//!
//! A value that is not understood in full is refused: nothing is guessed.

use std::fmt;
use std::time::Duration;

use idtoken::{ClaimError, Kid, Lifetime, Scope};

use super::value::{
    IssuerChoice, Kind, OnClose, OnFailure, Store, TIMEOUT_MAX, TIMEOUT_MIN, UNRESTRICTED, Value,
};

/// A value as a file or an argument has it.
pub(super) enum Written<'a> {
    Text(&'a str),
    Number(i64),
    Flag(bool),
    /// A list of texts.
    List(Vec<&'a str>),
    /// What no key takes, in words.
    Other(&'static str),
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => fmt::Debug::fmt(text, f),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::List(_) => f.write_str("a list"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl Kind {
    /// How the value is written as an argument: a list with commas, all else as it is.
    pub(super) fn argument(self, text: &str) -> Written<'_> {
        match self {
            Self::Names | Self::Hosts | Self::Kids | Self::Scope => {
                Written::List(text.split(',').filter(|part| !part.is_empty()).collect())
            }
            Self::Uid => text.parse().map_or(Written::Text(text), Written::Number),
            Self::Flag => match text {
                "true" => Written::Flag(true),
                "false" => Written::Flag(false),
                _ => Written::Text(text),
            },
            _ => Written::Text(text),
        }
    }

    /// What it means, or why it means nothing.
    pub(super) fn read(self, written: &Written<'_>) -> Result<Value, String> {
        use Written::{Flag, List, Number, Text};
        let value = match (self, written) {
            (Self::Names, List(names)) => {
                let names = names.iter().map(|name| (*name).to_owned());
                Some(Value::Names(names.collect()))
            }
            (Self::Hosts, List(hosts)) => {
                let hosts = hosts.iter().map(|host| host.parse());
                return hosts.collect::<Result<_, _>>().map(Value::Hosts);
            }
            (Self::Kids, Text(kid)) => return kids(&[kid]),
            (Self::Kids, List(list)) => return kids(list),
            (Self::Scope, List(words)) => return scope(words),
            (Self::Uid, Number(number)) => u32::try_from(*number).ok().map(Value::Uid),
            (Self::Flag, Flag(flag)) => Some(Value::Flag(*flag)),
            (Self::Lifetime, Text(text)) => text.parse().ok().map(Value::Lifetime),
            (Self::Lifetime, Number(number)) => u64::try_from(*number)
                .ok()
                .and_then(Lifetime::from_secs)
                .map(Value::Lifetime),
            (Self::Timeout, Text(text)) => timeout(text).map(Value::Timeout),
            (Self::Timeout, Number(number)) => timeout(&number.to_string()).map(Value::Timeout),
            (Self::TrustDomain, Text(text)) => {
                return text.parse().map(Value::TrustDomain).map_err(in_words);
            }
            (Self::UidDomain, Text(text)) => {
                return text.parse().map(Value::UidDomain).map_err(in_words);
            }
            (Self::Path, Text(text)) => text.starts_with('/').then(|| Value::Path(text.into())),
            (Self::Address | Self::Contact | Self::TableName, Text(text)) => {
                self.takes(text).then(|| Value::Text((*text).to_owned()))
            }
            (_, Text(text)) => self.choice(text),
            _ => None,
        };
        value.ok_or_else(|| format!("{written} is not {}", self.words()))
    }

    /// One of a few words.
    fn choice(self, text: &str) -> Option<Value> {
        Some(match (self, text) {
            (Self::Issuer, "auto") => Value::Issuer(IssuerChoice::Auto),
            (Self::Issuer, "key") => Value::Issuer(IssuerChoice::Key),
            (Self::Issuer, "schedd") => Value::Issuer(IssuerChoice::Schedd),
            (Self::Store, "home") => Value::Store(Store::Home),
            (Self::Store, "private") => Value::Store(Store::Private),
            (Self::OnClose, "delete") => Value::OnClose(OnClose::Delete),
            (Self::OnClose, "linger") => Value::OnClose(OnClose::Linger),
            (Self::OnFailure, "ignore") => Value::OnFailure(OnFailure::Ignore),
            (Self::OnFailure, "deny") => Value::OnFailure(OnFailure::Deny),
            _ => return None,
        })
    }

    fn takes(self, text: &str) -> bool {
        let is_odd = |c: char| c.is_control() || (self == Self::Address && c.is_whitespace());
        match self {
            // It becomes part of the names of token files.
            Self::TableName => crate::name::is_label(text),
            // It goes to the user's terminal.
            Self::Contact => (1..=200).contains(&text.len()) && !text.contains(is_odd),
            // One word for condor_token_fetch that is no option.
            _ => {
                (1..=255).contains(&text.len()) && !text.starts_with('-') && !text.contains(is_odd)
            }
        }
    }

    /// What is expected.
    fn words(self) -> &'static str {
        match self {
            Self::Names => "a list of names, such as [\"one\", \"two\"]",
            Self::Hosts => "a list of hosts, such as [\"192.0.2.0/24\", \".example.org\"]",
            Self::Uid => "a uid, a number from 0 to 4294967295",
            Self::Flag => "true or false",
            Self::Issuer => "\"auto\", \"key\" or \"schedd\"",
            Self::Store => "\"home\" or \"private\"",
            Self::OnClose => "\"delete\" or \"linger\"",
            Self::OnFailure => "\"ignore\" or \"deny\"",
            Self::Kids => "a kid such as \"POOL\", or a list of kids",
            Self::Scope => "a list of authorizations, such as [\"READ\", \"WRITE\"]",
            Self::Lifetime => "a lifetime such as \"1h\" or \"90s\", from 1s to 3650d",
            Self::Timeout => "a time from 10ms to 60s, such as \"3s\" or \"500ms\"",
            Self::TrustDomain | Self::UidDomain => "a domain such as \"example.org\"",
            Self::Path => "a path that starts with /",
            Self::Address => {
                "the name of a daemon: 1 to 255 bytes without blanks, and no '-' in front"
            }
            Self::Contact => "a text of 1 to 200 bytes without control characters",
            Self::TableName => {
                "the name of a token: 1 to 32 of a-z, 0-9 and '_', not 16 hex digits"
            }
        }
    }
}

// It is what errors are mapped with.
#[allow(clippy::needless_pass_by_value)]
fn in_words(error: ClaimError) -> String {
    error.to_string()
}

fn kids(names: &[&str]) -> Result<Value, String> {
    let mut kids: Vec<Kid> = Vec::with_capacity(names.len());
    for name in names {
        let kid = name.parse().map_err(in_words)?;
        if kids.contains(&kid) {
            return Err(format!("the kid {kid} is named twice"));
        }
        kids.push(kid);
    }
    if kids.is_empty() {
        return Err("a list of kids must name at least one".into());
    }
    Ok(Value::Kids(kids))
}

fn scope(words: &[&str]) -> Result<Value, String> {
    if words == [UNRESTRICTED] {
        return Ok(Value::Scope(None));
    }
    match Scope::parse(words).map_err(in_words)? {
        // HTCondor takes an empty scope for all rights: nobody gets those by a slip.
        None => Err(
            "a scope must name at least one authorization; leave the key out for unrestricted \
             tokens"
                .into(),
        ),
        some => Ok(Value::Scope(some)),
    }
}

fn timeout(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: u64 = digits.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
    .filter(|time| (TIMEOUT_MIN..=TIMEOUT_MAX).contains(time))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file::parse as parse_file;

    fn parse(key: &str, value: &str) -> Result<Value, String> {
        let given = parse_file(&format!("{key} = {value}"), Path::new("/x"));
        let given = given.map_err(|error| error.to_string())?;
        Ok(given.get(key).unwrap().clone())
    }

    #[test]
    fn a_kid_is_one_or_a_list_without_doubles() {
        assert_eq!(parse("kid", "\"POOL\""), Ok(Value::Kids(vec![Kid::pool()])));
        assert_eq!(
            parse("kid", "[\"new\", \"POOL\"]"),
            Ok(Value::Kids(vec!["new".parse().unwrap(), Kid::pool()]))
        );
        for bad in ["[]", "[\"a\", \"a\"]", "\"../x\"", "3", "[3]", "[[\"a\"]]"] {
            assert!(parse("kid", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_timeout_has_bounds_and_units() {
        for (text, millis) in [("\"500ms\"", 500), ("\"3s\"", 3000), ("3", 3000)] {
            let time = Duration::from_millis(millis);
            assert_eq!(parse("timeout", text), Ok(Value::Timeout(time)));
        }
        for bad in [
            "0", "-1", "61", "\"1h\"", "\"9ms\"", "\"s\"", "\"\"", "true",
        ] {
            assert!(parse("timeout", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lifetime_is_a_text_or_a_number_of_seconds() {
        let hour = Ok(Value::Lifetime(Lifetime::HOUR));
        for text in ["\"1h\"", "\"3600\"", "3600", "0xe10"] {
            assert_eq!(parse("lifetime", text), hour, "{text}");
        }
        for bad in ["0", "-1", "1.5", "\"never\"", "9223372036854775807", "[1]"] {
            let error = parse("lifetime", bad).unwrap_err();
            assert!(error.contains("from 1s to 3650d"), "{error}");
        }
    }

    #[test]
    fn unknown_choices_and_relative_paths_are_refused() {
        for (key, bad, expected) in [
            ("issuer", "\"magic\"", "\"auto\", \"key\" or \"schedd\""),
            ("issuer", "3", "\"auto\", \"key\" or \"schedd\""),
            ("store", "\"ram\"", "\"home\" or \"private\""),
            ("on_close", "\"keep\"", "\"delete\" or \"linger\""),
            ("on_failure", "\"panic\"", "\"ignore\" or \"deny\""),
            ("state_dir", "\"var/lib\"", "a path that starts with /"),
            ("contact", "\"\"", "1 to 200 bytes"),
            ("contact", "\"a\\u001b[2J\"", "without control characters"),
            ("min_uid", "-1", "-1 is not a uid"),
            ("min_uid", "4294967296", "from 0 to 4294967295"),
            ("min_uid", "99999999999999999999", "from 0 to 4294967295"),
            ("services", "\"sshd\"", "\"sshd\" is not a list of names"),
            ("services", "[1]", "not a list of names"),
            ("services", "{ a = 1 }", "not a list of names"),
            ("lifetime", "\"0s\"", "from 1s to 3650d"),
            ("scope", "[]", "at least one authorization"),
            ("scope", "[\"REED\"]", "\"REED\" is not an authorization"),
            ("scope", "\"READ\"", "\"READ\" is not a list of auth"),
            (
                "scope",
                "[\"READ\", \"unrestricted\"]",
                "\"unrestricted\" is not",
            ),
            ("trust_domain", "\"a b\"", "\"a b\" is not a domain"),
            ("uid_domain", "1979-05-27", "is not a domain"),
            ("schedd_name", "\"-debug\"", "the name of a daemon"),
            ("schedd_pool", "\"a b\"", "the name of a daemon"),
            ("pool_signing_key_is_password", "1", "true or false"),
        ] {
            let error = parse(key, bad).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(
                error.starts_with(&format!("/x line 1, key {key}: ")),
                "{error}"
            );
        }
        for bad in [
            "name = \"a-b\"",
            "name = \"0123456789abcdef\"",
            "remote_hosts = [\"10.0.0.0/33\"]",
        ] {
            let text = format!("[[token]]\n{bad}\n");
            let error = parse_file(&text, Path::new("/x")).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
