//! The near cache on real processes: fast, and never behind an answered logout.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, Cluster, SOON, eventually};

/// The value of the first series that begins with `name`.
async fn metric(client: &Client, name: &str) -> f64 {
    let page = client.get("/metrics").await.text;
    let line = page.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

async fn holder(cluster: &Cluster, n: usize, holds: bool) {
    let client = cluster.client(n);
    eventually("a near cache to be on or off", SOON, || async {
        (metric(&client, "bangui_session_cache_holder").await == f64::from(u8::from(holds))).then_some(())
    })
    .await;
}

async fn rounds(cluster: &Cluster, rounds: usize) {
    for _ in 0..rounds {
        let client = cluster.client(0).logged_in().await;
        for worker in &cluster.workers {
            client.at(worker.address).get("/api/v1/session").await.expect(200);
        }
        client.delete("/api/v1/session").await.expect(204);
        for worker in &cluster.workers {
            client.at(worker.address).get("/api/v1/session").await.problem(401);
        }
    }
}

#[tokio::test]
async fn a_session_is_refused_everywhere_once_its_logout_is_answered() {
    let cluster = Cluster::bare(3).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    for n in 0..3 {
        holder(&cluster, n, true).await;
    }
    let logged_in = cluster.client(0).logged_in().await;
    assert_eq!(logged_in.get("/api/v1/cluster").await.body["cache_holders"], 3);
    rounds(&cluster, 40).await;
    assert!(metric(&cluster.client(0), "bangui_session_revocations_total{wait=\"confirmed\"}").await > 0.0);
}

#[tokio::test]
async fn a_logout_waits_out_the_lease_of_a_holder_that_is_stopped_and_goes_on_later() {
    let cluster = Cluster::bare(2).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    for n in 0..2 {
        holder(&cluster, n, true).await;
    }
    rounds(&cluster, 1).await;
    let client = cluster.client(0).logged_in().await;
    let stopped = client.at(cluster.workers[1].address);
    stopped.get("/api/v1/session").await.expect(200);
    stopped.get("/api/v1/session").await.expect(200);
    cluster.workers[1].pause();
    let begun = Instant::now();
    client.delete("/api/v1/session").await.expect(204);
    assert!(begun.elapsed() > Duration::from_secs(1), "answered while a holder may still accept");
    cluster.workers[1].resume();
    stopped.get("/api/v1/session").await.problem(401);
}

#[tokio::test]
async fn the_near_cache_is_switched_on_and_off_for_all_workers_while_they_run() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    for on in [true, false, true] {
        client.patch("/api/v1/settings", "*", json!({ "session_cache_enabled": on })).await.expect(200);
        for n in 0..2 {
            holder(&cluster, n, on).await;
        }
    }
    let other = client.at(cluster.workers[1].address);
    for _ in 0..10 {
        other.get("/api/v1/session").await.expect(200);
    }
    assert!(metric(&other, "bangui_session_checks_total{source=\"near_cache\"").await > 0.0);
    rounds(&cluster, 5).await;
}
