//! Who is there: workers, the lease's holder, the jobs.
use serde::{Deserialize, Serialize};

use super::{Result, Store};
use crate::domain::Timestamp;

/// 128 random bits a process start: names a worker, and owns the lease if it is elected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerId(String);

impl WorkerId {
    /// As text: 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One worker that was seen lately.
#[derive(Debug, Clone)]
pub struct WorkerView {
    /// Its id.
    pub id: WorkerId,
    /// Its machine.
    pub hostname: String,
    /// Its process there.
    pub pid: u32,
    /// Its version of bangui.
    pub version: String,
    /// When it started, on Redis's clock.
    pub started_at: Timestamp,
    /// Its latest heartbeat.
    pub seen_at: Timestamp,
}

/// The lease as Redis has it.
#[derive(Debug, Clone)]
pub struct LeaseView {
    /// Its holder.
    pub holder: WorkerId,
    /// Its epoch.
    pub epoch: u64,
    /// How long it lives without a renewal.
    pub expires_in_ms: u64,
}

/// A scheduled job.
#[derive(Debug, Clone)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// How often it runs.
    pub interval_seconds: u64,
    /// How often it was started.
    pub runs: u64,
    /// The latest start.
    pub last_started_at: Option<Timestamp>,
    /// The latest end.
    pub last_finished_at: Option<Timestamp>,
    /// `ok`, `interrupted`, or what went wrong.
    pub last_outcome: Option<String>,
    /// The next start.
    pub next_due_at: Option<Timestamp>,
}

/// The cluster, now.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// Workers with a recent heartbeat.
    pub workers: Vec<WorkerView>,
    /// None while nobody holds the lease.
    pub lease: Option<LeaseView>,
    /// All jobs that ever ran.
    pub jobs: Vec<JobView>,
}

impl Store {
    /// Workers, lease and jobs.
    pub async fn cluster(&self) -> Result<ClusterView> {
        todo!()
    }
}
