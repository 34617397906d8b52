//! What a worker says while Redis refuses writes: each failure once, however often it is tried again; rarely, since nothing can
//! come of it; and to the metrics, that no server is probed although there is a leader.
//!
//! Time is counted in checks of the watchdog, one in 0.9 s, each of which Redis refuses.

use serde_json::{Value, json};

use crate::support::cluster::server_is;
use crate::support::redis::Redis;
use crate::support::rounds::metric;
use crate::support::worker::{Worker, field};
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

/// How many checks are waited for: long enough for twenty attempts of a loop that does not wait.
const CHECKS: u64 = 10;

/// A number that Redis reports of a command.
async fn stat(redis: &Redis, command: &str, name: &str) -> u64 {
    let info: String = redis.command(&["INFO", "commandstats"]).await;
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:")));
    let pair = line.and_then(|line| line.split(',').find_map(|pair| pair.strip_prefix(&format!("{name}="))));
    pair.map_or(0, |number| number.trim().parse().unwrap())
}

/// Waits until so many checks of all watchdogs were refused since now.
async fn checks_are_refused(redis: &Redis, checks: u64) {
    let before = stat(redis, "set", "rejected_calls").await;
    eventually("the checks to be refused", SOON, || async {
        (stat(redis, "set", "rejected_calls").await >= before + checks).then_some(())
    })
    .await;
}

async fn config(redis: &Redis, name: &str, value: &str) {
    redis.command::<()>(&["CONFIG", "SET", name, value]).await;
}

/// The lines of at least WARN, or with this text, in its log from a line on.
fn said(worker: &Worker, from: usize, text: &str) -> Vec<Value> {
    let log = worker.log();
    let has =
        |line: &&Value| field(line, "message").is_some_and(|said| said.as_str().unwrap().contains(text));
    log[from.min(log.len())..].iter().filter(has).cloned().collect()
}

fn warnings(worker: &Worker, from: usize) -> Vec<Value> {
    said(worker, from, "")
        .into_iter()
        .filter(|line| line["level"] == "WARN" || line["level"] == "ERROR")
        .collect()
}

async fn redis_time(redis: &Redis) -> f64 {
    redis.command::<(f64, f64)>(&["TIME"]).await.0
}

/// When the servers are to be probed next.
async fn due(client: &Client) -> f64 {
    metric(client, "bangui_probes_due_timestamp_seconds").await
}

#[tokio::test]
async fn a_leader_of_a_full_redis_says_so_once_and_tries_rarely_and_shows_that_nobody_probes() {
    let cluster = Cluster::with_fail2ban(1).env("BANGUI_PROBE_INTERVAL_SECONDS", 2).set_up().await;
    let (worker, redis) = (&cluster.workers[0], &cluster.redis);
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    eventually("the next probes to be due", SOON, || async {
        (due(&client).await >= redis_time(redis).await).then_some(())
    })
    .await;
    let before = worker.log().len();
    config(redis, "maxmemory-policy", "noeviction").await;
    config(redis, "maxmemory", "1mb").await;
    checks_are_refused(redis, 1).await;
    let begun = "bangui_redis_command_duration_seconds_count{command=\"job_begin\"}";
    let attempts = metric(&client, begun).await;
    checks_are_refused(redis, CHECKS).await;

    let attempts = metric(&client, begun).await - attempts;
    assert!(attempts < CHECKS as f64, "{attempts} attempts at jobs in {CHECKS} checks");
    let refusals = said(worker, before, "Redis refuses writes");
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    let reason = field(&refusals[0], "error").unwrap().as_str().unwrap();
    assert!(reason.contains("OOM") && reason.contains("maxmemory"), "Redis's own words: {reason}");
    let warnings = warnings(worker, before);
    assert_eq!(warnings, refusals, "nothing else");
    // It stays the leader, since a full Redis renews leases; the metrics show that it probes nobody.
    assert_eq!(metric(&client, "bangui_scheduler_leader").await, 1.0);
    assert!(due(&client).await < redis_time(redis).await - 3.0, "due in the past");

    config(redis, "maxmemory", "0").await;
    eventually("the end of it in the log", SOON, || async {
        let ends = said(worker, before, "Redis takes writes again");
        (field(ends.first()?, "lasted_s")?.as_u64()? >= 3).then_some(())
    })
    .await;
    eventually("the next probes to be due", SOON, || async {
        (due(&client).await >= redis_time(redis).await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn workers_without_a_lease_say_once_why_and_ask_rarely_and_so_does_a_near_cache() {
    let cluster = Cluster::bare(1).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let (worker, redis, client) = (&cluster.workers[0], &cluster.redis, cluster.client(0));
    eventually("a leader", SOON, || async {
        (metric(&client, "bangui_scheduler_leader").await == 1.0).then_some(())
    })
    .await;
    crate::support::rounds::holds(&client, true).await;
    let before = worker.log().len();
    config(redis, "min-replicas-to-write", "1").await;
    eventually("the end of the term", SOON, || async {
        said(worker, before, "lost leadership").pop().map(drop)
    })
    .await;
    assert_eq!(said(worker, before, "failed to renew the lease").len(), 1);
    assert_eq!(due(&client).await, 0.0, "a worker that does not lead");

    let subscriptions = stat(redis, "subscribe", "calls").await;
    let scripts = stat(redis, "evalsha", "calls").await;
    checks_are_refused(redis, CHECKS).await;
    let subscriptions = stat(redis, "subscribe", "calls").await - subscriptions;
    assert!(subscriptions < CHECKS, "{subscriptions} subscriptions of the near cache in {CHECKS} checks");
    let scripts = stat(redis, "evalsha", "calls").await - scripts;
    assert!(scripts < CHECKS + 5, "{scripts} scripts for the lease and the near cache in {CHECKS} checks");
    let warnings = warnings(worker, before);
    assert!(warnings.len() <= 4, "the refusal, the renewal, the release: {warnings:?}");

    config(redis, "min-replicas-to-write", "0").await;
    crate::support::rounds::holds(&client, true).await;
    eventually("a leader", SOON, || async {
        (metric(&client, "bangui_scheduler_leader").await == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_write_is_explained_without_the_script_that_redis_names() {
    let cluster = Cluster::bare(1).set_up().await;
    let (redis, client) = (&cluster.redis, cluster.client(0).logged_in().await);
    config(redis, "maxmemory-policy", "noeviction").await;
    for (name, refusing, fine, problem, begins) in [
        ("maxmemory", "1mb", "0", "redis-full", "Redis is full (OOM): "),
        (
            "min-replicas-to-write",
            "1",
            "0",
            "redis-refuses-writes",
            "Redis refuses writes (NOREPLICAS: fewer replicas",
        ),
    ] {
        config(redis, name, refusing).await;
        let change = client.patch("/api/v1/settings", "*", json!({ "probe_interval_seconds": 12 })).await;
        let login = client.anonymous().post("/api/v1/session", json!({ "password": PASSWORD })).await;
        for refused in [change, login] {
            assert_eq!(refused.problem(503), problem, "{}", refused.text);
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(detail.starts_with(begins) && detail.contains("nothing was changed"), "{detail}");
            assert!(!detail.contains("script") && !detail.contains("user_script"), "{detail}");
        }
        config(redis, name, fine).await;
        client.patch("/api/v1/settings", "*", json!({ "probe_interval_seconds": 10 })).await.expect(200);
    }
}
