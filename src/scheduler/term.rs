//! What a leader believes about its lease, and for how long.
//!
//! The belief ends at `hold_until`, on the boot-time clock: the moment *before* the last good request was sent, plus
//! the TTL, less a margin. It is looked at before each piece of work and each write, never trusted to a timer, since a
//! process may be stopped between any two instructions.

use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Fence, boot_now};

/// How much earlier than Redis the holder lets go: a tenth of the TTL, at least 250 ms.
pub fn margin(ttl: Duration) -> Duration {
    (ttl / 10).max(Duration::from_millis(250))
}

/// Why a term ended; the `reason` of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Redis said that the lease is not this term's any more.
    Lost,
    /// A scheduled write was refused.
    Fenced,
    /// It could not be renewed in time.
    Deadline,
    /// Redis's clock jumped, so that its TTL cannot be reckoned with.
    ClockJump,
    /// The connection that the work goes over has been away for as long as a lease lives: let another try.
    Blind,
    /// This worker is stopping.
    Released,
}

impl End {
    /// The word in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Fenced => "fenced",
            Self::Deadline => "deadline",
            Self::ClockJump => "clock_jump",
            Self::Blind => "blind",
            Self::Released => "released",
        }
    }
}

/// When the belief ends, and how the two clocks stood at the last good answer.
#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Duration,
    asked_at: Duration,
    redis_micros: i64,
}

impl Hold {
    fn new(asked_at: Duration, redis_micros: i64, ttl: Duration) -> Self {
        Self { until: asked_at + ttl - margin(ttl), asked_at, redis_micros }
    }

    /// The hold after a renewal that was asked for at `asked_at`; `None` if Redis's clock and ours went apart since the
    /// last one by more than half the margin.
    fn renewed(self, asked_at: Duration, redis_micros: i64, ttl: Duration) -> Option<Self> {
        let ours = i64::try_from(asked_at.saturating_sub(self.asked_at).as_micros()).ok()?;
        let theirs = redis_micros - self.redis_micros;
        let tolerated = i64::try_from((margin(ttl) / 2).as_micros()).ok()?;
        ((theirs - ours).abs() <= tolerated).then(|| Self::new(asked_at, redis_micros, ttl))
    }
}

/// One term of leadership.
pub struct Term {
    /// What every write of this term carries.
    pub fence: Fence,
    /// Cancelled when the term ends, for whatever reason: all of its work stops.
    pub over: CancellationToken,
    ttl: Duration,
    hold: Mutex<Hold>,
    end: Mutex<Option<End>>,
}

impl Term {
    /// A term whose lease was asked for at `asked_at`, on the boot-time clock.
    pub fn new(fence: Fence, ttl: Duration, asked_at: Duration, redis_micros: i64) -> Self {
        Self {
            fence,
            over: CancellationToken::new(),
            ttl,
            hold: Mutex::new(Hold::new(asked_at, redis_micros, ttl)),
            end: Mutex::new(None),
        }
    }

    /// How long the lease may be relied on from now; `None` if no longer.
    pub fn remaining(&self) -> Option<Duration> {
        if self.over.is_cancelled() {
            return None;
        }
        self.hold().until.checked_sub(boot_now()).filter(|left| !left.is_zero())
    }

    /// Takes in a renewal.
    pub fn renewed(&self, asked_at: Duration, redis_micros: i64) {
        let renewed = self.hold().renewed(asked_at, redis_micros, self.ttl);
        match renewed {
            Some(hold) => *self.hold() = hold,
            None => self.end(End::ClockJump),
        }
    }

    /// Ends the term and all its work; the first reason stands.
    pub fn end(&self, end: End) {
        self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(end);
        self.over.cancel();
    }

    /// Why it ended.
    pub fn why(&self) -> End {
        self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).unwrap_or(End::Deadline)
    }

    fn hold(&self) -> std::sync::MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_millis(5000);

    #[test]
    fn the_margin_is_a_tenth_and_at_least_250_ms() {
        assert_eq!(margin(TTL), Duration::from_millis(500));
        assert_eq!(margin(Duration::from_millis(1500)), Duration::from_millis(250));
    }

    #[test]
    fn a_clock_of_redis_that_jumps_by_more_than_half_the_margin_ends_the_belief() {
        let hold = Hold::new(Duration::from_secs(100), 0, TTL);
        let renewed =
            |redis_ms: i64| hold.renewed(Duration::from_millis(101_500), redis_ms * 1000, TTL).is_some();
        assert!(renewed(1500));
        assert!(renewed(1750));
        assert!(!renewed(1751));
        assert!(renewed(1250));
        assert!(!renewed(1249));
    }

    proptest! {
        /// Whatever the order and delay of answers, the belief never reaches past what Redis granted: the TTL from
        /// the moment the script ran, which is not before the request was sent.
        #[test]
        fn the_belief_ends_before_redis_lets_the_lease_go(
            steps in prop::collection::vec((0u64..4000, 0u64..1000, 0u64..1000), 1..30)
        ) {
            let mut now = Duration::from_secs(1000);
            let mut hold: Option<Hold> = None;
            let mut granted_until = Duration::ZERO;
            for (wait, to_redis, back) in steps {
                now += Duration::from_millis(wait);
                let asked_at = now;
                let ran_at = asked_at + Duration::from_millis(to_redis);
                if ran_at > granted_until { hold = None; }
                granted_until = ran_at + TTL;
                now = ran_at + Duration::from_millis(back);
                let redis_micros = i64::try_from(ran_at.as_micros()).unwrap();
                hold = match hold {
                    None => Some(Hold::new(asked_at, redis_micros, TTL)),
                    Some(hold) => hold.renewed(asked_at, redis_micros, TTL),
                };
                if let Some(hold) = hold {
                    prop_assert!(hold.until + margin(TTL) <= granted_until);
                }
            }
        }
    }
}
