//! A fail2ban that answers garbage, half a reply, or nothing: it is reported with the reason, and nobody is harmed.

use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::bad_input::{refused, unharmed};
use crate::passwords::resident;
use crate::support::agent::{AGENT_TOKEN, Agent};
use crate::support::broken_fail2ban::{BrokenFail2ban, Fault};
use crate::support::{Cluster, SOON, eventually, folder};

#[tokio::test]
async fn a_broken_fail2ban_is_down_or_busy_with_a_reason_and_harms_nobody() {
    let (mut cluster, _) = Cluster::bare(1).start_surroundings().await;
    let mut broken = Vec::new();
    let mut servers = Vec::new();
    for fault in Fault::ALL {
        let fail2ban = BrokenFail2ban::start(fault);
        let agent = Agent::start(&fail2ban.socket(), std::path::Path::new("/nowhere")).await;
        let name = format!("{fault:?}");
        servers.push(format!("{name}={}", agent.url()));
        broken.push((name, agent, fail2ban));
    }
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers.join(","));
    cluster.environment.insert("BANGUI_AGENT_TOKEN".to_owned(), AGENT_TOKEN.to_owned());
    cluster.add_worker().await;
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    for (name, agent, _fail2ban) in &mut broken {
        let status = eventually(&format!("{name} to be reported"), SOON, || async {
            let server = client.get(&format!("/api/v1/servers/{name}")).await.expect(200).body.clone();
            (server["status"]["condition"] != "unknown").then(|| server["status"].clone())
        })
        .await;
        let condition = status["condition"].as_str().unwrap();
        assert!(["down", "busy"].contains(&condition), "{name}: {status}");
        assert!(status["error"].as_str().is_some_and(|error| error.len() > 10), "{name}: {status}");
        assert!(agent.process.as_mut().unwrap().runs(), "{name}");
        agent.info().await;
        // A user who asks directly gets the reason too, and not a 500.
        let jails = client.get(&format!("/api/v1/servers/{name}/jails")).await;
        refused(&jails, &[502, 503, 504]);
    }
    unharmed(&cluster).await;
}

#[tokio::test]
async fn a_hostile_fail2ban_cannot_take_the_memory_of_its_agent() {
    let fail2ban = BrokenFail2ban::start(Fault::Swelling);
    let agent = Agent::start(&fail2ban.socket(), std::path::Path::new("/nowhere")).await;
    let process = agent.process.as_ref().unwrap();
    let before = resident(process);
    for _ in 0..10 {
        let (_, status) = agent.get("/v1/status", AGENT_TOKEN).await.unwrap();
        assert_eq!(status["state"], "down", "{status}");
        assert!(status["reason"].as_str().unwrap().contains("bytes of memory"), "{status}");
    }
    let grown = resident(process).saturating_sub(before);
    assert!(grown < 32, "half a megabyte has made {grown} MiB");
}

/// A lying agent: it counts few bans, and lists bans without end. Records what it was asked for.
async fn liar(asked: Asked, path: axum::extract::Path<String>) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    asked.lock().unwrap().push(path.0.clone());
    let counts = |n: u64| json!({ "currently_failed": 0, "total_failed": 0, "currently_banned": n, "total_banned": n });
    if path.0 == "status" {
        let jails = json!({ "few": counts(2), "liar": counts(3), "million": counts(1_000_000) });
        return axum::Json(json!({ "state": "up", "version": "1.0.2", "jails": jails })).into_response();
    }
    if path.0 == "jails/few/bans" {
        let bans = json!([["192.0.2.1", null, null], ["192.0.2.2", 1, 2]]);
        return axum::Json(json!({ "bans": bans, "newer": {}, "others": 0 })).into_response();
    }
    if path.0 == "jails/liar/bans" {
        let first = stream::once(async { r#"{"marks":[],"bans":[["192.0.2.1",1,2]"#.to_owned() });
        let endless = stream::repeat(r#",["192.0.2.1",1,2]"#.repeat(1_000)).take(5_000);
        let body = first.chain(endless).map(Ok::<_, std::convert::Infallible>);
        return axum::body::Body::from_stream(body).into_response();
    }
    axum::http::StatusCode::NOT_FOUND.into_response()
}

type Asked = Arc<Mutex<Vec<String>>>;

#[tokio::test]
async fn a_hostile_agent_cannot_take_the_memory_of_the_leader_and_what_is_not_read_is_shown() {
    let (folder, asked) = (folder(), Asked::default());
    let socket = folder.path().join("agent.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let recorded = Arc::clone(&asked);
    let answer = axum::routing::any(move |path| liar(recorded, path));
    let server = axum::serve(listener, axum::Router::new().route("/v1/{*path}", answer));
    let server = tokio::spawn(server.into_future());

    let (mut cluster, _) = Cluster::bare(1).start_surroundings().await;
    let servers = format!("liar=http+unix://{}", socket.display());
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers);
    cluster.environment.insert("BANGUI_AGENT_TOKEN".to_owned(), AGENT_TOKEN.to_owned());
    cluster.add_worker().await;
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    let before = resident(&cluster.workers[0].process);
    let found = eventually("the lists that are not read", SOON, || async {
        let server = client.get("/api/v1/servers/liar").await.expect(200).body.clone();
        let lists = server["unread_ban_lists"].as_array()?.clone();
        (lists.len() == 2).then_some(lists)
    })
    .await;
    assert_eq!((&found[0]["jail"], &found[0]["currently_banned"]), (&json!("million"), &json!(1_000_000)));
    assert_eq!(found[1]["jail"], "liar");
    assert!(
        found.iter().all(|list| list["detail"].as_str().is_some_and(|text| text.len() > 20)),
        "{found:?}"
    );
    // Other lists are still read.
    eventually("the short list", SOON, || async {
        let bans = client.get("/api/v1/servers/liar/jails/few/bans").await.body["items"].as_array()?.len();
        (bans == 2).then_some(())
    })
    .await;
    let grown = resident(&cluster.workers[0].process).saturating_sub(before);
    assert!(grown < 64, "endless lists have taken {grown} MiB");
    let asked = asked.lock().unwrap().clone();
    assert!(!asked.iter().any(|path| path == "jails/million/bans"), "{asked:?}");
    assert!(cluster.workers[0].process.runs());
    server.abort();
}
