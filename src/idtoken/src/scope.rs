//! What a token may be used for.

use std::fmt::Write as _;

use crate::error::ClaimError;

macro_rules! authorizations {
    ($($variant:ident = $text:literal),* $(,)?) => {
        /// An authorization level of HTCondor (`makePermStringTable` in
        /// condor_utils/condor_perms.cpp).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Authorization {
            $($variant),*
        }

        impl Authorization {
            /// Every one that a token can be limited to.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$variant),*];

            /// Its name in HTCondor's configuration.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),*
                }
            }
        }
    };
}

authorizations! {
    Read = "READ",
    Write = "WRITE",
    Negotiator = "NEGOTIATOR",
    Administrator = "ADMINISTRATOR",
    Config = "CONFIG",
    Daemon = "DAEMON",
    AdvertiseStartd = "ADVERTISE_STARTD",
    AdvertiseSchedd = "ADVERTISE_SCHEDD",
    AdvertiseMaster = "ADVERTISE_MASTER",
}

/// A set of authorizations, never an empty one.
///
/// HTCondor skips entries of a scope that it does not know, and takes a scope
/// with none left for an unrestricted token. So an unknown entry is an error
/// here, and no restriction at all is the absence of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(Vec<Authorization>);

impl Scope {
    /// The scope of these authorizations; none for an empty list.
    ///
    /// WRITE brings READ with it: HTCondor implies it only since 23.8.1.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Option<Self>, ClaimError> {
        let mut set = Vec::with_capacity(names.len() + 1);
        for name in names.iter().map(AsRef::as_ref) {
            let known = Authorization::ALL
                .into_iter()
                .find(|known| known.as_str() == name);
            set.push(known.ok_or_else(|| ClaimError::Scope(name.to_owned()))?);
        }
        if set.contains(&Authorization::Write) {
            set.push(Authorization::Read);
        }
        // Each once, in the order they are declared in.
        let set: Vec<_> = Authorization::ALL
            .into_iter()
            .filter(|known| set.contains(known))
            .collect();
        Ok(if set.is_empty() {
            None
        } else {
            Some(Self(set))
        })
    }

    /// Its authorizations, each once.
    pub fn iter(&self) -> impl Iterator<Item = Authorization> {
        self.0.iter().copied()
    }

    /// The claim, as in `condor:/READ condor:/WRITE`.
    pub fn claim(&self) -> String {
        let mut claim = String::new();
        for (i, authorization) in self.0.iter().enumerate() {
            let blank = if i == 0 { "" } else { " " };
            // Writing to a String does not fail.
            let _ = write!(claim, "{blank}condor:/{}", authorization.as_str());
        }
        claim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(names: &[&str]) -> Option<String> {
        Scope::parse(names).unwrap().map(|scope| scope.claim())
    }

    #[test]
    fn a_scope_is_written_as_htcondor_reads_it() {
        assert_eq!(claim(&["READ"]).unwrap(), "condor:/READ");
        assert_eq!(
            claim(&["DAEMON", "READ", "READ"]).unwrap(),
            "condor:/READ condor:/DAEMON"
        );
        assert_eq!(claim(&[]), None);
    }

    #[test]
    fn write_brings_read() {
        assert_eq!(claim(&["WRITE"]).unwrap(), "condor:/READ condor:/WRITE");
    }

    #[test]
    fn an_unknown_or_empty_entry_is_an_error_and_never_all_rights() {
        for bad in ["", "read", "READ ", "condor:/READ", "ALLOW", "SUBMIT", "*"] {
            let error = Scope::parse(&["READ", bad]).unwrap_err().to_string();
            assert!(error.contains("ADVERTISE_STARTD"), "{error}");
        }
    }
}
