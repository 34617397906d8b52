//! One worker, two, four, eight: what a session check costs, strict and with the near cache, and what a logout waits for.
//!
//! Each worker has the same load, as from a load balancer whose users grow with the workers: so a check should cost the same
//! processor time and the same Redis commands, however many there are. All of them share this machine's cores, so the requests a
//! second do not grow.

use std::time::{Duration, Instant};

use crate::bans::millis;
use crate::scale_load::{CheckCost, Requests, Spent, checks, medians, sessions};
use crate::scale_table::{Panel, Table};
use crate::support::Cluster;
use crate::support::rounds::{holders_are_known, holds};
use crate::support::worker::Worker;
use crate::{Figure, quantile};

const WORKERS: [usize; 4] = [1, 2, 4, 8];
/// Connections to each worker, and sessions that are used on all of them.
const CONNECTIONS: usize = 16;
const SESSIONS: u32 = 256;
const ROUNDS: usize = 9;
const MEASURED_SECONDS: u64 = 2;
/// How long the commands beside requests are watched.
const IDLE: Duration = Duration::from_secs(5);
const LOGOUTS: u32 = 300;

const COLUMNS: [&str; 10] = [
    "strict: worker us",
    "strict: Redis us",
    "strict: Redis commands",
    "strict: a second",
    "near cache: worker us",
    "near cache: Redis us",
    "near cache: Redis commands",
    "near cache: a second",
    "logout p50 ms",
    "logout p99 ms",
];
const PANELS: [Panel; 4] = [
    Panel {
        shows: "µs of a worker's processor for a check",
        lines: &[("strict: worker us", "strict"), ("near cache: worker us", "near cache")],
        limit: None,
    },
    Panel {
        shows: "Redis commands for a check",
        lines: &[("strict: Redis commands", "strict"), ("near cache: Redis commands", "near cache")],
        limit: None,
    },
    Panel {
        shows: "µs of Redis's processor for a check",
        lines: &[("strict: Redis us", "strict"), ("near cache: Redis us", "near cache")],
        limit: None,
    },
    Panel {
        shows: "ms of a logout, every worker a near cache",
        lines: &[("logout p99 ms", "p99"), ("logout p50 ms", "p50")],
        limit: None,
    },
];

pub async fn measure() -> Vec<Figure> {
    let mut table = Table::open("scale-workers", "workers", &COLUMNS);
    for near in [false, true] {
        let builder = Cluster::bare(1).env("RUST_LOG", "warn,bangui::worker=info");
        let mut cluster = builder.env("BANGUI_SESSION_CACHE_ENABLED", near).set_up().await;
        let store = cluster.store();
        store.ready().await.unwrap();
        let tokens = sessions(&store, 0..SESSIONS).await;
        let requests = Requests::of(tokens.iter());
        for workers in WORKERS {
            while cluster.workers.len() < workers {
                cluster.add_worker().await;
            }
            if near {
                let mut took = logouts(&cluster).await;
                let (p50, p99) = (quantile(&mut took, 0.5), quantile(&mut took, 0.99));
                table.put(size(workers), &[("logout p50 ms", p50), ("logout p99 ms", p99)]);
            }
        }
        let columns = if near { &COLUMNS[4..8] } else { &COLUMNS[..4] };
        for (workers, cost) in costs(&cluster, &requests).await {
            let values = [cost.worker, cost.redis, cost.commands, cost.a_second];
            table.put(size(workers), &columns.iter().copied().zip(values).collect::<Vec<_>>());
        }
    }
    table.draw("Does a session check cost more with more workers?", &PANELS);
    let words = |column, unit, digits| table.words(column, unit, digits);
    vec![
        Figure {
            what: "N workers, strict, 16 connections to each: processor time of a worker for a check",
            aim: "the same",
            measured: format!(
                "{} (and {} of Redis)",
                words("strict: worker us", " µs", 1),
                words("strict: Redis us", " µs", 1)
            ),
        },
        Figure {
            what: "the same: Redis commands for a check",
            aim: "the same, 2 or less",
            measured: words("strict: Redis commands", "", 3),
        },
        Figure {
            what: "the same, near cache: processor time of a worker for a check",
            aim: "the same",
            measured: format!(
                "{} (and {} of Redis)",
                words("near cache: worker us", " µs", 1),
                words("near cache: Redis us", " µs", 1)
            ),
        },
        Figure {
            what: "the same, near cache: Redis commands for a check",
            aim: "the same, near 0",
            measured: words("near cache: Redis commands", "", 3),
        },
        Figure {
            what: "a logout with N workers, each with a near cache",
            aim: "",
            measured: format!(
                "p50 {}; p99 {}",
                words("logout p50 ms", " ms", 1),
                words("logout p99 ms", " ms", 1)
            ),
        },
    ]
}

fn size(workers: usize) -> u64 {
    workers.try_into().unwrap()
}

/// What a check costs at so many of the workers, in rounds that take each number in turn: a noisy machine is noisy for all of them. Those
/// that are not asked do what they do in any case, which is subtracted.
async fn costs(cluster: &Cluster, requests: &Requests) -> Vec<(usize, CheckCost)> {
    let redis = &cluster.redis;
    let all: Vec<&Worker> = cluster.workers.iter().collect();
    // Past what a start asks once; and each has its connections to Redis, and its sessions.
    checks(redis, &all, requests, CONNECTIONS, 2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = Spent::so_far(redis, &[]).await;
    tokio::time::sleep(IDLE).await;
    let idle = Spent::so_far(redis, &[]).await.since(&before);
    let mut measured: Vec<_> = WORKERS.iter().map(|workers| (*workers, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (workers, rounds) in &mut measured {
            let mut round = checks(redis, &all[..*workers], requests, CONNECTIONS, MEASURED_SECONDS).await;
            round.commands = (round.commands - idle.commands / idle.seconds / round.a_second).max(0.0);
            rounds.push(round);
        }
    }
    measured.into_iter().map(|(workers, rounds)| (workers, medians(&rounds))).collect()
}

/// How long logouts take of sessions that every worker has in its cache, in ms.
async fn logouts(cluster: &Cluster) -> Vec<f64> {
    for worker in &cluster.workers {
        holds(&worker.client(), true).await;
    }
    holders_are_known(cluster).await;
    let store = cluster.store();
    store.ready().await.unwrap();
    let tokens = sessions(&store, 0..LOGOUTS).await;
    let mut took = Vec::new();
    for token in &tokens {
        for worker in &cluster.workers {
            worker.client().with_bearer(token).get("/api/v1/session").await.expect(200);
        }
        let user = cluster.client(took.len() % cluster.workers.len()).with_bearer(token);
        let begun = Instant::now();
        user.delete("/api/v1/session").await.expect(204);
        took.push(millis(begun));
    }
    took
}
