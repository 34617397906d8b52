//! When a waiting worker may take the lease of a leader whose process is gone, long before the lease expires.
//!
//! The kernel closes the connections of a process that is killed, and Redis drops their subscriptions at once. So a leader
//! keeps a subscription to the channel of its term, and one waiting worker, the watcher, counts the subscriptions:
//!
//! ```text
//!              250 ms         250 ms        150 ms
//!  there ──────▶ there ──────▶ missing ─────▶ missing ──▶ take over (a script that looks once more)
//!                                 │
//!                                 └─ there again, lease renewed, other connection ──▶ as if nobody had been seen yet
//! ```
//!
//! A missing subscription alone means nothing: a leader of an older version never subscribes, and neither a Redis that was just
//! started or promoted nor another node of a cluster has the subscription. It must have been seen before, over the same connection.
//!
//! It takes two looks in a row, since a subscription also breaks while its leader is healthy (`CLIENT KILL`, a proxy that
//! restarts). They must span the time that such a leader needs to subscribe again, which is milliseconds. The interval at which the
//! watcher looks while all is well does not matter for that, so the second look comes sooner: the worst case is then 400 ms instead
//! of 500. A leader that cannot subscribe again at once keeps renewing its lease, which shows that it is alive.
//!
//! A wrong decision does no harm: the fence refuses what the former leader writes from then on.

use std::time::Duration;

/// The time between two looks while the leader is there: four a second.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The time between the look that misses the leader and the one that decides.
pub const SECOND_LOOK_AFTER: Duration = Duration::from_millis(150);

/// A lease that was not renewed has at least this much less left at the second look: the time between the two looks, less what
/// two clocks may differ by in it.
const LESS_LEFT: Duration = Duration::from_millis(135);

/// What a look leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look again after this time.
    Look(Duration),
    /// The leader's process is gone.
    TakeOver,
}

/// What a watcher has seen of one leader.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The connection over which its subscription was seen.
    seen_over: Option<u64>,
    /// What was left of its lease when it was first missed since.
    missed_with: Option<Duration>,
}

impl Watch {
    /// Its subscription is there.
    pub fn present(&mut self, connection: u64) -> Step {
        *self = Self { seen_over: Some(connection), missed_with: None };
        Step::Look(LOOK_INTERVAL)
    }

    /// Its subscription is not there, while its lease is held for `remaining`.
    pub fn missing(&mut self, connection: u64, remaining: Duration) -> Step {
        if self.seen_over != Some(connection) {
            return self.forget();
        }
        match self.missed_with {
            None => {
                self.missed_with = Some(remaining);
                Step::Look(SECOND_LOOK_AFTER)
            }
            Some(before) if remaining + LESS_LEFT > before => self.forget(),
            Some(_) => Step::TakeOver,
        }
    }

    /// Forgets what was seen: the subscription has to be seen again before it can be missed.
    pub fn forget(&mut self) -> Step {
        *self = Self::default();
        Step::Look(LOOK_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGAIN: Step = Step::Look(LOOK_INTERVAL);
    const SOONER: Step = Step::Look(SECOND_LOOK_AFTER);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_leader_that_was_seen_is_gone_when_two_looks_in_a_row_miss_it() {
        let mut watch = Watch::default();
        assert_eq!(watch.present(1), AGAIN);
        assert_eq!(watch.missing(1, ms(4_000)), SOONER);
        assert_eq!(watch.missing(1, ms(3_849)), Step::TakeOver);
    }

    #[test]
    fn a_leader_that_has_never_subscribed_is_left_to_its_lease() {
        let mut watch = Watch::default();
        for remaining in (0..5_000).rev().step_by(250) {
            assert_eq!(watch.missing(1, ms(remaining)), AGAIN);
        }
    }

    #[test]
    fn a_leader_that_is_back_at_the_second_look_is_not_gone() {
        let mut watch = Watch::default();
        for _ in 0..3 {
            watch.present(1);
            assert_eq!(watch.missing(1, ms(4_000)), SOONER);
            assert_eq!(watch.present(1), AGAIN);
        }
    }

    #[test]
    fn what_was_seen_over_another_connection_does_not_count() {
        let mut watch = Watch::default();
        watch.present(1);
        assert_eq!(watch.missing(2, ms(4_000)), AGAIN);
        // Nor when it changes between the two looks, or is the first one again.
        watch.present(2);
        assert_eq!(watch.missing(2, ms(4_000)), SOONER);
        assert_eq!(watch.missing(3, ms(3_800)), AGAIN);
        assert_eq!(watch.missing(2, ms(3_600)), AGAIN);
    }

    #[test]
    fn a_leader_that_renews_without_its_subscription_is_alive_and_left_to_its_lease() {
        let mut watch = Watch::default();
        watch.present(1);
        assert_eq!(watch.missing(1, ms(4_000)), SOONER);
        assert_eq!(watch.missing(1, ms(4_999)), AGAIN);
        assert_eq!(watch.missing(1, ms(4_749)), AGAIN);
        // The first look may have come right after a renewal, and the second one right after the next.
        watch.present(1);
        assert_eq!(watch.missing(1, ms(4_999)), SOONER);
        assert_eq!(watch.missing(1, ms(4_900)), AGAIN);
    }

    #[test]
    fn a_killed_leader_is_given_up_within_400_ms_however_its_death_lies_between_two_looks() {
        assert!(LOOK_INTERVAL + SECOND_LOOK_AFTER <= ms(400));
    }

    /// A look: over which connection, whether the leader is there, how much of its lease has passed since the look before, and whether
    /// the lease was renewed.
    type Look = (u64, bool, u64, bool);

    proptest! {
        /// Whatever is seen: the two looks before a takeover miss the leader over the connection over which it was seen last, and
        /// nothing was renewed between them.
        #[test]
        fn nobody_is_replaced_who_was_not_seen_and_then_missed_twice_over_one_connection(
            looks in prop::collection::vec((0_u64..2, any::<bool>(), 150_u64..2_000, prop::bool::weighted(0.3)), 1..60)
        ) {
            let (mut watch, mut remaining) = (Watch::default(), 5_000_u64);
            let mut before: Vec<Look> = Vec::new();
            for look @ (connection, there, passed, renewed) in looks {
                remaining = if renewed { 5_000 } else { remaining.saturating_sub(passed) };
                let step = if there { watch.present(connection) } else { watch.missing(connection, ms(remaining)) };
                before.push(look);
                if step == Step::TakeOver {
                    let [.., seen, first, second] = before[..] else {
                        return Err(TestCaseError::fail("fewer than three looks"));
                    };
                    prop_assert!(!second.1 && !first.1 && seen.1, "{before:?}");
                    prop_assert!(seen.0 == first.0 && first.0 == second.0, "{before:?}");
                    prop_assert!(!second.3, "{before:?}");
                    return Ok(());
                }
            }
        }
    }
}
