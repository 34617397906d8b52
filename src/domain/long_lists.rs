//! Lists of bans that are too long to be read: a host that is attacked, or hostile, must not exhaust the memory of the worker
//! that probes it, nor of Redis.
//!
//! The counts of the last probe tell before anything is read; a list that is longer than its count allows is dropped while it is
//! read.

use std::collections::BTreeMap;

use super::{JailCounts, JailName};

/// The most bans of one jail.
pub const MAX_LIST: usize = 200_000;
/// The most bans of all jails of one server.
pub const MAX_SERVER: u64 = 400_000;

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
}
