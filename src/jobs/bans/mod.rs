//! Large bans and unbans, carried out by whichever worker is free.
//!
//! Every worker runs this loop: find the jobs that may be claimed, claim one, work on it, repeat. It is woken by the
//! message that a job was enqueued or released, and also polls when a claim may have expired.
//!
//! * `domain/ban_job.rs`: what a job is, and which may be claimed (pure);
//! * `store/jobs/ban_jobs.rs`: claims, and what is stored of a job;
//! * `work.rs`: one job, from its claim to its end.
//!
//! As with the leader's lease, holding a claim is only a hint. What counts is its epoch, which Redis compares at every write and
//! the agent at every command.

mod work;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::client::fleet::Fleet;
use crate::domain::ban_job::claimable;
use crate::store::{Store, StoreError, Wake, WorkerId};

/// Jobs that one worker works on at once.
const MAX_CONCURRENT_JOBS: usize = 4;
/// How often a worker polls for jobs whose wake-up message was lost.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// The pause after an error.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The dependencies of the ban job runner. One per worker.
#[derive(Clone)]
pub struct BanJobs {
    /// Redis.
    pub store: Store,
    /// The fail2ban servers.
    pub agents: Fleet,
    /// This worker's id.
    pub worker: WorkerId,
}

impl BanJobs {
    /// Works on jobs until `stop`; releases those it was working on before it returns.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let mut running = JoinSet::new();
        while !stop.is_cancelled() {
            let wait = match this.fill(&mut running, &stop).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::debug!(error = %error, "failed to look for ban jobs: retrying");
                    RETRY_AFTER
                }
            };
            let jitter = Duration::from_millis(rand::rng().random_range(0..200));
            tokio::select! {
                () = stop.cancelled() => {}
                _ = timeout(wait + jitter, this.store.woken(Wake::BanJob)) => {}
                // A place is free again.
                Some(_) = running.join_next() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Claims what may be claimed, as long as there are places. Returns after which time to look again.
    async fn fill(
        self: &Arc<Self>,
        running: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<Duration, StoreError> {
        while running.try_join_next().is_some() {}
        if running.len() >= MAX_CONCURRENT_JOBS {
            return Ok(POLL_INTERVAL);
        }
        let (open, now) = self.store.open_ban_jobs().await?;
        let (free, wait) = claimable(&open, now, |server| self.agents.contains(server));
        for job in free {
            if running.len() >= MAX_CONCURRENT_JOBS {
                break;
            }
            // Another worker may have been faster.
            let Some(claim) = self.store.claim_ban_job(job, &self.worker).await? else { continue };
            let (this, stop) = (Arc::clone(self), stop.clone());
            running.spawn(async move { this.work(claim, &stop).await });
        }
        Ok(wait.unwrap_or(POLL_INTERVAL).min(POLL_INTERVAL))
    }

    /// Retries a write to Redis for as long as a claim can last; `None` if Redis does not answer, in which case another worker
    /// takes over.
    async fn insist<T, Write>(write: impl Fn() -> Write) -> Option<T>
    where
        Write: Future<Output = Result<T, StoreError>>,
    {
        let mut error = None;
        for _ in 0..8 {
            match write().await {
                Ok(answer) => return Some(answer),
                Err(failed) => error = Some(failed),
            }
            let wait = RETRY_AFTER.mul_f64(rand::rng().random_range(0.8..1.2));
            sleep(wait).await;
        }
        if let Some(error) = error {
            tracing::warn!(error = %error, "failed to save a ban job's progress: another worker will resume it");
        }
        None
    }
}
