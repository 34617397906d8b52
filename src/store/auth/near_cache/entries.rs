//! What a near cache keeps: a bounded map in two halves. When the young half is full it becomes the old one, and what was old
//! is dropped: there is no list of uses to keep in order, and never a search through all entries for one to evict.

use std::collections::HashMap;
use std::hash::Hash;

/// The most entries in one half.
const HALF: usize = 5_000;

/// The map.
#[derive(Debug)]
pub struct Entries<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Entries<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Keeps only these. It goes through all entries, which only the end of all sessions of an account is rare enough for.
    pub fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.young.retain(|_, value| keep(value));
        self.old.retain(|_, value| keep(value));
    }

    pub fn clear(&mut self) {
        // Frees the memory too: that many entries may never be needed again.
        *self = Self { young: HashMap::new(), old: HashMap::new() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_entries_than_both_halves_hold_and_the_latest_are_among_them() {
        let mut entries = Entries::default();
        for key in 0..3 * HALF + 7 {
            entries.insert(key, key);
            assert!(entries.young.len() + entries.old.len() <= 2 * HALF);
            assert_eq!(entries.get(&key), Some(&key));
            let recent = key.saturating_sub(HALF);
            assert_eq!(entries.get(&recent), Some(&recent));
        }
        assert_eq!(entries.get(&0), None);
    }

    #[test]
    fn a_key_is_in_one_half_and_removed_from_both() {
        let mut entries = Entries::default();
        (0..HALF + 1).for_each(|key| entries.insert(key, 1));
        entries.insert(0, 2);
        assert_eq!(entries.get(&0), Some(&2));
        entries.remove(&0);
        assert_eq!(entries.get(&0), None);
        entries.remove(&1);
        assert_eq!(entries.get(&1), None);
        entries.insert(1, 3);
        entries.retain(|value| *value != 1);
        assert_eq!((entries.get(&1), entries.get(&2)), (Some(&3), None), "from both halves");
    }
}
