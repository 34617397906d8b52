//! Ban jobs, heartbeats and sessions that a newer version wrote, put straight into Redis: one that this version cannot read is shown
//! with its error, and does not affect others.

use bangui::store::SessionToken;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::cluster::{PREFIX, SERVER, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

fn key(name: &str) -> String {
    format!("{{{PREFIX}}}:{name}")
}

fn packed(document: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(document).unwrap()
}

/// Runs one command with an argument that is no text.
async fn write(cluster: &Cluster, name: &str, words: &[&str], bytes: &[u8], more: &[&str]) {
    let mut command = redis::cmd(name);
    command.arg(words).arg(bytes).arg(more);
    command.exec_async(&mut cluster.redis.connection().await).await.unwrap();
}

/// Enqueues a job of this kind for jail `app`, as a newer version does.
async fn put_job(cluster: &Cluster, id: &str, order: Value) {
    let about = packed(
        &json!({ "server": SERVER, "jail": "app", "order": order, "username": "admin", "since": "0.9" }),
    );
    let place = format!("{SERVER}/app");
    let facts = ["state", "queued", "place", &place, "asked", "3", "created_at", "1790000000000"];
    write(cluster, "HSET", &[&key(&format!("ban-job:{id}")), "about"], &about, &facts).await;
    for (command, words) in [
        ("RPUSH", [key(&format!("ban-jobs-line:{place}")), id.to_owned()].to_vec()),
        ("ZADD", [key("ban-jobs-open"), "1".to_owned(), id.to_owned()].to_vec()),
        ("ZADD", [key("ban-jobs"), "1".to_owned(), id.to_owned()].to_vec()),
    ] {
        let words: Vec<&str> = [command].into_iter().chain(words.iter().map(String::as_str)).collect();
        cluster.redis.command::<()>(&words).await;
    }
}

async fn put_own(client: &Client, jail: &str) -> String {
    let ips: Vec<String> = (0..130).map(|n| format!("198.51.100.{n}")).collect();
    let path = format!("/api/v1/servers/{SERVER}/jails/{jail}/bans");
    client.post(&path, json!({ "ips": ips })).await.expect(202).body["id"].as_str().unwrap().to_owned()
}

async fn job_is(client: &Client, id: &str, state: &str) {
    eventually(&format!("the job to be {state}"), SOON * 4, || async {
        let job = client.get(&format!("/api/v1/ban-jobs/{id}")).await;
        (job.expect(200).body["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_ban_job_of_a_newer_kind_is_shown_as_unknown_is_claimed_by_nobody_here_and_can_be_cancelled() {
    let cluster = Cluster::with_fail2ban(2).jails(&["app", "web"]).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    for (id, order) in
        [(format!("{:032x}", 1), json!("sift")), (format!("{:032x}", 2), json!({ "sift": ["by"] }))]
    {
        put_job(&cluster, &id, order).await;
        let behind = put_own(&client, "app").await;
        // Two polls, each of which finds the newer one first.
        for _ in 0..2 {
            let own = put_own(&client, "web").await;
            job_is(&client, &own, "done").await;
        }
        let job = client.get(&format!("/api/v1/ban-jobs/{id}")).await;
        let job = &job.expect(200).body;
        assert_eq!((&job["order"], &job["state"]), (&json!("unknown"), &json!("queued")), "{job}");
        assert_eq!((&job["server"], &job["jail"]), (&json!(SERVER), &json!("app")), "{job}");
        assert!(job["reason"].is_string(), "{job}");
        let all = client.get("/api/v1/ban-jobs").await;
        assert!(all.expect(200).body["items"].as_array().unwrap().contains(job), "{}", all.text);
        let claims: Vec<Option<String>> =
            cluster.redis.command(&["HMGET", &key(&format!("ban-job:{id}")), "epoch", "started_at"]).await;
        assert_eq!(claims, [None, None], "it was claimed");
        job_is(&client, &behind, "queued").await;

        let cancelled = client.post(&format!("/api/v1/ban-jobs/{id}/cancel"), Value::Null).await;
        assert_eq!(cancelled.expect(200).body["state"], "cancelled");
        job_is(&client, &behind, "done").await;
    }
}

#[tokio::test]
async fn a_heartbeat_that_cannot_be_read_is_that_workers_error() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let newer = packed(&json!({ "hostname": "web", "pid": { "namespace": 7 }, "version": "0.9.0" }));
    write(&cluster, "HSET", &[&key("workers"), "of-a-newer-version"], &newer, &[]).await;
    let shown = client.get("/api/v1/cluster").await;
    let workers = shown.expect(200).body["workers"].as_array().unwrap();
    let newer = workers.iter().find(|worker| worker["id"] == "of-a-newer-version").unwrap();
    assert_eq!(newer["version"], "0.9.0", "{newer}");
    assert!(newer["error"].as_str().unwrap().contains("cannot be read"), "{newer}");
    let own = workers.iter().find(|worker| worker["id"] != "of-a-newer-version").unwrap();
    assert!(own["error"].is_null() && own["pid"].as_u64() > Some(0), "{own}");
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_listed_with_its_error_and_can_be_ended() {
    for near_cache in [false, true] {
        let cluster = Cluster::bare(1).env("BANGUI_SESSION_CACHE_ENABLED", near_cache).set_up().await;
        let (client, other) =
            (cluster.client(0).logged_in().await.confirmed().await, cluster.client(0).log_in().await);
        let id = SessionToken::parse(&other).unwrap().id();
        let session =
            [key("session:").into_bytes(), URL_SAFE_NO_PAD.decode(id.to_string()).unwrap()].concat();
        let mut connection = cluster.redis.connection().await;
        let stored: Vec<u8> = redis::cmd("GET").arg(&session).query_async(&mut connection).await.unwrap();
        let newer = [&stored[..16], &packed(&json!({ "u": { "name": "admin" } }))].concat();
        redis::cmd("SET").arg(&session).arg(&newer).arg("KEEPTTL").exec_async(&mut connection).await.unwrap();

        let listed = client.get("/api/v1/sessions").await;
        let items = listed.expect(200).body["items"].as_array().unwrap();
        assert_eq!(items.len(), 2, "{}", listed.text);
        let (own, broken) = if items[0]["current"] == true { (0, 1) } else { (1, 0) };
        assert!(items[own].get("error").is_none(), "{}", listed.text);
        assert_eq!(items[broken]["id"], id.to_string());
        assert!(items[broken]["error"].as_str().unwrap().contains("failed to decode"), "{}", listed.text);
        // Its own requests fail, and no others.
        let broken = client.with_bearer(&other);
        let (refused, well) = tokio::join!(broken.get("/api/v1/session"), client.get("/api/v1/session"));
        refused.problem(500);
        well.expect(200);
        client.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
        broken.get("/api/v1/session").await.problem(401);
    }
}
