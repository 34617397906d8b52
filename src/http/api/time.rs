//! Times in JSON: RFC 3339, UTC, always microseconds and `Z`, so that what was shown can be sent back
//! (`?detected_at=`) and compared exactly.

use std::fmt;

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::domain::Timestamp;

/// A time as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = *b"0000-00-00T00:00:00.000000Z";
        match self.write(&mut digits) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Time {
    /// Formats the time by hand, which is faster: the answer to every session check has four times. `None` if the year does not have
    /// four digits.
    fn write(self, digits: &mut [u8; 27]) -> Option<&str> {
        let at = self.0;
        let year = u32::try_from(at.year()).ok().filter(|year| *year <= 9_999)?;
        // A leap second is the sixtieth of its minute.
        let (leap, micros) = (at.nanosecond() / 1_000_000_000, at.nanosecond() % 1_000_000_000 / 1_000);
        let parts = [
            (0..4, year),
            (5..7, at.month()),
            (8..10, at.day()),
            (11..13, at.hour()),
            (14..16, at.minute()),
            (17..19, at.second() + leap),
            (20..26, micros),
        ];
        for (place, mut number) in parts {
            for digit in digits[place].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        std::str::from_utf8(digits).ok()
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
    use proptest::prelude::*;

    #[test]
    fn a_time_that_was_shown_reads_back_exactly() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let shown = serde_json::to_value(Time(at)).unwrap();
        assert_eq!(shown, "2023-11-14T22:13:20.123456Z");
        assert_eq!(parse(shown.as_str().unwrap()), Some(at));
        assert_eq!(parse("2023-11-14T23:13:20.123456 01:00"), Some(at));
        assert_eq!(parse("yesterday"), None);
    }

    proptest! {
        #[test]
        fn a_time_is_shown_as_chrono_would(micros in -62_135_596_800_000_000..300_000_000_000_000_000_i64) {
            let time = Time(DateTime::from_timestamp_micros(micros).unwrap());
            prop_assert_eq!(serde_json::to_value(time).unwrap(), time.to_string());
        }
    }

    #[test]
    fn a_leap_second_is_the_sixtieth_of_its_minute() {
        let time = Time(parse("2016-12-31T23:59:60.25Z").unwrap());
        assert_eq!(serde_json::to_value(time).unwrap(), "2016-12-31T23:59:60.250000Z");
        assert_eq!(time.to_string(), "2016-12-31T23:59:60.250000Z");
    }

    #[test]
    fn a_whole_second_has_its_microseconds_too() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_000_000).unwrap();
        assert_eq!(serde_json::to_value(Time(at)).unwrap(), "2023-11-14T22:13:20.000000Z");
    }
}
