//! How long a token lives.

use std::fmt;
use std::str::FromStr;

use crate::error::ClaimError;

const DAY: u64 = 24 * 3600;
/// Ten years: more is a typing error.
const LIMIT: u64 = 3650 * DAY;

/// A time from one second to ten years.
///
/// There is no endless one: a token of ours always expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u64);

impl Lifetime {
    /// One hour.
    pub const HOUR: Self = Self(3600);
    /// One day.
    pub const DAY: Self = Self(DAY);
    /// Ninety days.
    pub const QUARTER: Self = Self(90 * DAY);

    /// A number of seconds; none outside the limits.
    pub fn from_secs(seconds: u64) -> Option<Self> {
        (1..=LIMIT).contains(&seconds).then_some(Self(seconds))
    }

    /// The number of seconds.
    pub fn as_secs(self) -> u64 {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = ClaimError;

    /// `90s`, `10m`, `1h`, `2d`, or a number of seconds.
    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let wrong = || ClaimError::Lifetime(text.to_owned());
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let factor = match unit {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => DAY,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number
            .checked_mul(factor)
            .and_then(Self::from_secs)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        for (factor, unit) in [(DAY, "d"), (3600, "h"), (60, "m")] {
            // One day is written as 24h, here as in the documents.
            if seconds.is_multiple_of(factor) && (unit, seconds) != ("d", DAY) {
                return write!(f, "{}{unit}", seconds / factor);
            }
        }
        write!(f, "{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(text: &str) -> Option<u64> {
        text.parse::<Lifetime>().ok().map(Lifetime::as_secs)
    }

    #[test]
    fn a_lifetime_is_a_number_with_a_unit() {
        assert_eq!(secs("1h"), Some(3600));
        assert_eq!(secs("90s"), secs("90"));
        assert_eq!((secs("10m"), secs("2d")), (Some(600), Some(172_800)));
        assert_eq!(secs("3650d"), Some(LIMIT));
    }

    #[test]
    fn a_lifetime_is_shown_as_people_write_it() {
        for text in ["90s", "10m", "1h", "24h", "25h", "2d", "90d"] {
            assert_eq!(text.parse::<Lifetime>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn never_and_forever_are_refused() {
        for bad in [
            "",
            "0",
            "0h",
            "-1",
            "3651d",
            "1y",
            "h",
            "1 h",
            "1h30m",
            "1.5h",
            "+1",
            "18446744073709551616",
            "99999999999999999d",
        ] {
            assert_eq!(secs(bad), None, "{bad}");
        }
        let error = "x".parse::<Lifetime>().unwrap_err().to_string();
        assert!(error.contains("1s to 3650d"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(seconds in 1..=LIMIT) {
            let lifetime = Lifetime::from_secs(seconds).unwrap();
            prop_assert_eq!(lifetime.to_string().parse(), Ok(lifetime));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<Lifetime>();
        }
    }
}
