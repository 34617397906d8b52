//! What a jail reads: each log file with its last write, as its agent reports it.

use chrono::TimeDelta;

use super::clock::rough;
use super::marks::Mark;
use crate::agent::client::JailView;
use crate::domain::findings::jails::{LogFile, STALE_AFTER};

/// A file whose last write is at most this many seconds ago counts as being written.
const FRESH_FOR: i64 = 3_600;

/// A log file.
#[derive(Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Where it is.
    pub path: String,
    /// How it is shown.
    pub mark: Mark,
    /// The class of its colour.
    pub colour: &'static str,
    /// Whether it is being written, in words.
    pub says: String,
}

/// The log files of a jail.
#[must_use]
pub fn logs(view: &JailView) -> Vec<LogRow> {
    let row = |path: &String| {
        let log = view.logs.iter().flatten().find(|log| log.path == *path);
        let (mark, colour, says) = match log {
            // For a jail that does not run these are patterns, which are not resolved.
            None if !view.running => (Mark::BAR, "muted", "not read: the jail does not run".to_owned()),
            None => (Mark::HOLLOW, "muted", "not known: the agent did not report it".to_owned()),
            Some(log) => shown(log),
        };
        LogRow { path: path.clone(), mark, colour, says }
    };
    view.log_files.iter().map(row).collect()
}

fn shown(log: &LogFile) -> (Mark, &'static str, String) {
    let ago = |age: i64| rough(TimeDelta::seconds(age));
    match (log.missing, log.age_seconds) {
        (true, _) => (Mark::SQUARE, "bad", "missing: there is no such file".to_owned()),
        (false, Some(age)) if age < FRESH_FOR => {
            (Mark::DOT, "ok", format!("being written, last {} ago", ago(age)))
        }
        (false, Some(age)) if age < STALE_AFTER => {
            (Mark::DOT, "muted", format!("not written for {}", ago(age)))
        }
        (false, Some(age)) => (Mark::TRIANGLE, "warn", format!("not written for {}", ago(age))),
        (false, None) => (Mark::HOLLOW, "muted", "its last write is not known".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_being_written_not_for_a_time_or_missing_at_each_boundary() {
        let log =
            |missing, age_seconds| LogFile { path: "/a".to_owned(), missing, size: Some(1), age_seconds };
        let said = |missing, age| {
            let (_, colour, says) = shown(&log(missing, age));
            (colour, says)
        };
        let says = |colour, text: &str| (colour, text.to_owned());
        assert_eq!(said(false, Some(0)), says("ok", "being written, last 0 s ago"));
        assert_eq!(said(false, Some(3_599)), says("ok", "being written, last 59 min ago"));
        assert_eq!(said(false, Some(3_600)), says("muted", "not written for 1 h 0 min"));
        assert_eq!(said(false, Some(86_399)), says("muted", "not written for 23 h 59 min"));
        assert_eq!(said(false, Some(86_400)), says("warn", "not written for 1 day"));
        assert_eq!(said(true, None), says("bad", "missing: there is no such file"));
        assert_eq!(said(false, None).0, "muted");
    }
}
