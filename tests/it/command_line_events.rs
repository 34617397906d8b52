//! `bangui events --follow`: across the death of the worker that sends them, to the end of the session.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::balancer::Balancer;
use crate::support::person::Person;
use crate::support::process::Child;
use crate::support::{Client, Cluster, SOON, eventually};

/// What the stream says first: when to come back, and where it begins.
const OPEN: &str = "retry: ";

async fn set_interval(client: &Client, seconds: u64) {
    let patch = json!({ "probe_interval_seconds": seconds });
    client.patch("/api/v1/settings", "*", patch).await.expect(200);
}

/// Two workers behind a balancer, and somebody who follows events there.
async fn following(arguments: &[&str]) -> (Cluster, Balancer, Person, Child) {
    let cluster = Cluster::bare(2).set_up().await;
    let balancer = Balancer::start(cluster.workers.iter().map(|worker| worker.address).collect()).await;
    let person = Person::logged_in(&balancer.url()).await;
    let process = person.start(&[&["events", "--follow"], arguments].concat());
    eventually("the stream to begin", SOON, || async { balancer.has_answered(OPEN).then_some(()) }).await;
    (cluster, balancer, person, process)
}

/// Kills that worker; a client of the other one.
async fn kill(cluster: &Cluster, address: SocketAddr) -> Client {
    let dead = cluster.workers.iter().position(|worker| worker.address == address).unwrap();
    cluster.workers[dead].process.kill();
    cluster.client(1 - dead).logged_in().await
}

async fn shown(process: &Child, seconds: u64) {
    let fact = format!("probe_interval_seconds\":{seconds}");
    process.line(&fact, SOON * 2, |line| line.contains(&fact).then_some(())).await;
}

#[tokio::test]
async fn events_are_followed_on_when_their_worker_is_killed_and_each_is_shown_once() {
    let (cluster, balancer, _person, process) = following(&[]).await;
    let of_stream = balancer.last();
    let client = cluster.client(0).logged_in().await;
    set_interval(&client, 20).await;
    shown(&process, 20).await;
    let other = kill(&cluster, of_stream).await;
    for seconds in 21..25 {
        set_interval(&other, seconds).await;
    }
    shown(&process, 24).await;
    set_interval(&other, 25).await;
    shown(&process, 25).await;
    let changes: Vec<String> =
        process.lines().into_iter().filter(|line| line.contains("settings.changed")).collect();
    assert_eq!(changes.len(), 6, "{changes:#?}");
    process.signal(Signal::INT);
    assert_eq!(process.ended(SOON).await.code(), Some(0), "Ctrl-C is how it is ended");
    process.line("where to continue", SOON, |line| line.contains("--after ").then_some(())).await;
}

#[tokio::test]
async fn nothing_is_missed_when_the_worker_is_killed_before_it_has_sent_an_event() {
    let (cluster, balancer, _person, process) = following(&[]).await;
    let other = kill(&cluster, balancer.last()).await;
    set_interval(&other, 21).await;
    shown(&process, 21).await;
    assert!(process.runs());
}

#[tokio::test]
async fn with_json_each_event_is_a_line_and_the_end_of_the_session_is_the_end() {
    let (cluster, _balancer, person, process) = following(&["--json"]).await;
    let client = cluster.client(0).logged_in().await;
    set_interval(&client, 20).await;
    let event = process.line("an event", SOON, |line| serde_json::from_str::<Value>(line).ok()).await;
    assert_eq!((&event["type"], event["at"].is_string()), (&"settings.changed".into(), true), "{event}");
    cluster.client(1).with_bearer(&person.token()).delete("/api/v1/session").await.expect(204);
    assert_eq!(process.ended(SOON * 2).await.code(), Some(3));
    process.line("what to do", SOON, |line| line.contains("bangui login").then_some(())).await;
}

#[tokio::test]
async fn events_begin_after_the_one_that_is_named() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    set_interval(&client, 20).await;
    let person = Person::logged_in(&format!("http://{}", cluster.workers[0].address)).await;
    let process = person.start(&["events", "--follow", "--after", "0-0"]);
    shown(&process, 20).await;
    person.run(&["events"], "").await.expect(2);
}
