//! Findings about the cluster's Redis.

use super::{Finding, Kind, Remedy, Report, Severity};

/// The share of its memory limit, in percent, from which Redis is nearly full.
pub const NEARLY_FULL: u64 = 90;

/// What Redis reports about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisFacts {
    /// Whether the append-only file is on.
    pub append_only: Option<bool>,
    /// Whether snapshots are on; none if the Redis user may not ask.
    pub snapshots: Option<bool>,
    /// `maxmemory-policy`.
    pub eviction_policy: Option<String>,
    /// Bytes in use.
    pub used_memory: u64,
    /// Bytes allowed; 0 without a limit.
    pub max_memory: u64,
    /// Its address, where Sentinels or the masters of a Redis Cluster name it, and who does.
    pub named: Option<(String, &'static str)>,
    /// Replicas that are in step.
    pub replicas: u64,
    /// Replicas that must confirm (`BANGUI_REDIS_MIN_REPLICAS`).
    pub min_replicas: u64,
}

/// All findings about it.
#[must_use]
pub fn judge(facts: &RedisFacts) -> Report {
    let mut report = Report::default();
    if facts.append_only.is_some() {
        report.judge(Kind::RedisPersistence, None, persistence(facts));
    }
    if facts.eviction_policy.is_some() {
        report.judge(Kind::RedisEviction, None, eviction(facts));
    }
    report.judge(Kind::RedisMemory, None, memory(facts));
    report.judge(Kind::RedisReplicas, None, replicas(facts));
    report
}

fn persistence(facts: &RedisFacts) -> Option<Finding> {
    if facts.append_only != Some(false) {
        return None;
    }
    let (title, detail) = match facts.snapshots {
        Some(false) => (
            "Redis keeps nothing on disk",
            "A restart of Redis loses all accounts, sessions, tokens, settings and the audit. fail2ban keeps banning.",
        ),
        _ => (
            "Redis writes snapshots only",
            "A crash of Redis loses what came after the last snapshot: logouts, settings, audit entries.",
        ),
    };
    let remedy = Remedy::text("Switch the append-only file on, and set `appendonly yes` in redis.conf.")
        .command("redis-cli CONFIG SET appendonly yes");
    Some(Finding::new(Kind::RedisPersistence, Severity::Warning, title, detail, remedy))
}

fn eviction(facts: &RedisFacts) -> Option<Finding> {
    let policy = facts.eviction_policy.as_deref().filter(|policy| *policy != "noeviction")?;
    let detail = format!("maxmemory-policy is {policy}: a full Redis drops sessions and state.");
    let remedy = Remedy::text("Set it to noeviction, in redis.conf too.")
        .command("redis-cli CONFIG SET maxmemory-policy noeviction");
    let title = "Redis may evict keys";
    Some(Finding::new(Kind::RedisEviction, Severity::Warning, title, detail, remedy))
}

fn memory(facts: &RedisFacts) -> Option<Finding> {
    let RedisFacts { used_memory: used, max_memory: max, .. } = *facts;
    let full = max > 0 && u128::from(used) * 100 >= u128::from(max) * u128::from(NEARLY_FULL);
    full.then(|| {
        let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
        let detail = format!(
            "{} of {} MiB are in use. Once it is full nothing can be changed: no login, no ban through bangui, no probes.",
            mib(used),
            mib(max)
        );
        let remedy = Remedy::text("Raise its maxmemory, or free some memory.").command("redis-cli INFO memory");
        Finding::new(Kind::RedisMemory, Severity::Warning, "Redis is nearly full", detail, remedy)
    })
}

fn replicas(facts: &RedisFacts) -> Option<Finding> {
    let RedisFacts { replicas, min_replicas: wanted, .. } = *facts;
    (replicas < wanted).then(|| {
        let title = match replicas {
            0 => format!("No replica is connected and in sync, but {wanted} must confirm"),
            _ => format!("Only {replicas} of {wanted} replicas are connected and in sync"),
        };
        let detail = format!(
            "BANGUI_REDIS_MIN_REPLICAS is {wanted}: logouts, revocations and new passwords are answered \"not confirmed\" until they are back."
        );
        let remedy = Remedy::text("Bring the replicas back, or lower BANGUI_REDIS_MIN_REPLICAS.")
            .command("redis-cli INFO replication");
        Finding::new(Kind::RedisReplicas, Severity::Warning, title, detail, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(facts: &RedisFacts) -> Vec<&'static str> {
        judge(facts).findings.iter().map(|found| found.kind.word()).collect()
    }

    #[test]
    fn only_the_append_only_file_is_persistence_enough() {
        let facts = |append_only, snapshots| RedisFacts { append_only, snapshots, ..RedisFacts::default() };
        assert_eq!(found(&facts(Some(true), None)), [] as [&str; 0]);
        for snapshots in [None, Some(true), Some(false)] {
            assert_eq!(found(&facts(Some(false), snapshots)), ["redis-persistence"], "{snapshots:?}");
        }
        assert!(!judge(&facts(None, None)).has_judged(Kind::RedisPersistence), "not known");
    }

    #[test]
    fn any_policy_but_noeviction_is_found() {
        let facts =
            |policy: &str| RedisFacts { eviction_policy: Some(policy.to_owned()), ..RedisFacts::default() };
        assert_eq!(found(&facts("noeviction")), [] as [&str; 0]);
        assert_eq!(found(&facts("volatile-ttl")), ["redis-eviction"]);
    }

    #[test]
    fn redis_is_nearly_full_from_nine_tenths_on() {
        let facts = |used_memory, max_memory| RedisFacts { used_memory, max_memory, ..RedisFacts::default() };
        assert_eq!(found(&facts(899, 1000)), [] as [&str; 0]);
        assert_eq!(found(&facts(900, 1000)), ["redis-memory"]);
        assert_eq!(found(&facts(u64::MAX, 0)), [] as [&str; 0], "without a limit");
        assert_eq!(found(&facts(u64::MAX, u64::MAX)), ["redis-memory"]);
    }

    #[test]
    fn fewer_replicas_than_must_confirm_are_found() {
        let facts = |replicas, min_replicas| RedisFacts { replicas, min_replicas, ..RedisFacts::default() };
        assert_eq!(found(&facts(0, 0)), [] as [&str; 0]);
        assert_eq!(found(&facts(0, 1)), ["redis-replicas"]);
        assert_eq!(found(&facts(1, 2)), ["redis-replicas"]);
        assert_eq!(found(&facts(2, 2)), [] as [&str; 0]);
    }
}
