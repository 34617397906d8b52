//! What the scheduler works with.

use std::time::Duration;

use crate::agent::client::fleet::Fleet;
use crate::config::AgentGroup;
use crate::settings::Live;
use crate::store::{Store, WorkerId};

/// What the scheduler works with. One per worker.
pub struct Scheduler {
    /// What is in Redis.
    pub store: Store,
    /// The fail2ban servers.
    pub agents: Fleet,
    /// The DNS names whose agents are discovered.
    pub groups: Vec<AgentGroup>,
    /// This worker's id.
    pub worker: WorkerId,
    /// How long the lease lasts without renewal.
    pub lease_ttl: Duration,
    /// The settings in force: the probe interval, the crash window.
    pub settings: Live,
}
