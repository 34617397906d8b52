//! The pauses between the attempts of a step that fails.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::sleep;

use crate::store::{Store, StoreError};

/// The pause after the first failure, in ms. It doubles with each further one.
const FIRST_MS: std::ops::Range<u64> = 300..600;
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How often in a row it has failed.
#[derive(Debug, Default)]
pub struct Retry {
    failures: u32,
}

impl Retry {
    /// Waits before the next attempt. While Redis refuses writes that is until it takes them, which the connection finds out alone,
    /// for all who wait.
    pub async fn pause(&mut self, store: &Store, error: &StoreError) {
        let first = Duration::from_millis(rand::rng().random_range(FIRST_MS));
        if error.refuses_writes() {
            sleep(first).await;
            store.until_writable(error).await;
        } else {
            sleep(self.next(first)).await;
        }
    }

    fn next(&mut self, first: Duration) -> Duration {
        let pause = first.saturating_mul(1 << self.failures.min(8)).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_double_up_to_the_longest() {
        let mut retry = Retry::default();
        let pauses: Vec<u128> =
            (0..1000).map(|_| retry.next(Duration::from_millis(300)).as_millis()).collect();
        assert_eq!(pauses[..6], [300, 600, 1200, 2400, 4800, 5000]);
        assert_eq!(pauses[999], 5000);
    }
}
