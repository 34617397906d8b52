//! A failure that may last, in the log: a line when it begins, one now and then while it lasts, and one when it has ended.
//!
//! Every loop that tries again uses this, or logs at `debug`: what fails two times a second would otherwise fill the disk of the
//! log while Redis is full. A failure that comes and goes, or has another reason each time, is logged at a bounded rate too.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two lines about a failure that has come back, or has another reason now.
const QUIET: Duration = Duration::from_secs(60);
/// How often a failure is logged again while it lasts.
const REPEAT_INTERVAL: Duration = Duration::from_secs(600);

/// One kind of failure.
#[derive(Debug)]
pub struct Lasting {
    quiet: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failing: Option<Failing>,
    /// The last line about a failure.
    logged_at: Option<Instant>,
    /// What that line said.
    logged: String,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Instant,
    /// Whether a line says so; only then a line says that it has ended.
    is_logged: bool,
}

impl Lasting {
    /// At most a line a minute, and one in ten minutes about the same failure.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_quiet(QUIET)
    }

    /// With another least time between two lines.
    #[must_use]
    pub const fn with_quiet(quiet: Duration) -> Self {
        let state = State { failing: None, logged_at: None, logged: String::new() };
        Self { quiet, state: Mutex::new(state) }
    }

    /// Counts a failure. `Some` if it should be logged: with how long it has lasted by now.
    pub fn fails(&self, reason: &str) -> Option<Duration> {
        self.fails_at(reason, Instant::now())
    }

    /// It works. `Some` if that should be logged: with how long it has not.
    pub fn ends(&self) -> Option<Duration> {
        self.ends_at(Instant::now())
    }

    fn fails_at(&self, reason: &str, now: Instant) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = state.failing.unwrap_or(Failing { since: now, is_logged: false });
        let is_known = failing.is_logged && state.logged == reason;
        let pause = if is_known { REPEAT_INTERVAL } else { self.quiet };
        let is_due = state.logged_at.is_none_or(|at| now.saturating_duration_since(at) >= pause);
        if is_due {
            state.logged_at = Some(now);
            reason.clone_into(&mut state.logged);
        }
        state.failing = Some(Failing { is_logged: failing.is_logged || is_due, ..failing });
        is_due.then(|| now.saturating_duration_since(failing.since))
    }

    fn ends_at(&self, now: Instant) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = state.failing.take()?;
        failing.is_logged.then(|| now.saturating_duration_since(failing.since))
    }
}

impl Default for Lasting {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_failure_is_logged_when_it_begins_and_every_ten_minutes_and_when_it_ends() {
        let (lasting, begun) = (Lasting::new(), Instant::now());
        let lines: Vec<_> =
            (0..1500).filter_map(|second| lasting.fails_at("full", begun + second * SECOND)).collect();
        assert_eq!(lines, [Duration::ZERO, 600 * SECOND, 1200 * SECOND]);
        assert_eq!(lasting.ends_at(begun + 1500 * SECOND), Some(1500 * SECOND));
        assert_eq!(lasting.ends_at(begun + 1501 * SECOND), None);
    }

    #[test]
    fn a_failure_that_comes_and_goes_is_logged_once_a_minute_with_its_ends() {
        let (lasting, begun) = (Lasting::new(), Instant::now());
        let (mut began, mut ended) = (0, 0);
        for second in (0..600).step_by(2) {
            began += i32::from(lasting.fails_at("full", begun + second * SECOND).is_some());
            ended += i32::from(lasting.ends_at(begun + (second + 1) * SECOND).is_some());
        }
        assert_eq!((began, ended), (10, 10));
        // One that stays is logged at the latest after that minute.
        assert_eq!(lasting.fails_at("full", begun + 600 * SECOND), Some(Duration::ZERO));
        assert_eq!(lasting.ends_at(begun + 601 * SECOND), Some(SECOND));
        assert_eq!(lasting.fails_at("full", begun + 602 * SECOND), None);
        assert_eq!(lasting.fails_at("full", begun + 660 * SECOND), Some(58 * SECOND));
    }

    #[test]
    fn another_reason_is_logged_soon_and_reasons_that_take_turns_are_not_logged_each_time() {
        let (lasting, begun) = (Lasting::with_quiet(5 * SECOND), Instant::now());
        assert!(lasting.fails_at("refused", begun).is_some());
        assert!(lasting.fails_at("loading", begun + SECOND).is_none());
        assert_eq!(lasting.fails_at("loading", begun + 5 * SECOND), Some(5 * SECOND));
        let turns = (6..66)
            .filter(|second| {
                lasting
                    .fails_at(["refused", "loading"][second % 2], begun + *second as u32 * SECOND)
                    .is_some()
            })
            .count();
        assert!(turns <= 12, "{turns} lines in a minute");
    }
}
