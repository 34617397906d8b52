//! SIGTERM: not ready at once, still serving while the load balancer notices, nobody's request cut, exit 0.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Cluster, PASSWORD, SOON, eventually};

#[tokio::test]
async fn under_requests_a_terminated_worker_is_not_ready_and_serves_on_until_it_has_drained() {
    let cluster = Cluster::bare(1).env("BANGUI_DRAIN_SECONDS", 2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    cluster.workers[0].terminate();
    let began = Instant::now();
    let ready = eventually("not to be ready", Duration::from_millis(500), || async {
        Some(client.get("/readyz").await).filter(|answer| answer.status == 503)
    })
    .await;
    assert!(ready.text.contains("drain"), "{}", ready.text);
    let mut served = 0;
    while began.elapsed() < Duration::from_millis(1500) {
        let answer = client.get("/api/v1/session").await;
        answer.expect(200);
        assert_eq!(answer.headers.get("connection").map(|value| value.as_bytes()), Some(&b"close"[..]));
        served += 1;
    }
    assert!(served > 5, "{served} requests");
    let status = cluster.workers[0].process.ended(SOON).await;
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() > Duration::from_millis(1500), "it ended after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "it ended after {:?}", began.elapsed());
}

/// Sends all of a login but the end of its body.
pub async fn half_a_login(address: SocketAddr) -> (TcpStream, Vec<u8>) {
    let body = json!({ "password": PASSWORD }).to_string().into_bytes();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..4]).await.unwrap();
    (stream, body[4..].to_vec())
}

pub async fn whole_answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_request_in_flight_is_finished_after_the_drain_time_too() {
    let cluster = Cluster::bare(1).env("BANGUI_DRAIN_SECONDS", 1).set_up().await;
    let (mut stream, rest) = half_a_login(cluster.workers[0].address).await;
    // The worker has it: a later request on another connection was answered.
    cluster.client(0).get("/healthz").await.expect(200);
    cluster.workers[0].terminate();
    eventually("the end of the drain time", SOON, || async {
        TcpStream::connect(cluster.workers[0].address).await.err()
    })
    .await;
    assert!(cluster.workers[0].process.runs());
    stream.write_all(&rest).await.unwrap();
    let answer = whole_answer(stream).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(cluster.workers[0].process.ended(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up_after_ten_seconds() {
    let cluster = Cluster::bare(1).env("BANGUI_DRAIN_SECONDS", 0).set_up().await;
    let (stream, _) = half_a_login(cluster.workers[0].address).await;
    cluster.client(0).get("/healthz").await.expect(200);
    cluster.workers[0].terminate();
    let began = Instant::now();
    let status = cluster.workers[0].process.ended(Duration::from_secs(14)).await;
    assert_eq!(status.code(), Some(0), "after {:?}", began.elapsed());
    drop(stream);
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_stop_and_an_interrupt_is_a_stop_too() {
    for signal in [Signal::TERM, Signal::INT] {
        let cluster = Cluster::bare(1).env("BANGUI_DRAIN_SECONDS", 0).set_up().await;
        let client = cluster.client(0);
        let answer = client.send(client.request(Method::GET, "/healthz")).await;
        answer.expect(200);
        let idle = TcpStream::connect(cluster.workers[0].address).await.unwrap();
        let began = Instant::now();
        cluster.workers[0].process.signal(signal);
        assert_eq!(cluster.workers[0].process.ended(SOON).await.code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
        drop(idle);
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let cluster = Cluster::bare(1).env("BANGUI_DRAIN_SECONDS", 60).set_up().await;
    let client = cluster.client(0);
    cluster.workers[0].terminate();
    eventually("to drain", SOON, || async { (client.get("/readyz").await.status == 503).then_some(()) })
        .await;
    cluster.workers[0].terminate();
    cluster.workers[0].process.ended(SOON).await;
}

#[tokio::test]
async fn a_worker_that_waits_for_redis_can_be_ended_too() {
    let cluster = Cluster::bare(1).env("BANGUI_DRAIN_SECONDS", 0).set_up().await;
    cluster.redis.pause();
    cluster.workers[0].terminate();
    assert_eq!(cluster.workers[0].process.ended(SOON).await.code(), Some(0));
    cluster.redis.resume();
}
