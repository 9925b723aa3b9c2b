//! Where a login comes from: `PAM_RHOST` against an address, a network or a name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What `remote_hosts` may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteHost {
    /// An address, or a network: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
    Network {
        /// An address in the network.
        address: IpAddr,
        /// How many of its first bits count.
        prefix: u8,
    },
    /// A host by its name, without regard to case.
    Name(String),
    /// Every host below a domain: `.example.org`.
    Below(String),
}

impl RemoteHost {
    /// Whether a login from `rhost` is meant.
    ///
    /// Nothing is looked up, since that could hold up a login: a network matches an
    /// address and a name matches a name, whichever the host put into `PAM_RHOST`
    /// (sshd: the address, unless `UseDNS yes`).
    pub fn matches(&self, rhost: &str) -> bool {
        // An address of one link carries the link: fe80::1%eth0.
        let bare = rhost.split('%').next().unwrap_or_default();
        match self {
            Self::Network { address, prefix } => bare
                .parse::<IpAddr>()
                .is_ok_and(|ip| is_in(ip.to_canonical(), *address, *prefix)),
            Self::Name(name) => host(rhost).eq_ignore_ascii_case(name),
            Self::Below(domain) => host(rhost)
                .to_ascii_lowercase()
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| !rest.is_empty()),
        }
    }
}

/// A name without the dot of the root.
fn host(rhost: &str) -> &str {
    rhost.strip_suffix('.').unwrap_or(rhost)
}

fn is_in(ip: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    // All bits are behind a prefix of none: a shift by the whole width has no meaning.
    u32::from(prefix) == 0 || (ip ^ network) >> (width - u32::from(prefix)) == 0
}

impl FromStr for RemoteHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is neither an address nor a network such as 192.0.2.0/24, nor a host \
                 name, nor a domain such as .example.org"
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let width = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Some(width), |digits| {
                let is_number = digits.bytes().all(|b| b.is_ascii_digit());
                digits.parse().ok().filter(|n| is_number && *n <= width)
            });
            return prefix
                .map(|prefix| Self::Network { address, prefix })
                .ok_or_else(wrong);
        }
        let is_name = |name: &str| {
            let is_fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            // All digits and dots is an address that was written wrongly.
            let is_number = |b: u8| b.is_ascii_digit() || b == b'.';
            !name.is_empty()
                && name.len() <= 253
                && name.bytes().all(is_fine)
                && !name.bytes().all(is_number)
        };
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix('.') {
            Some(domain) if is_name(domain) => Ok(Self::Below(lower)),
            None if is_name(&lower) => Ok(Self::Name(lower)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for RemoteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { address, prefix } => {
                let width = if address.is_ipv4() { 32 } else { 128 };
                if *prefix == width {
                    address.fmt(f)
                } else {
                    write!(f, "{address}/{prefix}")
                }
            }
            Self::Name(name) | Self::Below(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, rhost: &str) -> bool {
        pattern.parse::<RemoteHost>().unwrap().matches(rhost)
    }

    #[test]
    fn a_network_holds_its_addresses_however_they_are_written() {
        for (pattern, rhost, holds) in [
            ("192.0.2.0/24", "192.0.2.200", true),
            ("192.0.2.0/24", "192.0.3.1", false),
            ("192.0.2.129/25", "192.0.2.200", true),
            ("192.0.2.129/25", "192.0.2.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.70", false),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::9", true),
            ("2001:db8::/32", "2001:db9::9", false),
            ("fe80::/10", "fe80::1%eth0", true),
            ("192.0.2.0/24", "host.example.org", false),
            ("192.0.2.0/24", "", false),
        ] {
            assert_eq!(matches(pattern, rhost), holds, "{pattern} {rhost}");
        }
    }

    #[test]
    fn a_name_is_a_host_and_a_dot_in_front_is_all_below() {
        assert!(matches("ap.Example.org", "AP.example.ORG"));
        assert!(matches("ap.example.org", "ap.example.org."));
        assert!(!matches("example.org", "ap.example.org"));
        assert!(matches(".example.org", "a.b.Example.org"));
        assert!(!matches(".example.org", "example.org"));
        assert!(!matches(".example.org", ".example.org"));
        assert!(!matches(".example.org", "badexample.org"));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in [
            "",
            ".",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0",
            "::1/129",
            "a b",
            "a/8",
            "*.x.org",
            "10.0.0.300",
        ] {
            assert!(bad.parse::<RemoteHost>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(text in "[a-z0-9:./]{1,20}") {
            if let Ok(pattern) = text.parse::<RemoteHost>() {
                prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
            }
        }

        #[test]
        fn no_text_makes_it_panic(pattern in "\\PC*", rhost in "\\PC*") {
            if let Ok(pattern) = pattern.parse::<RemoteHost>() {
                let _ = pattern.matches(&rhost);
            }
        }

        #[test]
        fn a_network_of_its_own_address_holds_it(bits in any::<u128>(), prefix in 0_u8..=128) {
            let ip = IpAddr::from(bits.to_be_bytes());
            let network = RemoteHost::Network { address: ip, prefix };
            prop_assert!(network.matches(&ip.to_string()) || ip.to_canonical() != ip);
        }
    }
}
