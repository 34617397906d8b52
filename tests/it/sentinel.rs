//! A primary that is lost, one that is demoted, one that sleeps, and one that was superseded without knowing it: with
//! Sentinel every worker finds the new one by itself, no replicated session is refused, and only one leader's writes count.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::cluster::server_is;
use crate::support::failover::{Load, PROMISED, SLACK, all_back, check_one_writer};
use crate::support::process::{Child, bangui};
use crate::support::redis::{Recording, Redis};
use crate::support::sentinel::{self, NAME, SENTINEL_USER, Sentinels, connections, role};
use crate::support::{Client, Cluster, SOON, eventually};
use crate::takeover::{LONG_TTL_MS, successor, watched_in};

/// Three workers, set up, with a fail2ban and sessions that the replica has.
async fn cluster() -> (Cluster, Sentinels, Vec<Client>) {
    let (primary, sentinels) = sentinel::start().await;
    let cluster = Cluster::with_fail2ban(3)
        .redis(primary)
        .env("BANGUI_REDIS_URL", sentinels.url())
        .env("BANGUI_REDIS_MIN_REPLICAS", 1)
        .set_up()
        .await;
    let mut users = Vec::new();
    for n in 0..3 {
        users.push(cluster.client(n).logged_in().await);
    }
    server_is(&users[0], "up").await;
    sentinels.replicated(&cluster.redis).await;
    (cluster, sentinels, users)
}

/// Every worker uses the new primary only, the old sessions are alive, and the schedule reports what happens.
async fn service_continues(cluster: &mut Cluster, sentinels: &Sentinels, users: &[Client]) {
    for (user, worker) in users.iter().zip(cluster.workers.iter().rev()) {
        user.at(worker.address).get("/api/v1/session").await.expect(200);
    }
    assert!(connections(&sentinels.replica).await > 0);
    let view = users[0].get("/api/v1/cluster").await;
    let named = &view.expect(200).body["redis"]["primary"];
    assert_eq!(named["named_by"], "the Sentinels");
    let port = format!(":{}", sentinels.replica_port);
    assert!(named["address"].as_str().is_some_and(|address| address.ends_with(&port)), "{named}");
    // By the scheduler's writes, and by a message that wakes it: on the new primary both.
    cluster.fail2ban().kill();
    server_is(&users[0], "down").await;
}

#[tokio::test]
async fn when_the_primary_is_killed_under_load_the_workers_are_back_soon_after_sentinel() {
    let (mut cluster, sentinels, users) = cluster().await;
    let old = Recording::start(&cluster.redis).await;
    let new = Recording::start(&sentinels.replica).await;
    let load = Load::start(&cluster, &users);
    tokio::time::sleep(Duration::from_millis(500)).await;

    // A logout that is answered is confirmed by the replica: the failover does not undo it.
    let left = cluster.client(0).logged_in().await;
    sentinels.replicated(&cluster.redis).await;
    left.delete("/api/v1/session").await.expect(204);
    let killed = Instant::now();
    cluster.redis.kill();
    let (failed_over, back) = tokio::join!(
        async {
            sentinels.failed_over().await;
            killed.elapsed()
        },
        async { all_back(&users, &cluster).await - killed },
    );
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (right, unavailable) = load.stop().await;
    let writes = check_one_writer(vec![old.end(), new.end()]);
    println!(
        "failover by SIGKILL: Sentinel {} ms, all workers back after {} ms ({:+} ms); {right} answers, {unavailable} \
         times 503, 0 times 401; {writes} accepted scheduled writes, one writer",
        failed_over.as_millis(),
        back.as_millis(),
        back.as_millis().cast_signed() - failed_over.as_millis().cast_signed(),
    );
    assert!(right > 0 && unavailable > 0 && writes > 0);
    for worker in &cluster.workers {
        left.at(worker.address).get("/api/v1/session").await.problem(401);
    }
    assert!(back < failed_over + PROMISED + SLACK, "Sentinel took {failed_over:?}, bangui {back:?}");
    service_continues(&mut cluster, &sentinels, &users).await;
}

#[tokio::test]
async fn a_primary_that_is_demoted_and_still_answers_is_left_and_its_sessions_are_kept() {
    let (mut cluster, sentinels, users) = cluster().await;
    let old = Recording::start(&cluster.redis).await;
    let new = Recording::start(&sentinels.replica).await;
    let load = Load::start(&cluster, &users);
    sentinels.replicated(&cluster.redis).await;
    assert!(sentinels.ask::<String>(0, &["SENTINEL", "FAILOVER", NAME]).await.is_some());
    sentinels.failed_over().await;
    eventually("every connection to have left the demoted one", SOON, || async {
        (connections(&cluster.redis).await == 0).then_some(())
    })
    .await;
    all_back(&users, &cluster).await;
    let (right, unavailable) = load.stop().await;
    // From the promotion until its own demotion the old primary takes writes that are then thrown away: for that moment there are two
    // histories, of which one survives, each with one writer.
    let writes = check_one_writer(vec![old.end()]) + check_one_writer(vec![new.end()]);
    println!(
        "failover on demand: {right} answers, {unavailable} times 503, 0 times 401; {writes} scheduled writes"
    );
    assert!(right > 0 && writes > 0);
    service_continues(&mut cluster, &sentinels, &users).await;
}

#[tokio::test]
async fn after_a_promotion_the_leader_stays_and_is_replaced_as_soon_as_before_if_it_is_killed() {
    let (primary, sentinels) = sentinel::start().await;
    let mut cluster = Cluster::bare(3)
        .redis(primary)
        .env("BANGUI_REDIS_URL", sentinels.url())
        .env("BANGUI_REDIS_MIN_REPLICAS", 1)
        .env("BANGUI_LEASE_TTL_MS", LONG_TTL_MS)
        .set_up()
        .await;
    let (term, ..) = watched_in(&cluster.redis, &cluster).await;
    sentinels.replicated(&cluster.redis).await;
    assert!(sentinels.ask::<String>(0, &["SENTINEL", "FAILOVER", NAME]).await.is_some());
    sentinels.failed_over().await;
    // Its subscription was the old primary's: not to see it on the new one means nothing until it has been seen there.
    let (now, leader, _) = watched_in(&sentinels.replica, &cluster).await;
    assert_eq!(now, term, "the leader is another one");
    cluster.workers.remove(leader).process.kill();
    successor(&sentinels.replica, &term).await;
}

#[tokio::test]
async fn a_primary_that_slept_through_a_failover_is_not_listened_to_when_it_wakes() {
    let (mut cluster, sentinels, users) = cluster().await;
    let old = Recording::start(&cluster.redis).await;
    let new = Recording::start(&sentinels.replica).await;
    cluster.redis.pause();
    sentinels.failed_over().await;
    all_back(&users, &cluster).await;
    let kept = cluster.client(1).logged_in().await;
    // Longer than the lease lives: what the old one still has in its buffers comes too late.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.redis.resume();
    eventually("the old one to follow the new one", SOON * 2, || async {
        (role(&cluster.redis).await? == "slave").then_some(())
    })
    .await;
    for worker in &cluster.workers {
        kept.at(worker.address).get("/api/v1/session").await.expect(200);
    }
    assert_eq!(connections(&cluster.redis).await, 0);
    assert!(check_one_writer(vec![old.end(), new.end()]) > 0);
    service_continues(&mut cluster, &sentinels, &users).await;
}

#[tokio::test]
async fn a_primary_that_was_superseded_without_knowing_is_left_by_every_connection() {
    let (mut cluster, sentinels, users) = cluster().await;
    let change = json!({ "session_cache_enabled": true, "session_cache_ttl_seconds": 10 });
    users[0].patch("/api/v1/settings", "*", change).await.expect(200);
    eventually("every worker to hold sessions near", SOON, || async {
        let view = users[0].get("/api/v1/cluster").await;
        (view.body["cache_holders"] == 3).then_some(())
    })
    .await;
    sentinels.replicated(&cluster.redis).await;
    // For the Sentinels it is dead, and they cannot demote it; everybody else finds a primary there.
    cluster.redis.command::<()>(&["ACL", "SETUSER", SENTINEL_USER, "-@all"]).await;
    sentinels.failed_over().await;
    eventually("every connection to have left it", SOON, || async {
        (connections(&cluster.redis).await == 0).then_some(())
    })
    .await;
    let role: Vec<redis::Value> = cluster.redis.command(&["ROLE"]).await;
    assert_eq!(
        role[0],
        redis::Value::BulkString(b"master".to_vec()),
        "it still believes that it is the primary"
    );
    all_back(&users, &cluster).await;
    service_continues(&mut cluster, &sentinels, &users).await;
}

#[tokio::test]
async fn check_and_reset_password_find_the_primary_by_sentinel() {
    let (cluster, sentinels, users) = cluster().await;
    let run = async |role: &str, environment: &BTreeMap<String, String>| {
        let mut command = bangui(role);
        command.envs(environment);
        Child::run(role, command, SOON).await
    };
    let (code, printed) = run("check", &cluster.environment).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("the Sentinels name 127.0.0.1:"), "{printed}");
    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_REDIS_URL".to_owned(), sentinels.url().replace(NAME, "other"));
    let (code, printed) = run("check", &environment).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("`other`"), "{printed}");
    assert!(!printed.contains(crate::support::redis::USER_PASSWORD), "{printed}");

    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_ADMIN_PASSWORD".to_owned(), "another-long-password".to_owned());
    let (code, printed) = run("reset-password", &environment).await;
    assert_eq!(code, Some(0), "{printed}");
    users[0].get("/api/v1/session").await.problem(401);
}

/// A Redis that is not a Sentinel is reported in plain words.
#[tokio::test]
async fn a_url_of_sentinels_that_leads_to_a_redis_is_recognized() {
    let redis = Redis::start_with(&[]).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    redis.command::<()>(&["CONFIG", "SET", "port", &port]).await;
    let mut command = bangui("check");
    command.env("BANGUI_REDIS_URL", format!("redis+sentinel://127.0.0.1:{port}/main"));
    let (code, printed) = Child::run("check", command, SOON).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("no majority of the Sentinels"), "{printed}");
}
