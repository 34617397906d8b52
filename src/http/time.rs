//! Times in JSON: RFC 3339, UTC, always microseconds and `Z`, so that what was shown can be sent back
//! (`?detected_at=`) and compared exactly.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::domain::Timestamp;

/// A time as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// Reads a time from a query. A `+` of an offset arrives as a space when the client did not encode it.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.replace(' ', "+");
    DateTime::parse_from_rfc3339(&text).ok().map(|at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_shown_reads_back_exactly() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let shown = serde_json::to_value(Time(at)).unwrap();
        assert_eq!(shown, "2023-11-14T22:13:20.123456Z");
        assert_eq!(parse(shown.as_str().unwrap()), Some(at));
        assert_eq!(parse("2023-11-14T23:13:20.123456 01:00"), Some(at));
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn a_whole_second_has_its_microseconds_too() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_000_000).unwrap();
        assert_eq!(serde_json::to_value(Time(at)).unwrap(), "2023-11-14T22:13:20.000000Z");
    }
}
