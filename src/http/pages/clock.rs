//! Times and durations as pages show them: local, short, with the exact value on hover.
//!
//! ```text
//! time("22:41", "yesterday 17:20", "5 Nov 03:12")   a time
//! since("since 22:41 (2 min)")                      a beginning, and how long ago it was
//! left("22 h 24 min", "36 min 12 s", "0:42")        a countdown, which `time.js` keeps ticking
//! ```

use std::borrow::Borrow;
use std::fmt;

use askama::filters::HtmlSafe;
use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta};

use super::prefs::Prefs;
use crate::domain::Timestamp;

/// The clock of a page: when the page was made, and the zone of its reader.
#[derive(Debug, Clone)]
pub struct Clock {
    /// When the page was made.
    pub now: Timestamp,
    offset: FixedOffset,
    /// The name of the zone.
    pub zone: String,
}

/// Markup made only of numbers and fixed words.
pub struct Markup(String);

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

impl Clock {
    /// The clock of a page that is made `now`.
    #[must_use]
    pub fn new(now: Timestamp, prefs: &Prefs) -> Self {
        let offset = FixedOffset::east_opt(prefs.offset * 60)
            .unwrap_or_else(|| FixedOffset::east_opt(0).unwrap_or_else(utc));
        Self { now, offset, zone: prefs.zone.clone() }
    }

    /// A time, as the shortest text that is clear today.
    #[must_use]
    pub fn time(&self, at: impl Borrow<Timestamp>) -> Markup {
        let at = *at.borrow();
        self.markup(at, &self.short(at), "")
    }

    /// A time with its seconds, such as when the page was made.
    #[must_use]
    pub fn exact(&self, at: impl Borrow<Timestamp>) -> Markup {
        let at = *at.borrow();
        self.markup(at, &self.local(at).format("%H:%M:%S").to_string(), " data-form=\"exact\"")
    }

    /// Since when something has been true, and how long that is.
    #[must_use]
    pub fn since(&self, at: impl Borrow<Timestamp>) -> Markup {
        let at = *at.borrow();
        let lasts = rough(self.now - at);
        Markup(format!("since {} ({lasts})", self.time(at)))
    }

    /// How long until a time; a countdown.
    #[must_use]
    pub fn left(&self, until: impl Borrow<Timestamp>) -> Markup {
        let until = *until.borrow();
        self.markup(until, &remaining(until - self.now), " data-form=\"left\"")
    }

    /// How long ago a time was, in words.
    #[must_use]
    pub fn ago(&self, at: impl Borrow<Timestamp>) -> String {
        format!("{} ago", rough(self.now - *at.borrow()))
    }

    fn local(&self, at: Timestamp) -> DateTime<FixedOffset> {
        at.with_timezone(&self.offset)
    }

    fn short(&self, at: Timestamp) -> String {
        let (local, today) = (self.local(at), self.local(self.now));
        let days = (today.date_naive() - local.date_naive()).num_days();
        let clock = local.format("%H:%M");
        match days {
            0 => clock.to_string(),
            1 => format!("yesterday {clock}"),
            -1 => format!("tomorrow {clock}"),
            _ if local.format("%Y").to_string() == today.format("%Y").to_string() => {
                local.format("%-d %b %H:%M").to_string()
            }
            _ => local.format("%-d %b %Y").to_string(),
        }
    }

    fn markup(&self, at: Timestamp, text: &str, form: &str) -> Markup {
        let iso = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let exact = self.local(at).format("%-d %b %Y, %H:%M:%S");
        Markup(format!("<time datetime=\"{iso}\" title=\"{exact} {}\"{form}>{text}</time>", self.zone))
    }
}

fn utc() -> FixedOffset {
    chrono::Offset::fix(&chrono::Utc)
}

/// A duration in the units that matter: `4 s`, `2 min`, `2 h 31 min`, `3 days`.
#[must_use]
pub fn rough(lasts: TimeDelta) -> String {
    let seconds = lasts.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min"),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        86_400..172_800 => "1 day".to_owned(),
        _ => format!("{days} days"),
    }
}

/// A remaining time: `2 d 3 h`, `22 h 24 min`, `36 min 12 s`, `0:42`. `time.js` writes the same.
#[must_use]
pub fn remaining(left: TimeDelta) -> String {
    let seconds = left.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("0:{seconds:02}"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn clock() -> Clock {
        let prefs = Prefs { theme: "system", keys: true, offset: 60, zone: "CET".to_owned() };
        Clock::new(at("2026-11-26T21:43:15Z"), &prefs)
    }

    #[test]
    fn a_time_is_local_and_as_short_as_is_clear() {
        let clock = clock();
        assert_eq!(clock.short(at("2026-11-26T21:41:00Z")), "22:41");
        assert_eq!(clock.short(at("2026-11-25T22:59:00Z")), "yesterday 23:59");
        assert_eq!(clock.short(at("2026-11-25T23:00:00Z")), "00:00", "days are those of the zone");
        assert_eq!(clock.short(at("2026-11-05T02:12:00Z")), "5 Nov 03:12");
        assert_eq!(clock.short(at("2025-11-05T02:12:00Z")), "5 Nov 2025");
        assert_eq!(
            clock.since(at("2026-11-26T21:41:00Z")).to_string(),
            "since <time datetime=\"2026-11-26T21:41:00.000Z\" title=\"26 Nov 2026, 22:41:00 CET\">22:41</time> (2 min)"
        );
    }

    #[test]
    fn durations_keep_the_units_that_matter() {
        let text = |seconds| (rough(TimeDelta::seconds(seconds)), remaining(TimeDelta::seconds(seconds)));
        assert_eq!(text(42), ("42 s".to_owned(), "0:42".to_owned()));
        assert_eq!(text(59 * 60 + 59), ("59 min".to_owned(), "59 min 59 s".to_owned()));
        assert_eq!(text(9_060), ("2 h 31 min".to_owned(), "2 h 31 min".to_owned()));
        assert_eq!(text(3 * 86_400 + 7_200), ("3 days".to_owned(), "3 d 2 h".to_owned()));
        assert_eq!(text(-5).0, "0 s", "a clock that was set back makes nothing negative");
    }
}
