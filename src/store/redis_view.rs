//! How Redis itself is, for the page of the cluster: what INFO says, and how long a round trip takes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::checks::parse_info;
use super::connection::clock::moment;
use super::{Result, Store};
use crate::domain::Timestamp;

/// How Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisView {
    /// Its version, if it reports one.
    pub version: Option<String>,
    /// A round trip over the connection that all requests of this worker share.
    pub latency: Duration,
    /// Bytes that it uses.
    pub used_memory: Option<u64>,
    /// Bytes that it may use; none without a limit.
    pub max_memory: Option<u64>,
    /// What it does when they are used up.
    pub eviction: Option<String>,
    /// How it keeps its data.
    pub persistence: Persistence,
    /// Its address, where Sentinels or the masters of a Redis Cluster name it, and who does.
    pub named: Option<(String, &'static str)>,
    /// Its replicas, as it sees them.
    pub replicas: Vec<ReplicaView>,
}

/// How Redis keeps its data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persistence {
    /// Whether the append-only file is on.
    pub append_only: Option<bool>,
    /// Whether the last write to it succeeded.
    pub append_only_ok: Option<bool>,
    /// When the last successful snapshot was made, or Redis started.
    pub snapshot_at: Option<Timestamp>,
    /// Whether the last attempt at one succeeded.
    pub snapshot_ok: Option<bool>,
    /// Number of changes since the last snapshot.
    pub unsaved_changes: Option<u64>,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaView {
    /// Host and port.
    pub address: String,
    /// `online`, or the state of its synchronization.
    pub state: String,
    /// Seconds since it was last heard of.
    pub lag_seconds: Option<u64>,
}

impl Store {
    /// How Redis is now.
    ///
    /// # Errors
    /// See [`super::StoreError`].
    pub async fn redis_view(&self) -> Result<RedisView> {
        let begun = Instant::now();
        let _: (i64, i64) = self.shared.query("latency", &redis::cmd("TIME")).await?;
        let latency = begun.elapsed();
        let info: String = self.shared.query("info", &redis::cmd("INFO")).await?;
        Ok(RedisView { named: self.shared.dialer.named_by(), ..read(&parse_info(&info), latency) })
    }
}

fn read(info: &HashMap<&str, &str>, latency: Duration) -> RedisView {
    let text = |name: &str| info.get(name).map(|text| (*text).to_owned());
    let number = |name: &str| info.get(name).and_then(|text| text.parse::<u64>().ok());
    let is = |name: &str, well: &str| info.get(name).map(|text| *text == well);
    let second = |name: &str| {
        let seconds = number(name).filter(|seconds| *seconds > 0)?;
        Some(moment(i64::try_from(seconds).ok()?.checked_mul(1_000_000)?))
    };
    let append_only = is("aof_enabled", "1");
    RedisView {
        version: text("valkey_version").or_else(|| text("redis_version")),
        latency,
        used_memory: number("used_memory"),
        max_memory: number("maxmemory").filter(|most| *most > 0),
        eviction: text("maxmemory_policy"),
        persistence: Persistence {
            append_only,
            append_only_ok: is("aof_last_write_status", "ok").filter(|_| append_only == Some(true)),
            snapshot_at: second("rdb_last_save_time"),
            snapshot_ok: is("rdb_last_bgsave_status", "ok"),
            unsaved_changes: number("rdb_changes_since_last_save"),
        },
        named: None,
        replicas: replicas(info),
    }
}

/// `slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0`
fn replicas(info: &HashMap<&str, &str>) -> Vec<ReplicaView> {
    let numbers = 0..info.get("connected_slaves").and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let lines = numbers.filter_map(|number| info.get(format!("slave{number}").as_str()));
    let read = |line: &&str| {
        let fields: HashMap<&str, &str> = line.split(',').filter_map(|field| field.split_once('=')).collect();
        Some(ReplicaView {
            address: format!("{}:{}", fields.get("ip")?, fields.get("port")?),
            state: (*fields.get("state")?).to_owned(),
            lag_seconds: fields.get("lag").and_then(|lag| lag.parse().ok()),
        })
    };
    lines.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_with_its_replicas_and_what_is_missing_is_unknown() {
        let info = "# Server\r\nredis_version:7.0.15\r\nused_memory:1024\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
                    aof_enabled:1\r\naof_last_write_status:err\r\nrdb_last_save_time:1700000000\r\nrdb_last_bgsave_status:ok\r\n\
                    connected_slaves:2\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=7,lag=1\r\n\
                    slave1:ip=::1,port=7,state=wait_bgsave\r\n";
        let view = read(&parse_info(info), Duration::from_micros(70));
        assert_eq!((view.version.as_deref(), view.max_memory), (Some("7.0.15"), None));
        assert_eq!(view.persistence.append_only_ok, Some(false));
        assert_eq!(view.persistence.snapshot_at.unwrap().timestamp(), 1_700_000_000);
        let replica = |address: &str, state: &str, lag_seconds| ReplicaView {
            address: address.to_owned(),
            state: state.to_owned(),
            lag_seconds,
        };
        assert_eq!(
            view.replicas,
            [replica("10.0.0.2:6379", "online", Some(1)), replica("::1:7", "wait_bgsave", None)]
        );
        let nothing = read(&HashMap::new(), Duration::ZERO);
        assert_eq!((nothing.used_memory, nothing.persistence), (None, Persistence::default()));
    }
}
