//! What agents answer to a diagnosis, cached for a moment by each worker, so that many viewers cost each agent one request.
//!
//! One round at a time asks the agents whose last answer is older than `FRESH_FOR`; requests that arrive during a round wait
//! for it. Every wait has a timeout: an agent that is late counts as not asked, and is asked again by the next diagnosis.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::agent::client::AgentClient;
use crate::agent::client::fleet::Fleet;
use crate::agent::wire;
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
    pub jails: Result<wire::JailViews, String>,
    taken: Instant,
}

/// What is known about each server, or why nothing is.
#[derive(Debug, Default)]
pub struct Inspected {
    /// By server.
    pub known: BTreeMap<ServerName, Arc<Inspection>>,
    /// The reasons.
    pub not_asked: BTreeMap<ServerName, String>,
}

/// The latest answers. Cheap to clone; all clones share them.
#[derive(Debug, Clone, Default)]
pub struct Inspections(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kept: Mutex<BTreeMap<ServerName, Arc<Inspection>>>,
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
        let mut failed = BTreeMap::new();
        if let Ok(_turn) = timeout_at(give_up, self.0.turn.lock()).await {
            self.forget_others(agents);
            let due = names.iter().filter(|name| self.fresh(name).is_none());
            let due: Vec<(ServerName, AgentClient)> =
                due.filter_map(|name| Some((name.clone(), agents.get(name)?))).collect();
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
        let mut inspected = Inspected::default();
        for name in names {
            match self.fresh(name) {
                Some(inspection) => drop(inspected.known.insert(name.clone(), inspection)),
                None => {
                    let late = || "its agent has not answered in time".to_owned();
                    inspected.not_asked.insert(name.clone(), failed.remove(name).unwrap_or_else(late));
                }
            }
        }
        inspected
    }

    /// The answer, if it is fresh. One that was fresh when this round began may be a little older at its end.
    fn fresh(&self, name: &ServerName) -> Option<Arc<Inspection>> {
        let kept = self.kept().get(name).cloned();
        kept.filter(|inspection| inspection.taken.elapsed() < FRESH_FOR)
    }

    fn forget_others(&self, agents: &Fleet) {
        self.kept()
            .retain(|name, inspection| agents.contains(name) && inspection.taken.elapsed() < FRESH_FOR);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServerName, Arc<Inspection>>> {
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
        Ok(jails) => jails.map_err(|error| error.to_string()),
        Err(_) => Err("its agent has not answered in time".to_owned()),
    };
    Ok(Inspection { info, asked, answered, jails, taken: Instant::now() })
}
