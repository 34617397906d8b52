//! A primary is trusted for less than 2 s after a majority of the Sentinels named it, whatever was paused or cut off in that time;
//! and a minority of them moves no worker.

use std::time::{Duration, Instant};

use crate::support::redis::Redis;
use crate::support::rounds::holds;
use crate::support::sentinel::{self, SENTINEL_USER, Sentinels, connections};
use crate::support::{Client, Cluster, SOON, eventually};

/// Two workers, set up, and a session that both know.
async fn set_up(near_cache: bool) -> (Cluster, Sentinels, Client) {
    let (primary, sentinels) = sentinel::start().await;
    let cluster = Cluster::bare(2)
        .redis(primary)
        .env("BANGUI_REDIS_URL", sentinels.url())
        .env("BANGUI_SESSION_CACHE_ENABLED", near_cache)
        .env("BANGUI_SESSION_CACHE_TTL_SECONDS", 60)
        .set_up()
        .await;
    for n in 0..2 {
        holds(&cluster.client(n), near_cache).await;
    }
    let client = cluster.client(0).logged_in().await;
    for _ in 0..2 {
        for worker in &cluster.workers {
            client.at(worker.address).get("/api/v1/session").await.expect(200);
        }
    }
    sentinels.replicated(&cluster.redis).await;
    (cluster, sentinels, client)
}

/// For the Sentinels it is dead, and they cannot demote it; everybody else finds a primary there.
async fn cut_off_from_the_sentinels(redis: &Redis) {
    redis.command::<()>(&["ACL", "SETUSER", SENTINEL_USER, "-@all"]).await;
}

async fn a_paused_worker_is_not_behind(near_cache: bool) {
    let (cluster, sentinels, client) = set_up(near_cache).await;
    let (paused, other) = (&cluster.workers[0], &cluster.workers[1]);
    paused.pause();
    cut_off_from_the_sentinels(&cluster.redis).await;
    sentinels.failed_over().await;
    eventually("the other worker to be at the new primary", SOON, || async {
        (connections(&sentinels.replica).await > 0).then_some(())
    })
    .await;
    other.ready(SOON).await;
    client.at(other.address).delete("/api/v1/session").await.expect(204);
    // When it continues it finds no majority to correct it, and the old primary answers as before.
    for n in 0..2 {
        sentinels.pause(n, true);
    }
    paused.resume();
    let resumed = Instant::now();
    while resumed.elapsed() < Duration::from_secs(4) {
        let answer = client.get("/api/v1/session").await;
        assert_eq!(answer.status, 503, "{:?} after it went on: {}", resumed.elapsed(), answer.text);
    }
    for n in 0..2 {
        sentinels.pause(n, false);
    }
    eventually("Redis to say that the session is gone", SOON, || async {
        let answer = client.get("/api/v1/session").await;
        (answer.status != 503).then(|| answer.problem(401).to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_was_paused_during_a_failover_accepts_nothing_from_the_old_primary() {
    a_paused_worker_is_not_behind(false).await;
}

#[tokio::test]
async fn a_near_cache_that_was_paused_during_a_failover_accepts_nothing_from_the_old_primary() {
    a_paused_worker_is_not_behind(true).await;
}

#[tokio::test]
async fn a_worker_without_a_majority_of_the_sentinels_says_so_and_continues_once_it_has_one() {
    let (cluster, mut sentinels, client) = set_up(true).await;
    sentinels.kill(0);
    // Two of three continue to name it.
    for _ in 0..60 {
        client.get("/api/v1/session").await.expect(200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sentinels.kill(1);
    eventually("no answer without a majority", SOON, || async {
        let answer = client.get("/api/v1/session").await;
        (answer.status == 503).then(|| assert!(answer.cookies().is_empty(), "{answer:?}"))
    })
    .await;
    eventually("/readyz to say that it is Redis", SOON, || async {
        let ready = cluster.client(0).get("/readyz").await;
        assert!(!ready.text.contains("Sentinels"), "strangers learn what is inside: {}", ready.text);
        (ready.status == 503 && ready.body["reason"] == "redis").then_some(())
    })
    .await;
    let said = |line: &str| (line.contains("WARN") && line.contains("Sentinels")).then_some(());
    cluster.workers[0].process.line("the reason in the log", SOON, said).await;
    sentinels.restart(1, true);
    eventually("answers again", SOON, || async {
        (client.get("/api/v1/session").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_minority_of_stale_sentinels_leads_no_worker_back_to_a_superseded_primary() {
    let (cluster, mut sentinels, _) = set_up(false).await;
    cut_off_from_the_sentinels(&cluster.redis).await;
    sentinels.failed_over().await;
    eventually("every connection to have left the old primary", SOON, || async {
        (connections(&cluster.redis).await == 0).then_some(())
    })
    .await;
    for worker in &cluster.workers {
        worker.ready(SOON).await;
    }
    // Only the new primary has it.
    let client = cluster.client(0).logged_in().await;
    for n in 0..3 {
        sentinels.kill(n);
    }
    cluster.redis.command::<()>(&["ACL", "SETUSER", SENTINEL_USER, "+@all"]).await;
    sentinels.restart(2, false);
    eventually("the stale Sentinel to name the old primary", SOON, || async {
        (sentinels.names(2).await? == sentinels.first_port()).then_some(())
    })
    .await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(connections(&cluster.redis).await, 0, "a worker went back after {:?}", begun.elapsed());
        let answer = client.get("/api/v1/session").await;
        assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for n in 0..2 {
        sentinels.restart(n, true);
    }
    eventually("the session to be known again", SOON, || async {
        (client.get("/api/v1/session").await.status == 200).then_some(())
    })
    .await;
}
