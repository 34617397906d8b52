//! fail2ban's version, as far as commands depend on it.
//!
//! The checks are essential: an older fail2ban takes a variant of `status` that it does not know for the default one, and answers
//! with every banned address.

use std::fmt;

/// The first three numbers of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// From this version on `status JAIL short` leaves the addresses out.
    pub const HAS_SHORT_STATUS: Self = Self::new(0, 11, 2);
    /// From this version on `stats` counts all jails at once.
    pub const HAS_STATS: Self = Self::new(1, 1, 0);

    /// A version by its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `1.0.2`, and what distributions and developers make of it: `1.1.1.dev1`, `0.11.2-1~deb`, `1.1`.
    /// None if there is not even a first number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = [0; 3];
        let mut rest = text.trim().trim_start_matches('v');
        for (index, number) in numbers.iter_mut().enumerate() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            match rest[..digits].parse() {
                Ok(read) => *number = read,
                Err(_) if index == 0 => return None,
                Err(_) => break,
            }
            match rest[digits..].strip_prefix('.') {
                Some(after) => rest = after,
                None => break,
            }
        }
        let [major, minor, patch] = numbers;
        Some(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_as_they_are_found_in_the_wild() {
        for (text, version) in [
            ("1.0.2", Some((1, 0, 2))),
            ("1.1.1.dev1", Some((1, 1, 1))),
            ("1.1.0-8", Some((1, 1, 0))),
            ("0.11.2", Some((0, 11, 2))),
            ("1.1", Some((1, 1, 0))),
            ("2", Some((2, 0, 0))),
            (" v1.0.3rc1\n", Some((1, 0, 3))),
            ("1.x.9", Some((1, 0, 0))),
            ("", None),
            ("dev", None),
            ("99999999999999999999.1", None),
        ] {
            assert_eq!(Version::parse(text), version.map(|(a, b, c)| Version::new(a, b, c)), "{text:?}");
        }
        assert!(Version::new(0, 11, 10) > Version::HAS_SHORT_STATUS);
        assert!(Version::new(1, 0, 2) < Version::HAS_STATS);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = Version::parse(&text);
        }
    }
}
