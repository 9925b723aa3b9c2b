//! Domains and the identities in them.

use std::fmt;
use std::str::FromStr;

use crate::error::ClaimError;

const LIMIT: usize = 255;

macro_rules! domain {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// The domain.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ClaimError;

            fn from_str(text: &str) -> Result<Self, ClaimError> {
                let refused = |c: char| c.is_control() || c.is_whitespace() || c == ',' || c == '@';
                if text.is_empty() || text.len() > LIMIT || text.contains(refused) {
                    return Err(ClaimError::Domain(text.to_owned()));
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl From<$name> for String {
            fn from(domain: $name) -> Self {
                domain.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

domain! {
    /// TRUST_DOMAIN: the `iss` of a token. A client offers a token only to a
    /// server of the same trust domain.
    TrustDomain
}

domain! {
    /// UID_DOMAIN: the domain of the users in `sub`.
    UidDomain
}

/// The identity that a token carries, `user@UID_DOMAIN`.
///
/// It can not be one of the identities that HTCondor gives to its own daemons
/// and that carry administrators' rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

/// HTCondor's own identities, and root.
const ADMINISTRATORS: [&str; 3] = ["root", "condor", "condor_pool"];

impl Subject {
    /// A user of a domain.
    ///
    /// The name may hold `@` and `\`, as those of SSSD and winbind do: HTCondor
    /// splits an identity at its last `@`.
    pub fn new(user: &str, domain: &UidDomain) -> Result<Self, ClaimError> {
        let refused = |c: char| c.is_control() || c.is_whitespace();
        if user.is_empty() || user.len() > LIMIT || user.contains(refused) {
            return Err(ClaimError::User(user.to_owned()));
        }
        let local = user.split('@').next().unwrap_or_default();
        let local = local.rsplit('\\').next().unwrap_or_default();
        if local.is_empty() {
            return Err(ClaimError::User(user.to_owned()));
        }
        if ADMINISTRATORS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(local))
        {
            return Err(ClaimError::Administrator(user.to_owned()));
        }
        Ok(Self(format!("{user}@{domain}")))
    }

    /// The identity.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(user: &str) -> Result<String, ClaimError> {
        Subject::new(user, &"lab.test".parse().unwrap()).map(|subject| subject.to_string())
    }

    #[test]
    fn a_subject_is_a_user_of_a_domain() {
        assert_eq!(subject("alice").unwrap(), "alice@lab.test");
        assert_eq!(subject("alice@ad.site").unwrap(), "alice@ad.site@lab.test");
        assert_eq!(subject("AD\\alice").unwrap(), "AD\\alice@lab.test");
    }

    #[test]
    fn htcondors_own_identities_are_refused_in_any_spelling() {
        for name in [
            "root",
            "condor",
            "condor_pool",
            "CONDOR",
            "condor@x",
            "AD\\root",
            "Root@a@b",
        ] {
            assert!(
                matches!(subject(name), Err(ClaimError::Administrator(_))),
                "{name}"
            );
        }
        assert!(subject("condor2").is_ok() && subject("rooty").is_ok());
    }

    #[test]
    fn names_that_would_break_a_token_or_a_log_are_refused() {
        for name in [
            "",
            "@x",
            "AD\\",
            "a b",
            "a\nb",
            "a\0",
            "a\u{7f}",
            &"x".repeat(256),
        ] {
            assert!(
                matches!(subject(name), Err(ClaimError::User(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_domain_is_one_word() {
        for bad in ["", "a b", "a,b", "a@b", "a\n", &"x".repeat(256)] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad:?}");
            assert!(bad.parse::<UidDomain>().is_err(), "{bad:?}");
        }
        // A trust domain of HTCondor 9 is COLLECTOR_HOST, which may have a port.
        assert!("cm.lab.test:9618".parse::<TrustDomain>().is_ok());
    }
}
