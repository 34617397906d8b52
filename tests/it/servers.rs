//! Servers: what a real fail2ban does is what every worker shows, and a crash after an activation is remembered.

use std::time::Duration;

use bangui::domain::transition::record_activation;
use bangui::domain::{JailName, ServerName};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::cluster::{SERVER, server, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

#[tokio::test]
async fn a_real_log_line_leads_to_a_real_ban_seen_in_the_status_on_every_worker() {
    let mut cluster = Cluster::with_fail2ban(3).jails(&["app", "web"]).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let before = server_is(&client, "up").await;
    assert_eq!(before["status"]["currently_banned"], 0);
    assert_eq!(before["status"]["active_jails"], 2);
    for n in 1..=3 {
        cluster.fail2ban().log_failure(if n == 3 { "web" } else { "app" }, &format!("203.0.113.{n}"));
    }
    for worker in &cluster.workers {
        let client = client.at(worker.address);
        let server = eventually("three bans in the status", SOON, || async {
            let server = server(&client).await;
            (server["status"]["currently_banned"] == 3).then_some(server)
        })
        .await;
        let status = &server["status"];
        assert_eq!(server["name"], SERVER);
        assert_eq!((&status["online"], &status["error"]), (&json!(true), &Value::Null));
        assert_eq!((&status["total_banned"], &status["total_failed"]), (&json!(3), &json!(3)));
        assert!(
            status["version"].as_str().is_some_and(|version| version.starts_with(['0', '1'])),
            "{status}"
        );
        assert!(status["age_ms"].as_u64().is_some_and(|age| age < 20_000), "{status}");
        assert!(status["checked_at"].is_string(), "{status}");
        assert!(server["pending_recovery"].is_null() && server["last_activation"].is_null(), "{server}");
        let all = client.get("/api/v1/servers").await;
        assert_eq!(all.expect(200).body["items"].as_array().unwrap().len(), 1, "{}", all.text);
        assert_eq!(all.body["items"][0]["name"], SERVER);
    }
}

async fn activate(cluster: &Cluster, jail: &str) {
    let (name, jail) = (ServerName::parse(SERVER).unwrap(), JailName::parse(jail).unwrap());
    let store = cluster.store();
    eventually("the activation to be recorded", SOON, || async {
        let change =
            |state, now| Ok::<_, std::convert::Infallible>(Some(record_activation(state, jail.clone(), now)));
        store.change_server(&name, change).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_crash_after_an_activation_is_pending_then_recovered_then_cleared_by_who_saw_it() {
    let mut cluster = Cluster::with_fail2ban(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    activate(&cluster, "app").await;
    assert_eq!(server(&client).await["last_activation"]["jail_name"], "app");

    cluster.fail2ban().kill();
    let down = server_is(&client, "down").await;
    let pending = &down["pending_recovery"];
    assert_eq!((&pending["jail_name"], &pending["recovered"]), (&json!("app"), &json!(false)), "{down}");
    assert_eq!(pending["activated_at"], down["last_activation"]["at"]);
    assert_eq!(down["status"]["online"], false);
    assert!(down["status"]["error"].as_str().is_some_and(|error| !error.is_empty()), "{down}");
    let detected_at = pending["detected_at"].as_str().unwrap().to_owned();

    cluster.fail2ban().start_again().await;
    let up = server_is(&client.at(cluster.workers[1].address), "up").await;
    assert_eq!(up["pending_recovery"]["recovered"], true, "{up}");
    assert_eq!(up["pending_recovery"]["detected_at"], detected_at.as_str());

    // A user who saw another recovery dismisses nothing.
    let clear =
        async |at: &str| client.delete(&format!("/api/v1/servers/{SERVER}/recovery?detected_at={at}")).await;
    clear("2020-01-01T00:00:00Z").await.problem(409);
    assert!(server(&client).await["pending_recovery"].is_object());
    clear(&detected_at).await.expect(204);
    assert!(server(&client).await["pending_recovery"].is_null());
}

#[tokio::test]
async fn a_crash_without_an_activation_is_only_down() {
    let mut cluster = Cluster::with_fail2ban(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    cluster.fail2ban().kill();
    let down = server_is(&client, "down").await;
    assert!(down["pending_recovery"].is_null(), "{down}");
    assert_eq!(
        (&down["status"]["active_jails"], &down["status"]["currently_banned"]),
        (&json!(0), &json!(0))
    );
    client.delete(&format!("/api/v1/servers/{SERVER}/recovery")).await.expect(204);
}

#[tokio::test]
async fn a_fail2ban_that_does_not_answer_is_busy_and_a_lost_agent_is_unreachable() {
    let mut cluster = Cluster::with_fail2ban(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;

    cluster.fail2ban().pause();
    let busy = server_is(&client, "busy").await;
    assert_eq!(busy["status"]["online"], true, "{busy}");
    assert_eq!(busy["status"]["active_jails"], 1, "the last numbers stay: {busy}");
    assert!(busy["status"]["error"].is_string(), "{busy}");
    cluster.fail2ban().resume();
    server_is(&client, "up").await;

    cluster.agent().kill();
    let unreachable = server_is(&client, "unreachable").await;
    assert_eq!(unreachable["status"]["online"], false, "{unreachable}");
    assert!(unreachable["status"]["error"].is_string(), "{unreachable}");
    assert!(unreachable["pending_recovery"].is_null(), "{unreachable}");
    cluster.agent().start_again().await;
    server_is(&client, "up").await;
}

#[tokio::test]
async fn an_agent_with_another_token_is_unreachable_and_the_reason_names_the_token() {
    let (mut cluster, _) = Cluster::with_fail2ban(1).start_surroundings().await;
    let fail2ban = cluster.fail2ban();
    let (socket, config) = (fail2ban.socket(), fail2ban.config());
    let other = Agent::start_with_token(&socket, &config, "another-token-that-is-40-characters-long").await;
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), format!("{SERVER}={}", other.url()));
    cluster.add_worker().await;
    cluster.post_setup(0).await.expect(201);
    let server = server_is(&cluster.client(0).logged_in().await, "unreachable").await;
    let error = server["status"]["error"].as_str().unwrap();
    assert!(error.to_lowercase().contains("token"), "{error}");
    assert!(!error.contains("another-token") && !error.contains("integration-test-token"), "{error}");
}

#[tokio::test]
async fn a_probe_that_is_asked_for_is_made_at_once() {
    let mut cluster = Cluster::with_fail2ban(3).env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    cluster.fail2ban().log_failure("app", "203.0.113.9");
    let log = || cluster.fail2ban.as_ref().unwrap().log();
    eventually("the ban", SOON, || async { log().contains("Ban 203.0.113.9").then_some(()) }).await;
    // At whichever worker: the leader makes it.
    for worker in &cluster.workers {
        let before = server(&client).await["revision"].as_u64().unwrap();
        let asked =
            client.at(worker.address).post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await;
        asked.expect(202);
        let server = eventually("a newer status", Duration::from_secs(5), || async {
            let server = server(&client).await;
            (server["revision"].as_u64().unwrap() > before).then_some(server)
        })
        .await;
        assert_eq!(server["status"]["currently_banned"], 1);
    }
    // Without a body too.
    let bare = client.request(Method::POST, &format!("/api/v1/servers/{SERVER}/probe"));
    client.send(bare).await.expect(202);
}

#[tokio::test]
async fn a_jail_that_stops_running_makes_the_server_degraded_until_it_is_back() {
    let mut cluster = Cluster::with_fail2ban(1).jails(&["app", "web"]).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    activate(&cluster, "web").await;
    cluster.fail2ban().command(&["stop", "web"]).await;
    let degraded = server_is(&client, "degraded").await;
    assert_eq!(
        (&degraded["status"]["online"], &degraded["status"]["active_jails"]),
        (&json!(true), &json!(1))
    );
    assert!(degraded["status"]["error"].as_str().unwrap().contains("web"), "{degraded}");
    assert_eq!(degraded["pending_recovery"]["jail_name"], "web", "{degraded}");
    assert_eq!(degraded["pending_recovery"]["recovered"], false);
    cluster.fail2ban().command(&["reload"]).await;
    let up = server_is(&client, "up").await;
    assert_eq!(up["pending_recovery"]["recovered"], true, "{up}");
}

#[tokio::test]
async fn an_unknown_server_is_404_whatever_is_asked_of_it() {
    let cluster = Cluster::bare(1).set_up().await;
    let client: Client = cluster.client(0).logged_in().await;
    assert_eq!(client.get("/api/v1/servers").await.expect(200).body["items"], json!([]));
    client.get("/api/v1/servers/nowhere").await.problem(404);
    client.get("/api/v1/servers/nowhere/jails").await.problem(404);
    client.post("/api/v1/servers/nowhere/probe", json!({})).await.problem(404);
    client.delete("/api/v1/servers/nowhere/recovery").await.problem(404);
}
