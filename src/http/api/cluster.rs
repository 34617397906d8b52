//! Who is there: the workers, which of them leads, and what the scheduler ran.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;
use crate::http::auth::caller::Caller;
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::{ClusterView, JobView, LeaseView, WorkerView};

/// The workers, which of them leads, and what the schedule ran.
#[utoipa::path(get, path = "/api/v1/cluster", tag = "cluster", responses((status = 200, body = Cluster)))]
pub async fn show(State(state): State<AppState>, _: Caller) -> Result<axum::Json<Cluster>> {
    Ok(axum::Json(state.store.cluster().await?.into()))
}

/// The cluster as users see it.
#[derive(Serialize, ToSchema)]
pub struct Cluster {
    workers: Vec<Worker>,
    lease: Option<Lease>,
    jobs: Vec<Job>,
    /// Near caches of sessions that a logout waits for; one that was killed is among them until the next logout.
    cache_holders: usize,
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
    /// Why some of this cannot be read, and is empty or 0: a newer version may have written it.
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

impl From<ClusterView> for Cluster {
    fn from(view: ClusterView) -> Self {
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
            lease: view.lease.map(Lease::from),
            jobs: view.jobs.into_iter().map(Job::from).collect(),
            cache_holders: view.cache_holders,
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
            },
            started_at: at,
            seen_at: at,
            error: None,
        };
        let lease = LeaseView { holder: id("b"), epoch: 7, expires_in_ms: 4000 };
        let view = ClusterView {
            workers: vec![worker("a"), worker("b")],
            silent: Vec::new(),
            lease: Some(lease),
            jobs: Vec::new(),
            cache_holders: 0,
        };
        let shown = serde_json::to_value(Cluster::from(view)).unwrap();
        assert_eq!(shown["workers"][0]["leader"], false);
        assert_eq!(shown["workers"][1]["leader"], true);
        assert_eq!(shown["workers"][1]["seen_at"], "2023-11-14T22:13:20.000001Z");
        assert_eq!(shown["lease"], serde_json::json!({"holder": "b", "epoch": 7, "expires_in_ms": 4000}));
    }
}
