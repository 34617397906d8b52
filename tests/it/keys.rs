//! The keys in Redis: all of them have the prefix, and none that belongs to a session or a process is permanent.

use serde_json::json;

use crate::support::cluster::{PREFIX, server_is};
use crate::support::redis::Redis;
use crate::support::worker::Worker;
use crate::support::{Cluster, PASSWORD, SETUP_TOKEN, SOON};

#[tokio::test]
async fn every_key_is_under_the_prefix_and_what_a_session_leaves_runs_out() {
    let cluster = Cluster::with_fail2ban(2).start().await;
    let before_setup = cluster.redis.keys().await;
    cluster.post_setup(0).await.expect(201);
    let before = cluster.redis.keys().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    client.get("/api/v1/servers/web-1/jails").await.expect(200);
    let after = cluster.redis.keys().await;
    assert!(after.len() > before_setup.len());
    for key in &after {
        let text = String::from_utf8_lossy(key);
        let ours = [format!("{PREFIX}:"), format!("{{{PREFIX}}}:")];
        assert!(ours.iter().any(|prefix| key.starts_with(prefix.as_bytes())), "{text}");
    }
    let mut with_expiry = 0;
    for key in after.iter().filter(|key| !before.contains(key)) {
        let ttl: i64 =
            redis::cmd("PTTL").arg(key).query_async(&mut cluster.redis.connection().await).await.unwrap();
        with_expiry += i64::from(ttl > 0);
    }
    assert!(with_expiry > 0, "the session runs out");

    // Nothing of a session is left after its end, except the keys that all sessions of the user share.
    client.confirm(PASSWORD).await.expect(204);
    client.delete("/api/v1/sessions").await.expect(204);
    let left = cluster.redis.keys().await;
    let id = |key: &Vec<u8>| {
        key.len() > 32 && !before.contains(key) && !String::from_utf8_lossy(key).contains("user-agent")
    };
    let left: Vec<_> =
        left.iter().filter(|key| id(key) && key.windows(9).any(|w| w == b":session:")).collect();
    // Revoking all raises the user's generation; the dead sessions may remain, but must expire.
    for key in left {
        let ttl: i64 =
            redis::cmd("PTTL").arg(key).query_async(&mut cluster.redis.connection().await).await.unwrap();
        assert!(ttl > 0, "{}", String::from_utf8_lossy(key));
    }
}

#[tokio::test]
async fn two_clusters_under_two_prefixes_share_a_redis_and_know_nothing_of_each_other() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_REDIS_PREFIX".to_owned(), format!("{PREFIX}-2"));
    cluster.redis.allow_prefix(&format!("{PREFIX}-2")).await;
    let other = Worker::start("worker of another cluster", &environment).await;
    other.ready(SOON).await;
    let client = other.client();
    assert_eq!(client.get("/api/v1/setup").await.body["complete"], false);
    let token = cluster.client(0).log_in().await;
    client.with_bearer(&token).get("/api/v1/session").await.problem(401);
    let password = "the password of the other one";
    client.post("/api/v1/setup", json!({ "password": password, "token": SETUP_TOKEN })).await.expect(201);
    client.post("/api/v1/session", json!({ "password": PASSWORD })).await.problem(401);
    cluster.client(0).with_bearer(&token).get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn a_restart_of_everything_forgets_nobody() {
    let mut cluster = Cluster::bare(2).redis(Redis::start().await).set_up().await;
    let client = cluster.client(0).logged_in().await;
    for worker in &mut cluster.workers {
        worker.process.kill();
    }
    cluster.workers.clear();
    cluster.redis.kill();
    cluster.redis.restart().await;
    let n = cluster.add_worker().await;
    client.at(cluster.workers[n].address).get("/api/v1/session").await.expect(200);
}
