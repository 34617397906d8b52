//! Findings about the workers themselves.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{Finding, Kind, Remedy, Severity, duration};
use crate::domain::Timestamp;

/// How long a rolling update may take.
pub const MIXED_AFTER: TimeDelta = TimeDelta::hours(1);

/// Workers of different versions: the finding, and whether it is due yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixed {
    /// As it will be shown.
    pub finding: Finding,
    /// Whether it has lasted for [`MIXED_AFTER`].
    pub due: bool,
}

/// Judges the versions of `workers`, each with its version and start. `noted` is since when they have differed, if that was noted
/// before: a worker that restarts does not make it new.
#[must_use]
pub fn mixed_versions(
    workers: &[(String, Timestamp)],
    noted: Option<Timestamp>,
    now: Timestamp,
) -> Option<Mixed> {
    let mut versions: BTreeMap<&str, (usize, Timestamp)> = BTreeMap::new();
    for (version, started) in workers {
        let (count, first) = versions.entry(version).or_insert((0, *started));
        (*count, *first) = (*count + 1, (*started).min(*first));
    }
    if versions.len() < 2 {
        return None;
    }
    // They have differed since the newest arrival among the versions.
    let since = versions.values().map(|(_, first)| *first).max()?;
    let since = noted.map_or(since, |noted| noted.min(since));
    let shown: Vec<String> =
        versions.iter().map(|(version, (count, _))| format!("{version} ({count})")).collect();
    let detail = format!(
        "Versions that run, with the number of workers: {}. They work together, but what users see depends on which one answers. \
        This has lasted for {}.",
        shown.join(", "),
        duration((now - since).num_seconds())
    );
    let remedy = Remedy::text("Finish the update, or roll it back: all workers should run one version.");
    let title = "Workers run different versions";
    let finding = Finding::new(Kind::WorkerVersions, Severity::Warning, title, detail, remedy);
    Some(Mixed { finding: finding.since(Some(since)), due: now - since >= MIXED_AFTER })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    fn workers(all: &[(&str, i64)]) -> Vec<(String, Timestamp)> {
        all.iter().map(|(version, started)| ((*version).to_owned(), at(*started))).collect()
    }

    #[test]
    fn an_update_may_take_an_hour_from_the_first_worker_of_the_new_version_on() {
        let both = workers(&[("0.2.0", 0), ("0.3.0", 100), ("0.3.0", 900)]);
        let due = |now| mixed_versions(&both, None, at(now)).unwrap().due;
        assert!(!due(3_699));
        assert!(due(3_700));
        assert_eq!(mixed_versions(&both, None, at(3_700)).unwrap().finding.since, Some(at(100)));
        assert_eq!(mixed_versions(&workers(&[("0.2.0", 0), ("0.2.0", 9)]), None, at(99_999)), None);
    }

    #[test]
    fn a_restart_of_the_only_new_worker_does_not_begin_the_hour_again() {
        let restarted = workers(&[("0.2.0", 0), ("0.3.0", 3_600)]);
        assert!(!mixed_versions(&restarted, None, at(3_700)).unwrap().due);
        assert!(mixed_versions(&restarted, Some(at(100)), at(3_700)).unwrap().due);
    }
}
