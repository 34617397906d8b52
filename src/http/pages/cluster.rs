//! The page of the cluster: workers, the leader and since when, scheduled jobs, Redis, near caches, agents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::State;
use chrono::{DateTime, TimeDelta};

use super::clock::rough;
use super::marks::counted;
use super::page::Page;
use super::shell::{Shell, Visitor};
use crate::actions::reach::without_others;
use crate::domain::access::Access;
use crate::domain::discovery::Discovered;
use crate::domain::findings::redis::RedisFacts;
use crate::domain::{Condition, Discoveries, ServerName, Timestamp};
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::{ClusterView, StoreError, StoredServer, WorkerView};

/// How long a silent worker stays in the list (`store/cluster.rs`).
const LISTED_FOR: TimeDelta = TimeDelta::hours(1);
/// The maximum number of agents that are named: those of another version, and those that were not asked.
const MAX_NAMED: usize = 10;
/// The maximum number of discovered agents that are shown with their certificates.
const MAX_FOUND: usize = 50;
const MIB: u64 = 1024 * 1024;

#[derive(Template)]
#[template(path = "cluster.html")]
struct Cluster {
    shell: Shell,
    view: ClusterView,
    /// The worker that made this page.
    here: String,
    redis: RedisFacts,
    answers_in: String,
    agents: Agents,
    /// Those that were found by DNS.
    found: Arc<Discoveries>,
}

/// What agents report.
struct Agents {
    number: usize,
    versions: Vec<Version>,
    /// The agent with the largest clock offset, and that offset.
    clock: Option<(ServerName, String)>,
    /// The certificate that expires first.
    certificate: Option<(ServerName, Timestamp)>,
    /// The first of those that were not asked, and how many more there are.
    not_asked: Vec<ServerName>,
    more_not_asked: usize,
}

struct Version {
    version: String,
    number: usize,
    /// The agents with it, if it is not the workers' version.
    named: Vec<ServerName>,
}

impl Cluster {
    /// The first of the discovered agents.
    fn shown_found(&self) -> impl Iterator<Item = (&ServerName, &Discovered)> {
        self.found.iter().take(MAX_FOUND)
    }

    fn leads(&self, worker: &WorkerView) -> bool {
        self.view.lease.as_ref().is_some_and(|lease| lease.holder == worker.id)
    }

    fn leader(&self) -> Option<&WorkerView> {
        self.view.workers.iter().find(|worker| self.leads(worker))
    }

    /// An epoch is at least the time, in milliseconds, at which its term began.
    fn since(&self) -> Option<Timestamp> {
        let epoch = i64::try_from(self.view.lease.as_ref()?.epoch).ok()?;
        DateTime::from_timestamp_millis(epoch).filter(|since| *since <= self.shell.clock.now)
    }

    fn is_here(&self, worker: &WorkerView) -> bool {
        worker.id.as_str() == self.here
    }

    /// Whether it differs from this worker's version.
    fn differs(&self, version: &str) -> bool {
        version != env!("CARGO_PKG_VERSION")
    }

    fn age(&self, since: &Timestamp) -> String {
        rough(self.shell.clock.now - *since)
    }

    /// When a silent worker leaves the list.
    fn leaves_in(&self, seen: &Timestamp) -> String {
        rough(*seen + LISTED_FOR - self.shell.clock.now)
    }

    fn memory(&self) -> String {
        let used = format!("{} MiB", self.redis.used_memory / MIB);
        match self.redis.max_memory {
            0 => format!("{used}, without a limit"),
            most => format!("{used} of {} MiB", most / MIB),
        }
    }

    fn persistence(&self) -> &'static str {
        match (self.redis.append_only, self.redis.snapshots) {
            (Some(true), _) => "append-only file",
            (_, Some(true)) => "snapshots",
            (Some(false), Some(false)) => "off",
            _ => "not known",
        }
    }

    fn replicas(&self) -> String {
        match self.redis.min_replicas {
            0 => counted(self.redis.replicas, "replica"),
            wanted => format!("{}, at least {wanted} required", counted(self.redis.replicas, "replica")),
        }
    }
}

/// The cluster.
pub async fn show(State(state): State<AppState>, visitor: Visitor) -> Result<Page<impl Template>> {
    let access = &visitor.actor.access;
    let (view, redis, found, agents) = tokio::join!(
        state.store.cluster(),
        state.store.redis_facts(),
        state.store.discoveries(),
        agents(&state, access)
    );
    let mut found = found?.servers;
    if !access.is_for_all_servers() {
        Arc::make_mut(&mut found).retain(|name, _| access.reaches(name));
    }
    let began = Instant::now();
    state.store.count_open_ban_jobs().await?;
    let answers_in = format!("{:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    Ok(Page::new(Cluster {
        shell: visitor.shell,
        view: without_others(access, view?),
        here: state.worker.as_str().to_owned(),
        redis: redis?,
        answers_in,
        agents: agents?,
        found,
    }))
}

async fn agents(state: &AppState, access: &Access) -> Result<Agents> {
    let (store, names) = (&state.store, state.reached(access));
    let number = names.len();
    // Do not wait for an agent that the last probe did not reach. The state of one that answered just now need not be read.
    let due = state.inspections().due(&names);
    let silent = |stored: &std::result::Result<StoredServer, StoreError>| {
        stored.as_ref().is_ok_and(|stored| stored.state.status.condition == Condition::Unreachable)
    };
    let stored = if due.is_empty() { Vec::new() } else { store.servers(&due).await? };
    let unreachable: BTreeSet<ServerName> =
        due.into_iter().zip(stored).filter(|(_, stored)| silent(stored)).map(|(name, _)| name).collect();
    let asked: Vec<ServerName> = names.into_iter().filter(|name| !unreachable.contains(name)).collect();
    let inspected = state.inspections().of(&state.agents, &asked, || store.about_now()).await;
    let mut by_version: BTreeMap<&str, Vec<&ServerName>> = BTreeMap::new();
    let (mut clock, mut certificate) = (None::<(TimeDelta, &ServerName)>, None::<(Timestamp, &ServerName)>);
    for (name, inspection) in &inspected.known {
        let info = &inspection.info;
        by_version.entry(&info.agent_version).or_default().push(name);
        if let Some(theirs) = info.clock.and_then(DateTime::from_timestamp_micros) {
            // Any time between the question and the answer counts as right.
            let off = (inspection.asked - theirs).max(theirs - inspection.answered).max(TimeDelta::zero());
            clock = clock.max(Some((off, name)));
        }
        if let Some(end) = info.certificate_not_after.and_then(|end| DateTime::from_timestamp(end, 0)) {
            let ends = (end, name);
            certificate = Some(certificate.map_or(ends, |first| first.min(ends)));
        }
    }
    let version = |(version, names): (&str, Vec<&ServerName>)| {
        let other = version != env!("CARGO_PKG_VERSION");
        Version {
            version: version.to_owned(),
            number: names.len(),
            named: names.into_iter().take(if other { MAX_NAMED } else { 0 }).cloned().collect(),
        }
    };
    let all = unreachable.into_iter().chain(inspected.not_asked.into_keys());
    let mut not_asked: Vec<ServerName> = all.collect();
    let more_not_asked = not_asked.len().saturating_sub(MAX_NAMED);
    not_asked.truncate(MAX_NAMED);
    Ok(Agents {
        number,
        versions: by_version.into_iter().map(version).collect(),
        clock: clock.map(|(off, name)| (name.clone(), format!("{:.1} s", off.as_seconds_f64()))),
        certificate: certificate.map(|(end, name)| (name.clone(), end)),
        not_asked,
        more_not_asked,
    })
}
