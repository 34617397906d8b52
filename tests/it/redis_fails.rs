//! A Redis that is full, one that is restarted, and one whose replica does not confirm.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;

use crate::support::cluster::server_is;
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

/// Every permanent key, with a digest of its value.
async fn what_lives_on(redis: &Redis) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut connection = redis.connection().await;
    for key in redis.keys().await {
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        let digest: Vec<String> =
            redis::cmd("DEBUG").arg("DIGEST-VALUE").arg(&key).query_async(&mut connection).await.unwrap();
        if ttl == -1 || ttl > 60_000 {
            found.insert(key, digest[0].clone());
        }
    }
    found
}

#[tokio::test]
async fn a_redis_with_aof_that_is_killed_and_restarted_has_every_document_as_it_was_and_the_epochs_continue()
{
    let redis = Redis::start_with(&["--appendonly", "yes", "--enable-debug-command", "yes"]).await;
    let mut cluster = Cluster::with_fail2ban(2).redis(redis).set_up().await;
    let client = cluster.client(0).logged_in().await;
    client.confirm(crate::support::PASSWORD).await.expect(204);
    client.patch("/api/v1/settings", "*", json!({ "session_idle_seconds": 1234 })).await.expect(200);
    let known = server_is(&client, "up").await;
    for worker in &cluster.workers {
        worker.process.kill();
    }
    cluster.workers.clear();
    let before = what_lives_on(&cluster.redis).await;
    let epoch: u64 = cluster.redis.command(&["GET", "{it}:epoch"]).await;
    for part in
        ["server:web-1", "settings", "account:admin", "session:", "audit", "events", "epoch", "job:probe"]
    {
        let is_there = |key: &Vec<u8>| String::from_utf8_lossy(key).contains(part);
        assert!(before.keys().any(is_there), "{part} is not among them");
    }
    cluster.redis.kill();
    cluster.redis.restart().await;
    assert_eq!(what_lives_on(&cluster.redis).await, before);

    // The last known state of the server is shown although nobody can reach it.
    cluster.agent().kill();
    let n = cluster.add_worker().await;
    let client = client.at(cluster.workers[n].address);
    let remembered = server_is(&client, "unreachable").await;
    assert_eq!(remembered["status"]["version"], known["status"]["version"]);
    assert_eq!(client.get("/api/v1/settings").await.body["session_idle_seconds"]["value"], 1234);
    let later: u64 = cluster.redis.command(&["GET", "{it}:epoch"]).await;
    assert!(later > epoch, "{later} after {epoch}");
}

#[tokio::test]
async fn a_full_redis_refuses_writes_with_the_reason_and_still_serves_reads() {
    let mut cluster = Cluster::bare(1).env("BANGUI_SESSION_IDLE_SECONDS", 60).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let _: () = cluster.redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let _: () = cluster.redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let login = cluster.client(0).post("/api/v1/session", json!({ "password": PASSWORD })).await;
    assert_eq!(login.problem(503), "redis-full", "{}", login.text);
    assert!(login.body["detail"].as_str().is_some_and(|detail| detail.contains("OOM")), "{login:?}");
    // What somebody looks at then is among what is read: a full Redis refuses even reads in a transaction.
    for path in ["session", "servers", "cluster", "diagnosis"] {
        client.get(&format!("/api/v1/{path}")).await.expect(200);
    }
    for page in ["/", "/cluster", "/diagnosis"] {
        client.get(page).await.expect(200);
    }
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
    revocations_wait_for_the_replica(false).await;
}

#[tokio::test]
async fn with_a_near_cache_too_a_revocation_is_answered_once_a_replica_has_it() {
    revocations_wait_for_the_replica(true).await;
}

async fn revocations_wait_for_the_replica(near_cache: bool) {
    let primary = Redis::start_with(&["--appendonly", "yes", "--repl-diskless-sync-delay", "0"]).await;
    // The test's Redis has a unix socket alone; a replica needs a port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let _: () = primary.command(&["CONFIG", "SET", "port", &port]).await;
    let replica = replica_of(&primary).await;
    // A replica counts once it has said for the first time how far it is; setup is answered only when it confirms.
    primary.command::<()>(&["SET", "not-of-bangui", "1"]).await;
    eventually("the replica to say how far it is", SOON, || async {
        let info: String = primary.command(&["INFO", "replication"]).await;
        let offset = |name: &str| Some(info.split_once(name)?.1.split([',', '\r']).next()?.to_owned());
        (offset(",offset=") == offset("master_repl_offset:")).then_some(())
    })
    .await;
    let cluster = Cluster::bare(1)
        .redis(primary)
        .env("BANGUI_REDIS_MIN_REPLICAS", 1)
        .env("BANGUI_SESSION_CACHE_ENABLED", near_cache)
        .env("BANGUI_SESSION_CACHE_TTL_SECONDS", 10)
        .set_up()
        .await;
    let keeper = cluster.client(0).logged_in().await.confirmed().await;
    let first = cluster.client(0).logged_in().await;
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
