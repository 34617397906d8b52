//! The cluster: its workers, the holder of the lease, the scheduled jobs.
//!
//! Each worker writes a heartbeat every few seconds into one hash, and removes it when it stops. A worker whose last heartbeat is
//! still there but old was killed, is paused, or is cut off: it is shown as silent for an hour, and then a scheduled job removes it.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connection::clock::{micros, moment, time_micros};
use super::jobs::schedule::JobView;
use super::worker_id::WorkerId;
use super::{Fence, Result, Store, scripts};
use crate::domain::Timestamp;

/// The interval of a worker's heartbeat.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// A worker that has not been heard of for this long is silent.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// A worker that has not been heard of for this long is removed.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// What a worker reports about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its machine.
    pub hostname: String,
    /// Its process there.
    pub pid: u32,
    /// Its version of bangui.
    pub version: String,
    /// A peer that forwarded a client's address without being a trusted proxy; for `bangui check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed_proxy: Option<String>,
}

/// The heartbeat of a worker, as it is stored.
#[derive(Serialize, Deserialize)]
struct Heartbeat {
    #[serde(flatten)]
    info: WorkerInfo,
    /// Microseconds since 1970, on Redis's clock.
    started_at: i64,
    seen_at: i64,
}

/// One worker that was seen lately.
#[derive(Debug, Clone)]
pub struct WorkerView {
    /// Its id.
    pub id: WorkerId,
    /// What it reports about itself.
    pub info: WorkerInfo,
    /// When it started, on Redis's clock.
    pub started_at: Timestamp,
    /// Its latest heartbeat.
    pub seen_at: Timestamp,
    /// Why some of this could not be read, and is empty or 0; `None` if all of it could.
    pub error: Option<String>,
}

/// The lease as it is in Redis.
#[derive(Debug, Clone)]
pub struct LeaseView {
    /// Its holder.
    pub holder: WorkerId,
    /// Its epoch.
    pub epoch: u64,
    /// How long it lasts without a renewal.
    pub expires_in_ms: u64,
}

/// The cluster, now.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// Workers with a recent heartbeat.
    pub workers: Vec<WorkerView>,
    /// Workers that fell silent within the last hour without a normal stop.
    pub silent: Vec<WorkerView>,
    /// None while nobody holds the lease.
    pub lease: Option<LeaseView>,
    /// All jobs that ever ran.
    pub jobs: Vec<JobView>,
    /// Near caches that a revocation waits for.
    pub cache_holders: usize,
}

impl Store {
    /// Writes this worker's heartbeat.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn heartbeat(&self, id: &WorkerId, info: &WorkerInfo, started_at: Timestamp) -> Result<()> {
        let line = Heartbeat {
            info: info.clone(),
            started_at: started_at.timestamp_micros(),
            seen_at: self.shared.clock.now_micros(),
        };
        let line = rmp_serde::to_vec_named(&line)?;
        let command = redis::cmd("HSET").arg(self.keys.workers()).arg(id.as_str()).arg(line).to_owned();
        self.shared.query("heartbeat", &command).await
    }

    /// Removes this worker's heartbeat.
    pub async fn leave(&self, id: &WorkerId) -> Result<()> {
        let command = redis::cmd("HDEL").arg(self.keys.workers()).arg(id.as_str()).to_owned();
        self.shared.query("leave", &command).await
    }

    /// Removes workers that have not been heard of for an hour, if `fence` still holds the lease; returns how many.
    pub async fn remove_silent_workers(&self, fence: &Fence) -> Result<usize> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(self.keys.workers()).cmd("TIME");
        let (lines, time): (HashMap<String, Vec<u8>>, (i64, i64)) =
            self.shared.pipeline("workers", &pipeline).await?;
        let oldest = time_micros(time) - micros(KEPT_FOR);
        let call = scripts::WORKERS_REMOVE.call().key(self.keys.lease()).key(self.keys.workers());
        let call = lines
            .iter()
            .filter(|(_, line)| {
                // One that cannot be read may be a newer worker's.
                let seen_at = rmp_serde::from_slice(line).map(|line: Heartbeat| line.seen_at);
                seen_at.unwrap_or_else(|_| Heartbeat::readable_part(line).seen_at) < oldest
            })
            .fold(call.arg(fence.as_str()), |call, (id, line)| call.arg(id).arg(line));
        self.shared.call(&call).await
    }

    /// Workers, lease and jobs. Not in a transaction: a full Redis refuses to begin one, even of reads alone, and that is when somebody
    /// looks at this.
    pub async fn cluster(&self) -> Result<ClusterView> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("HGETALL").arg(self.keys.workers());
        pipeline.cmd("GET").arg(self.keys.lease());
        pipeline.cmd("PTTL").arg(self.keys.lease());
        pipeline.cmd("HKEYS").arg(self.keys.holders());
        for name in super::jobs::schedule::NAMES {
            pipeline.cmd("HGETALL").arg(self.keys.job(name));
        }
        let mut answers: Vec<redis::Value> = self.shared.pipeline("cluster", &pipeline).await?;
        let jobs = answers.split_off(5);
        let head = redis::Value::Array(answers);
        type Head = ((i64, i64), HashMap<String, Vec<u8>>, Option<String>, i64, Vec<String>);
        let (time, lines, lease, ttl, holders): Head =
            redis::from_redis_value(head).map_err(redis::RedisError::from)?;
        let jobs = super::jobs::schedule::NAMES
            .iter()
            .zip(jobs)
            .filter_map(|(name, fields)| JobView::from_stored(name, redis::from_redis_value(fields).ok()?))
            .collect();
        let lease = lease.as_deref().and_then(|held| {
            let (holder, epoch) = held.split_once('|')?;
            Some(LeaseView {
                holder: WorkerId::from_stored(holder),
                epoch: epoch.parse().ok()?,
                expires_in_ms: u64::try_from(ttl).unwrap_or(0),
            })
        });
        if let Some(lease) = &lease {
            self.see_epoch(lease.epoch);
        }
        let cache_holders = holders.iter().filter(|field| super::auth::near_cache::is_holder(field)).count();
        let (workers, silent) = heard_of(&lines, time_micros(time));
        Ok(ClusterView { workers, silent, lease, jobs, cache_holders })
    }
}

/// The workers with a recent heartbeat, and the silent ones, oldest first. One whose heartbeat cannot be read counts as recent
/// until it is removed.
fn heard_of(lines: &HashMap<String, Vec<u8>>, now: i64) -> (Vec<WorkerView>, Vec<WorkerView>) {
    let (mut lately, mut silent) = (Vec::with_capacity(lines.len()), Vec::new());
    for (id, line) in lines {
        let (line, error) = match rmp_serde::from_slice::<Heartbeat>(line) {
            Ok(line) => (line, None),
            Err(error) => {
                let error = format!(
                    "its heartbeat cannot be read, perhaps because it runs another version of bangui: {error}"
                );
                (Heartbeat::readable_part(line), Some(error))
            }
        };
        let unreadable = error.is_some();
        let view = WorkerView {
            id: WorkerId::from_stored(id),
            info: line.info,
            started_at: moment(line.started_at),
            seen_at: moment(line.seen_at),
            error,
        };
        if unreadable || line.seen_at >= now - micros(SILENCE_TIMEOUT) {
            lately.push(view);
        } else if line.seen_at >= now - micros(KEPT_FOR) {
            silent.push(view);
        }
    }
    for workers in [&mut lately, &mut silent] {
        workers.sort_by(|a, b| (a.started_at, a.id.as_str()).cmp(&(b.started_at, b.id.as_str())));
    }
    (lately, silent)
}

impl Heartbeat {
    /// What can be read of a heartbeat that cannot be read as a whole; the rest is empty, or 0.
    fn readable_part(line: &[u8]) -> Self {
        let fields: HashMap<String, rmpv::Value> = rmp_serde::from_slice(line).unwrap_or_default();
        let text = |name| fields.get(name).and_then(rmpv::Value::as_str).unwrap_or_default().to_owned();
        let number = |name| fields.get(name).and_then(rmpv::Value::as_i64).unwrap_or_default();
        let pid = u32::try_from(number("pid")).unwrap_or_default();
        Self {
            info: WorkerInfo {
                hostname: text("hostname"),
                pid,
                version: text("version"),
                unnamed_proxy: None,
            },
            started_at: number("started_at"),
            seen_at: number("seen_at"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_heartbeat_that_cannot_be_read_is_that_workers_error_and_shows_what_can_be() {
        let seen = 1_700_000_000_000_000_i64;
        let line = |pid| json!({ "hostname": "web", "pid": pid, "version": "0.3.0", "started_at": seen, "seen_at": seen });
        let written = |line| rmp_serde::to_vec_named(&line).unwrap();
        let lines = [
            ("old".to_owned(), written(line(json!(7)))),
            ("newer".to_owned(), written(line(json!({ "namespace": 7 })))),
            ("broken".to_owned(), b"no heartbeat".to_vec()),
        ];
        let (shown, _) = heard_of(&HashMap::from(lines), seen);
        let of = |id: &str| shown.iter().find(|worker| worker.id.as_str() == id).unwrap();
        assert_eq!((of("old").info.pid, &of("old").error), (7, &None));
        let newer = of("newer");
        assert_eq!((newer.info.pid, newer.info.version.as_str(), newer.seen_at), (0, "0.3.0", moment(seen)));
        assert!(newer.error.is_some() && of("broken").error.is_some());
    }

    #[test]
    fn a_worker_is_silent_after_15_seconds_without_a_farewell_and_forgotten_after_an_hour() {
        let now = 1_700_000_000_000_000;
        let seen = |ago: Duration| {
            let info = WorkerInfo {
                hostname: "host".to_owned(),
                pid: 1,
                version: "0.3.0".to_owned(),
                unnamed_proxy: None,
            };
            let line = Heartbeat { info, started_at: 0, seen_at: now - micros(ago) };
            HashMap::from([("a".to_owned(), rmp_serde::to_vec_named(&line).unwrap())])
        };
        let counted = |ago| {
            let (lately, silent) = heard_of(&seen(ago), now);
            (lately.len(), silent.len())
        };
        let micro = Duration::from_micros(1);
        assert_eq!(counted(SILENCE_TIMEOUT), (1, 0));
        assert_eq!(counted(SILENCE_TIMEOUT + micro), (0, 1));
        assert_eq!(counted(KEPT_FOR), (0, 1));
        assert_eq!(counted(KEPT_FOR + micro), (0, 0));
    }
}
