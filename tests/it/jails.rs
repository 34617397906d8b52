//! Jails changed through the workers: whichever worker is asked, the same host changes, and a refused change leaves
//! everything as it was, including the record of activations.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cluster::{Builder, SERVER, server, server_is};
use crate::support::{Answer, Client, Cluster, SOON, eventually};

pub fn path(rest: &str) -> String {
    format!("/api/v1/servers/{SERVER}/{rest}")
}

pub async fn post(client: &Client, rest: &str) -> Answer {
    client.send(client.request(Method::POST, &path(rest))).await
}

/// A cluster of two whose fail2ban runs `web`, which bans [`BANNED`]; `app` is configured, and off.
pub async fn beside_web() -> (Cluster, Client) {
    prepared(Cluster::with_fail2ban(2)).await
}

/// The same, with a variable of every worker.
pub async fn beside_web_with(name: &str, value: impl ToString) -> (Cluster, Client) {
    prepared(Cluster::with_fail2ban(2).env(name, value)).await
}

async fn prepared(builder: Builder) -> (Cluster, Client) {
    let mut cluster = builder.jails(&["web"]).set_up().await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, ""));
    fail2ban.log_failure("web", BANNED);
    let client = cluster.client(0).logged_in().await;
    eventually("the ban of web in the status", SOON, || async {
        (server(&client).await["status"]["currently_banned"] == 1).then_some(())
    })
    .await;
    (cluster, client)
}

/// What must stay banned in every test.
pub const BANNED: &str = "203.0.113.77";

async fn newest_audit(client: &Client) -> Value {
    client.get("/api/v1/audit?limit=1").await.expect(200).body["items"][0].clone()
}

#[tokio::test]
async fn a_jail_is_switched_on_at_one_worker_and_off_at_another_and_that_is_no_crash() {
    let (mut cluster, client) = beside_web().await;
    let other = client.at(cluster.workers[1].address);
    let off = client.get(&path("jails/app")).await;
    assert_eq!((&off.body["active"], &off.body["enabled"]), (&json!(false), &json!(false)), "{}", off.text);
    assert_eq!(off.body["filter"], "app");
    assert!(off.body["bantime"].is_i64() && off.body["log_files"].is_array(), "{}", off.text);

    let on = post(&client, "jails/app/activate").await;
    assert_eq!((&on.expect(200).body["active"], &on.body["changed"]), (&json!(true), &json!(true)));
    assert_eq!(on.body["last_activation"]["jail_name"], "app", "{}", on.text);
    assert_eq!(server(&other).await["last_activation"], on.body["last_activation"]);
    assert_eq!(cluster.fail2ban().jails().await, ["app", "web"]);
    eventually("both jails in the status", SOON, || async {
        (server(&other).await["status"]["active_jails"] == 2).then_some(())
    })
    .await;
    let entry = newest_audit(&other).await;
    assert_eq!(
        (&entry["what"], &entry["target"]),
        (&json!("jail.activate"), &json!(format!("{SERVER}/app")))
    );
    assert_eq!((&entry["before"], &entry["after"]), (&json!({"active": false}), &json!({"active": true})));
    assert_eq!((&entry["username"], &entry["outcome"]), (&json!("admin"), &json!("done")));

    // Once more: nothing to do, and no newer record.
    let again = post(&other, "jails/app/activate").await;
    assert_eq!(again.expect(200).body["changed"], false);
    assert_eq!(again.body["last_activation"], on.body["last_activation"], "{}", again.text);

    let off = post(&other, "jails/app/deactivate").await;
    assert_eq!(
        (&off.expect(200).body["active"], &off.body["last_activation"]),
        (&json!(false), &Value::Null)
    );
    let settled = eventually("one jail in the status", SOON, || async {
        let server = server(&client).await;
        (server["status"]["active_jails"] == 1).then_some(server)
    })
    .await;
    assert_eq!(settled["status"]["condition"], "up", "{settled}");
    assert!(settled["pending_recovery"].is_null(), "{settled}");
    assert!(cluster.fail2ban().bans("web", BANNED).await);
}

#[tokio::test]
async fn a_refused_activation_says_why_in_fail2bans_words_and_puts_the_record_back() {
    let (mut cluster, client) = beside_web().await;
    post(&client, "jails/app/activate").await.expect(200);
    let before = server(&client).await["last_activation"].clone();
    let fail2ban = cluster.fail2ban();
    fail2ban.write("filter.d/open.conf", "[Definition]\nfailregex = ^login (failed from <ADDR>$\n");
    fail2ban
        .write("jail.d/bad.conf", &fail2ban.jail("bad", false, "").replace("filter = app", "filter = open"));
    let (files, jails) = (fail2ban.jail_d(), fail2ban.jails().await);

    let refused = post(&client, "jails/bad/activate").await;
    assert_eq!(refused.problem(422), "configuration-refused");
    assert!(refused.body["detail"].as_str().unwrap().contains("unterminated"), "{}", refused.text);
    let state = server(&client).await;
    assert_eq!(state["last_activation"], before, "{state}");
    assert!(state["pending_recovery"].is_null(), "{state}");
    let fail2ban = cluster.fail2ban();
    assert_eq!((fail2ban.jail_d(), fail2ban.jails().await), (files, jails));
    assert!(fail2ban.bans("web", BANNED).await);
    let entry = newest_audit(&client).await;
    assert_eq!(entry["what"], "jail.activate");
    assert!(entry["outcome"].as_str().unwrap().contains("unterminated"), "{entry}");
    post(&client, "jails/nothing/activate").await.problem(404);
    post(&client, "jails/..%2fapp/deactivate").await.problem(404);
}

#[tokio::test]
async fn without_its_agent_a_switch_says_that_the_outcome_is_not_known() {
    let (mut cluster, client) = beside_web().await;
    cluster.agent().kill();
    let answer = post(&client, "jails/app/activate").await;
    assert_eq!(answer.problem(502), "agent-unreachable");
    assert!(answer.body["detail"].as_str().unwrap().contains("is not known"), "{}", answer.text);
    post(&client, "jails/app/deactivate").await.problem(502);
    assert!(newest_audit(&client).await["outcome"].as_str().unwrap().contains("no connection"));
}

#[tokio::test]
async fn settings_of_a_jail_change_and_what_is_no_value_never_reaches_the_host() {
    let (mut cluster, client) = beside_web().await;
    let jail = path("jails/web");
    let patch = async |body: Value| client.send(client.request(Method::PATCH, &jail).json(&body)).await;
    let changed = patch(json!({"bantime": 4711, "maxretry": 7, "persistent": true})).await;
    assert_eq!((&changed.expect(200).body["bantime"], &changed.body["maxretry"]), (&json!(4711), &json!(7)));
    assert_eq!(client.get(&jail).await.body["bantime"], 4711);
    cluster.fail2ban().command(&["reload"]).await;
    assert_eq!(client.get(&jail).await.body["bantime"], 4711, "it should have been persistent");
    let entry = newest_audit(&client).await;
    assert_eq!(
        (&entry["what"], &entry["after"]["bantime"]),
        (&json!("jail.settings"), &json!(4711)),
        "{entry}"
    );

    let files = cluster.fail2ban().jail_d();
    for bad in [
        json!({}),
        json!({"bantime": 0}),
        json!({"maxretry": "5\n[DEFAULT]"}),
        json!({"ignoreip": ["10.0.0.1\nactionban = x"]}),
        json!({"ignoreip": ["%(ban)s"]}),
        json!({"action": "x"}),
    ] {
        patch(bad).await.problem(422);
    }
    assert_eq!(cluster.fail2ban().jail_d(), files);
    let refused = patch(json!({"bantime": 0})).await;
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("bantime") && detail.contains("must be a number of seconds from 1"), "{detail}");

    let ignored = client.post(&path("jails/web/ignore"), json!({"network": BANNED})).await;
    assert!(
        ignored.expect(200).body["ignoreip"].as_array().unwrap().contains(&json!(BANNED)),
        "{}",
        ignored.text
    );
    assert!(!cluster.fail2ban().bans("web", BANNED).await, "it should have been unbanned in the same step");
}

#[tokio::test]
async fn a_crash_after_an_activation_is_rolled_back_at_any_worker() {
    let (mut cluster, client) = beside_web().await;
    let started = cluster.fail2ban().config().join("started");
    let agent = cluster.agent();
    agent.more = vec![("BANGUI_FAIL2BAN_START", format!("touch {}", started.display()))];
    agent.start_again().await;
    server_is(&client, "up").await;
    assert_eq!(post(&client, "recovery/rollback").await.problem(409), "no-pending-recovery");
    post(&client, "jails/app/activate").await.expect(200);
    cluster.fail2ban().kill();
    let down = server_is(&client, "down").await;
    let detected_at = down["pending_recovery"]["detected_at"].as_str().unwrap().to_owned();
    post(&client, "recovery/rollback?detected_at=2020-01-01T00:00:00Z").await.problem(409);

    let rolling = tokio::spawn({
        let client = client.at(cluster.workers[1].address);
        async move { post(&client, &format!("recovery/rollback?detected_at={detected_at}")).await }
    });
    eventually("the start command", SOON, || async { started.exists().then_some(()) }).await;
    cluster.fail2ban().start_again().await;
    let back = rolling.await.unwrap();
    assert_eq!((&back.expect(200).body["jail"], &back.body["started"]), (&json!("app"), &json!(true)));
    assert_eq!(back.body["running"], json!(["web"]));
    let up = server_is(&client, "up").await;
    assert!(up["pending_recovery"].is_null() && up["last_activation"].is_null(), "{up}");
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    let entry = newest_audit(&client).await;
    assert_eq!(
        (&entry["what"], &entry["outcome"]),
        (&json!("recovery.roll_back"), &json!("done")),
        "{entry}"
    );
}

#[tokio::test]
async fn a_jail_that_is_listed_but_does_not_run_is_named_in_the_status() {
    let (mut cluster, client) = beside_web().await;
    cluster.fail2ban().command(&["add", "ghost", "polling"]).await;
    let status = eventually("the stalled jail in the status", SOON, || async {
        let status = server(&client).await["status"].clone();
        (status["stalled_jails"] == json!(["ghost"])).then_some(status)
    })
    .await;
    assert!(status["error"].as_str().unwrap().contains("ghost"), "{status}");
    assert_eq!(status["condition"], "up", "{status}");
}

#[tokio::test]
async fn an_activation_is_recorded_before_it_is_applied_and_stays_recorded_without_an_answer() {
    let (mut cluster, client) = beside_web().await;
    cluster.fail2ban().pause();
    let activating = tokio::spawn({
        let client = client.at(cluster.workers[1].address);
        async move { post(&client, "jails/app/activate").await }
    });
    eventually("the record", SOON, || async {
        (server(&client).await["last_activation"]["jail_name"] == "app").then_some(())
    })
    .await;
    assert!(!cluster.fail2ban().jail_d().contains_key("zz-bangui-app.local"), "nothing was applied yet");
    cluster.agent().kill();
    activating.await.unwrap().problem(502);
    assert_eq!(server(&client).await["last_activation"]["jail_name"], "app");
}

#[tokio::test]
async fn a_switch_whose_client_goes_away_is_brought_to_its_end() {
    let (mut cluster, client) = beside_web().await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("filter.d/open.conf", "[Definition]\nfailregex = ^login (failed from <ADDR>$\n");
    fail2ban
        .write("jail.d/bad.conf", &fail2ban.jail("bad", false, "").replace("filter = app", "filter = open"));
    let impatient = client
        .request(Method::POST, &path("jails/bad/activate"))
        .timeout(std::time::Duration::from_millis(60));
    assert!(client.try_send(impatient).await.is_err(), "it was answered too soon for this test");
    let entry = eventually("the entry of the audit", SOON, || async {
        let entry = newest_audit(&client).await;
        (entry["what"] == "jail.activate" && entry["outcome"] != "begun").then_some(entry)
    })
    .await;
    assert!(entry["outcome"].as_str().unwrap().contains("unterminated"), "{entry}");
    assert!(server(&client).await["last_activation"].is_null());
}

#[tokio::test]
async fn a_jail_shows_what_would_hold_after_a_reload_beside_what_holds_now() {
    let (mut cluster, client) = beside_web().await;
    let other = client.at(cluster.workers[1].address);
    let settings = json!({ "bantime": 77, "ignoreip": ["198.51.100.7"] });
    client.send(client.request(Method::PATCH, &path("jails/web")).json(&settings)).await.expect(200);
    cluster.fail2ban().write("jail.local", "[DEFAULT]\nfindtime = 5m\nignoreip = ::1 10.0.0.0/8\n");
    let web = other.get(&path("jails/web")).await;
    let (now, then) = (&web.expect(200).body, &web.body["after_reload"]);
    assert_eq!((&now["bantime"], &then["bantime"]), (&json!(77), &json!(600)), "{}", web.text);
    assert_eq!((&now["findtime"], &then["findtime"]), (&json!(600), &json!(300)), "{}", web.text);
    assert_eq!(
        (&now["ignoreip"], &then["ignoreip"]),
        (&json!(["198.51.100.7"]), &json!(["10.0.0.0/8", "::1"]))
    );
    let files = &then["files"];
    assert_eq!(
        (&files["findtime"], &files["bantime"]),
        (&json!("jail.local"), &json!("jail.conf")),
        "{files}"
    );
    let off = other.get(&path("jails/app")).await;
    assert_eq!(off.expect(200).body["after_reload"]["bantime"], 600, "{}", off.text);
    assert_eq!(off.body["after_reload"]["files"]["enabled"], "jail.d/app.conf", "{}", off.text);
}
