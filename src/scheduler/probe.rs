//! The health probe of every fail2ban server.
//!
//! A probe reads the state, asks the agent, reads again with Redis's time, and writes what follows, fenced and by
//! revision. If anything wrote in between, an activation above all, the answer may be of before it: it is thrown
//! away and the probe is run again.
//!
//! A sweep asks all servers at once, up to [`AT_ONCE`]. It does not wait for a slow one beyond its share of the
//! interval: that probe goes on by itself, the next sweep leaves it alone, and nobody else is delayed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Scheduler;
use super::jobs::on_error;
use super::term::{End, Term};
use crate::domain::transition::on_probe;
use crate::domain::{Event, JailName, ProbeOutcome, ServerName, ServerState};
use crate::store::StoreError;

/// Probes in flight at most.
const AT_ONCE: usize = 256;
/// An agent that takes longer is unreachable; it answers `busy` for fail2ban well before.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// How often a probe is run again because something wrote in between.
const TRIES: u32 = 5;
/// The share of the interval that a sweep waits for its probes.
const PATIENCE: f64 = 0.9;

/// The probes of one term. Dropping it aborts them.
pub struct Prober {
    shared: Arc<Shared>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

struct Shared {
    scheduler: Arc<Scheduler>,
    term: Arc<Term>,
    in_flight: Mutex<HashSet<ServerName>>,
    slots: Semaphore,
}

impl Prober {
    pub fn new(scheduler: Arc<Scheduler>, term: Arc<Term>) -> Self {
        let shared = Shared { scheduler, term, in_flight: Mutex::default(), slots: Semaphore::new(AT_ONCE) };
        Self { shared: Arc::new(shared), tasks: tokio::sync::Mutex::default() }
    }

    /// Probes every server; the outcome is for the job's record.
    pub async fn sweep(&self) -> String {
        let scheduler = &self.shared.scheduler;
        let all: Vec<ServerName> = scheduler.agents.keys().cloned().collect();
        let unfinished =
            self.probe(&all, scheduler.settings.now().settings.probe_interval.mul_f64(PATIENCE)).await;
        if unfinished == 0 { "ok".to_owned() } else { format!("{unfinished} servers are slow to answer") }
    }

    /// Probes the servers that users asked for.
    pub async fn answer_requests(&self) -> Result<(), StoreError> {
        let mut asked = self.shared.scheduler.store.take_probe_requests().await?;
        asked.retain(|name| self.shared.scheduler.agents.contains_key(name));
        self.probe(&asked, Duration::ZERO).await;
        Ok(())
    }

    /// Starts a probe of each that is not being probed, waits for them at most `patience`, and tells how many have not
    /// ended by then.
    async fn probe(&self, names: &[ServerName], patience: Duration) -> usize {
        let mut mine = {
            let mut tasks = self.tasks.lock().await;
            while tasks.try_join_next().is_some() {}
            let mut mine = Vec::with_capacity(names.len());
            for name in names.iter().filter(|name| self.shared.begin(name)) {
                let (shared, name) = (Arc::clone(&self.shared), name.clone());
                let (done, ended) = tokio::sync::oneshot::channel::<()>();
                mine.push(ended);
                tasks.spawn(async move {
                    probe_server(&shared, &name).await;
                    shared.end(&name);
                    drop(done);
                });
            }
            mine
        };
        let give_up = Instant::now() + patience;
        let mut unfinished = 0;
        for ended in &mut mine {
            if timeout(give_up.saturating_duration_since(Instant::now()), ended).await.is_err() {
                unfinished += 1;
            }
        }
        unfinished
    }
}

impl Shared {
    /// Whether this server is not being probed yet; from now on it is.
    fn begin(&self, name: &ServerName) -> bool {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone())
    }

    fn end(&self, name: &ServerName) {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

async fn probe_server(shared: &Shared, name: &ServerName) {
    // The semaphore is never closed.
    let Ok(_slot) = shared.slots.acquire().await else { return };
    for _ in 0..TRIES {
        match probe_once(shared, name).await {
            Ok(()) => return,
            Err(StoreError::Conflict) => {}
            Err(error) => return on_error(&shared.term, name.as_str(), &error),
        }
    }
    tracing::warn!(server.id = %name, "something wrote during each of {TRIES} probes: none was stored");
}

async fn probe_once(shared: &Shared, name: &ServerName) -> Result<(), StoreError> {
    let Shared { scheduler, term, .. } = shared;
    let Some(agent) = scheduler.agents.get(name) else { return Ok(()) };
    let before = scheduler.store.server(name).await?;
    // A result that comes after the lease has ended would be refused: do not ask for longer.
    let Some(left) = term.remaining() else {
        term.end(End::Deadline);
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
    let (state, events) = on_probe(after.state.clone(), outcome, after.read_at, crash_window);
    scheduler.store.write_probed(&term.fence, name, &after, &state, &events).await?;
    tell(name, &after.state, &state, &events);
    Ok(())
}

fn measure(name: &ServerName, outcome: &ProbeOutcome, took: Duration) {
    let server = name.to_string();
    metrics::counter!("bangui_probes_total", "server" => server.clone(), "outcome" => outcome.label())
        .increment(1);
    metrics::histogram!("bangui_probe_duration_seconds", "server" => server).record(took);
}

/// Says what happened, once, at the flip; and sets the gauges.
fn tell(name: &ServerName, before: &ServerState, state: &ServerState, events: &[Event]) {
    for event in events {
        let (kind, facts) = (event.kind(), event.facts());
        match event {
            Event::WentOffline { .. } | Event::Degraded { .. } | Event::ActivationCrashDetected { .. } => {
                tracing::warn!(server.id = %name, event = kind, %facts, "server {name}: {kind}");
            }
            _ => tracing::info!(server.id = %name, event = kind, %facts, "server {name}: {kind}"),
        }
    }
    let online = f64::from(u8::from(state.status.condition.online()));
    metrics::gauge!("bangui_server_online", "server" => name.to_string()).set(online);
    let banned = |jail: &JailName| metrics::gauge!("bangui_jail_banned", "server" => name.to_string(), "jail" => jail.to_string());
    for (jail, counts) in &state.status.jails {
        #[expect(clippy::cast_precision_loss, reason = "a count of addresses, for a gauge")]
        banned(jail).set(counts.currently_banned as f64);
    }
    // A jail that runs no more bans nobody; its last number would stand there for ever.
    for jail in before.status.jails.keys().filter(|jail| !state.status.jails.contains_key(*jail)) {
        banned(jail).set(0.0);
    }
}
