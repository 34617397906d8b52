//! What a leader knows about its lease, and how long that is valid.
//!
//! It is valid until `hold_until`, on the boot-time clock: the moment *before* the last good request was sent, plus
//! the TTL, less a margin. It is checked before each piece of work and each write, never trusted to a timer, since a
//! process may be stopped between any two instructions.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::troubles::Troubles;
use crate::store::{Fence, boot_now};

/// How much earlier than in Redis the lease ends for its holder: a tenth of the TTL, at least 250 ms.
pub fn margin(ttl: Duration) -> Duration {
    (ttl / 10).max(Duration::from_millis(250))
}

/// Why a term ended; the `reason` of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermEnd {
    /// Redis said that the lease is not this term's any more.
    Lost,
    /// A scheduled write was refused.
    Fenced,
    /// It could not be renewed in time.
    Deadline,
    /// Redis's clock jumped, so that its TTL cannot be relied on.
    ClockJump,
    /// The connection that the jobs use has been broken for as long as a lease lasts: let another worker try.
    Blind,
    /// This worker is stopping.
    Released,
}

impl TermEnd {
    /// The word in metrics and in the field `reason` of the log.
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

    /// The reason as the end of a log line.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Lost => "the lease expired or was taken over",
            Self::Fenced => "another worker leads",
            Self::Deadline => "the lease could not be renewed in time",
            Self::ClockJump => "Redis's clock jumped",
            Self::Blind => "the connection to Redis was broken for as long as a lease lasts",
            Self::Released => "this worker is stopping",
        }
    }
}

/// An answer of Redis: its clock when the script ran, some time between the request and the answer.
#[derive(Debug, Clone, Copy)]
struct Heard {
    asked_at: Duration,
    answered_at: Duration,
    redis_micros: i64,
}

impl Heard {
    /// Whether Redis's clock went as fast as ours since `before`, give or take `tolerated`, whatever the two round trips did.
    fn agrees_with(self, before: Self, tolerated: Duration) -> bool {
        let micros = |duration: Duration| i128::try_from(duration.as_micros()).unwrap_or(i128::MAX);
        let theirs = i128::from(self.redis_micros) - i128::from(before.redis_micros);
        let shortest = micros(self.asked_at.saturating_sub(before.answered_at)) - micros(tolerated);
        let longest = micros(self.answered_at.saturating_sub(before.asked_at) + tolerated);
        (shortest..=longest).contains(&theirs)
    }
}

/// When the term ends unless renewed, and the readings of the two clocks at the last good answer.
#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Duration,
    heard: Heard,
}

impl Hold {
    fn new(heard: Heard, ttl: Duration) -> Self {
        Self { until: heard.asked_at + ttl - margin(ttl), heard }
    }

    /// The hold after a renewal; `None` if Redis's clock and ours went apart since the last one by more than half the margin.
    fn renewed(self, heard: Heard, ttl: Duration) -> Option<Self> {
        heard.agrees_with(self.heard, margin(ttl) / 2).then(|| Self::new(heard, ttl))
    }
}

/// One term of leadership.
pub struct Term {
    /// What every write of this term carries.
    pub fence: Fence,
    /// Cancelled when the term ends, for whatever reason: all of its work stops.
    pub over: CancellationToken,
    /// What was logged about steps that failed.
    pub troubles: Troubles,
    ttl: Duration,
    hold: Mutex<Hold>,
    end: Mutex<Option<TermEnd>>,
    renew: Notify,
}

impl Term {
    /// A term whose lease was asked for at `asked_at`, on the boot-time clock; the answer has just come.
    pub fn new(fence: Fence, ttl: Duration, asked_at: Duration, redis_micros: i64) -> Self {
        let heard = Heard { asked_at, answered_at: boot_now(), redis_micros };
        Self {
            fence,
            over: CancellationToken::new(),
            troubles: Troubles::default(),
            ttl,
            hold: Mutex::new(Hold::new(heard, ttl)),
            end: Mutex::new(None),
            renew: Notify::new(),
        }
    }

    /// How long the lease may be relied on from now; `None` if no longer.
    pub fn remaining(&self) -> Option<Duration> {
        if self.over.is_cancelled() {
            return None;
        }
        self.hold().until.checked_sub(boot_now()).filter(|left| !left.is_zero())
    }

    /// Applies a renewal whose answer has just come.
    pub fn renewed(&self, asked_at: Duration, redis_micros: i64) {
        let heard = Heard { asked_at, answered_at: boot_now(), redis_micros };
        let renewed = self.hold().renewed(heard, self.ttl);
        match renewed {
            Some(hold) => *self.hold() = hold,
            None => self.end(TermEnd::ClockJump),
        }
    }

    /// Has the lease renewed without waiting for its time: as a sign of life.
    pub fn renew_at_once(&self) {
        self.renew.notify_one();
    }

    /// Waits until [`Self::renew_at_once`] is called.
    pub async fn renewal_wanted(&self) {
        self.renew.notified().await;
    }

    /// Ends the term and all its work; the first reason given is kept.
    pub fn end(&self, end: TermEnd) {
        self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(end);
        self.over.cancel();
    }

    /// Why it ended.
    pub fn why(&self) -> TermEnd {
        self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner).unwrap_or(TermEnd::Deadline)
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

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// An answer to what was asked at `asked` and answered `took` later, when Redis's clock showed `redis_ms`.
    fn heard(asked: u64, took: u64, redis_ms: i64) -> Heard {
        Heard { asked_at: ms(asked), answered_at: ms(asked + took), redis_micros: redis_ms * 1000 }
    }

    #[test]
    fn a_clock_of_redis_that_jumps_by_more_than_half_the_margin_ends_the_belief() {
        let hold = Hold::new(heard(100_000, 0, 0), TTL);
        let renewed = |redis_ms: i64| hold.renewed(heard(101_500, 0, redis_ms), TTL).is_some();
        assert!(renewed(1500));
        assert!(renewed(1750));
        assert!(!renewed(1751));
        assert!(renewed(1250));
        assert!(!renewed(1249));
    }

    #[test]
    fn a_round_trip_that_became_slower_is_no_jump() {
        let fast = Hold::new(heard(100_000, 1, 0), TTL);
        let slow = fast.renewed(heard(101_500, 900, 1500 + 450), TTL);
        assert!(slow.is_some_and(|slow| slow.renewed(heard(103_000, 900, 3000 + 890), TTL).is_some()));
        assert!(fast.renewed(heard(101_500, 900, 1500 + 900 + 251), TTL).is_none());
    }

    proptest! {
        /// Whatever the order and delay of answers, the leader never relies on more than Redis granted: the TTL from
        /// the moment the script ran, which is not before the request was sent. And no delay by itself is a jump.
        #[test]
        fn the_belief_ends_before_redis_lets_the_lease_go_and_not_for_a_delay(
            steps in prop::collection::vec((0u64..4000, 0u64..1000, 0u64..1000), 1..30)
        ) {
            let mut now = Duration::from_secs(1000);
            let mut hold: Option<Hold> = None;
            let mut granted_until = Duration::ZERO;
            for (wait, to_redis, back) in steps {
                now += ms(wait);
                let asked_at = now;
                let ran_at = asked_at + ms(to_redis);
                if ran_at > granted_until { hold = None; }
                granted_until = ran_at + TTL;
                now = ran_at + ms(back);
                let redis_micros = i64::try_from(ran_at.as_micros()).unwrap();
                let heard = Heard { asked_at, answered_at: now, redis_micros };
                let renewed = match hold {
                    None => Hold::new(heard, TTL),
                    Some(hold) => {
                        let renewed = hold.renewed(heard, TTL);
                        prop_assert!(renewed.is_some(), "a delay is no jump");
                        renewed.unwrap()
                    }
                };
                prop_assert!(renewed.until + margin(TTL) <= granted_until);
                hold = Some(renewed);
            }
        }
    }
}
