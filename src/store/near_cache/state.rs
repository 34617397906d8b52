//! The rules of a holder, pure: state + event + now -> state + what to do. No clock, no Redis.
//!
//! *Term* counts the emptyings. A fill carries the [`Mark`] (term, number) noted before its read was sent; an entry is kept
//! only if neither has moved since, so what was read before a revocation is never kept after it.
//!
//! Times are of this machine's boot-time clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// How long a cache is believed without a renewal, and how long a revocation waits for one that does not confirm.
pub const LEASE: Duration = Duration::from_secs(2);
/// A holder stops this much earlier: clocks of two machines do not run equally fast.
pub const MARGIN: Duration = Duration::from_millis(250);
/// Entries at most.
const ENTRIES: usize = 10_000;

/// When a fill's read was sent, in revocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    term: u64,
    number: u64,
}

/// What a revocation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ends<K> {
    /// One session.
    One(K),
    /// All there are.
    All,
}

/// What a holder hears.
#[derive(Debug, Clone)]
pub enum Event<K> {
    /// It has become a holder; the request was sent at this time.
    Joined { sent: Duration, incarnation: String, number: u64 },
    /// A revocation.
    Revoked { incarnation: String, previous: u64, number: u64, ends: Ends<K> },
    /// The renewal that was sent at this time was accepted.
    Renewed { sent: Duration },
    /// It was confirmed but not renewed: a revocation is on its way here.
    Behind,
    /// It was refused.
    Refused,
}

/// What a holder is to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Wait,
    /// Tell Redis which number was applied.
    Confirm,
    /// The cache is emptied: join anew under a new id.
    Rejoin,
}

#[derive(Debug)]
struct Joined {
    incarnation: String,
    number: u64,
    until: Duration,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until: Duration,
}

/// One worker's cache and its right to answer from it. Everything in it changes under one lock.
#[derive(Debug)]
pub struct Cache<K, V> {
    term: u64,
    joined: Option<Joined>,
    entries: HashMap<K, Entry<V>>,
    #[cfg(test)]
    pub fills_are_marked: bool,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            term: 0,
            joined: None,
            entries: HashMap::new(),
            #[cfg(test)]
            fills_are_marked: true,
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// Takes an event in.
    pub fn step(&mut self, event: Event<K>, now: Duration) -> Next {
        if let Event::Joined { sent, incarnation, number } = event {
            self.empty();
            self.joined = Some(Joined { incarnation, number, until: sent + LEASE - MARGIN });
            return Next::Wait;
        }
        let Some(joined) = self.joined.as_mut().filter(|joined| now < joined.until) else {
            return self.rejoin();
        };
        match event {
            Event::Revoked { incarnation, .. } if incarnation != joined.incarnation => self.rejoin(),
            // Published between the subscription and the joining.
            Event::Revoked { number, .. } if number <= joined.number => Next::Wait,
            Event::Revoked { previous, .. } if previous != joined.number => self.rejoin(),
            Event::Revoked { number, ends, .. } => {
                joined.number = number;
                match ends {
                    Ends::One(key) => drop(self.entries.remove(&key)),
                    Ends::All => self.entries.clear(),
                }
                Next::Confirm
            }
            Event::Renewed { sent } => {
                joined.until = joined.until.max(sent + LEASE - MARGIN);
                Next::Wait
            }
            Event::Behind | Event::Joined { .. } => Next::Wait,
            Event::Refused => self.rejoin(),
        }
    }

    /// Answers nothing from here on, until it has joined anew.
    pub fn empty(&mut self) {
        self.term += 1;
        self.joined = None;
        self.entries.clear();
    }

    fn rejoin(&mut self) -> Next {
        self.empty();
        Next::Rejoin
    }

    /// The incarnation and the number that a renewal carries.
    pub fn applied(&self) -> Option<(&str, u64)> {
        self.joined.as_ref().map(|joined| (joined.incarnation.as_str(), joined.number))
    }

    /// What a fill notes before it reads; none while this is no holder.
    pub fn mark(&self, now: Duration) -> Option<Mark> {
        let joined = self.joined.as_ref().filter(|joined| now < joined.until)?;
        Some(Mark { term: self.term, number: joined.number })
    }

    /// The value, if the lease holds and the entry is young enough.
    pub fn get(&self, key: &K, now: Duration) -> Option<V> {
        self.joined.as_ref().filter(|joined| now < joined.until)?;
        self.entries.get(key).filter(|entry| now < entry.until).map(|entry| entry.value.clone())
    }

    /// Keeps what was read after `mark`, unless something was revoked since.
    pub fn fill(&mut self, mark: Mark, key: K, value: V, until: Duration, now: Duration) {
        let unmoved = self.mark(now) == Some(mark);
        #[cfg(test)]
        let unmoved = unmoved || (!self.fills_are_marked && self.joined.is_some());
        if !unmoved {
            return;
        }
        if self.entries.len() >= ENTRIES && !self.entries.contains_key(&key) {
            self.entries.retain(|_, entry| now < entry.until);
            // Any will do: it is read again when it is wanted.
            let victim = self.entries.keys().next().filter(|_| self.entries.len() >= ENTRIES).cloned();
            victim.map(|victim| self.entries.remove(&victim));
        }
        self.entries.insert(key, Entry { value, until });
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
