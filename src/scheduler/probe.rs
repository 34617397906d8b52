//! The health probe of every fail2ban server.
//!
//! A probe reads the state, asks the agent, reads again with Redis's time, and writes what follows, fenced and by
//! revision. If anything else was written in between, an activation above all, the answer may be older than that: it is discarded
//! and the probe is run again.
//!
//! A sweep probes all servers at once, up to [`MAX_CONCURRENT_PROBES`]. It waits for slow ones only for a share of the interval:
//! their probes continue in the background, the next sweep skips them, and no other server is delayed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::context::Scheduler;
use super::outcome::{on_error, on_success};
use super::term::{Term, TermEnd};
use crate::domain::findings::{Finding, Report, servers};
use crate::domain::hours;
use crate::domain::transition::on_probe;
use crate::domain::{Event, ProbeOutcome, ServerName, ServerState};
use crate::store::{HoursChange, StoreError, StoredServer};
use crate::telemetry::server_gauges;

/// The most probes in flight.
const MAX_CONCURRENT_PROBES: usize = 256;
/// An agent that takes longer is unreachable; it reports a slow fail2ban as `busy` well before that.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// How often a probe is run at most: it is run again if something wrote the state in between.
const TRIES: u32 = 5;
/// The share of the interval that a sweep waits for its probes.
const SWEEP_TIMEOUT_SHARE: f64 = 0.9;

/// The probes of one term. Dropping it aborts them.
pub struct Prober {
    shared: Arc<Probes>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

struct Probes {
    scheduler: Arc<Scheduler>,
    term: Arc<Term>,
    /// Servers being probed, and whether another probe was requested since: the running one may predate the request.
    in_flight: Mutex<HashMap<ServerName, bool>>,
    slots: Semaphore,
    /// Signalled after each probe that was stored.
    probed: Notify,
}

impl Prober {
    pub fn new(scheduler: Arc<Scheduler>, term: Arc<Term>) -> Self {
        let shared = Probes {
            scheduler,
            term,
            in_flight: Mutex::default(),
            slots: Semaphore::new(MAX_CONCURRENT_PROBES),
            probed: Notify::new(),
        };
        Self { shared: Arc::new(shared), tasks: tokio::sync::Mutex::default() }
    }

    /// Signalled after each probe that was stored.
    pub fn probed(&self) -> &Notify {
        &self.shared.probed
    }

    /// Probes every server; the outcome is for the job's record.
    pub async fn sweep(&self) -> String {
        let scheduler = &self.shared.scheduler;
        let all: Vec<ServerName> = scheduler.agents.names();
        let patience = scheduler.settings.now().settings.probe_interval.mul_f64(SWEEP_TIMEOUT_SHARE);
        match self.probe(&all, false, patience).await {
            Tally { slow: 0, failed: 0 } => "ok".to_owned(),
            Tally { slow, failed } => {
                format!("probes that could not be stored: {failed}; servers that are slow to answer: {slow}")
            }
        }
    }

    /// Probes the servers that users asked for.
    pub async fn answer_requests(&self) -> Result<(), StoreError> {
        let mut asked = self.shared.scheduler.store.take_probe_requests(&self.shared.term.fence).await?;
        asked.retain(|name| self.shared.scheduler.agents.contains(name));
        self.probe(&asked, true, Duration::ZERO).await;
        Ok(())
    }

    /// Probes these servers without waiting for the next sweep, nor for them.
    pub async fn probe_at_once(&self, names: &[ServerName]) {
        self.probe(names, true, Duration::ZERO).await;
    }

    /// Starts a probe of each server that is not being probed (one that is gets another probe afterwards if `asked`), waits for them
    /// at most for `patience`, and returns how they ended.
    async fn probe(&self, names: &[ServerName], asked: bool, patience: Duration) -> Tally {
        let mut mine = {
            let mut tasks = self.tasks.lock().await;
            while tasks.try_join_next().is_some() {}
            let mut mine = Vec::with_capacity(names.len());
            for name in names {
                let Some(place) = ProbeSlot::take(&self.shared, name, asked) else { continue };
                let (done, ended) = tokio::sync::oneshot::channel();
                mine.push(ended);
                tasks.spawn(async move {
                    let mut stored = probe_server(&place.shared, &place.name).await;
                    while place.asked_again() {
                        stored = probe_server(&place.shared, &place.name).await;
                    }
                    // Nobody may be waiting for it any more.
                    let _ = done.send(stored);
                });
            }
            mine
        };
        let give_up = Instant::now() + patience;
        let mut tally = Tally::default();
        for ended in &mut mine {
            match timeout(give_up.saturating_duration_since(Instant::now()), ended).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false) | Err(_)) => tally.failed += 1,
                Err(_) => tally.slow += 1,
            }
        }
        tally
    }
}

/// How many probes of a sweep did not end well.
#[derive(Default)]
struct Tally {
    slow: usize,
    failed: usize,
}

/// Marks a server as being probed until it is dropped, after a panic too.
struct ProbeSlot {
    shared: Arc<Probes>,
    name: ServerName,
}

impl ProbeSlot {
    fn take(shared: &Arc<Probes>, name: &ServerName, asked: bool) -> Option<Self> {
        let mut in_flight = shared.in_flight();
        if let Some(again) = in_flight.get_mut(name) {
            *again |= asked;
            return None;
        }
        in_flight.insert(name.clone(), false);
        Some(Self { shared: Arc::clone(shared), name: name.clone() })
    }

    /// Whether a probe was asked for while this one ran.
    fn asked_again(&self) -> bool {
        self.shared.in_flight().get_mut(&self.name).is_some_and(std::mem::take)
    }
}

impl Drop for ProbeSlot {
    fn drop(&mut self) {
        self.shared.in_flight().remove(&self.name);
    }
}

impl Probes {
    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashMap<ServerName, bool>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the outcome was stored.
async fn probe_server(shared: &Probes, name: &ServerName) -> bool {
    // The semaphore is never closed.
    let Ok(_slot) = shared.slots.acquire().await else { return false };
    for _ in 0..TRIES {
        match probe_once(shared, name).await {
            Ok(()) => {
                on_success(&shared.term, name.as_str());
                return true;
            }
            Err(StoreError::Conflict) => {}
            Err(error) => {
                on_error(&shared.scheduler.store, &shared.term, name.as_str(), &error);
                return false;
            }
        }
    }
    tracing::warn!(server.name = %name, "gave up probing `{name}` after {TRIES} concurrent-write conflicts");
    false
}

async fn probe_once(shared: &Probes, name: &ServerName) -> Result<(), StoreError> {
    let Probes { scheduler, term, .. } = shared;
    let Some(agent) = scheduler.agents.get(name) else { return Ok(()) };
    let before = scheduler.store.server(name).await?;
    // A result that comes after the lease has ended would be refused: do not ask for longer.
    let Some(left) = term.remaining() else {
        term.end(TermEnd::Deadline);
        return Ok(());
    };
    let begun = Instant::now();
    let outcome = agent.probe(PROBE_DEADLINE.min(left)).await;
    measure(name, &outcome, begun.elapsed());

    let after = scheduler.store.server(name).await?;
    if after.revision != before.revision {
        return Err(StoreError::Conflict);
    }
    let crash_window = scheduler.settings.now().settings.crash_window();
    let answered = matches!(outcome, ProbeOutcome::Answered(_));
    let (state, events) = on_probe(ServerState::clone(&after.state), outcome, after.read_at, crash_window);
    let hours =
        if answered { hours_with(shared, name, &state, &after).await? } else { HoursChange::default() };
    scheduler.store.write_probed(&term.fence, name, &after, &state, &hours, &events).await?;
    note_findings((&shared.scheduler, &shared.term), name, &after, &state).await;
    log_events(name, &state, &events);
    shared.probed.notify_one();
    Ok(())
}

/// Notes which findings this step from one state to another began and ended, so that each has its time even if no user looks.
/// If a note is lost, the next look at the findings makes it.
pub(super) async fn note_findings(
    (scheduler, term): (&Scheduler, &Term),
    name: &ServerName,
    before: &StoredServer,
    state: &ServerState,
) {
    let now = before.read_at;
    let (was, is) = (servers::judge(name, &before.state, now), servers::judge(name, state, now));
    let ids = |report: &Report| report.findings.iter().map(Finding::id).collect::<BTreeSet<String>>();
    let (old, new) = (ids(&was), ids(&is));
    let there: Vec<String> = new.difference(&old).cloned().collect();
    // A finding that this probe could not check is not gone.
    let seen_to_be_gone = |id: &&String| is.covers(id);
    let gone: Vec<String> = old.difference(&new).filter(seen_to_be_gone).cloned().collect();
    if there.is_empty() && gone.is_empty() {
        return;
    }
    let what = format!("findings of {name}");
    match scheduler.store.note_probed_findings(&term.fence, &there, &gone).await {
        Ok(()) => on_success(term, &what),
        Err(error) => on_error(&scheduler.store, term, &what, &error),
    }
}

/// What the counts of this answer change in the hourly counts.
async fn hours_with(
    shared: &Probes,
    name: &ServerName,
    state: &ServerState,
    read: &StoredServer,
) -> Result<HoursChange, StoreError> {
    let before = shared.scheduler.store.server_hours(name).await?;
    let after = hours::count(before.clone(), &state.status.jails, read.read_at);
    HoursChange::between(&before, &after)
}

fn measure(name: &ServerName, outcome: &ProbeOutcome, took: Duration) {
    let server = name.to_string();
    metrics::counter!("bangui_probes_total", "server" => server.clone(), "outcome" => outcome.label())
        .increment(1);
    metrics::histogram!("bangui_probe_duration_seconds", "server" => server).record(took);
}

/// Logs what has changed, once; and sets the gauges.
fn log_events(name: &ServerName, state: &ServerState, events: &[Event]) {
    for event in events {
        let (kind, facts) = (event.kind(), event.facts());
        match event {
            Event::WentOffline { .. } | Event::Degraded { .. } | Event::ActivationCrashDetected { .. } => {
                tracing::warn!(server.name = %name, event = kind, %facts, "server {name}: {kind}");
            }
            _ => tracing::info!(server.name = %name, event = kind, %facts, "server {name}: {kind}"),
        }
    }
    let banned = state.status.jails.iter().map(|(jail, counts)| (jail.to_string(), counts.currently_banned));
    server_gauges::set(name.as_str(), state.status.condition.online(), banned);
}
