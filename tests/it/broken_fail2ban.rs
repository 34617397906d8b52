//! A fail2ban that answers garbage, half a reply, or nothing: it is reported with the reason, and nobody is harmed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::bad_input::{refused, unharmed};
use crate::passwords::{own, peak, resident};
use crate::support::agent::{AGENT_TOKEN, Agent};
use crate::support::broken_fail2ban::{BrokenFail2ban, Fault};
use crate::support::browser::Browser;
use crate::support::cluster::PREFIX;
use crate::support::process::{Child, bangui};
use crate::support::{Client, Cluster, SOON, eventually, folder};

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
    let before = own(process);
    for _ in 0..10 {
        let (_, status) = agent.get("/v1/status", AGENT_TOKEN).await.unwrap();
        assert_eq!(status["state"], "down", "{status}");
        assert!(status["reason"].as_str().unwrap().contains("bytes of memory"), "{status}");
    }
    let grown = own(process).saturating_sub(before);
    assert!(grown < 32, "half a megabyte has made {grown} MiB");
}

/// What an agent says of itself: these jails, with how many bans each counts.
fn status(jails: impl IntoIterator<Item = (String, u64)>) -> Response {
    let counts = |n: u64| json!({ "currently_failed": 0, "total_failed": 0, "currently_banned": n, "total_banned": n });
    let jails: BTreeMap<_, _> = jails.into_iter().map(|(jail, n)| (jail, counts(n))).collect();
    axum::Json(json!({ "state": "up", "version": "1.0.2", "jails": jails })).into_response()
}

/// A cluster of one worker, logged in to, and a hostile agent as its server `liar`.
async fn facing(
    agent: impl Fn(String) -> Response + Clone + Send + Sync + 'static,
) -> (Cluster, Client, tempfile::TempDir, AbortOnDropHandle<std::io::Result<()>>) {
    let folder = folder();
    let socket = folder.path().join("agent.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let answer = axum::routing::any(async move |path: axum::extract::Path<String>| agent(path.0));
    let server = axum::serve(listener, axum::Router::new().route("/v1/{*path}", answer));
    let server = AbortOnDropHandle::new(tokio::spawn(server.into_future()));
    let (mut cluster, _) = Cluster::bare(1).start_surroundings().await;
    let servers = format!("liar=http+unix://{}", socket.display());
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers);
    cluster.environment.insert("BANGUI_AGENT_TOKEN".to_owned(), AGENT_TOKEN.to_owned());
    cluster.add_worker().await;
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    (cluster, client, folder, server)
}

/// So many lists that are not read, once there are.
async fn unread(client: &Client, count: usize) -> Vec<Value> {
    eventually("the lists that are not read", 3 * SOON, || async {
        let server = client.get("/api/v1/servers/liar").await.expect(200).body.clone();
        let lists = server["unread_ban_lists"].as_array()?.clone();
        (lists.len() == count).then_some(lists)
    })
    .await
}

/// What a liar's agent was asked for, and what it answers: few bans are counted, and endless ones are listed.
fn liar(asked: &Asked, path: &str) -> Response {
    asked.lock().unwrap().push(path.to_owned());
    if path == "status" {
        return status(
            [("few", 2), ("liar", 3), ("million", 1_000_000)].map(|(jail, n)| (jail.to_owned(), n)),
        );
    }
    if path == "jails/few/bans" {
        let bans = json!([["192.0.2.1", null, null], ["192.0.2.2", 1, 2]]);
        return axum::Json(json!({ "bans": bans, "newer": {}, "others": 0 })).into_response();
    }
    if path == "jails/liar/bans" {
        let first = stream::once(async { r#"{"marks":[],"bans":[["192.0.2.1",1,2]"#.to_owned() });
        let endless = stream::repeat(r#",["192.0.2.1",1,2]"#.repeat(1_000)).take(5_000);
        let body = first.chain(endless).map(Ok::<_, std::convert::Infallible>);
        return axum::body::Body::from_stream(body).into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}

type Asked = Arc<Mutex<Vec<String>>>;

#[tokio::test]
async fn a_hostile_agent_cannot_take_the_memory_of_the_leader_and_what_is_not_read_is_shown() {
    let asked = Asked::default();
    let recorded = Arc::clone(&asked);
    let (cluster, client, _folder, _server) = facing(move |path| liar(&recorded, &path)).await;
    let before = resident(&cluster.workers[0].process);
    let found = unread(&client, 2).await;
    assert_eq!((&found[0]["jail"], &found[0]["currently_banned"]), (&json!("million"), &json!(1_000_000)));
    assert_eq!(found[1]["jail"], "liar");
    assert!(
        found.iter().all(|list| list["detail"].as_str().is_some_and(|text| text.len() > 20)),
        "{found:?}"
    );
    // It is a finding of its jail with its time, for people, for programs and for `check`, and pages say that the list is old.
    let diagnosis = client.get("/api/v1/diagnosis").await.expect(200).body.clone();
    for jail in ["million", "liar"] {
        let id = json!(format!("ban-list-unread:liar/{jail}"));
        let finding = diagnosis["items"].as_array().unwrap().iter().find(|finding| finding["id"] == id);
        let finding = finding.unwrap_or_else(|| panic!("{id}: {diagnosis}"));
        assert!(finding["since"].is_string() && finding["severity"] == "warning", "{finding}");
    }
    let mut command = bangui("check");
    command.envs(&cluster.environment);
    let (code, printed) = Child::run("bangui check", command, 2 * SOON).await;
    assert!(code == Some(1) && printed.contains("liar bans 3 now"), "{printed}");
    let mut user = Browser::new(cluster.workers[0].address);
    user.log_in().await;
    let page = user.get("/servers/liar").await;
    assert!(page.expect(200).text("#unread").contains("of 2 jails are old"), "{}", page.html);
    let page = user.get("/servers/liar/jails/million").await;
    assert!(page.expect(200).text("#unread").contains("It has never been read."), "{}", page.html);
    assert!(user.get("/servers/liar/jails/few").await.expect(200).texts("#unread").is_empty());
    // The others are read as ever.
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
}

/// How many bans of a server Redis holds.
async fn stored(cluster: &Cluster, server: &str) -> usize {
    let mut redis = cluster.redis.connection().await;
    let pattern = format!("{{{PREFIX}}}:bans:{server}/*");
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
    let mut sum = 0;
    for key in keys {
        sum += redis::cmd("ZCARD").arg(key).query_async::<usize>(&mut redis).await.unwrap();
    }
    sum
}

#[tokio::test]
async fn a_host_that_counts_few_bans_in_many_jails_cannot_fill_redis_with_them() {
    let jails = || (0..25).map(|n| (format!("jail-{n}"), 1));
    let (cluster, client, _folder, _server) = facing(move |path| {
        if path == "status" {
            return status(jails());
        }
        let Some(jail) = path.strip_prefix("jails/jail-").and_then(|rest| rest.strip_suffix("/bans")) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let jail: u32 = jail.parse().unwrap();
        let bans: Vec<_> = (0..19_000_u32).map(|n| format!(r#"["2001:db8:{jail:x}::{n:x}",1,2]"#)).collect();
        format!(r#"{{"bans":[{}]}}"#, bans.join(",")).into_response()
    })
    .await;
    // One of them takes what all may have beyond their counts.
    let found = unread(&client, 24).await;
    assert!(found.iter().all(|list| list["currently_banned"] == 1), "{found:?}");
    assert_eq!(stored(&cluster, "liar").await, 19_000);
}

#[tokio::test]
async fn long_texts_in_the_place_of_addresses_take_no_more_of_the_leader_and_of_redis_than_addresses() {
    let jails = [("few", 300), ("long", 12_000), ("longer", 1), ("one", 1)];
    let (mut cluster, client, _folder, _server) = facing(move |path| {
        let marks = |count: u32| {
            let marks: Vec<_> = (0..count).map(|n| format!(r#"["{n:01024}",1,2]"#)).collect();
            format!(r#"{{"marks":[{}],"others":{count}}}"#, marks.join(",")).into_response()
        };
        match path.as_str() {
            "status" => status(jails.map(|(jail, n)| (jail.to_owned(), n))),
            "jails/few/bans" => marks(300),
            "jails/long/bans" => marks(12_000),
            "jails/longer/bans" => marks(30_000),
            "jails/one/bans" => {
                format!(r#"{{"marks":[["{}",1,2]]}}"#, "x".repeat(30_000_000)).into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    })
    .await;
    let found = unread(&client, 3).await;
    assert_eq!(found.iter().map(|list| &list["jail"]).collect::<Vec<_>>(), ["long", "longer", "one"]);
    assert_eq!(stored(&cluster, "liar").await, 300, "a few long texts are read as ever");
    // Beside a worker that has read nothing, and has not hashed a password either: how large the program itself is changes.
    cluster.add_worker().await;
    let (leader, other) = (peak(&cluster.workers[0].process), peak(&cluster.workers[1].process));
    assert!(
        leader < other + 40,
        "long texts have taken the leader to {leader} MiB, beside {other} of another"
    );
}
