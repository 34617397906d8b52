//! What a session costs Redis and what Redis learns of it, watched with MONITOR; and how a session expires.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::support::redis::{MonitoredCommand, escaped};
use crate::support::{Cluster, SOON, eventually};

/// Commands that change a key.
const WRITES: [&str; 14] = [
    "SET",
    "SETEX",
    "PSETEX",
    "GETEX",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "HSET",
    "HMSET",
    "SETRANGE",
    "HINCRBY",
    "PERSIST",
    "DEL",
];

#[tokio::test]
async fn an_authenticated_check_is_one_round_trip_in_which_the_primary_proves_that_it_is_one() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    client.get("/api/v1/session").await.expect(200);
    let (checks, began) = (500, Instant::now());
    let monitor = cluster.redis.monitor().await;
    for _ in 0..checks {
        client.get("/api/v1/session").await.expect(200);
    }
    let seen = monitor.stop(&cluster.redis).await;
    let reads = seen.iter().filter(|seen| MonitoredCommand::name(&seen.command) == "MGET").count();
    assert_eq!(reads, checks, "one read each");
    // Both are sent together, so nothing of another connection comes between them.
    for pair in seen.windows(2).filter(|pair| MonitoredCommand::name(&pair[1].command) == "MGET") {
        assert_eq!(pair[0].command, r#""SET" "{it}:primary" "" "XX""#, "before {}", pair[1].command);
    }
    // Heartbeats, the lease, the watchdog: a few a second.
    let background = 20 + 12 * began.elapsed().as_secs() as usize;
    assert!(
        seen.len() <= 2 * checks + background,
        "{} commands for {checks} checks: {:?}",
        seen.len(),
        &seen[..20]
    );
    assert!(cluster.redis.keys().await.iter().all(|key| key != b"{it}:primary"), "the proof writes nothing");
}

#[tokio::test]
async fn a_busy_session_is_written_at_most_once_a_quarter_of_its_idle_time() {
    let cluster = Cluster::bare(2).env("BANGUI_SESSION_IDLE_SECONDS", 4).set_up().await;
    let before = cluster.redis.keys().await;
    let client = cluster.client(0).logged_in().await;
    let session_keys: Vec<String> = {
        let after = cluster.redis.keys().await;
        after.into_iter().filter(|key| !before.contains(key)).map(|key| escaped(&key)).collect()
    };
    assert!(!session_keys.is_empty());
    let monitor = cluster.redis.monitor().await;
    let (began, mut requests) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(5500) {
        client.at(cluster.workers[requests % 2].address).get("/api/v1/session").await.expect(200);
        requests += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let touches = |seen: &&MonitoredCommand| {
        let writes = |command: &str| WRITES.contains(&MonitoredCommand::name(command).as_str());
        seen.all().any(|command| writes(command) && session_keys.iter().any(|key| command.contains(key)))
    };
    let seen = monitor.stop(&cluster.redis).await;
    let touched = seen.iter().filter(touches).count();
    // A second passes between two of them; and without any, the session would have died after four.
    assert!((1..=6).contains(&touched), "{touched} writes for {requests} requests in 5.5 s");
}

#[tokio::test]
async fn a_copy_of_redis_holds_nothing_that_logs_in() {
    let cluster = Cluster::bare(2).set_up().await;
    let monitor = cluster.redis.monitor().await;
    let token = cluster.client(0).log_in().await;
    cluster.client(1).with_cookie(&token).get("/api/v1/session").await.expect(200);
    let seen = monitor.stop(&cluster.redis).await;
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    let mut shapes = vec![token.clone().into_bytes(), bytes.clone(), STANDARD.encode(&bytes).into_bytes()];
    shapes.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes());
    let stored = cluster.redis.everything().await;
    assert!(stored.windows(2).any(|bytes| bytes == b"it"), "the dump is readable");
    for shape in shapes {
        assert!(!stored.windows(shape.len()).any(|bytes| bytes == shape), "the token is stored");
        let shape = escaped(&shape);
        assert!(
            !seen.iter().any(|seen| seen.all().any(|command| command.contains(&shape))),
            "the token was sent"
        );
    }
    let password = crate::support::PASSWORD.as_bytes();
    assert!(!stored.windows(password.len()).any(|bytes| bytes == password), "the password is stored");
    for worker in &cluster.workers {
        assert!(!worker.process.printed().contains(&token), "the token is in the log");
    }
}

#[tokio::test]
async fn an_unused_session_ends_after_the_idle_time_and_a_used_one_lives_on() {
    let environment = [("BANGUI_SESSION_IDLE_SECONDS", 2), ("BANGUI_SESSION_ABSOLUTE_SECONDS", 60)];
    let builder =
        environment.into_iter().fold(Cluster::bare(2), |builder, (name, value)| builder.env(name, value));
    let cluster = builder.set_up().await;
    let used = cluster.client(0).logged_in().await;
    let unused = cluster.client(1).logged_in().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3500) {
        used.get("/api/v1/session").await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unused.get("/api/v1/session").await.problem(401);
    let listed = used.get("/api/v1/sessions").await;
    assert_eq!(listed.expect(200).body["items"].as_array().unwrap().len(), 1, "{}", listed.text);
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_time_however_busy_it_is() {
    let environment = [("BANGUI_SESSION_IDLE_SECONDS", 3), ("BANGUI_SESSION_ABSOLUTE_SECONDS", 3)];
    let builder =
        environment.into_iter().fold(Cluster::bare(1), |builder, (name, value)| builder.env(name, value));
    let cluster = builder.set_up().await;
    let client = cluster.client(0).logged_in().await;
    let began = Instant::now();
    eventually("the end of the session", SOON, || async {
        let answer = client.get("/api/v1/session").await;
        (answer.status != 200).then(|| answer.problem(401).to_owned())
    })
    .await;
    assert!(began.elapsed() > Duration::from_millis(2500), "ended after {:?}", began.elapsed());
}
