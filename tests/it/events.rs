//! `GET /api/v1/events`: every worker sends every event, once, whatever happens to the connection.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bangui::domain::transition::record_activation;
use bangui::domain::{JailName, ServerName};
use redis::streams::StreamRangeReply;
use reqwest::Method;
use serde_json::json;

use crate::support::cluster::{PREFIX, SERVER, server, server_is};
use crate::support::event_stream::EventStream;
use crate::support::{Client, Cluster, SOON, eventually};

async fn set_interval(client: &Client, seconds: u64) {
    let patch = json!({ "probe_interval_seconds": seconds });
    client.patch("/api/v1/settings", "*", patch).await.expect(200);
}

/// Writes events as fast as possible: activations of a jail of a server that is not probed.
async fn write_events(cluster: &Cluster, n: usize) {
    let (name, store) = (ServerName::parse("nowhere").unwrap(), cluster.store());
    store.ready().await.unwrap();
    for n in 0..n {
        let jail = JailName::parse(&format!("jail-{n}")).unwrap();
        let change =
            |state, now| Ok::<_, std::convert::Infallible>(Some(record_activation(state, jail.clone(), now)));
        store.change_server(&name, change).await.unwrap();
    }
}

/// The ids of all events of that kind.
async fn stored_ids(cluster: &Cluster) -> Vec<String> {
    let key = format!("{{{PREFIX}}}:events");
    let stored: StreamRangeReply = cluster.redis.command(&["XRANGE", &key, "-", "+"]).await;
    stored.ids.into_iter().filter(|entry| entry.map.contains_key("server")).map(|entry| entry.id).collect()
}

#[tokio::test]
async fn what_happens_at_any_worker_is_sent_to_the_clients_of_every_worker() {
    let cluster = Cluster::bare(2).set_up().await;
    let clients = [cluster.client(0).logged_in().await, cluster.client(1).logged_in().await];
    let mut streams =
        [EventStream::open(&clients[0], None).await, EventStream::open(&clients[1], None).await];
    for (n, client) in clients.iter().enumerate() {
        set_interval(client, 20 + n as u64).await;
        let came = [streams[0].until("settings.changed").await, streams[1].until("settings.changed").await];
        assert_eq!(came[0], came[1]);
        let data = &came[0].data;
        assert_eq!(data["type"], "settings.changed");
        assert_eq!(data["facts"]["after"]["probe_interval_seconds"], 20 + n, "{data}");
        assert!(
            data["server"].is_null() && data["at"].as_str().is_some_and(|at| at.ends_with('Z')),
            "{data}"
        );
    }
    clients[0].anonymous().get("/api/v1/events").await.problem(401);
    let request = clients[0].request(Method::GET, "/api/v1/events").header("Last-Event-ID", "yesterday");
    clients[0].send(request).await.problem(400);

    // Redis is paused for a while, and then the events continue.
    cluster.redis.pause();
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.redis.resume();
    let patch = json!({ "probe_interval_seconds": 30 });
    eventually("a change", SOON, || async {
        let answer = clients[0].patch("/api/v1/settings", "*", patch.clone()).await;
        answer.status.is_success().then_some(())
    })
    .await;
    for stream in &mut streams {
        assert_eq!(
            stream.until("settings.changed").await.data["facts"]["after"]["probe_interval_seconds"],
            30
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_before_its_first_event_continues_where_it_began() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    set_interval(&client, 20).await;
    let stream = EventStream::open(&client, None).await;
    let began_at = stream.began_at.clone();
    drop(stream);
    set_interval(&client, 21).await;
    let mut stream = EventStream::open(&client.at(cluster.workers[1].address), Some(&began_at)).await;
    let came = stream.until("settings.changed").await;
    assert_eq!(came.data["facts"]["after"]["probe_interval_seconds"], 21, "the one before is not sent again");
}

#[tokio::test]
async fn a_client_that_goes_from_worker_to_worker_gets_every_event_once_and_in_order() {
    const EVENTS: usize = 600;
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let mut last = EventStream::open(&client, Some("0-0")).await.until("scheduler.elected").await.id.unwrap();
    let reading = async {
        let mut ids = Vec::new();
        let mut round = 0;
        while ids.len() < EVENTS {
            let worker = &cluster.workers[round % 2];
            let mut stream = EventStream::open(&client.at(worker.address), Some(&last)).await;
            for _ in 0..(round % 5) * 17 + 1 {
                let came = stream.next().await.unwrap();
                last = came.id.clone().unwrap();
                if came.data["server"] == "nowhere" {
                    ids.push(last.clone());
                }
                if ids.len() == EVENTS {
                    break;
                }
            }
            round += 1;
        }
        ids
    };
    let (ids, ()) = tokio::join!(reading, write_events(&cluster, EVENTS));
    assert_eq!(ids, stored_ids(&cluster).await);
}

#[tokio::test]
async fn a_client_that_is_slower_than_the_worker_remembers_loses_nothing() {
    const EVENTS: usize = 5_000;
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let mut stream = EventStream::open(&client, None).await;
    // More than the worker's ring and the kernel's buffers hold together, while nobody reads.
    let facts = json!({ "filler": "x".repeat(4_000) }).to_string();
    let mut redis = cluster.redis.connection().await;
    for _ in 0..EVENTS / 100 {
        let mut pipeline = redis::pipe();
        for _ in 0..100 {
            let add = pipeline.cmd("XADD").arg(format!("{{{PREFIX}}}:events")).arg("*");
            add.arg(&["type", "activation.recorded", "server", "nowhere", "facts", &facts]).ignore();
        }
        pipeline.exec_async(&mut redis).await.unwrap();
    }
    let mut ids = Vec::new();
    while ids.len() < EVENTS {
        let came = stream.next().await.unwrap();
        assert_ne!(came.kind, "gap", "all are kept");
        if came.data["server"] == "nowhere" {
            ids.push(came.id.unwrap());
        }
    }
    assert_eq!(ids, stored_ids(&cluster).await);
}

#[tokio::test]
async fn a_place_that_is_not_kept_any_more_is_reported_as_a_gap() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    write_events(&cluster, 3).await;
    let ids = stored_ids(&cluster).await;
    let mut stream = EventStream::open(&client, Some(&ids[0])).await;
    assert_eq!(stream.next().await.unwrap().id.as_ref(), Some(&ids[1]), "no gap while it is kept");

    let key = format!("{{{PREFIX}}}:events");
    let _: u64 = cluster.redis.command(&["XTRIM", &key, "MAXLEN", "1"]).await;
    let mut stream = EventStream::open(&client, Some(&ids[0])).await;
    let gap = stream.next().await.unwrap();
    assert_eq!((gap.kind.as_str(), gap.id), ("gap", None));
    assert_eq!(gap.data["after"], ids[0].as_str());
    assert_eq!(stream.next().await.unwrap().id.as_ref(), Some(&ids[2]), "what there is follows");

    // A place that this history has never had: Redis was restored from a copy, say.
    let mut stream = EventStream::open(&client, Some("99999999999999-0")).await;
    assert_eq!(stream.next().await.unwrap().kind, "gap");
    set_interval(&client, 20).await;
    stream.until("settings.changed").await;
}

#[tokio::test]
async fn a_client_whose_session_ends_gets_no_more_events() {
    let cluster = Cluster::bare(2).set_up().await;
    let (client, other) = (cluster.client(0).logged_in().await, cluster.client(1).logged_in().await);
    let mut stream = EventStream::open(&client, None).await;
    let mut others = EventStream::open(&other, None).await;
    client.at(cluster.workers[1].address).delete("/api/v1/session").await.expect(204);
    let began = Instant::now();
    let end = stream.until("end").await;
    assert_eq!(end.data["reason"], "the session has ended");
    assert!(stream.next().await.is_none());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // The others continue, until all are disconnected.
    set_interval(&other, 20).await;
    others.until("settings.changed").await;
    other.clone().confirmed().await.delete("/api/v1/sessions").await.expect(204);
    others.until("end").await;
}

#[tokio::test]
async fn a_worker_that_stops_sends_its_clients_elsewhere() {
    let cluster = Cluster::bare(2).env("BANGUI_DRAIN_SECONDS", 2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let mut stream = EventStream::open(&client, None).await;
    set_interval(&client, 20).await;
    let last = stream.until("settings.changed").await.id.unwrap();
    cluster.workers[0].terminate();
    let end = stream.until("end").await;
    assert!(end.data["reason"].as_str().unwrap().contains("stopping"), "{end:?}");
    assert!(end.retry.is_some() && end.id.is_none(), "{end:?}");
    assert!(stream.next().await.is_none());
    let elsewhere = client.renewed(cluster.workers[1].address);
    let mut stream = EventStream::open(&elsewhere, Some(&last)).await;
    set_interval(&elsewhere, 21).await;
    stream.until("settings.changed").await;
    let began = Instant::now();
    let status = cluster.workers[0].process.ended(SOON).await;
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "no stream held it up: {:?}", began.elapsed());
}

#[tokio::test]
async fn every_type_of_event_is_written_when_it_happens() {
    let mut cluster = Cluster::with_fail2ban(1).jails(&["app", "web"]).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let bans = format!("/api/v1/servers/{SERVER}/jails/app/bans");
    eventually("the first list of bans", SOON, || async {
        client.get(&bans).await.body["read_at"].is_string().then_some(())
    })
    .await;
    cluster.fail2ban().log_failure("app", "203.0.113.7");
    let list = async || client.get(&bans).await.body["items"].as_array().unwrap().len();
    eventually("the ban", SOON, || async { (list().await == 1).then_some(()) }).await;
    client.delete(&format!("{bans}/203.0.113.7")).await.expect(200);
    eventually("its end", SOON, || async { (list().await == 0).then_some(()) }).await;

    for switch in ["deactivate", "activate"] {
        let path = format!("/api/v1/servers/{SERVER}/jails/web/{switch}");
        client.post(&path, json!({})).await.expect(200);
    }
    server_is(&client, "up").await;
    cluster.fail2ban().command(&["stop", "web"]).await;
    server_is(&client, "degraded").await;
    cluster.fail2ban().command(&["reload"]).await;
    let up = server_is(&client, "up").await;
    assert_eq!(up["pending_recovery"]["recovered"], true, "{up}");
    client.delete(&format!("/api/v1/servers/{SERVER}/recovery")).await.expect(204);
    assert!(server(&client).await["pending_recovery"].is_null());
    set_interval(&client, 2).await;
    cluster.fail2ban().kill();
    server_is(&client, "down").await;

    let mut stream = EventStream::open(&client, Some("0-0")).await;
    let mut missing: BTreeSet<&str> = [
        "server.came_online",
        "server.went_offline",
        "server.degraded",
        "recovery.pending",
        "recovery.resolved",
        "recovery.cleared",
        "activation.recorded",
        "ban.added",
        "ban.removed",
        "settings.changed",
        "scheduler.elected",
    ]
    .into();
    while !missing.is_empty() {
        let came = stream.next().await.unwrap();
        assert_eq!(came.data["type"], came.kind.as_str());
        let of_server = !["settings.changed", "scheduler.elected"].contains(&came.kind.as_str());
        assert_eq!(came.data["server"] == SERVER, of_server, "{came:?}");
        if came.kind.starts_with("ban.") {
            assert_eq!(came.data["facts"], json!({ "jail": "app", "ip": "203.0.113.7" }));
        }
        missing.remove(came.kind.as_str());
    }
}

#[tokio::test]
async fn one_session_cannot_hold_the_streams_of_all_others() {
    let cluster = Cluster::bare(1).set_up().await;
    let (greedy, other) = (cluster.client(0).logged_in().await, cluster.client(0).logged_in().await);
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(EventStream::open(&greedy, None).await);
    }
    let refused = greedy.get("/api/v1/events").await;
    assert_eq!(refused.problem(429), "too-many-streams");
    drop(EventStream::open(&other, None).await);
    held.pop();
    eventually("the place of a stream that was closed", SOON, || async {
        let request = greedy.request(Method::GET, "/api/v1/events");
        // An open stream does not end, so read only its head.
        (request.send().await.unwrap().status() == 200).then_some(())
    })
    .await;
}
