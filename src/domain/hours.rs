//! Bans and failures per hour, computed from what fail2ban counts since its start: the totals of one probe minus those of the one
//! before.
//!
//! | between two answers of fail2ban | counts for the hour of the later one |
//! |---|---|
//! | the totals rose, the hour is the same or the next | what they rose by |
//! | a total is lower: fail2ban, or the jail, was started again | what is counted since, less the bans that it restored |
//! | an hour or more without any answer | nothing: when it happened is not known, and the hours between are unknown |
//! | the clock went back into the hour before (a failover of Redis) | what they rose by, for the latest hour there is |
//! | the clock went back further | nothing: the hours so far had wrong times, and are dropped |
//! | the jail was not known before | nothing |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{JailCounts, JailName, Timestamp, Unknown};

/// How many hours are kept and shown, including the current one.
pub const SHOWN: usize = 24;
const HOUR: i64 = 3600;

/// How many bans and failures there were in each of the last hours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hours {
    /// The latest hour, counted since 1970.
    #[serde(default)]
    hour: i64,
    /// Bans and failures, the latest hour last; `None` for an hour in which fail2ban did not answer.
    #[serde(default)]
    counts: Vec<Option<(u64, u64)>>,
}

/// What a probe adds to an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rise {
    bans: u64,
    failures: u64,
}

fn hour_of(now: Timestamp) -> i64 {
    now.timestamp().div_euclid(HOUR)
}

impl Hours {
    /// Makes `hour` the latest one; returns whether what the totals rose by can be counted for it.
    fn turn_to(&mut self, hour: i64) -> bool {
        let passed = hour - self.hour;
        if self.counts.is_empty() || passed < -1 {
            *self = Self { hour, counts: vec![Some((0, 0))] };
            return false;
        }
        // Hours that were skipped are unknown; no more than are kept need be added.
        let skipped = usize::try_from(passed - 1).unwrap_or(0).min(SHOWN);
        self.counts.extend(std::iter::repeat_n(None, skipped));
        if passed > 0 {
            self.hour = hour;
            self.counts.push(Some((0, 0)));
        }
        let old = self.counts.len().saturating_sub(SHOWN);
        self.counts.drain(..old);
        passed <= 1
    }

    fn add(&mut self, rise: Rise) {
        if let Some(Some((bans, failures))) = self.counts.last_mut() {
            *bans = bans.saturating_add(rise.bans);
            *failures = failures.saturating_add(rise.failures);
        }
    }

    fn latest(&self) -> (u64, u64) {
        self.counts.last().copied().flatten().unwrap_or_default()
    }

    /// As they are shown at `now`.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> ShownHours {
        // If the clock went back a little, the hour that had begun stays the latest.
        let current = hour_of(now);
        let latest = if self.hour == current + 1 { self.hour } else { current };
        let at = |back: i64| {
            let index = i64::try_from(self.counts.len()).ok()? - 1 - (self.hour - (latest - back));
            self.counts.get(usize::try_from(index).ok()?).copied().flatten()
        };
        let most = i64::try_from(SHOWN).unwrap_or(i64::MAX);
        let (bans, failures): (Vec<_>, Vec<_>) = (0..most)
            .rev()
            .map(|back| at(back).map_or((None, None), |(bans, failures)| (Some(bans), Some(failures))))
            .unzip();
        ShownHours {
            latest: chrono::DateTime::from_timestamp(latest * HOUR, 0).unwrap_or(now),
            usual_bans: median(&bans),
            usual_failures: median(&failures),
            bans,
            failures,
        }
    }
}

/// The last [`SHOWN`] hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownHours {
    /// When the latest hour began.
    pub latest: Timestamp,
    /// Bans, the latest hour last; `None` for an hour that is not known.
    pub bans: Vec<Option<u64>>,
    /// Failures.
    pub failures: Vec<Option<u64>>,
    /// The median of the known ones.
    pub usual_bans: Option<u64>,
    /// The median of the known ones.
    pub usual_failures: Option<u64>,
}

fn median(counts: &[Option<u64>]) -> Option<u64> {
    let mut known: Vec<u64> = counts.iter().copied().flatten().collect();
    known.sort_unstable();
    let upper = *known.get(known.len() / 2)?;
    let lower = *known.get(known.len().saturating_sub(1) / 2)?;
    Some(lower + (upper - lower) / 2)
}

/// What is stored of a jail.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JailHours {
    /// Its hours.
    #[serde(flatten)]
    pub hours: Hours,
    /// The totals of bans and of failures, and the bans there were, at the last probe.
    #[serde(default)]
    seen: (u64, u64, u64),
    /// How many bans from before a restart fail2ban may still restore, one after the other: its totals count each as a new one.
    #[serde(default)]
    owed: u64,
    /// Fields of a newer version.
    #[serde(flatten)]
    unknown: Unknown,
}

impl JailHours {
    fn take_in(&mut self, counts: &JailCounts, hour: i64) -> Rise {
        let follows = self.hours.turn_to(hour);
        let rise = self.rise(counts);
        let rise = if follows { rise } else { Rise::default() };
        self.hours.add(rise);
        self.seen = (counts.total_banned, counts.total_failed, counts.currently_banned);
        rise
    }

    fn rise(&mut self, counts: &JailCounts) -> Rise {
        let (mut bans, mut failures, banned) = self.seen;
        let &JailCounts { total_banned, total_failed, .. } = counts;
        let restarted = total_banned < bans || total_failed < failures;
        if restarted {
            (bans, failures, self.owed) = (0, 0, banned);
        }
        let more = total_banned - bans;
        let restored = more.min(self.owed);
        // It has restored all that it will: some bans may have ended in between.
        let over = more == 0 && total_banned > 0;
        self.owed = if over { 0 } else { self.owed - restored };
        Rise { bans: more - restored, failures: total_failed - failures }
    }
}

/// What is stored of a server as a whole: a page of many servers reads no more than this.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AllHours {
    /// The sum over all jails.
    #[serde(flatten)]
    pub hours: Hours,
    /// The jail with the most bans in the latest hour, and how many; none without bans.
    #[serde(default)]
    pub busiest: Option<(JailName, u64)>,
    /// Fields of a newer version.
    #[serde(flatten)]
    unknown: Unknown,
}

impl AllHours {
    /// The jail with the most bans in the hour of `now`.
    #[must_use]
    pub fn busiest_at(&self, now: Timestamp) -> Option<&(JailName, u64)> {
        self.busiest.as_ref().filter(|_| (0..=1).contains(&(self.hours.hour - hour_of(now))))
    }
}

/// All hours of a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerHours {
    /// As a whole.
    pub all: AllHours,
    /// By jail; one that is gone is kept for as long as it would be shown.
    pub jails: BTreeMap<JailName, JailHours>,
}

/// Applies the answer of a probe.
#[must_use]
pub fn count(mut before: ServerHours, jails: &BTreeMap<JailName, JailCounts>, now: Timestamp) -> ServerHours {
    let hour = hour_of(now);
    before.all.hours.turn_to(hour);
    let latest = before.all.hours.hour;
    for (name, counts) in jails {
        let rise = before.jails.entry(name.clone()).or_default().take_in(counts, latest);
        before.all.hours.add(rise);
    }
    let kept = i64::try_from(SHOWN).unwrap_or(i64::MAX);
    before.jails.retain(|_, jail| (-1..kept).contains(&(latest - jail.hours.hour)));
    let of_latest = before.jails.iter().filter(|(_, jail)| jail.hours.hour == latest);
    // If several have the most, the first by name.
    let busiest =
        of_latest.map(|(name, jail)| (name, jail.hours.latest().0)).rev().max_by_key(|(_, bans)| *bans);
    before.all.busiest = busiest.filter(|(_, bans)| *bans > 0).map(|(name, bans)| (name.clone(), bans));
    before
}

#[cfg(test)]
#[path = "hours_tests.rs"]
mod tests;
