//! The one scheduler of the cluster, elected among all workers.
//!
//! Every worker runs this loop: wait for the lease, lead while it is held, give it back. Reading order:
//!
//! * `term.rs`: what a leader believes, and for how long (pure);
//! * `election.rs`: how a worker becomes and stops being the leader;
//! * `jobs.rs`: what a leader does, on a schedule that lies in Redis and outlives it;
//! * `probe.rs`: the health probe, the job that matters most;
//! * `bans.rs`: the lists of bans;
//! * `discovery.rs`: agents that are found by DNS.
//!
//! Leadership is a hint; the proof is the fence that every write carries and Redis compares. So nothing here must
//! be right for "at most one scheduler" to hold, it only makes the scheduler quick and polite.

mod bans;
mod discovery;
mod election;
mod jobs;
mod probe;
mod term;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agent::client::fleet::Fleet;
use crate::config::AgentGroup;
use crate::settings::Live;
use crate::store::{Store, WorkerId};
pub use election::release_left_behind;

/// What the scheduler works with. One per worker.
pub struct Scheduler {
    /// The cluster's memory.
    pub store: Store,
    /// The fail2ban servers.
    pub agents: Fleet,
    /// DNS names behind which there are more of them.
    pub groups: Vec<AgentGroup>,
    /// Who this worker is.
    pub worker: WorkerId,
    /// How long the lease lives without renewal.
    pub lease_ttl: Duration,
    /// What is in force now: how often servers are probed, what a crash is blamed on.
    pub settings: Live,
}

impl Scheduler {
    /// Campaigns and leads until `stop`; when it returns, the work has ended and the lease is given back.
    pub async fn run(self, stop: CancellationToken) {
        election::run(Arc::new(self), stop).await;
    }
}
