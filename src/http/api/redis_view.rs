//! Redis as users see it, a part of the cluster.

use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;
use crate::store::RedisView;

/// How Redis is, as it says itself; `null` where it does not say.
#[derive(Serialize, ToSchema)]
pub struct Redis {
    version: Option<String>,
    /// Microseconds of a round trip from this worker.
    latency_us: u64,
    used_memory_bytes: Option<u64>,
    /// `null` without a limit, too.
    max_memory_bytes: Option<u64>,
    /// What it does when the memory is used up; anything but `noeviction` loses data.
    eviction: Option<String>,
    persistence: Persistence,
    replicas: Vec<Replica>,
}

#[derive(Serialize, ToSchema)]
struct Persistence {
    append_only: Option<bool>,
    append_only_ok: Option<bool>,
    /// The last snapshot that succeeded, or Redis's start.
    snapshot_at: Option<Time>,
    snapshot_ok: Option<bool>,
    /// Changes that are in no snapshot.
    unsaved_changes: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct Replica {
    address: String,
    /// `online`, or how far it has got.
    state: String,
    /// Seconds since Redis last heard of it.
    lag_seconds: Option<u64>,
}

impl From<RedisView> for Redis {
    fn from(view: RedisView) -> Self {
        let kept = view.persistence;
        Self {
            version: view.version,
            latency_us: u64::try_from(view.latency.as_micros()).unwrap_or(u64::MAX),
            used_memory_bytes: view.used_memory,
            max_memory_bytes: view.max_memory,
            eviction: view.eviction,
            persistence: Persistence {
                append_only: kept.append_only,
                append_only_ok: kept.append_only_ok,
                snapshot_at: kept.snapshot_at.map(Time),
                snapshot_ok: kept.snapshot_ok,
                unsaved_changes: kept.unsaved_changes,
            },
            replicas: view
                .replicas
                .into_iter()
                .map(|one| Replica { address: one.address, state: one.state, lag_seconds: one.lag_seconds })
                .collect(),
        }
    }
}
