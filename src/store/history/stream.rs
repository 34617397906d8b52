//! Places in a stream of Redis: two numbers, a time in milliseconds and a count, in the order of the entries.

use std::fmt;

use crate::domain::Timestamp;
use crate::store::connection::clock::moment;

/// How many events the stream keeps, about.
pub(in crate::store) const EVENTS_KEPT: u32 = 10_000;

/// The id of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct StreamId(u64, u64);

impl StreamId {
    /// Reads the id of an entry.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?;
        let (ms, count) = text.split_once('-')?;
        Some(Self(number(ms)?, number(count)?))
    }

    /// The last id below it; none below the first there can be, which Redis calls an error.
    pub(in crate::store) fn last_below(self) -> Option<String> {
        match self {
            Self(0, 0) => None,
            Self(ms, 0) => Some(format!("{}-{}", ms - 1, u64::MAX)),
            Self(ms, count) => Some(format!("{ms}-{}", count - 1)),
        }
    }

    /// The first id above it.
    #[must_use]
    pub fn next_above(self) -> Self {
        match self {
            Self(ms, u64::MAX) => Self(ms.saturating_add(1), 0),
            Self(ms, count) => Self(ms, count + 1),
        }
    }

    /// When the entry was written, on Redis's clock.
    #[must_use]
    pub fn at(self) -> Timestamp {
        moment(i64::try_from(self.0).unwrap_or(i64::MAX).saturating_mul(1000))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_two_numbers() {
        for (text, is) in [
            ("1700000000000-0", true),
            ("0-0", true),
            ("18446744073709551615-18446744073709551615", true),
            ("18446744073709551616-0", false),
            ("1700000000000", false),
            ("+1-0", false),
            ("1-", false),
            ("-", false),
            ("1-0-0", false),
            ("", false),
        ] {
            let id = StreamId::parse(text);
            assert_eq!(id.is_some(), is, "{text}");
            assert!(id.is_none_or(|id| id.to_string() == text));
        }
        let below = |text| StreamId::parse(text).unwrap().last_below();
        assert_eq!(below("7-3").as_deref(), Some("7-2"));
        assert_eq!(below("7-0").as_deref(), Some("6-18446744073709551615"));
        assert_eq!(below("0-0"), None);
        let above = |text| StreamId::parse(text).unwrap().next_above().to_string();
        assert_eq!((above("7-3"), above("6-18446744073709551615")), ("7-4".to_owned(), "7-0".to_owned()));
        assert!(StreamId(9, 0) < StreamId(10, 0) && StreamId(9, 1) < StreamId(9, 2));
    }
}
