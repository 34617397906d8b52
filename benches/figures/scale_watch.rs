//! Watches a fleet for some sweeps: what they take, what they cost, whether the lists of bans keep up, and what a user sees.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::bans::millis;
use crate::peers::{TICKS, ticks};
use crate::quantile;
use crate::scale_fleet::{Fleet, JAILS};
use crate::scale_load::{Spent, info};
use crate::scale_table::Table;
use crate::support::eventually;
use crate::support::rounds::metric;
use crate::sweep::resident_mib;

/// The default of `BANGUI_PROBE_INTERVAL_SECONDS`.
pub const INTERVAL: f64 = 10.0;
const WATCHED: Duration = Duration::from_secs(41);
/// How long before the next sweep the lists are compared with the counts of the last.
const BEFORE_A_SWEEP: Duration = Duration::from_millis(2_500);

/// What is measured.
pub const COLUMNS: [&str; 15] = [
    "sweep p50 s",
    "sweep longest s",
    "Redis commands a second",
    "Redis MB a second",
    "leader % of a core",
    "leader MiB",
    "Redis % of a core",
    "Redis MiB",
    "agents % of a core",
    "lists read a second",
    "lists behind %",
    "first lists s",
    "session check p50 ms",
    "session check p99 ms",
    "list of servers ms",
];

/// Watches some sweeps; then the lists, and what a user sees.
pub async fn measure_one(fleet: &Fleet, table: &mut Table, size: u64) {
    before_a_sweep(fleet).await;
    let own = rustix::process::getpid();
    let leader = fleet.worker.process.pid();
    let (before, mine) = (Spent::so_far(&fleet.cluster.redis, &[leader]).await, ticks(own));
    let lists = lists_read(fleet).await;
    let (mut sweeps, mut checks) = watch(fleet).await;
    let spent = Spent::so_far(&fleet.cluster.redis, &[leader]).await.since(&before);
    let mine = (ticks(own) - mine) / TICKS;
    let lists = lists_read(fleet).await - lists;
    before_a_sweep(fleet).await;
    let behind = fleet.behind().await;
    let mut measured = vec![
        ("Redis commands a second", spent.commands / spent.seconds),
        ("Redis MB a second", (spent.received + spent.sent) / spent.seconds / 1e6),
        ("leader % of a core", spent.processor / spent.seconds * 100.0),
        ("leader MiB", resident_mib(&fleet.worker)),
        ("Redis % of a core", spent.redis_processor / spent.seconds * 100.0),
        ("Redis MiB", info(&fleet.cluster.redis).await["used_memory"] / 1024.0 / 1024.0),
        ("agents % of a core", mine / spent.seconds * 100.0),
        ("lists read a second", lists / spent.seconds),
        ("lists behind %", behind * 100.0),
        ("session check p50 ms", quantile(&mut checks, 0.5)),
        ("session check p99 ms", quantile(&mut checks, 0.99)),
    ];
    if sweeps.is_empty() {
        eprintln!("{size}: no sweep ended within {} s", WATCHED.as_secs());
    } else {
        measured.push(("sweep p50 s", quantile(&mut sweeps, 0.5)));
        measured.push(("sweep longest s", quantile(&mut sweeps, 1.0)));
    }
    measured.extend(list_of_servers(fleet).await.map(|took| ("list of servers ms", took)));
    table.clear(size);
    table.put(size, &measured);
    complaints(fleet, size);
}

/// The sweeps that end while it is watched, in seconds, and how long session checks take beside them, in ms.
async fn watch(fleet: &Fleet) -> (Vec<f64>, Vec<f64>) {
    let mut redis = fleet.cluster.redis.connection().await;
    let (mut sweeps, mut checks, mut seen) = (Vec::new(), Vec::new(), None);
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        let (started, finished, outcome) = job(&mut redis).await;
        if finished >= started && seen != Some(finished) {
            // The one that had ended before is not counted.
            if seen.replace(finished).is_some() {
                #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
                sweeps.push((finished - started) as f64 / 1e3);
                if outcome != "ok" {
                    eprintln!("a sweep ended: {outcome}");
                }
            }
        }
        let check = Instant::now();
        let status = fleet.client.get("/api/v1/session").await.status;
        checks.push(millis(check));
        if !status.is_success() {
            eprintln!("a session check was answered {status}");
        }
        sleep(Duration::from_millis(50)).await;
    }
    (sweeps, checks)
}

/// When the sweep began, and ended, in ms since 1970, and how.
async fn job(redis: &mut redis::aio::MultiplexedConnection) -> (i64, i64, String) {
    let mut command = redis::cmd("HMGET");
    command.arg("{it}:job:probe").arg(&["last_started_at", "last_finished_at", "last_outcome"]);
    let (started, finished, outcome): (i64, Option<i64>, Option<String>) =
        command.query_async(redis).await.unwrap();
    (started, finished.unwrap_or(0), outcome.unwrap_or_default())
}

/// Waits until the next sweep is about to begin.
async fn before_a_sweep(fleet: &Fleet) {
    let mut redis = fleet.cluster.redis.connection().await;
    let begun = job(&mut redis).await.0;
    eventually("the next sweep", Duration::from_secs(60), || {
        let mut redis = redis.clone();
        async move { (job(&mut redis).await.0 != begun).then_some(()) }
    })
    .await;
    sleep(Duration::from_secs_f64(INTERVAL) - BEFORE_A_SWEEP).await;
}

/// Lists that the leader has read so far.
async fn lists_read(fleet: &Fleet) -> f64 {
    metric(&fleet.worker.client(), "bangui_redis_command_duration_seconds_count{command=\"bans_clear\"").await
}

/// The median of a few, in ms; none if it cannot be had.
async fn list_of_servers(fleet: &Fleet) -> Option<f64> {
    let mut took = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let list = fleet.client.get("/api/v1/servers").await;
        took.push(millis(begun));
        if !list.status.is_success() {
            eprintln!("the list of servers was answered {}: {}", list.status, list.text);
            return None;
        }
        assert_eq!(list.body["items"].as_array().unwrap().len() as u64 * JAILS, fleet.lists() as u64);
    }
    Some(quantile(&mut took, 0.5))
}

/// What the worker has complained of: that may be what breaks first.
fn complaints(fleet: &Fleet, size: u64) {
    let lines = fleet.worker.process.lines();
    let warned: Vec<&String> =
        lines.iter().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).collect();
    eprintln!("{size}: {} complaints of the worker so far", warned.len());
    warned.iter().take(3).chain(warned.iter().rev().take(3)).for_each(|line| eprintln!("  {line}"));
}
