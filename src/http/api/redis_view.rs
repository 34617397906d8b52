//! Redis as users see it, a part of the cluster.

use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;
use crate::store::RedisView;

/// The state of Redis; `null` for what it does not report.
#[derive(Serialize, ToSchema)]
pub struct Redis {
    version: Option<String>,
    /// Microseconds of a round trip from this worker.
    latency_us: u64,
    used_memory_bytes: Option<u64>,
    /// `null` also if there is no limit.
    max_memory_bytes: Option<u64>,
    /// Its `maxmemory-policy`; anything but `noeviction` loses data.
    eviction: Option<String>,
    persistence: Persistence,
    /// `null` unless Sentinels or the masters of a Redis Cluster name it.
    primary: Option<Primary>,
    replicas: Vec<Replica>,
}

#[derive(Serialize, ToSchema)]
struct Primary {
    /// Host and port.
    #[schema(example = "10.0.0.7:6379")]
    address: String,
    /// Who names it.
    #[schema(example = "the Sentinels")]
    named_by: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Persistence {
    append_only: Option<bool>,
    append_only_ok: Option<bool>,
    /// When the last successful snapshot was made, or Redis started.
    snapshot_at: Option<Time>,
    snapshot_ok: Option<bool>,
    /// Number of changes since the last snapshot.
    unsaved_changes: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct Replica {
    address: String,
    /// `online`, or the state of its synchronization.
    state: String,
    /// Seconds since Redis last heard from it.
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
            primary: view.named.map(|(address, named_by)| Primary { address, named_by }),
            replicas: view
                .replicas
                .into_iter()
                .map(|one| Replica { address: one.address, state: one.state, lag_seconds: one.lag_seconds })
                .collect(),
        }
    }
}
