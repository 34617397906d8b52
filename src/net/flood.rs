//! Log lines about events that strangers can cause as often as they like: the first few of each minute are logged, then how many
//! more there were.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// The lines of one kind.
#[derive(Debug)]
pub struct Flood {
    lines: u64,
    minute: Mutex<Option<Minute>>,
}

#[derive(Debug)]
struct Minute {
    began: Instant,
    counted: u64,
}

impl Flood {
    /// Allows at most `lines` a minute.
    #[must_use]
    pub const fn of(lines: u64) -> Self {
        Self { lines, minute: Mutex::new(None) }
    }

    /// Counts one event. `Some` if it should be logged: with how many were left out since the last line.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let over = minute.as_ref().is_none_or(|minute| now.duration_since(minute.began) >= MINUTE);
        if over {
            let ended = minute.replace(Minute { began: now, counted: 1 });
            return Some(ended.map_or(0, |ended| ended.counted.saturating_sub(self.lines)));
        }
        let counted = minute.as_mut().map_or(0, |minute| {
            minute.counted += 1;
            minute.counted
        });
        (counted <= self.lines).then_some(0)
    }
}

/// The beginning of what a stranger has sent, made safe for a log line.
#[must_use]
pub fn shortened(text: &str, length: usize) -> String {
    let mut short: String = text.chars().take(length).flat_map(char::escape_debug).collect();
    if text.chars().nth(length).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_a_minute_are_logged_and_then_how_many_were_not() {
        let (flood, now) = (Flood::of(3), Instant::now());
        let first: Vec<_> = (0..10).map(|_| flood.admit_at(now)).collect();
        assert_eq!(first[..4], [Some(0), Some(0), Some(0), None]);
        assert!(first[4..].iter().all(Option::is_none));
        assert_eq!(flood.admit_at(now + MINUTE), Some(7));
        assert_eq!(flood.admit_at(now + MINUTE), Some(0));
        assert_eq!(flood.admit_at(now + 3 * MINUTE), Some(0));
    }

    #[test]
    fn what_a_stranger_sent_is_shortened_and_cannot_move_the_cursor() {
        assert_eq!(shortened("/v1/info", 100), "/v1/info");
        assert_eq!(shortened("a\u{1b}[2Jb", 100), "a\\u{1b}[2Jb");
        assert_eq!(shortened(&"x".repeat(70_000), 100).chars().count(), 101);
    }
}
