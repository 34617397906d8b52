//! Redis that is full, that is started again, and whose replica does not confirm.

use reqwest::Method;
use serde_json::json;

use crate::support::redis::Redis;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

#[tokio::test]
async fn a_restart_of_a_redis_with_aof_loses_no_session_and_no_account() {
    let mut cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let before = client.get("/api/v1/session").await;
    before.expect(200);
    cluster.redis.restart().await;
    for worker in &cluster.workers {
        let client = client.at(worker.address);
        let after = eventually("the session to be known again", SOON, || async {
            let answer = client.get("/api/v1/session").await;
            assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
            (answer.status == 200).then_some(answer)
        })
        .await;
        assert_eq!(after.body["id"], before.body["id"]);
    }
    cluster.client(1).logged_in().await;
}

#[tokio::test]
async fn a_full_redis_refuses_writes_with_the_reason_and_goes_on_with_reads() {
    let mut cluster = Cluster::bare(1).env("BANGUI_SESSION_IDLE_SECONDS", 60).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let _: () = cluster.redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let _: () = cluster.redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let login = cluster.client(0).post("/api/v1/session", json!({ "password": PASSWORD })).await;
    assert_eq!(login.problem(503), "redis-full", "{}", login.text);
    assert!(login.body["detail"].as_str().is_some_and(|detail| detail.contains("OOM")), "{login:?}");
    client.get("/api/v1/session").await.expect(200);
    // A worker that starts now can read too.
    let other = cluster.add_worker().await;
    client.at(cluster.workers[other].address).get("/api/v1/session").await.expect(200);
    let _: () = cluster.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    cluster.client(0).logged_in().await;
}

async fn replica_of(primary: &Redis) -> Redis {
    let port: Vec<String> = primary.command(&["CONFIG", "GET", "port"]).await;
    let replica =
        Redis::start_with(&["--replicaof", "127.0.0.1", &port[1], "--repl-diskless-load", "swapdb"]).await;
    eventually("the replica to follow", SOON, || async {
        let info: String = replica.command(&["INFO", "replication"]).await;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    replica
}

async fn revoke_all(client: &Client) -> crate::support::Answer {
    client.send(client.request(Method::DELETE, "/api/v1/sessions?keep_current=true")).await
}

#[tokio::test]
async fn a_revocation_is_answered_once_a_replica_has_it_and_else_503_though_done() {
    let primary = Redis::start_with(&["--appendonly", "yes", "--repl-diskless-sync-delay", "0"]).await;
    // The test's Redis has a unix socket alone; a replica needs a port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let _: () = primary.command(&["CONFIG", "SET", "port", &port]).await;
    let replica = replica_of(&primary).await;
    let cluster = Cluster::bare(1).redis(primary).env("BANGUI_REDIS_MIN_REPLICAS", 1).set_up().await;
    let keeper = cluster.client(0).logged_in().await;
    let first = cluster.client(0).logged_in().await;
    // A replica counts once it has said for the first time how far it is.
    eventually("a confirmed revocation", SOON, || async {
        (revoke_all(&keeper).await.status == 204).then_some(())
    })
    .await;
    first.get("/api/v1/session").await.problem(401);

    let second = cluster.client(0).logged_in().await;
    replica.pause();
    let refused = revoke_all(&keeper).await;
    refused.problem(503);
    assert_eq!(refused.body["type"], "urn:bangui:problem:not-confirmed");
    assert_eq!(refused.body["confirmed"], 0);
    second.get("/api/v1/session").await.problem(401);

    replica.resume();
    eventually("the replica to confirm again", SOON, || async {
        let answer = revoke_all(&keeper).await;
        (answer.status == 204).then_some(())
    })
    .await;
}
