//! Can this Redis be used? Asked at every connect and by `bangui check`.
//!
//! Refused: a version below 6.2 (no `PXAT`), a data layout that a newer major version wrote.
//! Waited for: a replica to become the primary, a user to get the rights it lacks.
//! Read from, and reported: a Redis that refuses writes.
//! Warned about: an eviction policy that may drop sessions or the lease, no persistence, a clock that differs.
//! Everything is read by INFO, since CONFIG is often blocked.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;

use super::clock::{micros, time_micros};
use super::dialer::{Dialer, Target};
use super::primary::{self, Standing};
use crate::config::RedisConfig;
use crate::store::keys::Keys;
use crate::store::{Result, StoreError};

/// `major.minor` of the layout of the data in Redis. A new major version means that older programs must not touch it.
pub const LAYOUT: &str = "1.0";
const LAYOUT_MAJOR: u32 = 1;
const OLDEST: (u32, u32) = (6, 2);
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, and may lose data or mislead.
    Warn,
    /// Can be read, and takes no writes now.
    ReadsOnly,
    /// Cannot be used now; may be later.
    Away,
    /// Must not be used.
    Refuse,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked, in a word.
    pub what: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found, and the remedy.
    pub message: String,
}

/// Connects and makes all checks, for `bangui check`.
///
/// # Errors
/// If Redis does not answer, or the URL is invalid.
pub async fn inspect(config: &RedisConfig) -> Result<Vec<Finding>> {
    let keys = Keys::of(config);
    let dialer =
        Dialer::new(config, keys.slot()).map_err(|error| StoreError::unavailable(error.to_string()))?;
    let target = dialer.search().await?;
    let named = primary(&target);
    let mut connection = target.dial().await?;
    let findings = run(&mut connection, &keys).await?;
    Ok(named.into_iter().chain(findings).collect())
}

fn primary(target: &Target) -> Option<Finding> {
    let named = target.named.as_ref()?;
    let (level, message) = if named.silent.is_empty() {
        (Level::Ok, format!("{} name {}", named.by, named.address))
    } else {
        (
            Level::Warn,
            format!(
                "{} name {}, but not all of them answer: {}",
                named.by,
                named.address,
                named.silent.join("; ")
            ),
        )
    };
    Some(Finding { what: "primary", level, message })
}

pub(in crate::store) async fn run(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<Vec<Finding>> {
    let rights = rights(&super::acl::missing(connection, keys).await?);
    if rights.level != Level::Ok {
        return Ok(vec![rights]); // What follows needs rights itself.
    }
    let (info, layout, time): (String, Option<String>, (i64, i64)) =
        redis::pipe().cmd("INFO").cmd("GET").arg(keys.layout()).cmd("TIME").query_async(connection).await?;
    let here = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros);
    let info = parse_info(&info);
    let snapshots = if info.get("aof_enabled") == Some(&"1") { None } else { snapshots(connection).await };
    let standing = primary::ask(connection, keys).await?;
    let node = (info.get("cluster_enabled") == Some(&"1") && !keys.are_in_one_slot()).then(node);
    let others = vec![
        version(&info),
        role(&info),
        writes(&standing),
        rights,
        stored_layout(layout.as_deref()),
        eviction(&info),
        persistence(&info, snapshots),
        clocks(time_micros(time), here),
    ];
    Ok(others.into_iter().chain(node).collect())
}

fn node() -> Finding {
    Finding {
        what: "cluster",
        level: Level::Warn,
        message: "this Redis is a node of a Redis Cluster, and bangui follows its slot to another node only if BANGUI_REDIS_URL \
                  begins with redis+cluster:// or rediss+cluster://"
            .to_owned(),
    }
}

/// `CONFIG GET save`, where it is allowed: whether snapshots are on.
async fn snapshots(connection: &mut MultiplexedConnection) -> Option<bool> {
    let answer: HashMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("save").query_async(connection).await.ok()?;
    answer.get("save").map(|save| !save.is_empty())
}

pub(in crate::store) fn parse_info(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

fn version(info: &HashMap<&str, &str>) -> Finding {
    let text = info.get("redis_version").copied().unwrap_or("unknown");
    let mut parts = text.split('.').map(str::parse::<u32>);
    let (level, message) = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => {
            let message = match info.get("valkey_version") {
                Some(version) => format!("Valkey {version}, which does what Redis {text} does"),
                None => format!("Redis {text}"),
            };
            (Level::Ok, message)
        }
        (Some(Ok(_)), Some(Ok(_))) => (
            Level::Refuse,
            format!(
                "this Redis is {text}, and bangui needs 6.2 or newer: upgrade it, or point BANGUI_REDIS_URL at a newer one"
            ),
        ),
        _ => (
            Level::Warn,
            format!("this Redis says that its version is `{text}`; bangui needs what Redis 6.2 can do"),
        ),
    };
    Finding { what: "version", level, message }
}

fn role(info: &HashMap<&str, &str>) -> Finding {
    let what = "role";
    match info.get("role").copied() {
        Some("slave") => Finding {
            what,
            level: Level::Away,
            message: "this Redis is a read-only replica: BANGUI_REDIS_URL must lead to the primary"
                .to_owned(),
        },
        _ => Finding { what, level: Level::Ok, message: "is the primary".to_owned() },
    }
}

fn writes(standing: &Standing) -> Finding {
    let (level, message) = match standing {
        Standing::Primary => (Level::Ok, "takes writes".to_owned()),
        Standing::Replica => (Level::Away, "a replica does not accept writes".to_owned()),
        Standing::Refusing(reason) => (
            Level::ReadsOnly,
            format!(
                "{reason}; until that is fixed only reads are served, and the states of servers are not updated"
            ),
        ),
    };
    Finding { what: "writes", level, message }
}

fn rights(missing: &[String]) -> Finding {
    let what = "rights";
    if missing.is_empty() {
        return Finding { what, level: Level::Ok, message: "none is missing".to_owned() };
    }
    let message = format!(
        "the user of BANGUI_REDIS_URL lacks rights: run ACL SETUSER with its name and {} (docs/redis.md has the whole rule)",
        missing.join(" ")
    );
    Finding { what, level: Level::Away, message }
}

fn stored_layout(layout: Option<&str>) -> Finding {
    let what = "layout";
    let Some(layout) = layout else {
        return Finding { what, level: Level::Ok, message: "no data yet".to_owned() };
    };
    match layout.split('.').next().map(str::parse::<u32>) {
        Some(Ok(major)) if major <= LAYOUT_MAJOR => {
            Finding { what, level: Level::Ok, message: format!("data layout {layout}") }
        }
        _ => Finding {
            what,
            level: Level::Refuse,
            message: format!(
                "the data under this prefix has layout {layout}, written by a newer bangui, and this one reads up to {LAYOUT_MAJOR}.x: \
                 run the newer version, or another BANGUI_REDIS_PREFIX"
            ),
        },
    }
}

fn eviction(info: &HashMap<&str, &str>) -> Finding {
    let what = "eviction";
    match info.get("maxmemory_policy").copied() {
        Some("noeviction") => {
            Finding { what, level: Level::Ok, message: "maxmemory-policy noeviction".to_owned() }
        }
        Some(policy) => Finding {
            what,
            level: Level::Warn,
            message: format!(
                "maxmemory-policy is {policy}: a full Redis drops sessions and state. Set it to noeviction"
            ),
        },
        None => Finding {
            what,
            level: Level::Warn,
            message: "INFO does not report the maxmemory-policy: make sure that it is noeviction".to_owned(),
        },
    }
}

fn persistence(info: &HashMap<&str, &str>, snapshots: Option<bool>) -> Finding {
    let (level, message) = match (info.get("aof_enabled").copied(), snapshots) {
        (Some("1"), _) => (Level::Ok, "append-only file on"),
        (_, Some(true)) => (
            Level::Warn,
            "only snapshots are on: a crash loses what came after the last one. Set appendonly yes",
        ),
        (_, Some(false)) => (
            Level::Warn,
            "no persistence: a restart of Redis loses accounts, sessions and state. Set appendonly yes",
        ),
        (_, None) => (
            Level::Warn,
            "the append-only file is off, and whether snapshots are on cannot be read: set appendonly yes",
        ),
    };
    Finding { what: "persistence", level, message: message.to_owned() }
}

fn clocks(redis: i64, here: i64) -> Finding {
    let apart = Duration::from_micros(redis.abs_diff(here));
    let (level, message) = if apart <= CLOCK_TOLERANCE {
        (Level::Ok, "this machine's clock agrees with Redis's".to_owned())
    } else {
        (
            Level::Warn,
            format!(
                "this machine's clock and Redis's differ by {:.1} s: the times shown are Redis's; run NTP on both",
                apart.as_secs_f64()
            ),
        )
    };
    Finding { what: "clock", level, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_below_6_2_is_refused_and_newer_ones_are_not() {
        let level = |text: &str| version(&HashMap::from([("redis_version", text)])).level;
        assert_eq!(level("6.0.16"), Level::Refuse);
        assert_eq!(level("5.0.3"), Level::Refuse);
        assert_eq!(level("6.2.0"), Level::Ok);
        assert_eq!(level("7.0.15"), Level::Ok);
        assert_eq!(level("10.1.0"), Level::Ok);
        assert_eq!(level("255.255.255"), Level::Ok, "the unstable branch");
        assert_eq!(level("banana"), Level::Warn);
    }

    #[test]
    fn a_layout_of_a_newer_major_version_is_refused_and_of_a_newer_minor_is_not() {
        assert_eq!(stored_layout(None).level, Level::Ok);
        assert_eq!(stored_layout(Some(LAYOUT)).level, Level::Ok);
        assert_eq!(stored_layout(Some("1.7")).level, Level::Ok);
        assert_eq!(stored_layout(Some("2.0")).level, Level::Refuse);
        assert_eq!(stored_layout(Some("")).level, Level::Refuse);
    }

    #[test]
    fn clocks_may_differ_by_two_seconds_either_way() {
        assert_eq!(clocks(10_000_000, 12_000_000).level, Level::Ok);
        assert_eq!(clocks(10_000_000, 12_000_001).level, Level::Warn);
        assert_eq!(clocks(12_000_001, 10_000_000).level, Level::Warn);
    }
}
