//! Redis is away: 503 soon, the cookie kept, and everything works again soon after it is back, without a restart.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::proxy::Mode;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

/// The bounds of docs/promises.md.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1500);
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Redis is away: longer than any single timeout.
const AWAY: Duration = Duration::from_secs(4);

/// The requests of one worker's user while Redis is away.
async fn is_unavailable(client: &Client) {
    let login = json!({ "password": PASSWORD });
    for request in [
        client.request(Method::GET, "/api/v1/session"),
        client.request(Method::GET, "/api/v1/servers"),
        client.request(Method::DELETE, "/api/v1/session"),
        client.anonymous().request(Method::POST, "/api/v1/session").json(&login),
    ] {
        let began = Instant::now();
        let answer = client.send(request).await;
        let took = began.elapsed();
        answer.problem(503);
        assert!(took < ANSWER_TIMEOUT, "{} took {took:?}", answer.asked);
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        assert!(answer.body["retry_after_seconds"].as_u64().is_some_and(|seconds| seconds > 0), "{answer:?}");
        assert!(answer.cookies().is_empty(), "the cookie was touched: {answer:?}");
    }
    client.get("/healthz").await.expect(200);
}

/// Takes Redis away, checks, brings it back, checks.
async fn survives(mut cluster: Cluster, away: impl AsyncFn(&mut Cluster), back: impl AsyncFn(&mut Cluster)) {
    let token = cluster.client(0).log_in().await;
    let clients: Vec<Client> =
        (0..cluster.workers.len()).map(|n| cluster.client(n).with_cookie(&token)).collect();
    for client in &clients {
        client.get("/api/v1/session").await.expect(200);
    }
    // Twice: connections that were rebuilt must survive the next time too.
    for _ in 0..2 {
        away(&mut cluster).await;
        let began = Instant::now();
        while began.elapsed() < AWAY {
            for client in &clients {
                is_unavailable(client).await;
            }
        }
        for client in &clients {
            let ready = client.get("/readyz").await;
            assert_eq!(ready.status, 503, "{}", ready.text);
            assert_eq!(ready.body["reason"], "redis", "no reason: {}", ready.text);
        }
        back(&mut cluster).await;
        let began = Instant::now();
        for client in &clients {
            eventually("the session to be known again", RECOVERY_TIMEOUT, || async {
                let answer = client.get("/api/v1/session").await;
                assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
                (answer.status == 200).then_some(())
            })
            .await;
            assert!(began.elapsed() < RECOVERY_TIMEOUT, "it took {:?}", began.elapsed());
            eventually("the worker to be ready again", RECOVERY_TIMEOUT, || async {
                (client.get("/readyz").await.status == 200).then_some(())
            })
            .await;
        }
        clients[0].logged_in().await.get("/api/v1/servers").await.expect(200);
    }
    for worker in &mut cluster.workers {
        assert!(worker.process.runs());
    }
}

#[tokio::test]
async fn a_redis_that_was_killed_and_is_started_again() {
    let cluster = Cluster::bare(2).set_up().await;
    survives(cluster, async |cluster| cluster.redis.kill(), async |cluster| cluster.redis.restart().await)
        .await;
}

#[tokio::test]
async fn a_redis_that_is_paused_and_continues() {
    let cluster = Cluster::bare(2).set_up().await;
    survives(cluster, async |cluster| cluster.redis.pause(), async |cluster| cluster.redis.resume()).await;
}

#[tokio::test]
async fn a_network_that_refuses_connections() {
    let cluster = Cluster::bare(2).proxied().set_up().await;
    let set = |cluster: &Cluster, mode| cluster.proxy.as_ref().unwrap().set(mode);
    survives(cluster, async |cluster| set(cluster, Mode::Refuse), async |cluster| set(cluster, Mode::Pass))
        .await;
}

#[tokio::test]
async fn a_network_that_accepts_bytes_and_answers_nothing() {
    let cluster = Cluster::bare(2).proxied().set_up().await;
    let set = |cluster: &Cluster, mode| cluster.proxy.as_ref().unwrap().set(mode);
    survives(
        cluster,
        async |cluster| set(cluster, Mode::BlackHole),
        async |cluster| set(cluster, Mode::Pass),
    )
    .await;
}

#[tokio::test]
async fn a_slow_network_is_only_slow() {
    let cluster = Cluster::bare(2).proxied().set_up().await;
    cluster.proxy.as_ref().unwrap().set(Mode::Delay(Duration::from_millis(60)));
    let client = cluster.client(0).logged_in().await;
    for n in 0..10 {
        client.at(cluster.workers[n % 2].address).get("/api/v1/session").await.expect(200);
    }
}

#[tokio::test]
async fn the_scheduler_continues_when_redis_is_back() {
    let mut cluster = Cluster::with_fail2ban(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    crate::support::cluster::server_is(&client, "up").await;
    cluster.redis.kill();
    eventually("the workers to notice", AWAY, || async {
        (client.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    cluster.fail2ban().kill();
    cluster.redis.restart().await;
    // Reported by a probe made since.
    eventually("the worker to be ready again", SOON, || async {
        (client.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    crate::support::cluster::server_is(&client, "down").await;
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left_and_its_return_is_noticed() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    // Nobody is at that address: the replica stays as it is, reads are answered, writes are refused.
    cluster.redis.command::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let refused = cluster.client(0).post("/api/v1/session", json!({ "password": PASSWORD })).await;
    refused.problem(503);
    eventually("both workers to say that they are not ready", SOON, || async {
        // A worker notices at its first write; the other one's heartbeat is such a write.
        let answers = [cluster.client(0).get("/readyz").await, cluster.client(1).get("/readyz").await];
        answers.iter().all(|answer| answer.status == 503).then_some(())
    })
    .await;
    let kept = client.get("/api/v1/session").await;
    kept.problem(503);
    assert!(kept.cookies().is_empty(), "the cookie stays");

    cluster.redis.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    for worker in &cluster.workers {
        worker.ready(SOON).await;
    }
    client.get("/api/v1/session").await.expect(200);
}
