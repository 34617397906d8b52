//! A ban job: many addresses to be banned or unbanned in one jail, a few at a time, by whichever worker is free.
//!
//! ```text
//! queued ──claimed──▶ running ──all addresses──▶ done
//!    ▲                   │ └──refused for good──▶ failed
//!    └──claim ran out, or the agent could not be asked
//! queued, running ──cancel──▶ cancelling ──the agent is fenced──▶ cancelled
//! ```
//!
//! A claim is an owner and an epoch, and lasts as long as it is renewed. The epoch rises with each claim and each cancellation;
//! every message to the agent carries it, so that "cancelled" means that nothing more happens, even if a worker was paused.
//! Jobs of one jail run one after the other, in the order in which they were asked for: a ban that was followed by an
//! unban ends unbanned.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{JailName, Network, ServerName, hex_id};

/// The most addresses in one command to fail2ban: its only command thread does nothing else in that time.
pub const BATCH_SIZE: usize = 25;
/// How long a command should take: probes and all other requests to that fail2ban wait for it.
const AIM: Duration = Duration::from_millis(250);
/// Requests for more addresses than this become a job.
pub const JOB_ABOVE: usize = 100;
/// The most addresses of one job.
pub const MAX_JOB_ADDRESSES: usize = 20_000;
/// The most failures that are listed with their reason; the others are only counted.
pub const MAX_LISTED_FAILURES: usize = 100;
/// A job that makes no progress for this long has failed.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// Names a ban job: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BanJobId(String);

impl BanJobId {
    /// Of 128 random bits.
    #[must_use]
    pub fn of(bits: u128) -> Self {
        Self(hex_id::write(bits))
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex_id::read(text).map(Self)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for BanJobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BanAction {
    /// Ban the addresses.
    Ban,
    /// Unban the addresses.
    Unban,
    /// Unban all that the jail bans when the job begins.
    UnbanAll,
    /// Something that only a newer version knows.
    #[serde(other)]
    Unknown,
}

impl BanAction {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::UnbanAll => "unban_all",
            Self::Unknown => "unknown",
        }
    }
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanJobState {
    /// Waits for a worker, for the job before it in its jail, or for an agent that could not be asked.
    Queued,
    /// A worker has claimed it.
    Running,
    /// No worker continues it, but the agent has not been informed yet.
    Cancelling,
    /// The agent has been informed: no further address is changed.
    Cancelled,
    /// Every address was tried.
    Done,
    /// It could not be completed.
    Failed,
    /// A state that only a newer version knows.
    Unknown,
}

impl BanJobState {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Reads what is stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Cancelling, Self::Cancelled, Self::Done, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done | Self::Failed)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BanJobProgress {
    /// Addresses in all; for "unban all" known once it has begun.
    pub asked: usize,
    /// Number of addresses that were tried, and so where the next worker resumes.
    pub done: usize,
    /// Number of these whose state changed.
    pub changed: usize,
    /// Number of these that are not as requested.
    pub failed: usize,
}

impl BanJobProgress {
    /// After one more command: for each address whether it is banned now, and whether the command changed that. Also returns
    /// the addresses that are not as requested, with the reason.
    #[must_use]
    pub fn after(
        self,
        order: BanAction,
        tried: usize,
        results: &[(Network, bool, bool)],
    ) -> (Self, Vec<(String, &'static str)>) {
        let wanted = order == BanAction::Ban;
        let failures: Vec<_> = results
            .iter()
            .filter(|(_, banned, _)| *banned != wanted)
            .map(|(ip, ..)| (ip.to_string(), if wanted { NOT_BANNED } else { STILL_BANNED }))
            .collect();
        let changed = results.iter().filter(|(.., changed)| *changed).count();
        let after = Self {
            asked: self.asked,
            done: self.done + tried,
            changed: self.changed + changed,
            failed: self.failed + failures.len(),
        };
        (after, failures)
    }
}

/// The number of failures by reason, the most frequent first. Only some failures are `listed` with a reason; the others get the
/// usual reason of the order.
#[must_use]
pub fn by_reason<'a>(
    order: BanAction,
    failed: usize,
    listed: impl IntoIterator<Item = &'a str>,
) -> Vec<(String, usize)> {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rest = failed;
    for reason in listed {
        *groups.entry(reason).or_default() += 1;
        rest = rest.saturating_sub(1);
    }
    if rest > 0 {
        *groups.entry(if order == BanAction::Ban { NOT_BANNED } else { STILL_BANNED }).or_default() += rest;
    }
    let mut groups: Vec<_> = groups.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    groups
}

const NOT_BANNED: &str = "fail2ban accepted the command but does not ban it: does the jail ignore it?";
const STILL_BANNED: &str = "fail2ban accepted the command but still bans it, or bans it again";

/// A job that is not over, as it appears to workers that look for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBanJob {
    /// The job's id.
    pub id: BanJobId,
    /// The server.
    pub server: ServerName,
    /// The jail.
    pub jail: JailName,
    /// Whether this version can carry it out.
    pub understood: bool,
    /// When it may be claimed, in milliseconds on Redis's clock: the end of a claim, or of a pause.
    pub free_at: i64,
    /// When it last made progress, began or was asked for.
    pub moved_at: i64,
}

/// The open jobs that may be claimed now, in order, and after which time there may be more.
///
/// `known` says which servers this worker can reach; the others are left to other workers, until it is clear that no
/// worker can.
#[must_use]
pub fn claimable(
    open: &[OpenBanJob],
    now: i64,
    known: impl Fn(&ServerName) -> bool,
) -> (Vec<&OpenBanJob>, Option<Duration>) {
    let mut places = std::collections::BTreeSet::new();
    let (mut free, mut wait) = (Vec::new(), None::<i64>);
    for job in open {
        if !places.insert((&job.server, &job.jail)) {
            continue;
        }
        // It keeps its place in the line, and is left to a worker of the version that asked for it.
        if !job.understood {
            continue;
        }
        let give_up_at = job.moved_at + i64::try_from(GIVE_UP_AFTER.as_millis()).unwrap_or(i64::MAX);
        let from = if known(&job.server) { job.free_at } else { job.free_at.max(give_up_at) };
        if from <= now {
            free.push(job);
        } else {
            wait = Some(wait.map_or(from - now, |wait| wait.min(from - now)));
        }
    }
    (free, wait.map(|ms| Duration::from_millis(ms.unsigned_abs())))
}

/// How many addresses go into the next command, after one with `size` addresses that `took` this long: fewer if an action is slow.
#[must_use]
pub fn size_after(size: usize, took: Duration) -> usize {
    let took = took.as_millis().max(1);
    let fit = usize::try_from(AIM.as_millis() * size as u128 / took).unwrap_or(BATCH_SIZE);
    fit.min(size * 2).clamp(1, BATCH_SIZE)
}

/// After a failure to ask the agent: how long to wait, if the job has made no progress for `idle`; none to give up.
#[must_use]
pub fn pause_after_trouble(idle: Duration) -> Option<Duration> {
    (idle < GIVE_UP_AFTER).then(|| (idle / 2).clamp(Duration::from_secs(1), Duration::from_secs(30)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n: u128, jail: &str, free_at: i64) -> OpenBanJob {
        OpenBanJob {
            id: BanJobId::of(n),
            server: ServerName::parse("web").unwrap(),
            jail: JailName::parse(jail).unwrap(),
            understood: true,
            free_at,
            moved_at: 0,
        }
    }

    #[test]
    fn the_jobs_of_a_jail_run_in_order_and_those_of_several_jails_beside_each_other() {
        let open = [job(1, "a", 500), job(2, "a", 0), job(3, "b", 0), job(4, "c", 300)];
        let ids = |at| {
            let (free, wait) = claimable(&open, at, |_| true);
            (free.into_iter().map(|job| job.id.clone()).collect::<Vec<_>>(), wait)
        };
        assert_eq!(ids(100), (vec![BanJobId::of(3)], Some(Duration::from_millis(200))));
        assert_eq!(ids(500), (vec![BanJobId::of(1), BanJobId::of(3), BanJobId::of(4)], None));
    }

    #[test]
    fn a_job_of_a_newer_version_is_left_alone_and_keeps_its_place_in_the_line() {
        let newer = OpenBanJob { understood: false, ..job(1, "a", 0) };
        let open = [newer, job(2, "a", 0), job(3, "b", 0)];
        let (free, wait) = claimable(&open, 100, |_| true);
        assert_eq!((free, wait), (vec![&open[2]], None));
    }

    #[test]
    fn a_server_that_nobody_knows_is_left_to_others_until_it_is_plain_that_there_is_none() {
        let open = [job(1, "a", 0)];
        let give_up = i64::try_from(GIVE_UP_AFTER.as_millis()).unwrap();
        assert_eq!(claimable(&open, give_up - 7, |_| false), (vec![], Some(Duration::from_millis(7))));
        assert_eq!(claimable(&open, give_up, |_| false).0.len(), 1);
    }

    #[test]
    fn an_address_that_is_not_as_asked_has_failed() {
        let [one, two] = ["203.0.113.1", "203.0.113.2"].map(|ip| Network::parse(ip).unwrap());
        let results = [(one, true, true), (two, false, false)];
        let begun = BanJobProgress { asked: 9, done: 2, changed: 1, failed: 0 };
        let (after, failures) = begun.after(BanAction::Ban, 3, &results);
        assert_eq!(after, BanJobProgress { asked: 9, done: 5, changed: 2, failed: 1 });
        assert_eq!(failures, [("203.0.113.2".to_owned(), NOT_BANNED)]);
        let (_, failures) = begun.after(BanAction::UnbanAll, 2, &results);
        assert_eq!(failures, [("203.0.113.1".to_owned(), STILL_BANNED)]);
    }

    #[test]
    fn failures_are_grouped_by_reason_and_those_that_are_not_listed_are_counted_too() {
        let groups = |order, failed, listed: &[&str]| by_reason(order, failed, listed.iter().copied());
        assert_eq!(groups(BanAction::Ban, 0, &[]), []);
        let other = "of a newer version";
        assert_eq!(
            groups(BanAction::Ban, 150, &[other, NOT_BANNED, other]),
            [(NOT_BANNED.to_owned(), 148), (other.to_owned(), 2)]
        );
        assert_eq!(groups(BanAction::UnbanAll, 7, &[]), [(STILL_BANNED.to_owned(), 7)]);
        assert_eq!(groups(BanAction::Unban, 1, &[other, other]), [(other.to_owned(), 2)]);
    }

    #[test]
    fn commands_shrink_where_an_action_is_slow_and_grow_again() {
        let after = |size, ms| size_after(size, Duration::from_millis(ms));
        assert_eq!((after(25, 0), after(25, 140), after(25, 250)), (25, 25, 25));
        assert_eq!((after(25, 1_250), after(5, 30_000), after(1, 60_000)), (5, 1, 1));
        assert_eq!((after(5, 5), after(1, 250)), (10, 1));
    }

    #[test]
    fn pauses_grow_with_the_trouble_until_the_job_gives_up() {
        let pause = |seconds| pause_after_trouble(Duration::from_secs(seconds));
        assert_eq!(pause(0), Some(Duration::from_secs(1)));
        assert_eq!(pause(20), Some(Duration::from_secs(10)));
        assert_eq!(pause(600), Some(Duration::from_secs(30)));
        assert_eq!(pause(900), None);
    }

    #[test]
    fn an_id_and_a_state_read_back() {
        let id = BanJobId::of(7);
        assert_eq!(BanJobId::parse(id.as_str()), Some(id));
        for bad in ["", "7", "0000000000000000000000000000000G", "../../../../../../../../../../etc"] {
            assert_eq!(BanJobId::parse(bad), None, "{bad}");
        }
        assert_eq!(BanJobState::parse("cancelling"), Some(BanJobState::Cancelling));
        assert_eq!(BanJobState::parse("new"), None);
    }
}
