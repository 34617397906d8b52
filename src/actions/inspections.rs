//! What agents answer to a diagnosis, cached for a moment by each worker, so that many viewers cost each agent one request.
//!
//! One round at a time asks the agents whose last answer is older than `FRESH_FOR`; requests that arrive during a round wait
//! for it. Every wait has a timeout: an agent that is late counts as not asked, and is asked again by the next diagnosis.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::agent::client::AgentClient;
use crate::agent::client::fleet::Fleet;
use crate::agent::wire;
use crate::domain::findings::jails::JailFacts;
use crate::domain::{ServerName, Timestamp};

/// How long an answer is fresh.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// How long an agent has to answer.
const AGENT_DEADLINE: Duration = Duration::from_secs(8);
/// The longest a request waits for all agents together.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The most agents that are asked at once.
const MAX_CONCURRENT: usize = 32;

/// What one agent answered.
#[derive(Debug)]
pub struct Inspection {
    /// The agent itself.
    pub info: wire::Info,
    /// When `info` was requested, by the clock that agents' clocks are compared with.
    pub asked: Timestamp,
    /// When its answer arrived, by the same clock.
    pub answered: Timestamp,
    /// Its jails, or why they are not known.
    pub jails: Result<Jails, String>,
    taken: Instant,
}

/// What findings about jails follow from.
#[derive(Debug)]
pub struct Jails {
    /// Those that run.
    pub running: Vec<JailFacts>,
    /// fail2ban's database; none from an agent before 0.3.
    pub database: Option<wire::Database>,
}

impl From<wire::JailViews> for Jails {
    fn from(views: wire::JailViews) -> Self {
        let running = views.jails.into_iter().filter(|view| view.running).map(|view| JailFacts {
            name: view.name,
            bantime: view.bantime,
            findtime: view.findtime,
            ignoreip: view.ignoreip,
            logs: view.logs,
            reads_journal: !view.journal_matches.is_empty(),
        });
        Self { running: running.collect(), database: views.database }
    }
}

impl Inspection {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.taken) < FRESH_FOR
    }
}

/// What is known about each server, or why nothing is.
#[derive(Debug, Default)]
pub struct Inspected {
    /// In the order in which they were named.
    pub known: Vec<(ServerName, Arc<Inspection>)>,
    /// The reasons.
    pub not_asked: BTreeMap<ServerName, String>,
}

/// The latest answers. Cheap to clone; all clones share them.
#[derive(Debug, Clone, Default)]
pub struct Inspections(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kept: Mutex<HashMap<ServerName, Arc<Inspection>>>,
    /// Locked by the round that asks.
    turn: tokio::sync::Mutex<()>,
}

impl Inspections {
    /// Asks these servers, except those whose last answer is still fresh.
    pub async fn of(
        &self,
        agents: &Fleet,
        names: &[ServerName],
        clock: impl Fn() -> Timestamp + Copy + Send + Sync,
    ) -> Inspected {
        let give_up = Instant::now() + TOTAL_TIMEOUT;
        let mut failed = HashMap::new();
        let mut began = Instant::now();
        if let Ok(_turn) = timeout_at(give_up, self.0.turn.lock()).await {
            began = Instant::now();
            let due: Vec<(ServerName, AgentClient)> = self
                .due_at(names, began)
                .into_iter()
                .filter_map(|name| {
                    let agent = agents.get(&name)?;
                    Some((name, agent))
                })
                .collect();
            let asking =
                due.into_iter().map(|(name, agent)| async move { (name, inspect(&agent, clock).await) });
            // Boxed, or the compiler cannot see that it may move between threads.
            let mut answers = futures_util::stream::iter(asking).buffer_unordered(MAX_CONCURRENT).boxed();
            while let Ok(Some((name, answer))) = timeout_at(give_up, answers.next()).await {
                match answer {
                    Ok(inspection) => drop(self.kept().insert(name, Arc::new(inspection))),
                    Err(reason) => drop(failed.insert(name, reason)),
                }
            }
        }
        let kept = self.kept();
        let mut inspected = Inspected::default();
        for name in names {
            // What was fresh when the round began was not asked for: it counts, though it may be older now.
            match kept.get(name).filter(|inspection| inspection.is_fresh(began)) {
                Some(inspection) => inspected.known.push((name.clone(), Arc::clone(inspection))),
                None => {
                    let late = || "its agent has not answered in time".to_owned();
                    inspected.not_asked.insert(name.clone(), failed.remove(name).unwrap_or_else(late));
                }
            }
        }
        inspected
    }

    /// Those of `names` whose last answer is not fresh any more.
    #[must_use]
    pub fn due(&self, names: &[ServerName]) -> Vec<ServerName> {
        self.due_at(names, Instant::now())
    }

    /// Forgets what is not fresh, and returns those of `names` that are to be asked.
    fn due_at(&self, names: &[ServerName], now: Instant) -> Vec<ServerName> {
        let mut kept = self.kept();
        kept.retain(|_, inspection| inspection.is_fresh(now));
        names.iter().filter(|name| !kept.contains_key(*name)).cloned().collect()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<ServerName, Arc<Inspection>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn inspect(
    agent: &AgentClient,
    clock: impl Fn() -> Timestamp + Send + Sync,
) -> Result<Inspection, String> {
    let end = Instant::now() + AGENT_DEADLINE;
    let asked = clock();
    let info = agent.info_within(AGENT_DEADLINE).await.map_err(|error| error.to_string())?;
    let answered = clock();
    let left = end.saturating_duration_since(Instant::now());
    let jails = match timeout(left, agent.jail_views_within(left)).await {
        Ok(jails) => jails.map(Jails::from).map_err(|error| error.to_string()),
        Err(_) => Err("its agent has not answered in time".to_owned()),
    };
    Ok(Inspection { info, asked, answered, jails, taken: Instant::now() })
}
