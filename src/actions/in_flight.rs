//! Running actions: each in a separate task, so that a caller that stops waiting does not cut it short.
//!
//! When a client hangs up, the future of its request is dropped wherever it happens to be: between a change and its audit
//! entry, or between the two halves of a change on a host. So the change does not run in that future.

use std::future::Future;

use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// The running actions of one worker. Cheap to clone; all clones share one set.
#[derive(Debug, Clone, Default)]
pub struct InFlight(TaskTracker);

impl InFlight {
    /// Runs `action` to its end, even if this future is dropped. A panic in it resumes in the caller, if it still waits.
    pub fn complete<T: Send + 'static>(
        &self,
        action: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        // On the heap from the beginning: actions call each other, so each future would contain those of the actions it calls. The
        // future of an undo, which may call any of them, would be too large for a thread's stack.
        let action = Box::pin(action);
        async move {
            match self.0.spawn(action.in_current_span()).await {
                Ok(outcome) => outcome,
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Only the end of the runtime cancels it, and that ends this future too.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    /// Runs `action` to its end in the background.
    pub fn spawn(&self, action: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(action.in_current_span()));
    }

    /// Waits until no action is running; for the end of the worker, when no more begin.
    pub async fn finished(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_action_whose_caller_has_gone_is_finished_and_waited_for() {
        let (in_flight, done) = (InFlight::default(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&done);
        let action = in_flight.complete(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            seen.store(true, Ordering::Relaxed);
        });
        assert!(tokio::time::timeout(Duration::from_millis(100), action).await.is_err());
        assert!(!done.load(Ordering::Relaxed));
        in_flight.finished().await;
        assert!(done.load(Ordering::Relaxed), "the worker would have ended before the action");
    }

    #[tokio::test]
    async fn a_panic_in_an_action_reaches_its_caller() {
        let action = std::panic::AssertUnwindSafe(async {
            InFlight::default().complete(async { panic!("a defect") }).await;
        });
        assert!(action.catch_unwind().await.is_err());
    }
}
