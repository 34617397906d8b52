//! The two clocks, which are the only sources of time here.
//!
//! * The *boot-time clock* of this machine (`CLOCK_BOOTTIME`) measures our own waits. Unlike `std::time::Instant` it keeps
//!   running while the machine sleeps (rust-lang/rust#87906), so a lease does not seem to survive a suspend.
//! * *Redis's clock* orders what workers share. `RedisClock` estimates it between two `TIME` answers, for
//!   decisions where being wrong by a round trip is harmless (is this touch due, how old is this probe).
//!   What must be exact reads `TIME` in the script that writes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::DateTime;

use crate::domain::Timestamp;

/// This machine's boot-time clock: time since boot, suspended time included.
#[must_use]
pub fn boot_now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Redis's clock as last read, carried on by the boot-time clock.
#[derive(Debug, Default)]
pub(in crate::store) struct RedisClock {
    /// Microseconds between boot time and Redis's time.
    offset: AtomicI64,
}

impl RedisClock {
    /// Takes in a `TIME` answer, in microseconds since 1970, that has just come.
    pub fn heard(&self, redis_micros: i64) {
        self.offset.store(redis_micros - micros(boot_now()), Ordering::Relaxed);
    }

    /// About now, in microseconds since 1970.
    pub fn now_micros(&self) -> i64 {
        micros(boot_now()) + self.offset.load(Ordering::Relaxed)
    }
}

/// A duration in whole microseconds.
pub(in crate::store) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A duration in whole milliseconds, as scripts take it.
pub(in crate::store) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds since 1970 as a moment; the epoch itself for numbers beyond chrono's range.
pub(in crate::store) fn moment(micros: i64) -> Timestamp {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// The answer of `TIME` as microseconds since 1970.
pub(in crate::store) fn time_micros((seconds, micros): (i64, i64)) -> i64 {
    seconds * 1_000_000 + micros
}
