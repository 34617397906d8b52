//! The rules of a revoker, pure: what the answer to a revocation waits for. No clock, no Redis.
//!
//! Times are of this machine's boot-time clock.

use std::time::Duration;

use super::state::LEASE;

/// The answer of the revoking script, or of the one that lists who is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub incarnation: String,
    pub number: u64,
    /// Whether this Redis knows every holder that can be left.
    pub settled: bool,
    pub holders: Vec<String>,
}

/// What Redis has about holders now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    pub incarnation: Option<String>,
    /// The latest revocation.
    pub number: Option<u64>,
    /// The number that each of the holders in question has confirmed, in their order; none for one that is not listed.
    pub applied: Vec<Option<u64>>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody had to be waited for.
    NoHolders,
    /// All holders have confirmed, or have left.
    Confirmed,
    /// A whole lease has passed.
    Lease,
    /// A whole lease has passed, since Redis may have forgotten holders.
    UnknownHolders,
}

/// The wait of one revocation.
#[derive(Debug)]
pub struct Wait {
    listed: Listed,
    end: Duration,
    anybody: bool,
}

impl Wait {
    /// `now` must be a time after the answer has come: the lease of every holder began before it.
    pub fn begin(listed: Listed, now: Duration) -> Self {
        Self { end: now + LEASE, anybody: !listed.holders.is_empty(), listed }
    }

    /// The revocation, with the holders that have not confirmed it yet.
    pub fn listed(&self) -> &Listed {
        &self.listed
    }

    /// The longest that the wait can still take.
    pub fn left(&self, now: Duration) -> Duration {
        self.end.saturating_sub(now)
    }

    /// Takes in what Redis has about the holders. One that is absent has left or was removed; but if Redis has another
    /// incarnation now, or does not know about this revocation any more, it has forgotten holders, which confirms nothing.
    pub fn heard(&mut self, looked: &Looked) {
        let number = self.listed.number;
        let same = looked.incarnation.as_ref() == Some(&self.listed.incarnation);
        if !same || looked.number.is_none_or(|latest| latest < number) {
            return;
        }
        let mut applied = looked.applied.iter();
        self.listed.holders.retain(|_| match applied.next() {
            Some(applied) => applied.is_some_and(|applied| applied < number),
            None => true,
        });
    }

    /// Whether the revocation may be answered, and why.
    pub fn outcome(&self, now: Duration) -> Option<Outcome> {
        let over = self.left(now).is_zero();
        match (self.listed.settled, self.listed.holders.is_empty()) {
            (true, true) if self.anybody => Some(Outcome::Confirmed),
            (true, true) => Some(Outcome::NoHolders),
            (true, false) => over.then_some(Outcome::Lease),
            (false, _) => over.then_some(Outcome::UnknownHolders),
        }
    }
}
