//! What a leader can lead: agents with 50 jails each, and bans a minute, more and more of both until something gives way.
//!
//! `BENCH_AGENTS=1000,2000` measures these numbers of agents alone, in the rows of the table that are theirs. A sweep has to end
//! within its interval, and the lists of bans have to be read as fast as they change: both are measured while the bans come.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::bans::millis;
use crate::scale_fleet::{Fleet, JAILS};
use crate::scale_load::{Spent, info};
use crate::scale_table::{Panel, Table};
use crate::support::eventually;
use crate::support::rounds::metric;
use crate::sweep::resident_mib;
use crate::{Figure, quantile};

const AGENTS: [u16; 4] = [1_000, 2_000, 4_000, 8_000];
/// Bans a minute at each agent, where the agents are counted: ten thousand at a thousand of them.
const OF_EACH: f64 = 10.0;
/// Bans a minute at a thousand agents, where the bans are counted.
const BANS: [u32; 5] = [5_000, 10_000, 20_000, 40_000, 80_000];
/// The default of `BANGUI_PROBE_INTERVAL_SECONDS`.
const INTERVAL: f64 = 10.0;
const WATCHED: Duration = Duration::from_secs(41);
/// How long the first reading of all lists is waited for, and the effect of a new pace.
const FIRST_LISTS: Duration = Duration::from_secs(150);
const SETTLED: Duration = Duration::from_secs(25);
/// How long before the next sweep the lists are compared with the counts of the last.
const BEFORE_A_SWEEP: Duration = Duration::from_millis(2_500);

const COLUMNS: [&str; 15] = [
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
const PANELS: [Panel; 6] = [
    Panel {
        shows: "seconds of a sweep (dashed: its interval)",
        lines: &[("sweep longest s", "longest"), ("sweep p50 s", "p50")],
        limit: Some(INTERVAL),
    },
    Panel {
        shows: "percent of a core",
        lines: &[
            ("leader % of a core", "leader"),
            ("Redis % of a core", "Redis"),
            ("agents % of a core", "all agents"),
        ],
        limit: None,
    },
    Panel {
        shows: "Redis commands a second",
        lines: &[("Redis commands a second", "commands")],
        limit: None,
    },
    Panel { shows: "MB a second at Redis", lines: &[("Redis MB a second", "in and out")], limit: None },
    Panel {
        shows: "percent of lists behind, before a sweep",
        lines: &[("lists behind %", "behind")],
        limit: Some(100.0),
    },
    Panel { shows: "MiB resident", lines: &[("leader MiB", "leader"), ("Redis MiB", "Redis")], limit: None },
];

pub async fn measure() -> Vec<Figure> {
    let asked = std::env::var("BENCH_AGENTS").ok();
    let asked: Option<Vec<u16>> = asked.map(|list| list.split(',').map(|n| n.parse().unwrap()).collect());
    let mut table =
        Table::open("scale-agents", "agents with 50 jails each, 10 bans a minute at each", &COLUMNS);
    for agents in asked.unwrap_or_else(|| AGENTS.into()) {
        let fleet = Fleet::start(agents, OF_EACH * f64::from(agents)).await;
        let first = first_lists(&fleet).await;
        measure_one(&fleet, &mut table, agents.into()).await;
        if let Some(first) = first {
            table.put(agents.into(), &[("first lists s", first)]);
        }
        table.draw("What agents cost the leader and Redis", &PANELS);
    }
    let words = |column, unit, digits| table.words(column, unit, digits);
    vec![
        Figure {
            what: "a sweep of so many agents over TLS, with 50 jails each, while 10 bans a minute come at each",
            aim: "under the 10 s of its interval",
            measured: format!(
                "p50 {}; longest {}",
                words("sweep p50 s", " s", 2),
                words("sweep longest s", " s", 2)
            ),
        },
        Figure {
            what: "the same: Redis commands a second, lists of bans included",
            aim: "",
            measured: format!(
                "{} ({} MB a second in and out)",
                words("Redis commands a second", "", 0),
                words("Redis MB a second", "", 1)
            ),
        },
        Figure {
            what: "the same: the leader",
            aim: "",
            measured: format!(
                "{} of a core; {} resident",
                words("leader % of a core", " %", 0),
                words("leader MiB", " MiB", 0)
            ),
        },
        Figure {
            what: "the same: lists of bans that are not those of the last counts, just before the next sweep",
            aim: "0 %",
            measured: format!(
                "{} ({} read a second)",
                words("lists behind %", " %", 1),
                words("lists read a second", "", 0)
            ),
        },
        Figure {
            what: "the same: from the start of the first worker until every list was read once",
            aim: "",
            measured: format!(
                "{} ({} s at most are waited for)",
                words("first lists s", " s", 0),
                FIRST_LISTS.as_secs()
            ),
        },
        Figure {
            what: "a session check, strict, beside it",
            aim: "",
            measured: format!(
                "p50 {}; p99 {}",
                words("session check p50 ms", " ms", 1),
                words("session check p99 ms", " ms", 1)
            ),
        },
        Figure {
            what: "the list of all servers in the API, beside it",
            aim: "",
            measured: words("list of servers ms", " ms", 0),
        },
    ]
}

/// More and more bans a minute at a thousand agents.
pub async fn measure_bans() -> Vec<Figure> {
    let mut table = Table::open("scale-bans", "bans a minute at 1000 agents with 50 jails each", &COLUMNS);
    let fleet = Fleet::start(AGENTS[0], f64::from(BANS[0])).await;
    first_lists(&fleet).await;
    for bans in BANS {
        fleet.attack.pace(bans.into());
        sleep(SETTLED).await;
        measure_one(&fleet, &mut table, bans.into()).await;
        table.draw("What bans cost the leader and Redis", &PANELS);
    }
    let words = |column, unit, digits| table.words(column, unit, digits);
    vec![
        Figure {
            what: "so many bans a minute at 1,000 agents with 50 jails each: lists of bans that are not those of the last counts, just before the next sweep",
            aim: "0 % at 10,000",
            measured: format!(
                "{} ({} read a second)",
                words("lists behind %", " %", 1),
                words("lists read a second", "", 0)
            ),
        },
        Figure {
            what: "the same: a sweep",
            aim: "under the 10 s of its interval",
            measured: format!(
                "p50 {}; longest {}",
                words("sweep p50 s", " s", 2),
                words("sweep longest s", " s", 2)
            ),
        },
        Figure {
            what: "the same: Redis commands a second, and the leader",
            aim: "",
            measured: format!(
                "{}; {} of a core",
                words("Redis commands a second", "", 0),
                words("leader % of a core", " %", 0)
            ),
        },
    ]
}

/// How long it took until every list was read once, if not too long.
async fn first_lists(fleet: &Fleet) -> Option<f64> {
    let mut redis = fleet.cluster.redis.connection().await;
    loop {
        let read: usize = redis::cmd("SCARD").arg("{it}:ban-lists").query_async(&mut redis).await.unwrap();
        let took = fleet.begun.elapsed();
        if read >= fleet.lists() {
            return Some(took.as_secs_f64());
        }
        if took > FIRST_LISTS {
            eprintln!("{read} of {} lists were read once after {} s", fleet.lists(), took.as_secs());
            return None;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Watches some sweeps; then the lists, and what a user sees.
async fn measure_one(fleet: &Fleet, table: &mut Table, size: u64) {
    before_a_sweep(fleet).await;
    let own = rustix::process::getpid();
    let leader = fleet.worker.process.pid();
    let (before, mine) = (Spent::so_far(&fleet.cluster.redis, &[leader]).await, crate::peers::ticks(own));
    let lists = lists_read(fleet).await;
    let (mut sweeps, mut checks) = watch(fleet).await;
    let spent = Spent::so_far(&fleet.cluster.redis, &[leader]).await.since(&before);
    let mine = (crate::peers::ticks(own) - mine) / crate::peers::TICKS;
    let lists = lists_read(fleet).await - lists;
    before_a_sweep(fleet).await;
    #[expect(clippy::cast_precision_loss, reason = "a count of lists")]
    let behind = fleet.behind().await as f64 / fleet.lists() as f64;
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
