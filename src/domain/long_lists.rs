//! Lists of bans that are too long to be read: a host that is attacked, or hostile, must not exhaust the memory of the worker
//! that probes it, nor of Redis.
//!
//! The counts of the last probe show this before anything is read. Counts may lie, so the lists that are stored of a server are
//! added up too ([`bound`]), and a list that exceeds what is left is cut off while it is read.
//!
//! A ban may be a text of 1 KiB instead of an address, so lists are not compared by their length but by their [`weight`].

use std::collections::BTreeMap;

use super::{JailCounts, JailName, ServerState};

/// The most bans of one jail.
pub const MAX_LIST: usize = 200_000;
/// The most bans of all jails of one server.
pub const MAX_SERVER: u64 = 400_000;
/// The text that each ban of a list may have on average, in bytes: the longest network has 43.
pub const BAN_TEXT: usize = 64;
/// By how much all lists of a server together may exceed its counts: by this many bans and a quarter of the counts.
const SINCE_COUNTED: u64 = 20_000;

/// The weight of a list of `bans` bans, whose texts have `text` bytes together: the number of bans, or more if the texts are long.
#[must_use]
pub fn weight(bans: usize, text: usize) -> usize {
    bans.max(text.div_ceil(BAN_TEXT))
}

/// What a stored list costs its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charge {
    /// Its weight.
    pub weight: u64,
    /// How many bans were counted when it was read.
    pub counted: u64,
}

/// The most that a list with `counted` bans may weigh, given the `others` that are stored of the same server.
#[must_use]
pub fn bound(counted: u64, others: impl IntoIterator<Item = Charge>) -> usize {
    let (mut counts, mut stored, mut beyond) = (counted, 0_u64, 0_u64);
    for other in others {
        counts = counts.saturating_add(other.counted);
        stored = stored.saturating_add(other.weight);
        beyond = beyond.saturating_add(other.weight.saturating_sub(other.counted));
    }
    let more = SINCE_COUNTED.saturating_add(counts / 4).saturating_sub(beyond);
    let bound = counted.saturating_add(more).min(MAX_SERVER.saturating_sub(stored));
    usize::try_from(bound).unwrap_or(MAX_LIST).min(MAX_LIST)
}

/// The jails whose lists are not read, with how many bans each has: those over the bound of a list, then the longest until the rest
/// fits into the bound of a server.
#[must_use]
pub fn too_long(jails: &BTreeMap<JailName, JailCounts>) -> BTreeMap<JailName, u64> {
    let mut by_length: Vec<(u64, &JailName)> =
        jails.iter().map(|(jail, counts)| (counts.currently_banned, jail)).collect();
    by_length.sort_unstable();
    let mut read = 0_u64;
    let mut fits = |bans: u64| {
        read = read.saturating_add(bans);
        bans <= MAX_LIST as u64 && read <= MAX_SERVER
    };
    let long = by_length.into_iter().filter(|(bans, _)| !fits(*bans));
    long.map(|(bans, jail)| (jail.clone(), bans)).collect()
}

/// Why a list is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is too long by its count.
    Long,
    /// It was cut off: it is larger than its count and the other lists of its server allow.
    Cut,
}

/// The jails whose lists are not read, with how many bans each counts: what is shown of them is old, or empty.
#[must_use]
pub fn unread(state: &ServerState) -> Vec<(JailName, u64, Unread)> {
    let jails = &state.status.jails;
    let long = too_long(jails);
    let cut = state.cut_lists.iter().filter(|jail| !long.contains_key(*jail));
    let cut: Vec<_> =
        cut.filter_map(|jail| Some((jail.clone(), jails.get(jail)?.currently_banned, Unread::Cut))).collect();
    long.into_iter().map(|(jail, bans)| (jail, bans, Unread::Long)).chain(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(bans: &[u64]) -> Vec<u64> {
        let jail = |n| JailName::parse(&format!("jail-{n}")).unwrap();
        let counts = |bans| JailCounts { currently_banned: bans, ..JailCounts::default() };
        let jails = bans.iter().enumerate().map(|(n, bans)| (jail(n), counts(*bans))).collect();
        too_long(&jails).into_values().collect()
    }

    #[test]
    fn a_list_over_its_bound_is_not_read_and_neither_are_the_longest_of_too_many() {
        assert_eq!(long(&[0, 200_000, 100_000]), Vec::<u64>::new());
        assert_eq!(long(&[7, 200_001, 1]), [200_001]);
        assert_eq!(long(&[150_000, 200_000, 150_000]), [200_000]);
        assert_eq!(long(&[u64::MAX, u64::MAX, 5]), [u64::MAX, u64::MAX]);
        assert_eq!(long(&[100_000; 6]).len(), 2);
    }

    #[test]
    fn a_list_may_be_somewhat_longer_than_its_count_and_all_of_a_server_only_once() {
        let alone = |counted| bound(counted, []);
        assert_eq!(
            [0, 4, 100_000, 200_000, u64::MAX].map(alone),
            [20_000, 20_005, 145_000, MAX_LIST, MAX_LIST]
        );
        // Each of 25 lists counts 1 and brings as many as it may.
        let mut stored: Vec<Charge> = Vec::new();
        for _ in 0..25 {
            let weight = bound(1, stored.iter().copied()) as u64;
            stored.push(Charge { weight, counted: 1 });
        }
        let sum: u64 = stored.iter().map(|list| list.weight).sum();
        assert!(sum <= 25 + SINCE_COUNTED + 25 / 4, "{sum}");
        // One that is honest is read in full after it.
        assert!(bound(3_000, stored) >= 3_000);
    }

    #[test]
    fn all_lists_of_a_server_together_never_weigh_more_than_one_may() {
        let honest = Charge { weight: 200_000, counted: 200_000 };
        assert_eq!(bound(200_000, [honest]), 200_000);
        assert_eq!(bound(200_000, [honest, Charge { weight: 50_000, counted: 50_000 }]), 150_000);
        assert_eq!(bound(u64::MAX, [honest, honest]), 0);
        assert_eq!(bound(1, [Charge { weight: u64::MAX, counted: u64::MAX }; 2]), 0);
    }

    #[test]
    fn long_texts_weigh_as_much_as_the_bans_that_would_have_them() {
        assert_eq!(weight(10, 10 * 43), 10);
        assert_eq!((weight(10, 10 * BAN_TEXT), weight(10, 10 * BAN_TEXT + 1)), (10, 11));
        assert_eq!(weight(3_000, 3_000 * 1_024), 48_000);
    }
}
