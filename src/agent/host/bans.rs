//! Lists bans, bans and unbans, and verifies the result.
//!
//! fail2ban has one command thread, and an action costs milliseconds for each address, so a call carries at most 25.
//! A command of a job carries the job's epoch, and an older epoch than the agent has seen is refused: a worker that was
//! paused cannot ban again what another has cancelled since. The epochs are kept in memory, which a restart forgets: so
//! a fence answers with the incarnation of this process, and a command that carries another one is refused.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Local};
use tokio::sync::{RwLock, RwLockReadGuard, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::error::ChangeError;
use crate::agent::wire;
use crate::domain::{BanMark, JailName, Network};
use crate::fail2ban::command::MAX_ADDRESSES;
use crate::fail2ban::pickle::Value;
use crate::fail2ban::zone::{self, Zone};
use crate::fail2ban::{Client, Command, Fail2banError, reply};

/// The most jobs whose epochs are remembered.
const MAX_JOBS: usize = 10_000;

/// How much of fail2ban's time the verification after a command may take.
const VERIFY_TIMEOUT: Duration = Duration::from_millis(50);

/// The most lines of a list: more than fit into a reply of fail2ban, which says the times of each ban.
pub(in crate::agent) const MAX_LINES: usize = 300_000;

/// The longest that a command which unbans several addresses should take.
const COMMAND_TAKES: Duration = Duration::from_secs(2);

/// Reads and changes fail2ban's bans.
pub(in crate::agent) struct BanService {
    pub(super) client: Client,
    epochs: Mutex<Epochs>,
    /// Random, new for each process.
    incarnation: String,
    /// Held for writing from the check of the epoch to the end of the command, so that raising an epoch waits until everything
    /// sent under the previous one has ended. Held for reading by a probe, whose several questions then wait for one command,
    /// not for one each.
    turn: RwLock<()>,
    /// Held from the question for a list until the answer is made of it: the largest reply there is, and one of them at a time.
    lists: Semaphore,
}

/// The latest epoch of each job, for the latest [`MAX_JOBS`] jobs.
#[derive(Default)]
struct Epochs {
    /// With the worker that has the epoch, if it names itself.
    seen: BTreeMap<wire::JobKey, (u64, Option<String>)>,
    /// For a job that is not remembered, no epoch up to this one is admitted. Epochs follow Redis's clock, so a job that begins
    /// later has a higher one.
    floor: u64,
}

impl Epochs {
    fn admit(&mut self, job: &wire::JobEpoch) -> Result<(), ChangeError> {
        let (seen, owner) =
            self.seen.get(&job.key).map_or((self.floor, None), |(epoch, owner)| (*epoch, owner.as_ref()));
        // If Redis lost its data, two workers may have been given the same number.
        let anothers =
            job.epoch == seen && owner.is_some() && job.owner.is_some() && owner != job.owner.as_ref();
        if job.epoch < seen || anothers {
            let by = if anothers { " of another worker" } else { "" };
            return Err(ChangeError::Stale {
                reason: format!(
                    "the job {} is running under epoch {seen}{by}: epoch {} was refused, and nothing was done",
                    job.key, job.epoch
                ),
                epoch: Some(seen),
            });
        }
        self.seen.insert(job.key.clone(), (job.epoch, job.owner.clone()));
        if self.seen.len() > MAX_JOBS
            && let Some((key, (epoch, _))) = self.seen.iter().min_by_key(|(_, (epoch, _))| *epoch)
        {
            self.floor = self.floor.max(*epoch);
            let key = key.clone();
            self.seen.remove(&key);
        }
        Ok(())
    }
}

/// Ban or unban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Order {
    Ban,
    Unban,
}

impl BanService {
    pub(in crate::agent) fn new(client: Client) -> Self {
        let incarnation = format!("{:032x}", rand::random::<u128>());
        Self {
            client,
            epochs: Mutex::default(),
            incarnation,
            turn: RwLock::default(),
            lists: Semaphore::new(1),
        }
    }

    /// Waits until no command about bans runs; none begins while the guard lives.
    pub(in crate::agent) async fn quiet(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().await
    }

    /// Remembers a job's epoch; once this has returned, commands under an older one are refused, and none is in progress.
    pub(in crate::agent) async fn fence(
        &self,
        job: &wire::JobEpoch,
        deadline: Instant,
    ) -> Result<wire::Fenced, ChangeError> {
        // First, so that commands that wait for their turn are refused when it comes.
        self.admit(job)?;
        let _turn = self.turn.write().await;
        // A command that timed out may still run in fail2ban, which answers the ping only after it.
        match self.client.ask(Command::Ping, deadline).await {
            Ok(_) | Err(Fail2banError::Down(_)) => {
                Ok(wire::Fenced { incarnation: Some(self.incarnation.clone()) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Bans or unbans, and returns the resulting state of each address: as fail2ban reports when asked again or, if that would
    /// block it too long, as it answered the command. If actions are slow and the request is `partial`, only for the first addresses.
    pub(in crate::agent) async fn order(
        &self,
        jail: &JailName,
        order: Order,
        request: &wire::BanRequest,
        deadline: Instant,
    ) -> Result<wire::BanResults, ChangeError> {
        let mut seen = BTreeSet::new();
        let ips: Vec<Network> = request.ips.iter().copied().filter(|ip| seen.insert(*ip)).collect();
        if ips.is_empty() || ips.len() > MAX_ADDRESSES {
            let reason = format!("a call takes 1 to {MAX_ADDRESSES} addresses, this one has {}", ips.len());
            return Err(ChangeError::Request(reason));
        }
        // One at a time: fail2ban then answers for each whether it changed anything, and its one thread is free for others
        // between two of them. The epoch is checked for each, so that a fence waits for only one.
        let mut results = Vec::with_capacity(ips.len());
        let enough = time_for_work(deadline);
        for ip in ips {
            let _turn = self.turn.write().await;
            if request.partial && !results.is_empty() && Instant::now() >= enough {
                break;
            }
            if let Some(job) = &request.job {
                self.admit(job)?;
            }
            if Instant::now() >= deadline {
                return Err(ChangeError::Busy(format!(
                    "timed out before {ip}: it and the addresses after it were not changed"
                )));
            }
            let command = match order {
                Order::Ban => Command::Ban(jail.clone(), vec![ip]),
                Order::Unban => Command::Unban(jail.clone(), vec![ip]),
            };
            let answer = self.ask(jail, command, deadline).await?;
            let changed = reply::number(&answer).is_some_and(|count| count > 0);
            results.push(wire::BanResult { ip, banned: order == Order::Ban, changed });
        }
        self.verify(jail, &mut results, deadline).await?;
        results.sort_unstable_by_key(|one| one.ip);
        Ok(wire::BanResults { results })
    }

    /// Asks for the resulting state as long as that is cheap: fail2ban scans every ban of every jail for each address, which
    /// takes a tenth of a second at 100,000 bans. The first address is asked for alone, and its duration decides; an address
    /// that was not changed comes first.
    async fn verify(
        &self,
        jail: &JailName,
        results: &mut [wire::BanResult],
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let mut order: Vec<usize> = (0..results.len()).collect();
        order.sort_by_key(|at| results[*at].changed);
        let (first, rest) = order.split_at(order.len().min(1));
        let took = self.look_again(jail, results, first, deadline).await?;
        let afford = VERIFY_TIMEOUT.as_micros() / took.as_micros().max(1);
        let afford = usize::try_from(afford).map_or(rest.len(), |afford| afford.min(rest.len()));
        self.look_again(jail, results, &rest[..afford], deadline).await.map(drop)
    }

    /// Asks fail2ban about these; returns how long it took.
    async fn look_again(
        &self,
        jail: &JailName,
        results: &mut [wire::BanResult],
        at: &[usize],
        deadline: Instant,
    ) -> Result<Duration, ChangeError> {
        let _turn = self.turn.write().await;
        let begun = Instant::now();
        let ips: Vec<Network> = at.iter().map(|at| results[*at].ip).collect();
        for (at, banned) in at.iter().zip(self.banned_by(jail, &ips, deadline).await?) {
            results[*at].banned = banned;
        }
        Ok(begun.elapsed())
    }

    /// Unbans all that a jail bans, as far as there is time.
    pub(in crate::agent) async fn unban_all(
        &self,
        jail: &JailName,
        job: Option<&wire::JobEpoch>,
        deadline: Instant,
    ) -> Result<wire::UnbannedAll, ChangeError> {
        let before = self.list(jail, deadline).await?;
        let networks: Vec<Network> = before.bans.iter().map(|ban| ban.0).collect();
        let marks: Vec<BanMark> = before.marks.into_iter().map(|ban| ban.0).collect();
        let unban = |some: &[Network]| Command::Unban(jail.clone(), some.into());
        self.lift(jail, job, &networks, unban, deadline).await?;
        let unban = |some: &[BanMark]| Command::UnbanMarks(jail.clone(), some.into());
        self.lift(jail, job, &marks, unban, deadline).await?;
        let left = self.list(jail, deadline).await?;
        let is_gone = |ip: &&Network| left.bans.binary_search_by(|ban| ban.0.cmp(ip)).is_err();
        let is_lifted = |mark: &&BanMark| left.marks.binary_search_by(|ban| ban.0.cmp(mark)).is_err();
        let gone = networks.iter().filter(is_gone).count() + marks.iter().filter(is_lifted).count();
        Ok(wire::UnbannedAll { unbanned: gone, remaining: left.bans.len() + left.others })
    }

    /// Unbans these, at most 25 in a command, and fewer if that would take long: the action of one may take seconds.
    async fn lift<T>(
        &self,
        jail: &JailName,
        job: Option<&wire::JobEpoch>,
        mut banned: &[T],
        unban: impl Fn(&[T]) -> Command,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let enough = time_for_work(deadline);
        let mut together = 1;
        while !banned.is_empty() && Instant::now() < enough {
            let (some, later) = banned.split_at(banned.len().min(together));
            let _turn = self.turn.write().await;
            if let Some(job) = job {
                self.admit(job)?;
            }
            let begun = Instant::now();
            self.ask(jail, unban(some), deadline).await?;
            together = affordable(begun.elapsed(), some.len());
            banned = later;
        }
        Ok(())
    }

    /// As [`Self::list`], with the list's tag (`list_tags.rs`), unless it has changed while it was read, or its life cannot be seen.
    pub(in crate::agent) async fn tagged_list(
        &self,
        jail: &JailName,
        deadline: Instant,
    ) -> Result<(wire::BanList, Option<String>), ChangeError> {
        let before = self.tag(jail, deadline).await;
        let list = self.list(jail, deadline).await?;
        let after = if before.is_some() { self.tag(jail, deadline).await } else { None };
        Ok((list, before.filter(|before| after.as_ref() == Some(before))))
    }

    /// All bans of a jail, by address, with their times if fail2ban gives them.
    pub(in crate::agent) async fn list(
        &self,
        jail: &JailName,
        deadline: Instant,
    ) -> Result<wire::BanList, ChangeError> {
        let Ok(Ok(_one)) = timeout_at(deadline, self.lists.acquire()).await else {
            return Err(Fail2banError::Busy("other lists of bans are being read".into()).into());
        };
        let log = self.log_file(deadline).await;
        let answer = self.ask(jail, Command::Bans(jail.clone()), deadline).await?;
        let (now, pid) = (Local::now(), self.client.server_pid());
        // 100,000 lines are parsed in some 50 ms: not on a thread that others wait for.
        let bans = tokio::task::spawn_blocking(move || {
            let zone = pid.and_then(Zone::of_process).or_else(|| Zone::of_log(&log?));
            read(&answer, zone.as_ref(), now)
        });
        bans.await
            .unwrap_or_else(|_| Err(Fail2banError::Down("the agent is stopping".into())))
            .map_err(Into::into)
    }

    /// Where fail2ban writes its log, which is asked for only if its process cannot be seen.
    async fn log_file(&self, deadline: Instant) -> Option<PathBuf> {
        if self.client.server_pid().is_some() {
            return None;
        }
        let target = self.client.ask(Command::LogTarget, deadline).await.ok()?;
        zone::log_file(target.as_str()?)
    }

    /// The jails that ban each of these.
    pub(in crate::agent) async fn lookup(
        &self,
        ips: &[Network],
        deadline: Instant,
    ) -> Result<wire::Lookups, ChangeError> {
        let mut results = Vec::with_capacity(ips.len());
        for chunk in ips.chunks(MAX_ADDRESSES) {
            let answer = self.client.ask(Command::Banned(chunk.into()), deadline).await?;
            let jails = reply::banned(&answer, chunk.len())?;
            results.extend(chunk.iter().zip(jails).map(|(ip, jails)| wire::Lookup {
                ip: *ip,
                jails: jails.into_iter().filter_map(|jail| JailName::parse(jail).ok()).collect(),
                never_banned: None,
            }));
        }
        Ok(wire::Lookups { results, unchanged: Vec::new() })
    }

    async fn banned_by(
        &self,
        jail: &JailName,
        ips: &[Network],
        deadline: Instant,
    ) -> Result<Vec<bool>, ChangeError> {
        let lookups = self.lookup(ips, deadline).await?.results;
        Ok(lookups.into_iter().map(|lookup| lookup.jails.contains(jail)).collect())
    }

    fn admit(&self, job: &wire::JobEpoch) -> Result<(), ChangeError> {
        if job.incarnation.as_ref().is_some_and(|known| *known != self.incarnation) {
            return Err(ChangeError::Stale {
                reason: format!(
                    "this agent has restarted since it accepted the job {}, and has forgotten it: nothing was done",
                    job.key
                ),
                epoch: None,
            });
        }
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner).admit(job)
    }

    async fn ask(&self, jail: &JailName, command: Command, deadline: Instant) -> Result<Value, ChangeError> {
        match self.client.ask(command, deadline).await {
            Err(error) if error.is_unknown_jail() => {
                Err(ChangeError::UnknownJail(format!("no jail {jail} is running")))
            }
            answer => Ok(answer?),
        }
    }
}

/// Until when new commands are begun: the rest of the time is kept for the one that is running then, and for the verification.
fn time_for_work(deadline: Instant) -> Instant {
    deadline - deadline.saturating_duration_since(Instant::now()) / 4
}

/// How many addresses the next command may unban, if `count` of them `took` this long.
fn affordable(took: Duration, count: usize) -> usize {
    let each = (took.as_micros() / count.max(1) as u128).max(1);
    usize::try_from(COMMAND_TAKES.as_micros() / each)
        .map_or(MAX_ADDRESSES, |some| some.clamp(1, MAX_ADDRESSES))
}

/// The bans in fail2ban's answer, with their times in UTC.
fn read(answer: &Value, zone: Option<&Zone>, now: DateTime<Local>) -> Result<wire::BanList, Fail2banError> {
    let (now, own) = (now.timestamp(), i64::from(now.offset().local_minus_utc()));
    let bans = reply::bans(answer, MAX_LINES)?;
    let bounded =
        || Zone::of_bans(bans.iter().filter_map(|ban| ban.times.as_ref()), now, own).map(Cow::Owned);
    let zone = zone.map(Cow::Borrowed).or_else(bounded);
    let mut list = wire::BanList { bans: Vec::with_capacity(bans.len()), ..wire::BanList::default() };
    for reply::Ban { ip, times } in &bans {
        let times = zone.as_ref().zip(times.as_ref()).map(|(zone, times)| zone.resolve(times, now));
        let (since, until) = times.map_or((None, None), |(since, until)| (Some(since), until));
        if let Some(network) = Network::parse(ip) {
            list.bans.push(wire::Ban(network, since, until));
            continue;
        }
        list.others += 1;
        if let Ok(mark) = BanMark::parse(ip) {
            list.marks.push(wire::MarkBan(mark, since, until));
        }
    }
    list.bans.sort_unstable_by_key(|ban| ban.0);
    list.marks.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    Ok(list)
}

#[cfg(test)]
#[path = "bans_tests.rs"]
mod tests;
