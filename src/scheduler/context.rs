//! What the scheduler works with.

use std::time::Duration;

use crate::agent::client::fleet::Fleet;
use crate::config::AgentGroup;
use crate::settings::Live;
use crate::store::{Store, WorkerId};

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
    /// How long the lease lasts without renewal.
    pub lease_ttl: Duration,
    /// The settings in force: the probe interval, the crash window.
    pub settings: Live,
}
