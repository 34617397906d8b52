//! The lists of bans, one for each server and jail.
//!
//! A list is a sorted set whose members begin with the address, so that a page, or a search by the beginning of an
//! address, is one range of it, however many bans there are.
//!
//! The leader writes a new list beside the old one, in pieces, and replaces the old one in one fenced step: no reader sees half
//! a list.

use crate::domain::ban_changes::{BanChanges, BanNote};
use crate::domain::long_lists::Charge;
use crate::domain::prefixes::PrefixLengths;
use crate::domain::{Event, JailName, ServerName, Timestamp};
use crate::store::connection::clock::moment;
use crate::store::history::stream::EVENTS_KEPT;
use crate::store::{Fence, Page, Result, Store, StoreError, scripts};

/// The most members in one command.
const BATCH_SIZE: usize = 2_000;
/// The most members in one command that writes. Redis answers nobody else while it runs a command, and 2,000 members take 3 ms:
/// every session check that arrives in that time waits.
const WRITE_BATCH_SIZE: usize = 250;
/// A new list that never replaces the old one expires after this many seconds.
const ABANDONED_AFTER: u32 = 300;

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBan {
    /// Which address or network, or what else is banned.
    pub ip: String,
    /// Since when, in seconds since 1970; none where fail2ban does not say.
    pub since: Option<i64>,
    /// Until when; none where fail2ban does not say, or for a ban without end.
    pub until: Option<i64>,
}

impl StoredBan {
    /// `address NUL since NUL until`: a NUL sorts before all that an address is made of.
    fn member(&self) -> String {
        let number = |at: Option<i64>| at.map(|at| at.to_string()).unwrap_or_default();
        format!("{}\0{}\0{}", self.ip, number(self.since), number(self.until))
    }

    pub(super) fn parse(member: &str) -> Option<Self> {
        let mut parts = member.split('\0');
        let ip = parts.next()?.to_owned();
        let mut number = || parts.next().and_then(|at| at.parse().ok());
        Some(Self { ip, since: number(), until: number() })
    }
}

/// A jail of a server.
pub type BanPlace = (ServerName, JailName);

/// The counts of a jail when its list was read: currently banned, banned in all.
pub type BanCounts = (u64, u64);

/// What is stored of a list beside its bans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadList {
    /// The counts of the jail when the list was read.
    pub counts: BanCounts,
    /// What it weighs.
    pub weight: u64,
    /// Its tag, by which its agent knows whether the jail still bans the same (`agent/host/list_tags.rs`).
    pub tag: Option<String>,
}

/// What is known of a list that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredList {
    /// The counts when it was read.
    pub counts: BanCounts,
    /// What it weighs (`domain/long_lists.rs`); its count, if it was written by a worker that knew nothing of weights.
    pub weight: u64,
}

impl StoredList {
    /// What it costs its server.
    #[must_use]
    pub fn charge(&self) -> Charge {
        Charge { weight: self.weight, counted: self.counts.0 }
    }

    /// The weight belongs to the list that was read at the time stored beside it.
    fn parse(known: &(Option<String>, Option<String>, Option<String>)) -> Option<Self> {
        let (Some(counts), weight, read_at) = known else { return None };
        let (current, total) = counts.split_once(' ')?;
        let counts = (current.parse().ok()?, total.parse().ok()?);
        let weight = weight.as_deref().and_then(|weight| weight.split_once(' '));
        let weight = weight.filter(|(_, of)| Some(*of) == read_at.as_deref());
        let weight = weight.and_then(|(weight, _)| weight.parse().ok()).unwrap_or(counts.0);
        Some(Self { counts, weight })
    }
}

impl Store {
    /// What is stored about each of these lists, if anything.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn ban_counts(&self, places: &[BanPlace]) -> Result<Vec<Option<StoredList>>> {
        let mut all = Vec::with_capacity(places.len());
        for some in places.chunks(BATCH_SIZE) {
            let mut pipeline = redis::pipe();
            for (server, jail) in some {
                let fields = ["counts", "weight", "read_at"];
                pipeline.cmd("HMGET").arg(self.keys.bans_known(server, jail)).arg(&fields);
            }
            let known: Vec<_> = self.shared.pipeline_apart("ban_counts", &pipeline).await?;
            all.extend(known.iter().map(StoredList::parse));
        }
        Ok(all)
    }

    /// The lists that are stored.
    pub async fn ban_lists(&self) -> Result<Vec<BanPlace>> {
        let command = redis::cmd("SMEMBERS").arg(self.keys.ban_lists()).to_owned();
        let members: Vec<String> = self.shared.query("ban_lists", &command).await?;
        let read = |member: &String| {
            let (server, jail) = member.split_once('/')?;
            Some((ServerName::parse(server).ok()?, JailName::parse(jail).ok()?))
        };
        Ok(members.iter().filter_map(read).collect())
    }

    /// Forgets the list of a jail that is gone, if `fence` still holds the lease.
    pub async fn forget_bans(&self, fence: &Fence, (server, jail): &BanPlace) -> Result<()> {
        let call = scripts::BANS_FORGET
            .call()
            .key(self.keys.lease())
            .key(self.keys.bans(server, jail))
            .key(self.keys.bans_known(server, jail))
            .key(self.keys.ban_lists())
            .key(self.keys.ban_notes(server, jail))
            .arg(fence.as_str())
            .arg(format!("{server}/{jail}"));
        self.shared.call(&call).await
    }

    /// Replaces the stored list, if `fence` still holds the lease, with the events of what has changed. `notes` must have been taken
    /// before the list was read. [`crate::store::StoreError::Conflict`] if Redis has lost part of the new list in a failover.
    pub async fn write_bans(
        &self,
        fence: &Fence,
        place: &BanPlace,
        ReadList { counts: (current, total), weight, tag }: ReadList,
        bans: Vec<StoredBan>,
        notes: Vec<BanNote>,
    ) -> Result<()> {
        let (bans, lengths) = in_order(bans).await?;
        let noted: Vec<String> = notes.iter().map(BanNote::to_string).collect();
        let (server, jail) = place;
        let beside = self.keys.bans_beside(server, jail, fence.epoch());
        let mut clear = redis::cmd("UNLINK");
        clear.arg(&beside);
        self.shared.query_apart::<()>("bans_clear", &clear).await?;
        let mut added = 0;
        for some in bans.chunks(WRITE_BATCH_SIZE) {
            let mut pipeline = redis::pipe();
            let add = pipeline.cmd("ZADD").arg(&beside);
            for ban in some {
                add.arg(0).arg(ban.member());
            }
            pipeline.cmd("EXPIRE").arg(&beside).arg(ABANDONED_AFTER).ignore();
            let (new,): (usize,) = self.shared.pipeline_apart("bans_beside", &pipeline).await?;
            added += new;
        }
        let changes = self.ban_changes(place, &bans, notes).await?;
        discard(bans);
        let call = scripts::BANS_WRITE
            .call()
            .key(self.keys.lease())
            .key(beside)
            .key(self.keys.bans(server, jail))
            .key(self.keys.bans_known(server, jail))
            .key(self.keys.events())
            .key(self.keys.ban_lists())
            .key(self.keys.ban_notes(server, jail))
            .arg(fence.as_str())
            .arg(current)
            .arg(total)
            .arg(EVENTS_KEPT)
            .arg(server.as_str())
            .arg(format!("{server}/{jail}"))
            .arg(added)
            .arg(lengths.to_string())
            .arg(weight)
            .arg(tag.unwrap_or_default())
            .arg(noted.len());
        let call = noted.iter().fold(call, |call, note| call.arg(note));
        let call =
            changes.iter().fold(call, |call, event| call.arg(event.kind()).arg(event.facts().to_string()));
        self.shared.call_apart(&call).await
    }

    /// How this list differs from the stored one. If none is stored, this is the first read, and nothing has changed.
    async fn ban_changes(
        &self,
        place: &BanPlace,
        bans: &[StoredBan],
        notes: Vec<BanNote>,
    ) -> Result<Vec<Event>> {
        if self.ban_counts(std::slice::from_ref(place)).await? == [None] {
            return Ok(Vec::new());
        }
        let (server, jail) = place;
        let mut changes = BanChanges::to(bans.iter().map(|ban| ban.ip.as_str()), notes);
        let mut cursor: Option<String> = None;
        loop {
            let (page, _) = self.bans(server, jail, "", cursor.as_deref(), BATCH_SIZE).await?;
            page.items.iter().for_each(|ban| changes.from(&ban.ip));
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(changes.events(jail)),
            }
        }
    }

    /// The bans whose address begins with `prefix`, in the order of their text, those after the address `cursor`; and when
    /// the list was read from fail2ban: none if it never was.
    pub async fn bans(
        &self,
        server: &ServerName,
        jail: &JailName,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<(Page<StoredBan>, Option<Timestamp>)> {
        let from = match cursor {
            Some(after) => [b"(", after.as_bytes(), b"\0\xff"].concat(),
            None if prefix.is_empty() => b"-".to_vec(),
            None => [b"[", prefix.as_bytes()].concat(),
        };
        let to = if prefix.is_empty() { b"+".to_vec() } else { [b"[", prefix.as_bytes(), b"\xff"].concat() };
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZRANGEBYLEX").arg(self.keys.bans(server, jail)).arg(from).arg(to);
        pipeline.arg("LIMIT").arg(0).arg(limit + 1);
        pipeline.cmd("HGET").arg(self.keys.bans_known(server, jail)).arg("read_at");
        let (members, read_at): (Vec<String>, Option<i64>) =
            self.shared.pipeline_apart("bans", &pipeline).await?;
        let more = members.len() > limit;
        let items: Vec<StoredBan> =
            members.iter().take(limit).filter_map(|member| StoredBan::parse(member)).collect();
        let next_cursor = items.last().filter(|_| more).map(|last| last.ip.clone());
        Ok((Page { items, next_cursor }, read_at.map(moment)))
    }
}

/// Sorted by their addresses, with the lengths of their prefixes. Sorting 100,000 would block the async threads for too long, so
/// another thread does it.
async fn in_order(mut bans: Vec<StoredBan>) -> Result<(Vec<StoredBan>, PrefixLengths)> {
    let sorting = tokio::task::spawn_blocking(move || {
        bans.sort_unstable_by(|one, other| one.ip.cmp(&other.ip));
        let lengths = PrefixLengths::of(bans.iter().map(|ban| ban.ip.as_str()));
        (bans, lengths)
    });
    sorting.await.map_err(|_| StoreError::unavailable("this worker is stopping".to_owned()))
}

/// Frees their memory on another thread, since that takes a while too.
fn discard(bans: Vec<StoredBan>) {
    drop(tokio::task::spawn_blocking(move || drop(bans)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_read_as_it_was_written_and_sorts_by_its_address() {
        let ban = |ip: &str| StoredBan { ip: ip.to_owned(), since: Some(5), until: None };
        for ip in ["203.0.113.7", "2001:db8::/32"] {
            assert_eq!(StoredBan::parse(&ban(ip).member()), Some(ban(ip)));
        }
        assert!(ban("10.0.0.1").member() < ban("10.0.0.10").member());
        assert!(ban("10.0.0.1").member().as_bytes() < &b"10.0.0.1\0\xff"[..]);
        assert!(ban("10.0.0.10").member().as_bytes() > &b"10.0.0.1\0\xff"[..]);
    }

    #[test]
    fn a_list_weighs_what_was_written_with_it_and_else_what_was_counted() {
        let list = |weight: Option<&str>| {
            let known = (Some("3 9".to_owned()), weight.map(str::to_owned), Some("77".to_owned()));
            StoredList::parse(&known).map(|list| (list.counts, list.weight))
        };
        assert_eq!(list(Some("20000 77")), Some(((3, 9), 20_000)));
        for other in [None, Some("20000 76"), Some("20000"), Some("x 77")] {
            assert_eq!(list(other), Some(((3, 9), 3)), "{other:?}");
        }
        assert_eq!(StoredList::parse(&(None, None, None)), None);
    }
}
