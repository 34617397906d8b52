//! How long there is no leader after the last one has gone.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Cluster, SOON, eventually};
use crate::{Figure, quantile};

const GRACEFUL_ROUNDS: usize = 100;
const CRASH_ROUNDS: usize = 200;
const PAUSE_ROUNDS: usize = 8;
/// The default of `BANGUI_LEASE_TTL_MS`.
const TTL_MS: f64 = 5_000.0;

pub async fn measure() -> Vec<Figure> {
    let mut cluster =
        Cluster::bare(3).env("BANGUI_LEASE_TTL_MS", "5000").env("BANGUI_DRAIN_SECONDS", "0").set_up().await;
    let [mut graceful, mut crash, mut pause] = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..GRACEFUL_ROUNDS {
        graceful.push(round(&mut cluster, Signal::TERM).await);
    }
    for _ in 0..CRASH_ROUNDS {
        crash.push(round(&mut cluster, Signal::KILL).await);
    }
    for _ in 0..PAUSE_ROUNDS {
        pause.push(round(&mut cluster, Signal::STOP).await);
    }
    vec![
        Figure {
            what: "takeover after SIGTERM of the leader",
            aim: "p99 under 50 ms",
            measured: format!(
                "p50 {:.1} ms, p99 {:.1} ms ({GRACEFUL_ROUNDS} rounds)",
                quantile(&mut graceful, 0.5),
                quantile(&mut graceful, 0.99)
            ),
        },
        Figure {
            what: "takeover after SIGKILL of the leader, lease TTL 5,000 ms",
            aim: "p99 under 500 ms",
            measured: format!(
                "p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms ({CRASH_ROUNDS} rounds)",
                quantile(&mut crash, 0.5),
                quantile(&mut crash, 0.99),
                quantile(&mut crash, 1.0)
            ),
        },
        Figure {
            what: "takeover after SIGSTOP of the leader, whose connections stay open, lease TTL 5,000 ms",
            aim: "under TTL + 200 ms",
            measured: format!(
                "p50 {:.0} ms, longest {:.0} ms = TTL {:+.0} ms ({PAUSE_ROUNDS} rounds)",
                quantile(&mut pause, 0.5),
                quantile(&mut pause, 1.0),
                quantile(&mut pause, 1.0) - TTL_MS
            ),
        },
    ]
}

/// Sends the leader a signal and waits for another holder; then adds a worker for the one that has gone.
async fn round(cluster: &mut Cluster, signal: Signal) -> f64 {
    let mut redis = cluster.redis.connection().await;
    let key = format!("{{{}}}:lease", crate::support::cluster::PREFIX);
    let leader = eventually("a leader", SOON, || holder(redis.clone(), key.clone())).await;
    let place = place(cluster, &leader).await;
    // Let the successor finish its subscription, or see the leader's: the handover is measured, not a worker's start. The random
    // part spreads the rounds over the time between two checks of the watcher.
    let settled = if signal == Signal::TERM { 150 } else { 1_000 };
    tokio::time::sleep(Duration::from_millis(settled + rand::random_range(0..250))).await;

    let gone = Instant::now();
    cluster.workers[place].process.signal(signal);
    let took = loop {
        let held: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await.unwrap();
        if held.as_deref().is_some_and(|held| !held.starts_with(&leader)) {
            break gone.elapsed();
        }
        assert!(gone.elapsed() < SOON, "nobody has taken over");
        if signal != Signal::TERM {
            // So that this loop does not keep a core from the workers.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let gone = cluster.workers.remove(place);
    if signal == Signal::STOP {
        gone.process.kill();
    }
    gone.process.ended(SOON).await;
    cluster.add_worker().await;
    took.as_secs_f64() * 1_000.0
}

async fn holder(mut redis: redis::aio::MultiplexedConnection, key: String) -> Option<String> {
    let held: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await.unwrap();
    Some(held?.split_once('|')?.0.to_owned())
}

/// Finds the worker with this id: each reports its id with every response.
async fn place(cluster: &Cluster, id: &str) -> usize {
    for place in 0..cluster.workers.len() {
        let answer = cluster.client(place).get("/healthz").await;
        if answer.headers.get("x-bangui-worker").is_some_and(|worker| worker == id) {
            return place;
        }
    }
    let log: Vec<Value> = cluster.workers[0].log();
    panic!("no worker has the id {id}: {log:?}");
}
