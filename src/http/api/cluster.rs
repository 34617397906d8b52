//! The workers, which of them is the leader, and the scheduled jobs.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::redis_view::Redis;
use super::time::Time;
use crate::actions::reach::without_others;
use crate::domain::ServerName;
use crate::domain::discovery::Discovered;
use crate::http::auth::caller::Caller;
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::{ClusterView, JobView, LeaseView, RedisView, WorkerView};

/// The workers, the leader, and the scheduled jobs.
#[utoipa::path(get, path = "/api/v1/cluster", tag = "cluster", responses((status = 200, body = Cluster)))]
pub async fn show(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<Cluster>> {
    let (view, redis, found) =
        tokio::try_join!(state.store.cluster(), state.store.redis_view(), state.store.discoveries())?;
    let access = &caller.session.access;
    let found = found.servers.iter().filter(|(name, _)| access.reaches(name));
    Ok(axum::Json(Cluster {
        agents: found.map(Agent::from).collect(),
        ..Cluster::new(without_others(access, view), redis)
    }))
}

/// The cluster as users see it.
#[derive(Serialize, ToSchema)]
pub struct Cluster {
    workers: Vec<Worker>,
    /// Workers that fell silent within the last hour without a normal stop: killed, paused or cut off, at `seen_at`.
    silent_workers: Vec<Worker>,
    lease: Option<Lease>,
    jobs: Vec<Job>,
    /// Number of near caches that a logout waits for; one whose worker was killed counts until the next logout.
    cache_holders: usize,
    redis: Redis,
    /// The discovered agents, and the certificates that identify them.
    agents: Vec<Agent>,
}

#[derive(Serialize, ToSchema)]
struct Agent {
    server: String,
    address: String,
    /// The SHA-256 of its pinned certificate; `null` if agents are authenticated by a CA.
    certificate_sha256: Option<String>,
}

impl From<(&ServerName, &Discovered)> for Agent {
    fn from((server, found): (&ServerName, &Discovered)) -> Self {
        Self {
            server: server.to_string(),
            address: found.address.to_string(),
            certificate_sha256: found.fingerprint.clone(),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct Worker {
    id: String,
    hostname: String,
    pid: u32,
    version: String,
    started_at: Time,
    seen_at: Time,
    leader: bool,
    /// Why some of these fields cannot be read and are empty or 0: a newer version may have written them.
    error: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Lease {
    holder: String,
    epoch: u64,
    expires_in_ms: u64,
}

#[derive(Serialize, ToSchema)]
struct Job {
    name: String,
    interval_seconds: u64,
    runs: u64,
    last_started_at: Option<Time>,
    last_finished_at: Option<Time>,
    last_outcome: Option<String>,
    next_due_at: Option<Time>,
}

impl Cluster {
    fn new(view: ClusterView, redis: RedisView) -> Self {
        let holder = view.lease.as_ref().map(|lease| lease.holder.clone());
        let worker = |worker: WorkerView| Worker {
            leader: Some(&worker.id) == holder.as_ref(),
            id: worker.id.as_str().to_owned(),
            hostname: worker.info.hostname,
            pid: worker.info.pid,
            version: worker.info.version,
            started_at: worker.started_at.into(),
            seen_at: worker.seen_at.into(),
            error: worker.error,
        };
        Self {
            workers: view.workers.into_iter().map(worker).collect(),
            silent_workers: view.silent.into_iter().map(worker).collect(),
            lease: view.lease.map(Lease::from),
            jobs: view.jobs.into_iter().map(Job::from).collect(),
            cache_holders: view.cache_holders,
            redis: redis.into(),
            agents: Vec::new(),
        }
    }
}

impl From<LeaseView> for Lease {
    fn from(lease: LeaseView) -> Self {
        Self {
            holder: lease.holder.as_str().to_owned(),
            epoch: lease.epoch,
            expires_in_ms: lease.expires_in_ms,
        }
    }
}

impl From<JobView> for Job {
    fn from(job: JobView) -> Self {
        Self {
            name: job.name,
            interval_seconds: job.interval_seconds,
            runs: job.runs,
            last_started_at: job.last_started_at.map(Time),
            last_finished_at: job.last_finished_at.map(Time),
            last_outcome: job.last_outcome,
            next_due_at: job.next_due_at.map(Time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_the_lease_is_the_leader() {
        let id = |text: &str| serde_json::from_value::<crate::store::WorkerId>(text.into()).unwrap();
        let at = chrono::DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let worker = |name: &str| WorkerView {
            id: id(name),
            info: crate::store::WorkerInfo {
                hostname: "host".to_owned(),
                pid: 1,
                version: "0.1.0".to_owned(),
                unnamed_proxy: None,
            },
            started_at: at,
            seen_at: at,
            error: None,
        };
        let lease = LeaseView { holder: id("b"), epoch: 7, expires_in_ms: 4000 };
        let view = ClusterView {
            workers: vec![worker("a"), worker("b")],
            silent: vec![worker("c")],
            lease: Some(lease),
            jobs: Vec::new(),
            cache_holders: 0,
        };
        let redis = RedisView {
            version: None,
            latency: std::time::Duration::from_micros(70),
            used_memory: None,
            max_memory: None,
            eviction: None,
            persistence: crate::store::Persistence::default(),
            named: Some(("10.0.0.7:6379".to_owned(), "the Sentinels")),
            replicas: Vec::new(),
        };
        let shown = serde_json::to_value(Cluster::new(view, redis)).unwrap();
        assert_eq!(
            (&shown["silent_workers"][0]["id"], &shown["redis"]["latency_us"]),
            (&"c".into(), &70.into())
        );
        assert_eq!(
            shown["redis"]["primary"],
            serde_json::json!({"address": "10.0.0.7:6379", "named_by": "the Sentinels"})
        );
        assert_eq!(shown["workers"][0]["leader"], false);
        assert_eq!(shown["workers"][1]["leader"], true);
        assert_eq!(shown["workers"][1]["seen_at"], "2023-11-14T22:13:20.000001Z");
        assert_eq!(shown["lease"], serde_json::json!({"holder": "b", "epoch": 7, "expires_in_ms": 4000}));
    }
}
