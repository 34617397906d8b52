//! States that a newer version wrote, put straight into Redis: one that this version cannot read stays as it is, and does not affect
//! other servers.

use serde_json::{Value, json};

use crate::support::cluster::{PREFIX, SERVER, server, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

const OTHER: &str = "web-2";

fn key(name: &str) -> String {
    format!("{{{PREFIX}}}:server:{name}")
}

async fn write(cluster: &Cluster, name: &str, state: &[u8]) {
    let mut connection = cluster.redis.connection().await;
    let mut command = redis::cmd("HSET");
    command.arg(key(name)).arg("state").arg(state).arg("revision").arg(1_000);
    let _: i64 = command.query_async(&mut connection).await.unwrap();
}

/// `web-1` with its fail2ban and a jail `app`, and `web-2`, whose agent is out of reach.
async fn two_servers() -> (Cluster, Client) {
    let builder = Cluster::with_fail2ban(1);
    let (mut cluster, _) = builder.start_surroundings().await;
    let mut servers = cluster.environment["BANGUI_SERVERS"].clone();
    servers.push_str(&format!(",{OTHER}=https://127.0.0.1:1"));
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers);
    cluster.add_worker().await;
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    (cluster, client)
}

async fn listed(client: &Client, name: &str) -> Value {
    let all = client.get("/api/v1/servers").await;
    let items = all.expect(200).body["items"].as_array().unwrap();
    items.iter().find(|item| item["name"] == name).unwrap().clone()
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_that_servers_error_and_lists_of_other_servers_continue() {
    let (mut cluster, client) = two_servers().await;
    write(&cluster, OTHER, &rmp_serde::to_vec_named(&json!({ "status": "of another shape" })).unwrap()).await;
    let broken = listed(&client, OTHER).await;
    assert_eq!(broken["status"]["condition"], "unknown", "{broken}");
    assert!(broken["status"]["error"].as_str().unwrap().contains("failed to decode"), "{broken}");
    assert_eq!(listed(&client, SERVER).await["status"]["condition"], "up");
    let alone = client.get(&format!("/api/v1/servers/{OTHER}")).await;
    assert_eq!(alone.expect(200).body, broken, "alone as among the others");
    // Its agent still knows the jails.
    write(&cluster, SERVER, &rmp_serde::to_vec_named(&json!({ "status": "of another shape" })).unwrap())
        .await;
    let jails = client.get(&format!("/api/v1/servers/{SERVER}/jails")).await;
    assert_eq!(jails.expect(200).body["items"][0]["name"], "app");
    cluster.redis.command::<()>(&["DEL", &key(SERVER)]).await;
    server_is(&client, "up").await;
    cluster.fail2ban().command(&["set", "app", "banip", "203.0.113.9"]).await;
    eventually("the ban in the list", SOON, || async {
        let bans = client.get(&format!("/api/v1/servers/{SERVER}/jails/app/bans")).await;
        bans.expect(200).text.contains("203.0.113.9").then_some(())
    })
    .await;
}

#[tokio::test]
async fn words_of_a_newer_version_are_shown_as_unknown_and_kept() {
    let (cluster, client) = two_servers().await;
    let counts = json!({
        "currently_failed": 1, "total_failed": 2, "currently_banned": 3, "total_banned": 4, "shade": 5
    });
    let newer = json!({ "status": { "jails": { "sshd": counts } }, "settled": "draining" });
    // Its agent is out of reach: probes rewrite the state, and say nothing about fail2ban.
    write(&cluster, OTHER, &rmp_serde::to_vec_named(&newer).unwrap()).await;
    let seen = eventually("a probe's rewrite", SOON, || async {
        let seen = listed(&client, OTHER).await;
        (seen["status"]["condition"] == "unreachable").then_some(seen)
    })
    .await;
    assert_eq!(seen["status"]["total_banned"], 4, "{seen}");
    let mut connection = cluster.redis.connection().await;
    let mut command = redis::cmd("HGET");
    let bytes: Vec<u8> = command.arg(key(OTHER)).arg("state").query_async(&mut connection).await.unwrap();
    let stored: Value = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!((&stored["settled"], &stored["status"]["jails"]["sshd"]), (&json!("draining"), &counts));

    let draining = json!({ "status": { "condition": "draining" } });
    write(&cluster, SERVER, &rmp_serde::to_vec_named(&draining).unwrap()).await;
    let shown = server(&client).await["status"]["condition"].clone();
    assert!(shown == "unknown" || shown == "up", "{shown}, and a probe may have come first");
    server_is(&client, "up").await;
}
