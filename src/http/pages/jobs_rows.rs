//! A ban job in words: its progress, what a cancellation would leave, and the failures by reason.

use std::collections::BTreeMap;

use super::marks::{Mark, count};
use super::search::{address_path, jail_path};
use crate::domain::{BanAction, BanJobState, Timestamp};
use crate::store::BanJobView;

/// The maximum number of addresses that are named for each reason.
const EXAMPLES: usize = 5;

/// A job.
pub struct Row {
    /// The stored job.
    pub view: BanJobView,
}

/// Addresses that failed for the same reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// The reason.
    pub reason: String,
    /// The number of addresses.
    pub number: usize,
    /// Some of them, each with the path of its page.
    pub examples: Vec<(String, String)>,
    /// The number of addresses that are not named.
    pub more: usize,
}

impl Row {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.view.state.is_over()
    }

    /// Whether it has ended with failures.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.is_open() && (self.view.state == BanJobState::Failed || self.view.progress.failed > 0)
    }

    /// Whether it may still be cancelled.
    #[must_use]
    pub fn can_be_cancelled(&self) -> bool {
        self.is_open() && self.view.state != BanJobState::Unknown
    }

    /// Its state: word, mark, colour.
    #[must_use]
    pub fn shown(&self) -> (&'static str, Mark, &'static str) {
        match self.view.state {
            BanJobState::Queued => ("waiting", Mark::HOLLOW, "muted"),
            BanJobState::Running => ("running", Mark::RING, "info"),
            BanJobState::Cancelling => ("being cancelled", Mark::CLOCK, "warn"),
            BanJobState::Cancelled => ("cancelled", Mark::BAR, "muted"),
            BanJobState::Done if self.view.progress.failed > 0 => ("done in part", Mark::TRIANGLE, "warn"),
            BanJobState::Done => ("done", Mark::CHECK, "ok"),
            BanJobState::Failed => ("failed", Mark::CROSS, "bad"),
            BanJobState::Unknown => ("unknown to this version", Mark::HOLLOW, "muted"),
        }
    }

    /// What it does.
    #[must_use]
    pub fn what(&self) -> String {
        let number = counted_addresses(self.view.progress.asked);
        match self.view.order {
            BanAction::Ban => format!("Ban {number}"),
            BanAction::Unban => format!("Unban {number}"),
            BanAction::UnbanAll if self.view.progress.asked == 0 => "Unban all addresses".to_owned(),
            BanAction::UnbanAll => format!("Unban all {number}"),
            BanAction::Unknown => "An action that this version does not know:".to_owned(),
        }
    }

    /// The page of its jail.
    #[must_use]
    pub fn path(&self) -> String {
        jail_path(&self.view.server, &self.view.jail)
    }

    /// The maximum of its progress bar.
    #[must_use]
    pub fn most(&self) -> usize {
        self.view.progress.asked.max(1)
    }

    /// Its progress in words.
    #[must_use]
    pub fn says(&self, now: &Timestamp) -> String {
        let progress = self.view.progress;
        let number = |number: usize| count(number as u64);
        let (done, already) = self.words();
        let same = progress.done.saturating_sub(progress.changed + progress.failed);
        let mut says = vec![
            format!("{} of {} tried", number(progress.done), number(progress.asked)),
            format!("{} {done}", number(progress.changed)),
        ];
        if same > 0 {
            says.push(format!("{} {already}", number(same)));
        }
        if progress.failed > 0 {
            says.push(format!("{} not {done}", number(progress.failed)));
        }
        says.extend(self.left(*now).map(|seconds| format!("about {} left", duration(seconds))));
        says.join(", ")
    }

    /// About how many seconds are left.
    fn left(&self, now: Timestamp) -> Option<i64> {
        let progress = self.view.progress;
        let ran = (now - self.view.started_at?).num_seconds();
        let done = i64::try_from(progress.done).ok().filter(|done| *done > 0)?;
        let rest = i64::try_from(progress.asked.saturating_sub(progress.done)).ok()?;
        (self.view.state == BanJobState::Running && ran > 0).then(|| (ran.saturating_mul(rest) / done).max(1))
    }

    /// What a cancellation leaves.
    #[must_use]
    pub fn would_leave(&self) -> String {
        let progress = self.view.progress;
        let (done, _) = self.words();
        let rest = counted_addresses(progress.asked.saturating_sub(progress.done));
        let changed = count(progress.changed as u64);
        format!(
            "What was not tried yet is left as it is: {rest}. What was {done} so far stays so: {changed}."
        )
    }

    /// The number of failures, in words.
    #[must_use]
    pub fn not_done(&self) -> String {
        format!("{} not {}", count(self.view.progress.failed as u64), self.words().0)
    }

    /// The listed failures by reason, the most frequent first.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        grouped(&self.view.failures)
    }

    /// The number of failures that are not listed.
    #[must_use]
    pub fn unlisted(&self) -> usize {
        self.view.progress.failed.saturating_sub(self.view.failures.len())
    }

    /// What is done to an address, and its state if nothing had to be done.
    fn words(&self) -> (&'static str, &'static str) {
        match self.view.order {
            BanAction::Ban => ("banned", "banned already"),
            BanAction::Unban | BanAction::UnbanAll => ("unbanned", "not banned before"),
            BanAction::Unknown => ("changed", "as asked before"),
        }
    }
}

fn counted_addresses(number: usize) -> String {
    if number == 1 { "1 address".to_owned() } else { format!("{} addresses", count(number as u64)) }
}

fn duration(seconds: i64) -> String {
    super::clock::rough(chrono::TimeDelta::seconds(seconds))
}

fn grouped(failures: &[(String, String)]) -> Vec<Reason> {
    let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (ip, reason) in failures {
        by.entry(reason).or_default().push(ip);
    }
    let mut reasons: Vec<Reason> = by
        .into_iter()
        .map(|(reason, ips)| Reason {
            reason: reason.to_owned(),
            number: ips.len(),
            examples: ips.iter().take(EXAMPLES).map(|ip| ((*ip).to_owned(), page_of(ip))).collect(),
            more: ips.len().saturating_sub(EXAMPLES),
        })
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.number));
    reasons
}

/// The page of an address; for text that is not an address, the search for it.
fn page_of(ip: &str) -> String {
    address_path(ip).unwrap_or_else(|| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        format!("/?{}", query.append_pair("q", ip).finish())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_grouped_by_reason_the_most_frequent_first() {
        let failure = |n: usize, reason: &str| (format!("198.51.100.{n}"), reason.to_owned());
        let mut failures: Vec<_> = (0..7).map(|n| failure(n, "timed out")).collect();
        failures.insert(0, failure(9, "a trusted proxy"));
        let grouped = grouped(&failures);
        assert_eq!((grouped[0].reason.as_str(), grouped[0].number, grouped[0].more), ("timed out", 7, 2));
        assert_eq!(grouped[1].examples, [("198.51.100.9".to_owned(), "/addresses/198.51.100.9".to_owned())]);
    }
}
