//! What a leader does: jobs, each on a schedule that is stored in Redis and outlives every leader.
//!
//! Redis decides in one fenced step whether a job is due, so a new leader neither repeats a run that was just done nor
//! skips one that is due. A new job goes into `store::jobs::schedule::NAMES` and into [`run`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::bans;
use super::context::Scheduler;
use super::discovery::{self, Discoverer};
use super::outcome::{on_error, on_success};
use super::probe::Prober;
use super::retry::Retry;
use super::term::{Term, TermEnd};
use crate::settings::{Settings, Watcher};
use crate::store::{Fence, JobTurn, Store, StoreError, Wake};
use crate::telemetry::Lasting;

/// How often a leader polls for requests whose wake-up message was lost.
const REQUEST_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// What the log calls the answering of requests.
const PROBE_REQUESTS: &str = "probe requests";
const REMOVE_SILENT_WORKERS_INTERVAL: Duration = Duration::from_secs(60);

/// Runs every job until the term is over. Dropping it aborts whatever runs.
pub async fn run(scheduler: &Arc<Scheduler>, term: &Arc<Term>) {
    let prober = Prober::new(Arc::clone(scheduler), Arc::clone(term));
    let store = &scheduler.store;
    let probe_interval: Interval = |settings| settings.probe_interval;
    let removal_interval: Interval = |_| REMOVE_SILENT_WORKERS_INTERVAL;
    let discovery_interval: Interval = |_| discovery::RESOLVE_INTERVAL;
    let each = async |name, interval, work| {
        each(store, term, name, interval, scheduler.settings.watch(), work).await;
    };
    let discoverer = Discoverer::new(Arc::clone(scheduler), Arc::clone(term));
    let looks = async {
        if scheduler.groups.is_empty() {
            return std::future::pending().await;
        }
        let work = Work::Discover(&discoverer, &prober);
        // Also at once: a new leader may have another configuration than the one before.
        if let Err(error) = work.run(store, &term.fence).await {
            on_error(store, term, "discover at once", &error);
        }
        each("discover", discovery_interval, work).await;
    };
    let sweeps = each("probe", probe_interval, Work::Sweep(&prober));
    let removals = each("remove-silent-workers", removal_interval, Work::RemoveSilentWorkers);
    let requests = async {
        let mut retry = Retry::default();
        while !term.over.is_cancelled() {
            // Before the first wait too: requests may have been waiting since before this term.
            if let Err(error) = prober.answer_requests().await {
                on_error(store, term, PROBE_REQUESTS, &error);
                retry.pause(store, &error).await;
            } else {
                on_success(term, PROBE_REQUESTS);
                retry = Retry::default();
                // The message may be lost, so there is a timer too.
                let _ = timeout(REQUEST_POLL_INTERVAL, store.woken(Wake::ProbeRequested)).await;
            }
        }
    };
    let lists = bans::follow(scheduler, term, prober.probed());
    tokio::select! {
        () = term.over.cancelled() => {}
        ((), (), (), (), ()) = async { tokio::join!(sweeps, looks, removals, requests, lists) } => {}
    }
}

/// How often a job runs under these settings.
type Interval = fn(&Settings) -> Duration;

/// What a job does.
enum Work<'a> {
    Sweep(&'a Prober),
    Discover(&'a Discoverer, &'a Prober),
    RemoveSilentWorkers,
}

impl Work<'_> {
    /// One run; its outcome in a word or a sentence.
    async fn run(&self, store: &Store, fence: &Fence) -> Result<String, StoreError> {
        match self {
            Self::Sweep(prober) => Ok(prober.sweep().await),
            Self::Discover(discoverer, prober) => {
                let (new, outcome) = discoverer.look().await?;
                prober.probe_at_once(&new).await;
                Ok(outcome)
            }
            Self::RemoveSilentWorkers => store.remove_silent_workers(fence).await.map(|_| "ok".to_owned()),
        }
    }
}

/// One job: asks Redis whether it is due, runs it, records its outcome, sleeps until the next.
async fn each(
    store: &Store,
    term: &Term,
    name: &'static str,
    interval: Interval,
    mut settings: Watcher,
    work: Work<'_>,
) {
    let mut attempt = 0;
    let (mut retry, bad_ends) = (Retry::default(), Lasting::new());
    loop {
        let in_force = interval(&settings.current().settings);
        let turn = if term.remaining().is_some() {
            store.begin_job(&term.fence, name, in_force, attempt).await
        } else {
            term.end(TermEnd::Deadline);
            return;
        };
        if turn.is_ok() {
            attempt += 1;
            retry = Retry::default();
        }
        let wait = match turn {
            Ok(JobTurn::NotDue { wait }) => {
                on_success(term, name);
                show_due(store, name, wait);
                wait
            }
            Ok(JobTurn::Begun { next }) => {
                let begun = tokio::time::Instant::now();
                let outcome = work.run(store, &term.fence).await.unwrap_or_else(|error| error.to_string());
                log_end(name, &outcome, &bad_ends);
                let wait = next.saturating_sub(begun.elapsed());
                match store.end_job(&term.fence, name, &outcome).await {
                    Ok(()) => {
                        on_success(term, name);
                        show_due(store, name, wait);
                    }
                    Err(error) => on_error(store, term, name, &error),
                }
                wait
            }
            Err(error) => {
                on_error(store, term, name, &error);
                retry.pause(store, &error).await;
                continue;
            }
        };
        // A millisecond later than due, since Redis counts whole ones: otherwise the answer is "not due, 0 ms".
        tokio::select! {
            () = sleep(wait + Duration::from_millis(1)) => {}
            // A new interval does not wait for the end of the old one.
            _ = settings.until(|now| interval(now) != in_force) => {}
        }
    }
}

fn log_end(name: &'static str, outcome: &str, bad_ends: &Lasting) {
    if outcome == "ok" {
        if let Some(lasted) = bad_ends.ends() {
            tracing::info!(job = name, lasted_s = lasted.as_secs(), "scheduled job `{name}` succeeds again");
        }
    } else if let Some(lasts) = bad_ends.fails(outcome) {
        let lasts_s = lasts.as_secs();
        tracing::warn!(job = name, outcome, lasts_s, "scheduled job `{name}` failed: {outcome}");
    }
}

/// Shows in the metrics when the servers are to be probed next: a leader that cannot write stays the leader, and probes nobody.
fn show_due(store: &Store, name: &'static str, wait: Duration) {
    if name == "probe" {
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float")]
        let now = store.about_now().timestamp() as f64;
        metrics::gauge!("bangui_probes_due_timestamp_seconds").set(now + wait.as_secs_f64());
    }
}
