//! Redis refuses writes and answers reads: its last save failed (MISCONF), or it has too few replicas (NOREPLICAS). Reads are
//! served, requests that need a write are refused with the reason, and everything works again as soon as Redis takes writes.

use serde_json::json;

use crate::support::process::{Child, bangui};
use crate::support::redis::Redis;
use crate::support::rounds::metric;
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

/// The word in Redis's answer.
#[derive(Clone, Copy)]
enum Refusal {
    Misconf,
    NoReplicas,
}

impl Refusal {
    fn word(self) -> &'static str {
        match self {
            Self::Misconf => "MISCONF",
            Self::NoReplicas => "NOREPLICAS",
        }
    }

    async fn begin(self, redis: &Redis) {
        match self {
            Self::NoReplicas => redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await,
            Self::Misconf => {
                // A folder in its place: a snapshot cannot be put there.
                let path: Vec<String> = redis.command(&["CONFIG", "GET", "dir"]).await;
                std::fs::create_dir(std::path::Path::new(&path[1]).join("dump.rdb")).unwrap();
                redis.command::<()>(&["CONFIG", "SET", "save", "1 1"]).await;
                eventually("a snapshot to fail", SOON, || async {
                    let _: redis::RedisResult<String> =
                        redis::cmd("BGSAVE").query_async(&mut redis.connection().await).await;
                    let info: String = redis.command(&["INFO", "persistence"]).await;
                    info.contains("rdb_last_bgsave_status:err").then_some(())
                })
                .await;
            }
        }
    }

    async fn end(self, redis: &Redis) {
        match self {
            Self::NoReplicas => redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await,
            // As an operator would do after freeing the disk, instead of waiting for the next snapshot.
            Self::Misconf => {
                redis.command::<()>(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).await
            }
        }
    }
}

async fn says_that_it_takes_no_writes(client: &Client) {
    eventually("/readyz to say that no writes are taken", SOON, || async {
        let ready = client.get("/readyz").await;
        (ready.expect(200).body == json!({ "ready": true, "writes": false })).then_some(())
    })
    .await;
    assert_eq!(metric(client, "bangui_redis_writable").await, 0.0);
    assert_eq!(metric(client, "bangui_redis_up").await, 1.0);
}

async fn check(cluster: &Cluster) -> (Option<i32>, String) {
    let mut command = bangui("check");
    command.envs(&cluster.environment);
    Child::run("bangui check", command, SOON).await
}

async fn reads_continue(refusal: Refusal) {
    let mut cluster = Cluster::with_fail2ban(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    crate::support::cluster::server_is(&client, "up").await;
    assert_eq!(client.get("/readyz").await.body, json!({ "ready": true }));
    assert_eq!(metric(&client, "bangui_redis_writable").await, 1.0);
    refusal.begin(&cluster.redis).await;

    // An idle worker finds out by itself; what needs a write is refused with Redis's words, and changes nothing.
    says_that_it_takes_no_writes(&client).await;
    let login = json!({ "password": PASSWORD });
    let change = json!({ "probe_interval_seconds": 12 });
    for refused in [
        client.anonymous().post("/api/v1/session", login).await,
        client.patch("/api/v1/settings", "*", change).await,
        client.delete("/api/v1/session").await,
    ] {
        assert_eq!(refused.problem(503), "redis-refuses-writes", "{}", refused.text);
        assert!(refused.text.contains(refusal.word()), "{}", refused.text);
        assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    }
    client.get("/api/v1/session").await.expect(200);
    crate::support::cluster::server(&client).await;
    let (code, printed) = check(&cluster).await;
    assert_eq!(code, Some(1), "{printed}");
    let line = printed.lines().find(|line| line.starts_with("FAIL") && line.contains("redis writes"));
    assert!(line.is_some_and(|line| line.contains(refusal.word())), "{printed}");

    // A worker that starts now is ready, and reads.
    let other = cluster.add_worker().await;
    let there = client.at(cluster.workers[other].address);
    there.get("/api/v1/session").await.expect(200);
    says_that_it_takes_no_writes(&there).await;
    // There is no leader: the lease cannot be renewed.
    eventually("the lease to run out", SOON, || async {
        let view = client.get("/api/v1/cluster").await;
        view.expect(200).body["lease"].is_null().then_some(())
    })
    .await;

    refusal.end(&cluster.redis).await;
    eventually("a leader", SOON, || async {
        let view = client.get("/api/v1/cluster").await;
        (!view.expect(200).body["lease"].is_null()).then_some(())
    })
    .await;
    for worker in &cluster.workers {
        eventually("/readyz to say nothing of writes", SOON, || async {
            (worker.client().get("/readyz").await.expect(200).body == json!({ "ready": true })).then_some(())
        })
        .await;
    }
    cluster.client(0).logged_in().await;
    client.delete("/api/v1/session").await.expect(204);
    let (code, printed) = check(&cluster).await;
    assert!(printed.contains("takes writes"), "{code:?}: {printed}");
}

#[tokio::test]
async fn a_redis_whose_save_fails_is_read_from_and_says_why_it_takes_no_writes() {
    reads_continue(Refusal::Misconf).await;
}

#[tokio::test]
async fn a_redis_without_enough_replicas_is_read_from_and_says_why_it_takes_no_writes() {
    reads_continue(Refusal::NoReplicas).await;
}

#[tokio::test]
async fn a_worker_of_a_fresh_cluster_is_ready_while_redis_refuses_writes_and_is_set_up_once_it_takes_them() {
    for variable in ["BANGUI_ADMIN_PASSWORD", "BANGUI_SETUP_TOKEN"] {
        let redis = Redis::start().await;
        Refusal::NoReplicas.begin(&redis).await;
        let builder = Cluster::bare(0).redis(redis).without("BANGUI_SETUP_TOKEN").env(variable, PASSWORD);
        let (cluster, _) = builder.start_surroundings().await;
        let worker = Worker::start("worker A", &cluster.environment).await;
        worker.ready(SOON).await;
        says_that_it_takes_no_writes(&worker.client()).await;
        Refusal::NoReplicas.end(&cluster.redis).await;
        eventually("somebody to be able to log in", SOON, || async {
            let body = json!({ "password": PASSWORD, "token": PASSWORD });
            let client = worker.client();
            client.post("/api/v1/setup", body).await;
            (client.post("/api/v1/session", json!({ "password": PASSWORD })).await.status == 201)
                .then_some(())
        })
        .await;
    }
}
