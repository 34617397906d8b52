//! How a worker becomes the leader, stays the leader, and stops.
//!
//! ```text
//! campaign ──taken──▶ lead: renewals (own task, own connection)   ──lost, fenced, late──▶ campaign
//!    ▲                       presence (own task, own connection)
//!    │                       jobs (this task)                     ──stop──▶ work ends, then release
//!    └── standby.rs: woken by "released", or when the holder's TTL has run out, or its process is gone
//! ```
//!
//! An error is never a reason to lead: without an answer the lease is "not ours" until asking again says otherwise.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::task::JoinError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::context::Scheduler;
use super::standby::{Opening, Standby, jitter};
use super::term::{Term, TermEnd};
use super::{jobs, presence};
use crate::store::{Acquired, HeldTerm, Lease, Store, StoreError, WorkerId, boot_now};
use crate::telemetry::{Lasting, server_gauges};

/// A renewal comes after this share of the TTL: two of them may be lost before the lease is.
const RENEW_AFTER: f64 = 0.3;
/// After an error, before asking again.
const RETRY_AFTER: Duration = Duration::from_millis(300);
/// How long a worker that is stopping waits for its release to be answered.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Campaigns and leads until `stop`; when it returns, the work has ended and the lease is released.
    pub async fn run(self, stop: CancellationToken) {
        run(Arc::new(self), stop).await;
    }
}

async fn run(scheduler: Arc<Scheduler>, stop: CancellationToken) {
    let mut lease = scheduler.store.lease(scheduler.worker.clone(), scheduler.lease_ttl);
    loop {
        let term = tokio::select! {
            () = stop.cancelled() => break,
            term = campaign(&mut lease, &scheduler.store) => Arc::new(term),
        };
        lease = lead(&scheduler, lease, &term, &stop).await;
    }
}

/// Releases the lease that a crashed scheduler of this process may have left behind, so that another worker leads at once. Call
/// this after its work has stopped.
pub async fn release_left_behind(store: &Store, worker: &WorkerId, ttl: Duration) {
    let mut lease = store.lease(worker.clone(), ttl);
    let releasing = async {
        match lease.left_behind().await? {
            Some(fence) => lease.release(&fence).await.map(|_| ()),
            None => Ok::<(), StoreError>(()),
        }
    };
    match timeout(RELEASE_TIMEOUT, releasing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("failed to release the lease: {error}; it expires in {ttl:?}"),
        Err(_) => tracing::warn!("timed out releasing the lease: it expires in {ttl:?}"),
    }
    show_no_leader();
}

/// The metrics of a worker that does not lead.
fn show_no_leader() {
    metrics::gauge!("bangui_scheduler_leader").set(0.0);
    metrics::gauge!("bangui_probes_due_timestamp_seconds").set(0.0);
    metrics::gauge!("bangui_discovery_conflicts").set(0.0);
    server_gauges::forget_all();
}

/// Waits for the lease: tries first, then waits. Each new subscription to the wake channel rings the bell, so no release is missed.
async fn campaign(lease: &mut Lease, store: &Store) -> Term {
    let mut standby = Standby::default();
    let mut gone: Option<HeldTerm> = None;
    loop {
        if store.available().is_err() {
            // An absence of the leader that was seen on the old connection proves nothing on a new one.
            gone = None;
            sleep(RETRY_AFTER + jitter()).await;
            continue;
        }
        let asked_at = boot_now();
        let deserted = gone.take();
        let asked = match &deserted {
            Some(gone) => lease.take_over(gone).await,
            None => lease.acquire().await,
        };
        match asked {
            Ok(Acquired::Taken { fence, redis_micros }) => {
                if let Some(gone) = deserted {
                    tracing::info!(
                        lease.epoch = gone.epoch(),
                        "took over the lease of a leader whose process is gone"
                    );
                }
                return Term::new(fence, lease.ttl(), asked_at, redis_micros);
            }
            Ok(Acquired::Held { .. }) => {}
            Err(error) => {
                tracing::debug!(error = %error, "failed to request the lease: retrying");
                sleep(RETRY_AFTER + jitter()).await;
                store.until_writable(&error).await;
                continue;
            }
        }
        match standby.wait(lease, store).await {
            Ok(Opening::Deserted(term)) => gone = Some(term),
            Ok(Opening::MayBeFree) => {}
            Err(error) => {
                tracing::debug!(error = %error, "failed to read the lease or its holder: retrying");
                sleep(RETRY_AFTER + jitter()).await;
            }
        }
    }
}

/// Leads until the term ends or this worker stops, and returns the lease to campaign with again.
async fn lead(scheduler: &Arc<Scheduler>, lease: Lease, term: &Arc<Term>, stop: &CancellationToken) -> Lease {
    let epoch = term.fence.epoch();
    tracing::info!(lease.epoch = epoch, "became leader (epoch {epoch})");
    metrics::gauge!("bangui_scheduler_leader").set(1.0);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a float for 285,000 years")]
    metrics::gauge!("bangui_scheduler_epoch").set(epoch as f64);
    metrics::counter!("bangui_scheduler_transitions_total", "reason" => "acquired").increment(1);

    // Aborted when this future is dropped or unwound: nobody may renew a lease under which nothing runs.
    let mut renewals =
        AbortOnDropHandle::new(tokio::spawn(renew(lease, Arc::clone(term), scheduler.store.clone())));
    // Kept until the lease is released, since a leader that is about to release it is not gone.
    let mut presence =
        AbortOnDropHandle::new(tokio::spawn(presence::keep(Arc::clone(term), scheduler.store.clone())));
    let ended_early = tokio::select! {
        () = stop.cancelled() => {
            term.end(TermEnd::Released);
            None
        }
        () = jobs::run(scheduler, term) => None,
        ended = &mut renewals => Some(ended),
        ended = &mut presence => {
            let Err(error) = ended;
            if let Ok(panic) = error.try_into_panic() {
            // Its panic becomes this part's own.
                std::panic::resume_unwind(panic);
            }
            term.end(TermEnd::Released);
            None
        }
    };
    // `jobs::run` was dropped or has returned: its probes are aborted. Only now may another worker begin.
    let ended = match ended_early {
        Some(ended) => ended,
        None => renewals.await,
    };
    let mut lease = match ended.map_err(JoinError::try_into_panic) {
        Ok(lease) => lease,
        // Its panic becomes this part's own.
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is shutting down.
        Err(Err(_)) => scheduler.store.lease(scheduler.worker.clone(), scheduler.lease_ttl),
    };
    let why = term.why();
    if why != TermEnd::Lost
        && !matches!(timeout(RELEASE_TIMEOUT, lease.release(&term.fence)).await, Ok(Ok(_)))
    {
        tracing::warn!(lease.epoch = epoch, "failed to release the lease: it expires");
    }
    show_no_leader();
    metrics::counter!("bangui_scheduler_transitions_total", "reason" => why.label()).increment(1);
    tracing::info!(
        lease.epoch = epoch,
        reason = why.label(),
        "lost leadership (epoch {epoch}): {}",
        why.in_words()
    );
    lease
}

/// Renews until the term is over, and ends it when the lease is lost or cannot be renewed in time.
///
/// The lease has its own connection, so a leader whose shared connection is broken could renew forever and do nothing. It gives up
/// the lease once that has lasted for one TTL, and [`campaign`] does not begin while it lasts.
async fn renew(mut lease: Lease, term: Arc<Term>, store: Store) -> Lease {
    let mut could_work = boot_now();
    let every = lease.ttl().mul_f64(RENEW_AFTER);
    let (mut wait, failing) = (every, Lasting::new());
    loop {
        tokio::select! {
            () = term.over.cancelled() => return lease,
            () = term.renewal_wanted() => {}
            () = sleep(wait.mul_f64(rand::rng().random_range(0.9..1.1))) => {}
        }
        let Some(left) = term.remaining() else {
            term.end(TermEnd::Deadline);
            return lease;
        };
        let asked_at = boot_now();
        if store.available().is_ok() {
            could_work = asked_at;
        } else if asked_at - could_work > lease.ttl() {
            term.end(TermEnd::Blind);
            return lease;
        }
        wait = match timeout(left, lease.renew(&term.fence)).await {
            Ok(Ok(Some(redis_micros))) => {
                term.renewed(asked_at, redis_micros);
                if failing.ends().is_some() {
                    tracing::info!("renewed the lease again");
                }
                every
            }
            Ok(Ok(None)) => {
                term.end(TermEnd::Lost);
                return lease;
            }
            Ok(Err(error)) => {
                if failing.fails(&error.to_string()).is_some() {
                    tracing::warn!(error = %error, "failed to renew the lease: retrying");
                }
                every / 8
            }
            Err(_) => {
                term.end(TermEnd::Deadline);
                return lease;
            }
        };
    }
}
