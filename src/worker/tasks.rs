//! The parts of a worker, under one supervisor.
//!
//! Every long-lived task of a worker is registered here under its name. None may end before it is stopped: a worker without, say,
//! the part that keeps the connection to Redis would look alive and fail the requests it gets.
//!
//! ```text
//! part panics, or returns before its stage is stopped
//!    ─▶ not ready at once ─▶ log line with `part.name` ─▶ the usual drain and stop ─▶ exit code 1
//! ```
//!
//! Register a new long-lived task in `mod.rs`, in the stage of the parts that need it; add its name to the table of
//! `tests/it/parts.rs`, which ends every part in turn.

#[cfg(debug_assertions)]
mod test_switch;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::Readiness;

/// When a part is stopped. The stages are stopped in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Work that other workers can take over. Stopped at the first signal.
    Work,
    /// What accepts connections. Stopped once the load balancer has had time to notice.
    Listen,
    /// What requests in flight need. Stopped once the last of them is answered.
    Follow,
    /// What signing off from Redis needs. Stopped last.
    Connect,
}

/// A part that ended before it was stopped. Its text is a sentence for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("worker part `{part}` {reason}")]
pub struct PartFailed {
    part: &'static str,
    reason: String,
}

/// Runs the parts of one worker. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    stages: [StageTasks; 4],
    readiness: Readiness,
    first_failure: OnceLock<PartFailed>,
    failed: CancellationToken,
}

#[derive(Default)]
struct StageTasks {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Supervisor {
    /// A supervisor without parts; `readiness` drains as soon as a part fails.
    pub fn new(readiness: Readiness) -> Self {
        Self(Arc::new(Inner {
            stages: Default::default(),
            readiness,
            first_failure: OnceLock::new(),
            failed: CancellationToken::new(),
        }))
    }

    /// Runs a part that never returns; it is dropped when its stage is stopped.
    pub fn run(&self, stage: Stage, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.run_until(stage, name, |stop| async move {
            stop.run_until_cancelled(part).await;
        });
    }

    /// Runs a part that returns by itself soon after its stage is stopped.
    pub fn run_until<F>(&self, stage: Stage, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let StageTasks { stop, tasks } = self.stage(stage);
        let part = part(stop.clone());
        #[cfg(debug_assertions)]
        let part = test_switch::breakable(name, part);
        tracing::debug!(part.name = name, "starting worker part `{name}`");
        let (this, stop) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            match AssertUnwindSafe(part).catch_unwind().await {
                Ok(()) if stop.is_cancelled() => {}
                Ok(()) => this.fail(name, "returned unexpectedly".to_owned()),
                Err(panic) => this.fail(name, format!("panicked: {}", message(&*panic))),
            }
        });
    }

    /// Cancelled when this stage is stopped.
    pub fn stop_of(&self, stage: Stage) -> CancellationToken {
        self.stage(stage).stop.clone()
    }

    /// Stops the parts of a stage, which takes no more parts from then on.
    pub fn stop(&self, stage: Stage) {
        let StageTasks { stop, tasks } = self.stage(stage);
        stop.cancel();
        tasks.close();
    }

    /// Waits until every part of a stage that was stopped has ended.
    pub async fn stopped(&self, stage: Stage) {
        self.stage(stage).tasks.wait().await;
    }

    /// Waits until a part fails.
    pub async fn failed(&self) {
        self.0.failed.cancelled().await;
    }

    /// The first part that failed, if one has.
    pub fn failure(&self) -> Option<PartFailed> {
        self.0.first_failure.get().cloned()
    }

    fn stage(&self, stage: Stage) -> &StageTasks {
        let [work, listen, follow, connect] = &self.0.stages;
        match stage {
            Stage::Work => work,
            Stage::Listen => listen,
            Stage::Follow => follow,
            Stage::Connect => connect,
        }
    }

    fn fail(&self, part: &'static str, reason: String) {
        self.0.readiness.drain();
        let failure = PartFailed { part, reason };
        tracing::error!(part.name = part, "{failure}: draining, then exiting with code 1");
        // Report the first failure: later ones are often its consequences.
        let _ = self.0.first_failure.set(failure);
        self.0.failed.cancel();
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::http::Phase;

    fn serving() -> (Supervisor, Readiness) {
        let readiness = Readiness::starting();
        readiness.serve();
        (Supervisor::new(readiness.clone()), readiness)
    }

    #[tokio::test]
    async fn a_part_that_returns_or_panics_fails_the_worker_and_one_that_was_stopped_does_not() {
        let ends: [fn(); 2] = [|| (), || panic!("of a test")];
        let reasons = ["returned unexpectedly", "panicked: of a test"];
        for (end, reason) in ends.into_iter().zip(reasons) {
            let (parts, readiness) = serving();
            parts.run(Stage::Follow, "steady", pending());
            parts.run(Stage::Work, "broken", async move { end() });
            parts.failed().await;
            assert_eq!(readiness.phase(), Phase::Draining);
            assert_eq!(parts.failure().unwrap().to_string(), format!("worker part `broken` {reason}"));
            parts.stop(Stage::Follow);
            parts.stopped(Stage::Follow).await;
            assert_eq!(parts.failure().unwrap().part, "broken");
        }
    }

    #[tokio::test]
    async fn a_stopped_stage_ends_and_the_others_continue() {
        let (parts, readiness) = serving();
        parts.run(Stage::Connect, "endless", pending());
        parts.run_until(Stage::Work, "polite", |stop| async move { stop.cancelled().await });
        parts.stop(Stage::Work);
        parts.stopped(Stage::Work).await;
        assert!(parts.stopped(Stage::Connect).now_or_never().is_none());
        assert!((parts.failure(), readiness.phase()) == (None, Phase::Serving));
    }

    #[tokio::test]
    async fn a_part_that_panics_on_its_way_out_fails_the_worker_too() {
        let (parts, _) = serving();
        parts.run_until(Stage::Work, "clumsy", |stop| async move {
            stop.cancelled().await;
            panic!("on its way out");
        });
        parts.stop(Stage::Work);
        parts.stopped(Stage::Work).await;
        assert_eq!(parts.failure().unwrap().part, "clumsy");
    }

    #[tokio::test]
    async fn the_first_failure_is_the_one_that_is_reported() {
        let (parts, _) = serving();
        parts.run(Stage::Work, "first", async {});
        parts.failed().await;
        parts.run(Stage::Work, "second", async {});
        parts.stop(Stage::Work);
        parts.stopped(Stage::Work).await;
        assert_eq!(parts.failure().unwrap().part, "first");
    }
}
