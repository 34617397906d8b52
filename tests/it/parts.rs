//! No part of a worker ends unnoticed: if one panics or returns, the worker drains and exits.
//!
//! The parts are ended through `worker/tasks/test_switch.rs`, which only test builds have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::shutdown::{half_a_login, whole_answer};
use crate::support::worker::{Worker, field};
use crate::support::{Client, Cluster, SOON, eventually, folder};

/// Every part of a worker, in groups that one test ends each.
const STORE: &[&str] = &["redis-connection", "wakes"];
const FOLLOWERS: &[&str] =
    &["settings", "near-cache", "events", "discovery", "metrics-upkeep", "refusals", "provider"];
const LISTENERS: &[&str] = &["http-listener", "metrics-listener"];
const WORK: &[&str] = &["scheduler", "ban-jobs", "account", "heartbeat"];

/// A lease that expires long after [`SOON`]: a worker that leads before then got it released.
const LEASE_TTL_MS: u64 = 120_000;

/// A worker whose parts can be ended.
struct Victim {
    worker: Worker,
    metrics: SocketAddr,
    switches: TempDir,
}

impl Victim {
    async fn start(cluster: &Cluster, name: &str) -> Self {
        let switches = folder();
        let mut environment = cluster.environment.clone();
        environment.insert("BANGUI_TEST_END_PARTS".to_owned(), switches.path().display().to_string());
        let metrics = free_address();
        environment.insert("BANGUI_METRICS_LISTEN".to_owned(), metrics.to_string());
        let worker = Worker::start(name, &environment).await;
        worker.ready(SOON).await;
        Self { worker, metrics, switches }
    }

    fn id(&self) -> String {
        let log = self.worker.log();
        let id = log.iter().find_map(|line| field(line, "worker.id")?.as_str());
        id.expect("its id in the log").to_owned()
    }

    /// Ends a part of it: `how` is `panic` or `return`.
    fn end(&self, part: &str, how: &str) {
        end_part(self.switches.path(), part, how);
    }

    /// The error lines that name a part.
    fn failures(&self) -> Vec<(String, String)> {
        let errors = self.worker.log().into_iter().filter(|line| line["level"] == "ERROR");
        let text = |line: &Value, name| field(line, name).and_then(Value::as_str).map(str::to_owned);
        errors.filter_map(|line| Some((text(&line, "part.name")?, text(&line, "message")?))).collect()
    }
}

fn end_part(switches: &Path, part: &str, how: &str) {
    // In one step: half a word would be read, too.
    let (new, file) = (switches.join(format!("{part}.new")), switches.join(part));
    std::fs::write(&new, how).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The cluster that a group is tested on: the DNS name has no agents, which is enough to keep discovery running.
async fn surroundings() -> Cluster {
    let cluster = Cluster::bare(0)
        .env("BANGUI_LEASE_TTL_MS", LEASE_TTL_MS)
        .env("BANGUI_DRAIN_SECONDS", 3)
        .env("BANGUI_SESSION_CACHE_ENABLED", true)
        .env("BANGUI_SERVERS", "nodes=http://localhost:1?discover=dns")
        .env("BANGUI_AGENT_TOKEN", crate::support::agent::AGENT_TOKEN)
        // A provider that nobody runs keeps its part running all the same.
        .env("BANGUI_PUBLIC_URL", "http://127.0.0.1:8080")
        .env("BANGUI_OIDC_ISSUER", "http://127.0.0.1:1")
        .env("BANGUI_OIDC_CLIENT_ID", "bangui")
        .env("BANGUI_OIDC_ROLES", "admins=admin");
    cluster.start().await
}

async fn leader(cluster: &Cluster) -> Option<String> {
    let lease: Option<String> = cluster.redis.command(&["GET", "{it}:lease"]).await;
    Some(lease?.split_once('|')?.0.to_owned())
}

async fn leads(cluster: &Cluster, victim: &Victim) {
    let id = victim.id();
    eventually("the worker to lead", SOON, || async { (leader(cluster).await? == id).then_some(()) }).await;
}

async fn near_caches(cluster: &Cluster) -> usize {
    let fields: BTreeMap<String, String> = cluster.redis.command(&["HGETALL", "{it}:holders"]).await;
    fields.keys().filter(|field| field.len() == 32).count()
}

/// Ends the parts one after the other: each on a worker that leads, while the one that is next stands by.
async fn end_each(parts: &[&str], how: &str) {
    let cluster = surroundings().await;
    let mut victim = Victim::start(&cluster, "the first").await;
    for part in parts {
        leads(&cluster, &victim).await;
        let next = Victim::start(&cluster, &format!("after {part}")).await;
        eventually("two near caches", SOON, || async { (near_caches(&cluster).await == 2).then_some(()) })
            .await;

        let client = victim.worker.client();
        client.get("/readyz").await.expect(200);
        victim.end(part, how);
        not_ready(&client, part).await;
        leads(&cluster, &next).await;
        let status = victim.worker.process.ended(SOON).await;
        assert_eq!(status.code(), Some(1), "{part} by {how}");
        assert_eq!(near_caches(&cluster).await, 1, "{part} by {how}: its near cache has left");

        // The reader of its log may be a moment behind.
        let failures = eventually("the log", SOON, || async {
            let printed = victim.worker.process.printed();
            printed.contains("bangui: worker part").then(|| victim.failures())
        })
        .await;
        let reason = if how == "panic" { "panicked: ended by a test" } else { "returned unexpectedly" };
        let expected = format!("worker part `{part}` {reason}: draining, then exiting with code 1");
        assert_eq!(failures, [((*part).to_owned(), expected)], "{part} by {how}");
        victim = next;
    }
}

/// On an existing connection: a worker without a listener also says so to the clients it still serves.
async fn not_ready(client: &Client, part: &str) {
    eventually(&format!("not to be ready without {part}"), SOON, || async {
        let answer = client.try_send(client.request(Method::GET, "/readyz")).await.ok()?;
        (answer.status == 503 && answer.body["reason"] == "draining").then_some(())
    })
    .await;
}

macro_rules! groups {
    ($($test:ident: $parts:ident by $how:literal;)*) => {
        $(#[tokio::test] async fn $test() { end_each($parts, $how).await; })*
    };
}

groups! {
    a_worker_with_a_task_of_the_store_that_panics_hands_over_and_exits_with_1: STORE by "panic";
    a_worker_with_a_task_of_the_store_that_returns_hands_over_and_exits_with_1: STORE by "return";
    a_worker_with_a_follower_that_panics_hands_over_and_exits_with_1: FOLLOWERS by "panic";
    a_worker_with_a_follower_that_returns_hands_over_and_exits_with_1: FOLLOWERS by "return";
    a_worker_with_a_listener_that_panics_hands_over_and_exits_with_1: LISTENERS by "panic";
    a_worker_with_a_listener_that_returns_hands_over_and_exits_with_1: LISTENERS by "return";
    a_worker_whose_work_panics_hands_over_and_exits_with_1: WORK by "panic";
    a_worker_whose_work_returns_hands_over_and_exits_with_1: WORK by "return";
}

#[tokio::test]
async fn these_are_all_the_parts_that_a_worker_has() {
    let mut cluster = surroundings().await;
    cluster.environment.insert("RUST_LOG".to_owned(), "info,bangui::worker=debug".to_owned());
    let victim = Victim::start(&cluster, "the worker").await;
    leads(&cluster, &victim).await;
    let log = victim.worker.log();
    let parts: BTreeSet<&str> = log.iter().filter_map(|line| field(line, "part.name")?.as_str()).collect();
    let expected = [STORE, FOLLOWERS, LISTENERS, WORK].concat();
    assert_eq!(parts, expected.into_iter().collect());
}

#[tokio::test]
async fn a_request_in_flight_is_finished_when_a_part_has_failed() {
    let mut cluster = surroundings().await;
    cluster.environment.insert("BANGUI_DRAIN_SECONDS".to_owned(), "0".to_owned());
    for part in ["http-listener", "scheduler"] {
        let victim = Victim::start(&cluster, part).await;
        let client = victim.worker.client();
        let setup =
            serde_json::json!({ "password": crate::support::PASSWORD, "token": crate::support::SETUP_TOKEN });
        client.post("/api/v1/setup", setup).await;
        let (mut stream, rest) = half_a_login(victim.worker.address).await;
        // The worker has it: a later request on another connection was answered.
        client.renewed(victim.worker.address).get("/healthz").await.expect(200);
        victim.end(part, "panic");
        eventually("the listener to close", SOON, || async {
            tokio::net::TcpStream::connect(victim.worker.address).await.err()
        })
        .await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &rest).await.unwrap();
        let answer = whole_answer(stream).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{part}: {answer}");
        assert_eq!(victim.worker.process.ended(SOON).await.code(), Some(1));
    }
}

#[tokio::test]
async fn a_worker_whose_scheduler_panicked_shows_that_it_does_not_lead() {
    let cluster = surroundings().await;
    let victim = Victim::start(&cluster, "the worker").await;
    leads(&cluster, &victim).await;
    let client = Client::new(victim.metrics);
    let leader = async || {
        let page = client.try_send(client.request(Method::GET, "/metrics")).await.ok()?.text;
        page.lines().find_map(|line| line.strip_prefix("bangui_scheduler_leader ")?.parse::<u8>().ok())
    };
    eventually("its metrics to say so", SOON, || async { leader().await.filter(|leader| *leader == 1) })
        .await;
    victim.end("scheduler", "panic");
    let mut last = None;
    while victim.worker.process.runs() {
        last = leader().await.or(last);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(last, Some(0), "the last that it said while it drained");
}

#[tokio::test]
async fn a_part_that_fails_before_the_worker_is_ready_ends_it_too() {
    let cluster = surroundings().await;
    cluster.redis.pause();
    let switches = folder();
    end_part(switches.path(), "redis-connection", "panic");
    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_TEST_END_PARTS".to_owned(), switches.path().display().to_string());
    environment.insert("BANGUI_DRAIN_SECONDS".to_owned(), "0".to_owned());
    let process = Worker::spawn("the worker", &environment);
    assert_eq!(process.ended(SOON).await.code(), Some(1));
    assert!(process.printed().contains("worker part `redis-connection` panicked"), "{}", process.printed());
    cluster.redis.resume();
}

/// A part that fails while the worker drains is reported as well, and does not cut the drain short.
#[tokio::test]
async fn a_part_that_fails_while_the_worker_drains_makes_its_exit_code_1() {
    let cluster = surroundings().await;
    let victim = Victim::start(&cluster, "the worker").await;
    let client = victim.worker.client();
    victim.worker.terminate();
    not_ready(&client, "SIGTERM").await;
    victim.end("settings", "return");
    eventually("the failure in the log", SOON, || async { victim.failures().pop() }).await;
    client.get("/healthz").await.expect(200);
    assert_eq!(victim.worker.process.ended(SOON).await.code(), Some(1));
}

/// The switch relies on this: a release build has no `debug_assertions`, unless its profile says so.
#[test]
fn no_release_build_has_the_switch_that_ends_parts() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    assert!(!manifest.contains("debug-assertions"), "a release must not know BANGUI_TEST_END_PARTS");
    let switch = include_str!("../../src/worker/tasks.rs");
    assert!(switch.contains("#[cfg(debug_assertions)]\nmod test_switch;"));
    assert_eq!(switch.matches("test_switch").count(), switch.matches("#[cfg(debug_assertions)]").count());
}
