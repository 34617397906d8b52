//! One wait for many: callers that arrive during a run share the next one. However many ask, strangers included, it costs one
//! run at a time.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Runs that are shared. Each begins after everybody who gets its outcome has asked for it.
#[derive(Debug)]
pub(in crate::store) struct SharedWait<T> {
    turn: Mutex<()>,
    begun: AtomicU64,
    /// The number of the latest run that has ended, and its outcome.
    ended: std::sync::Mutex<Option<(u64, T)>>,
}

impl<T> Default for SharedWait<T> {
    fn default() -> Self {
        Self { turn: Mutex::default(), begun: AtomicU64::new(0), ended: std::sync::Mutex::default() }
    }
}

impl<T: Clone> SharedWait<T> {
    /// The outcome of a run that begins from now on: of this one, or of one that another has begun in the meantime. Somebody
    /// who goes away in the middle of a run leaves it to the next.
    pub async fn join(&self, run: impl Future<Output = T>) -> T {
        let seen = self.begun.load(Ordering::SeqCst);
        let _turn = self.turn.lock().await;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, outcome)) = ended.filter(|(number, _)| *number > seen) {
            return outcome;
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = run.await;
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, outcome.clone()));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn calls_during_a_run_share_the_next_one_and_never_the_outcome_of_an_earlier_one() {
        let (waits, runs, go) =
            (Arc::new(SharedWait::default()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut asked = JoinSet::new();
        for n in 0..100 {
            let (waits, begun, go) = (Arc::clone(&waits), Arc::clone(&runs), Arc::clone(&go));
            asked.spawn(async move {
                let run = async {
                    let run = begun.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    run
                };
                (n, waits.join(run).await)
            });
            if n == 0 {
                while runs.load(Ordering::SeqCst) == 0 {
                    yield_now().await;
                }
            }
        }
        for _ in 0..100 {
            yield_now().await;
        }
        go.notify_one();
        while runs.load(Ordering::SeqCst) == 1 {
            yield_now().await;
        }
        go.notify_one();
        while let Some(answered) = asked.join_next().await {
            let (n, run) = answered.unwrap();
            assert_eq!(run, usize::from(n > 0), "the one who came as number {n}");
        }
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_run_whose_asker_goes_away_is_run_by_the_next() {
        let waits = SharedWait::default();
        let away = waits.join(std::future::pending::<u8>());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), away).await.is_err());
        assert_eq!(waits.join(async { 7 }).await, 7);
    }
}
