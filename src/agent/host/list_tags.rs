//! Whether a jail's bans are still those of a list that was read before, so that a look-up need not have fail2ban search them.
//!
//! fail2ban compares an address with every ban of a jail, one after the other: with 100,000 bans that takes up to 100 ms, and
//! fail2ban answers nobody else in that time. The workers have the same list, and find the address in it at once. So the agent
//! gives a list a tag, and a look-up brings the tags of the lists that the worker has:
//!
//! ```text
//! GET bans ─▶ list, tag ─▶ Redis ─▶ POST banned {ips, tags} ─▶ the jails whose tag is still the same; in all others fail2ban searches
//! ```
//!
//! | part of a tag | so that |
//! |---|---|
//! | the counts of the jail, "currently banned" and "banned in all" | nothing was banned (the second count only grows), and so nothing was unbanned (the first one would be lower) |
//! | the process of fail2ban, and the threads of its jails, each with the time at which it started | the counts are of the same life of the jail: they restart with it |
//!
//! Where the threads cannot be seen (another container), there is no tag, and fail2ban searches.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::bans::BanService;
use super::error::ChangeError;
use crate::agent::wire;
use crate::domain::{Answer, JailCounts, JailName, Network};
use crate::fail2ban::command::MAX_ADDRESSES;
use crate::fail2ban::{Command, reply, threads};

/// The tag of a jail's list with these counts, in this life of fail2ban and its jails.
fn tag(life: u64, counts: JailCounts) -> String {
    format!("{life:016x}-{}-{}", counts.currently_banned, counts.total_banned)
}

impl BanService {
    /// The life of fail2ban and its jails, if it can be seen.
    pub(super) fn life(&self) -> Option<u64> {
        threads::life(self.client.server_pid()?)
    }

    /// The tag of a jail's list as it is now. A list that was read between two equal tags has that tag.
    pub(super) async fn tag(&self, jail: &JailName, deadline: Instant) -> Option<String> {
        let life = self.life()?;
        let answer = self.client.ask(Command::ShortStatus(jail.clone()), deadline).await.ok()?;
        Some(tag(life, reply::short_status(&answer).ok()?))
    }

    /// As [`Self::lookup`], without searching the jails that ban nobody or whose list still has the tag that the request names.
    /// `now` has the counts of all jails, asked between two moments of this life.
    pub(super) async fn lookup_changed(
        &self,
        request: &wire::LookupRequest,
        (life, now): (u64, &Answer),
        deadline: Instant,
    ) -> Result<wire::Lookups, ChangeError> {
        let is_same =
            |(jail, counts): &(&JailName, &JailCounts)| request.tags.get(*jail) == Some(&tag(life, **counts));
        let unchanged: Vec<JailName> =
            now.jails.iter().filter(is_same).map(|(jail, _)| jail.clone()).collect();
        let bans = |(jail, counts): &(&JailName, &JailCounts)| {
            counts.currently_banned > 0 && unchanged.binary_search(jail).is_err()
        };
        let others: BTreeSet<&JailName> =
            now.jails.iter().filter(bans).map(|(jail, _)| jail).chain(&now.stalled).collect();
        let mut found: BTreeMap<Network, Vec<JailName>> = BTreeMap::new();
        for jail in others {
            for chunk in request.ips.chunks(MAX_ADDRESSES) {
                let answer =
                    match self.client.ask(Command::BannedIn(jail.clone(), chunk.into()), deadline).await {
                        // Stopped since it was listed.
                        Err(error) if error.is_unknown_jail() => break,
                        answer => answer?,
                    };
                let banned = chunk.iter().zip(reply::banned_in(&answer, chunk.len())?);
                for (ip, _) in banned.filter(|(_, banned)| *banned) {
                    found.entry(*ip).or_default().push(jail.clone());
                }
            }
        }
        let result = |ip: &Network| wire::Lookup {
            ip: *ip,
            jails: found.get(ip).cloned().unwrap_or_default(),
            never_banned: None,
        };
        Ok(wire::Lookups { results: request.ips.iter().map(result).collect(), unchanged })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_changes_with_each_ban_and_unban_and_with_the_life_of_the_jail() {
        let of = |life, currently_banned, total_banned| {
            tag(life, JailCounts { currently_banned, total_banned, ..JailCounts::default() })
        };
        let before = of(7, 3, 9);
        assert_eq!(before, of(7, 3, 9));
        for after in [of(7, 4, 10), of(7, 2, 9), of(7, 3, 10), of(8, 3, 9)] {
            assert_ne!(after, before);
        }
    }
}
