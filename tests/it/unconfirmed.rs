//! A change that replicas have not confirmed (`BANGUI_REDIS_MIN_REPLICAS`) is confirmed before any later answer implies that it was
//! made: the earlier try was answered 503, or not at all, and a failover may undo it.

use serde_json::json;

use crate::support::cluster::Builder;
use crate::support::redis::Redis;
use crate::support::sentinel::free_port;
use crate::support::{Answer, Client, Cluster, PASSWORD, SETUP_TOKEN, SOON, eventually};

/// Workers that want one confirmation, on a primary with a replica.
async fn start(workers: usize, set_up: bool) -> (Cluster, Redis) {
    start_with(Cluster::bare(workers), set_up).await
}

/// The same with more to their environment.
pub async fn start_with(builder: Builder, set_up: bool) -> (Cluster, Redis) {
    let port = free_port().to_string();
    let primary =
        Redis::start_with(&["--port", &port, "--appendonly", "yes", "--repl-diskless-sync-delay", "0"]).await;
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    eventually("the replica to follow", SOON, || async {
        let info: String = replica.command(&["INFO", "replication"]).await;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    eventually("the replica to count", SOON, || async {
        primary.command::<()>(&["SET", "marker-of-the-test", "1"]).await;
        let mut connection = primary.connection().await;
        let _: () =
            redis::cmd("SET").arg("marker-of-the-test").arg(2).query_async(&mut connection).await.unwrap();
        let confirmed: u64 = redis::cmd("WAIT").arg(1).arg(1_000).query_async(&mut connection).await.unwrap();
        (confirmed == 1).then_some(())
    })
    .await;
    let builder = builder.redis(primary).env("BANGUI_REDIS_MIN_REPLICAS", 1);
    (if set_up { builder.set_up().await } else { builder.start().await }, replica)
}

#[track_caller]
pub fn not_confirmed(answer: &Answer) {
    assert_eq!(answer.problem(503), "not-confirmed", "{}", answer.text);
}

pub async fn log_in(client: &Client, password: &str) -> Answer {
    client.post("/api/v1/session", json!({ "password": password })).await
}

#[tokio::test]
async fn a_logout_that_was_not_confirmed_is_not_answered_as_done_when_it_is_tried_again() {
    let (cluster, replica) = start(1, true).await;
    let client = cluster.client(0).logged_in().await;
    replica.pause();
    not_confirmed(&client.delete("/api/v1/session").await);
    not_confirmed(&client.delete("/api/v1/session").await);
    replica.resume();
    let done = eventually("the replica to confirm", SOON, || async {
        let answer = client.delete("/api/v1/session").await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    done.problem(401);
}

#[tokio::test]
async fn a_logout_that_was_not_confirmed_is_not_answered_as_done_by_another_worker_either() {
    let (cluster, replica) = start(2, true).await;
    let client = cluster.client(0).logged_in().await;
    replica.pause();
    not_confirmed(&client.delete("/api/v1/session").await);
    // It asks the replica to confirm a write that another worker made.
    let other = client.at(cluster.workers[1].address);
    not_confirmed(&other.delete("/api/v1/session").await);
    replica.resume();
    eventually("the replica to confirm", SOON, || async {
        let answer = other.delete("/api/v1/session").await;
        (answer.status != 503).then(|| answer.problem(401).to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_setup_that_was_not_confirmed_is_not_called_complete() {
    let (cluster, replica) = start(1, false).await;
    let client = cluster.client(0);
    let claim = json!({ "password": PASSWORD, "token": SETUP_TOKEN });
    replica.pause();
    not_confirmed(&client.post("/api/v1/setup", claim.clone()).await);
    not_confirmed(&client.post("/api/v1/setup", claim.clone()).await);
    not_confirmed(&client.get("/api/v1/setup").await);
    not_confirmed(&log_in(&client, PASSWORD).await);
    replica.resume();
    eventually("the replica to confirm", SOON, || async {
        let answer = client.post("/api/v1/setup", claim.clone()).await;
        (answer.status != 503).then(|| assert_eq!(answer.problem(409), "setup-complete"))
    })
    .await;
    assert_eq!(client.get("/api/v1/setup").await.expect(200).body["complete"], true);
    log_in(&client, PASSWORD).await.expect(201);
    let stored: Option<String> = replica.command(&["HGET", "{it}:account:admin", "password_hash"]).await;
    assert!(stored.is_some());
}

#[tokio::test]
async fn a_password_that_was_not_confirmed_logs_nobody_in() {
    let (cluster, replica) = start(1, true).await;
    let client = cluster.client(0).logged_in().await;
    let new = "another correct horse battery staple";
    replica.pause();
    not_confirmed(&client.put("/api/v1/password", json!({ "current": PASSWORD, "new": new })).await);
    not_confirmed(&log_in(&client, new).await);
    not_confirmed(&log_in(&client, PASSWORD).await);
    replica.resume();
    eventually("the replica to confirm", SOON, || async {
        let answer = log_in(&client, new).await;
        (answer.status != 503).then(|| answer.expect(201).status)
    })
    .await;
    // Once it is confirmed it stays so, whatever the replica does: logins need no replica.
    replica.pause();
    log_in(&client, new).await.expect(201);
    log_in(&client, PASSWORD).await.problem(401);
    replica.resume();
}
