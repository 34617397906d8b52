//! Since when a finding has been there: if the facts do not say, since it was first seen.
//!
//! What was seen is noted in Redis, so that it outlives every worker. A note is removed when the check is made again and finds
//! nothing; a check that could not be made removes none. A note of what was not seen for [`FORGOTTEN_AFTER`] is removed too: of an
//! address that never came back, or a server that is gone.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;

use super::Report;
use crate::domain::Timestamp;

/// How long a note that is not confirmed is kept.
pub const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(30);
/// How old a confirmation may be before it is written again.
const CONFIRMED_FOR: TimeDelta = TimeDelta::hours(1);

/// When a finding was first and last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindingTimes {
    /// First.
    pub first: Timestamp,
    /// Last.
    pub last: Timestamp,
}

/// The notes, by the findings' ids.
pub type Notes = HashMap<String, FindingTimes>;

/// What must be written after a diagnosis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Findings that are there: new ones, and those whose note is due for an update.
    pub there: Vec<String>,
    /// Findings that are gone, as they were noted.
    pub gone: Vec<(String, FindingTimes)>,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.there.is_empty() && self.gone.is_empty()
    }
}

/// Gives each finding its time, and returns what must be noted. `besides` are ids of findings that are there but not shown yet.
#[must_use]
pub fn take_in(report: &mut Report, besides: &[String], notes: &Notes, now: Timestamp) -> Changes {
    // Of a thousand servers nearly all findings are noted: then nothing is written, and none of their ids is kept.
    let mut present: HashSet<&str> = HashSet::with_capacity(notes.len());
    let mut there: Vec<String> = Vec::new();
    let mut take = |id: String| {
        let noted = notes.get_key_value(id.as_str());
        if let Some((noted, _)) = noted {
            present.insert(noted);
        }
        let seen = noted.map(|(_, seen)| *seen);
        if seen.is_none_or(|seen| now - seen.last >= CONFIRMED_FOR) {
            there.push(id);
        }
        seen.map(|seen| seen.first)
    };
    for finding in &mut report.findings {
        let noted = take(finding.id());
        finding.since = finding.since.or(noted).or(Some(now));
    }
    for id in besides {
        take(id.clone());
    }
    there.sort_unstable();
    there.dedup();
    let is_gone = |id: &str, seen: &FindingTimes| {
        !present.contains(id) && (report.covers(id) || now - seen.last >= FORGOTTEN_AFTER)
    };
    let gone = notes.iter().filter(|(id, seen)| is_gone(id, seen));
    Changes { there, gone: gone.map(|(id, seen)| (id.clone(), *seen)).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::{Finding, Kind, Remedy, Severity};
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_timestamp(hours * 3_600, 0).unwrap()
    }

    fn report(found: bool) -> Report {
        let mut report = Report::default();
        let finding = Finding::new(Kind::NoHttps, Severity::Warning, "", "", Remedy::text(""));
        report.judge(Kind::NoHttps, None, found.then_some(finding));
        report
    }

    fn notes(id: &str, first: i64, last: i64) -> Notes {
        [(id.to_owned(), FindingTimes { first: at(first), last: at(last) })].into()
    }

    #[test]
    fn a_finding_keeps_the_time_of_its_first_note_and_is_confirmed_each_hour() {
        let mut new = report(true);
        let changes = take_in(&mut new, &[], &Notes::new(), at(7));
        assert_eq!((new.findings[0].since, &changes.there[..]), (Some(at(7)), &["no-https".to_owned()][..]));
        let mut again = report(true);
        assert!(take_in(&mut again, &[], &notes("no-https", 3, 7), at(7)).is_empty());
        assert_eq!(again.findings[0].since, Some(at(3)));
        assert_eq!(take_in(&mut report(true), &[], &notes("no-https", 3, 6), at(7)).there.len(), 1);
    }

    #[test]
    fn a_note_goes_when_the_check_finds_nothing_and_stays_when_it_was_not_made() {
        assert_eq!(take_in(&mut report(false), &[], &notes("no-https", 3, 7), at(7)).gone.len(), 1);
        assert!(take_in(&mut Report::default(), &[], &notes("no-https", 3, 7), at(7)).is_empty());
        let besides = ["no-https".to_owned()];
        assert!(take_in(&mut report(false), &besides, &notes("no-https", 3, 7), at(7)).is_empty());
    }

    #[test]
    fn a_note_that_nobody_confirms_is_forgotten_after_thirty_days() {
        let kept = notes("log-missing:gone/sshd#/x", 0, 0);
        assert!(take_in(&mut Report::default(), &[], &kept, at(30 * 24 - 1)).is_empty());
        assert_eq!(take_in(&mut Report::default(), &[], &kept, at(30 * 24)).gone.len(), 1);
    }
}
