//! What a leader does: jobs, each on a schedule that is stored in Redis and outlives every leader.
//!
//! Redis decides in one fenced step whether a job is due, so a new leader neither repeats a run that was just done nor
//! skips one that is due. A new job goes into `store::jobs::schedule::NAMES` and into [`run`].

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{sleep, timeout};

use super::bans;
use super::context::Scheduler;
use super::discovery::{self, Discoverer};
use super::outcome::on_error;
use super::probe::Prober;
use super::term::{Term, TermEnd};
use crate::settings::{Settings, Watcher};
use crate::store::{Fence, JobTurn, Store, StoreError, Wake};

/// How often a leader polls for requests whose wake-up message was lost.
const REQUEST_POLL_INTERVAL: Duration = Duration::from_secs(5);
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
            on_error(term, "discover", &error);
        }
        each("discover", discovery_interval, work).await;
    };
    let sweeps = each("probe", probe_interval, Work::Sweep(&prober));
    let removals = each("remove-silent-workers", removal_interval, Work::RemoveSilentWorkers);
    let requests = async {
        while !term.over.is_cancelled() {
            // Before the first wait too: requests may have been waiting since before this term.
            if let Err(error) = prober.answer_requests().await {
                on_error(term, "probe requests", &error);
                sleep(Duration::from_millis(500)).await;
            } else {
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
    let mut before = "ok".to_owned();
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
        }
        let wait = match turn {
            Ok(JobTurn::NotDue { wait }) => wait,
            Ok(JobTurn::Begun { next }) => {
                let begun = tokio::time::Instant::now();
                let outcome = work.run(store, &term.fence).await.unwrap_or_else(|error| error.to_string());
                // A lasting failure is logged once.
                if outcome != "ok" && outcome != before {
                    tracing::warn!(job = name, outcome, "scheduled job `{name}` failed: {outcome}");
                }
                note_end(store, term, name, &outcome).await;
                before = outcome;
                next.saturating_sub(begun.elapsed())
            }
            Err(error) => {
                on_error(term, name, &error);
                Duration::from_millis(rand::rng().random_range(300..600))
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

async fn note_end(store: &Store, term: &Term, name: &'static str, outcome: &str) {
    if let Err(error) = store.end_job(&term.fence, name, outcome).await {
        on_error(term, name, &error);
    }
}
