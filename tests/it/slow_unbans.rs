//! A jail has stopped when the unban action of each of its bans has run, which can take minutes: the agent waits as long as fail2ban
//! makes progress, nothing that is under way is undone, and a change that takes longer than a client waits is answered 202 with a
//! resource that will show its outcome.

use std::time::Duration;

use bangui::domain::undo::{Deed, UndoId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::jails::{BANNED, beside_web, beside_web_with, path, post};
use crate::support::cluster::{SERVER, server};
use crate::support::{Client, Cluster, SOON, eventually};

/// Bans whose unban actions take a second each: longer than a client waits, than fail2ban may be busy without counting as down, and
/// than the former timeout of a reload.
const BANS: u32 = 75;
/// Longer than an agent waits with the answer that a change is under way.
const ROLLED_BACK: u32 = 110;
const LONG: Duration = Duration::from_secs(400);

/// [`beside_web`], where a change becomes a resource after a second.
async fn impatient() -> (Cluster, Client) {
    beside_web_with("BANGUI_TEST_ANSWER_WITHIN_MS", 1000).await
}

/// Switches `app` on, however long that takes.
async fn switch_on(client: &Client) {
    let request = client.request(Method::POST, &path("jails/app/activate")).timeout(LONG);
    let on = client.send(request).await;
    if on.status == 202 {
        ended(client, on.headers["location"].to_str().unwrap()).await;
    }
}

/// `app` runs, and bans so many addresses, each of which takes a second to unban.
async fn slow_bans(cluster: &mut Cluster, client: &Client, bans: u32) {
    let fail2ban = cluster.fail2ban();
    fail2ban.write_slow_action(0.0, 1.0);
    fail2ban.write_slow_jail("app", false);
    switch_on(client).await;
    let ips: Vec<String> = (0..bans).map(|n| format!("198.51.100.{n}")).collect();
    let words: Vec<&str> =
        ["set", "app", "banip"].into_iter().chain(ips.iter().map(String::as_str)).collect();
    cluster.fail2ban().command(&words).await;
}

/// Requests a change that takes long; returns its URL and the answer.
async fn begun(client: &Client, method: Method, rest: &str, body: Value) -> (String, Value) {
    let request = client.request(method, &path(rest)).json(&body).timeout(LONG);
    let answer = client.send(request).await;
    let location = answer.expect(202).headers["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/jail-changes/{}", answer.body["id"].as_str().unwrap()));
    (location, answer.body)
}

async fn is(client: &Client, change: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("the change to be {what}"), LONG, || async {
        let answer = client.get(change).await;
        Some(answer.expect(200).body.clone()).filter(&is)
    })
    .await
}

async fn ended(client: &Client, change: &str) -> Value {
    is(client, change, "over", |change| change["state"] != "running").await
}

#[tokio::test]
async fn a_jail_whose_unbans_take_a_minute_is_switched_off_behind_a_202_and_fail2ban_is_busy_and_not_down() {
    let (mut cluster, client) = beside_web().await;
    let other = client.at(cluster.workers[1].address);
    slow_bans(&mut cluster, &client, BANS).await;
    let (change, asked) = begun(&client, Method::POST, "jails/app/deactivate", Value::Null).await;
    let about = ["server", "jail", "change", "state", "username"].map(|name| asked[name].clone());
    assert_eq!(about, [SERVER, "app", "deactivate", "running", "admin"].map(Value::from), "{asked}");
    assert_eq!(["finished_at", "result", "problem"].map(|name| &asked[name]), [&Value::Null; 3], "{asked}");
    let (mut busy, began) = (0, std::time::Instant::now());
    let outcome = ended(&other, &change);
    tokio::pin!(outcome);
    let done = loop {
        tokio::select! {
            done = &mut outcome => break done,
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                let status = server(&client).await["status"].clone();
                assert_ne!(status["condition"], "down", "after {:?}: {status}", began.elapsed());
                busy += usize::from(status["error"].as_str().is_some_and(|error| error.contains("makes progress")));
            }
        }
    };
    assert_eq!((&done["state"], &done["problem"]), (&json!("done"), &Value::Null), "{done}");
    let result = json!({ "jail": "app", "active": false, "changed": true, "last_activation": null });
    assert_eq!(done["result"], result);
    assert_eq!(done["began_at"], asked["began_at"]);
    let times = ["began_at", "finished_at"].map(|name| {
        chrono::DateTime::parse_from_rfc3339(done[name].as_str().unwrap_or_else(|| panic!("{done}"))).unwrap()
    });
    assert!((times[1] - times[0]).num_seconds() >= i64::from(BANS) - 1, "{done}");
    let entry = client.get("/api/v1/audit?limit=1").await.expect(200).body["items"][0].clone();
    assert_eq!((&entry["outcome"], &entry["after"]["active"]), (&json!("done"), &json!(false)), "{entry}");
    assert!(busy > 0, "the state said why fail2ban does not answer");
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    assert!(cluster.fail2ban().jail_d()["zz-bangui-app.local"].ends_with("enabled = false\n"));
    assert!(cluster.fail2ban().bans("web", BANNED).await);
    let state = server(&client).await;
    assert!(state["pending_recovery"].is_null() && state["last_activation"].is_null(), "{state}");
}

#[tokio::test]
async fn a_rollback_of_a_jail_whose_unbans_take_long_is_followed_behind_a_202_until_it_is_done() {
    let (mut cluster, client) = impatient().await;
    let other = client.at(cluster.workers[1].address);
    slow_bans(&mut cluster, &client, ROLLED_BACK).await;
    let activated = || async { server(&client).await["last_activation"]["jail_name"] == "app" };
    eventually("the activation", SOON, || async { activated().await.then_some(()) }).await;
    cluster.fail2ban().command(&["stop", "web"]).await;
    let lost = eventually("a pending recovery", SOON, || async {
        let pending = server(&client).await["pending_recovery"].clone();
        pending.is_object().then_some(pending)
    })
    .await;
    assert_eq!(lost["jail_name"], "app", "{lost}");
    let (change, asked) = begun(&client, Method::POST, "recovery/rollback", Value::Null).await;
    assert_eq!((&asked["change"], &asked["jail"]), (&json!("roll_back"), &json!("app")), "{asked}");
    assert_eq!(other.get(&change).await.expect(200).body["state"], "running");
    let done = ended(&other, &change).await;
    let back = json!({ "jail": "app", "started": false, "running": ["web"], "missing": {} });
    assert_eq!((&done["state"], &done["result"]), (&json!("done"), &back), "{done}");
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    eventually("the ban of web", SOON, || async {
        cluster.fail2ban.as_ref().unwrap().bans("web", BANNED).await.then_some(())
    })
    .await;
    let entry = client.get("/api/v1/audit?limit=1").await.expect(200).body["items"][0].clone();
    assert_eq!(
        (&entry["what"], &entry["outcome"]),
        (&json!("recovery.roll_back"), &json!("done")),
        "{entry}"
    );
    eventually("the end of the recovery", SOON, || async {
        let state = server(&client).await;
        (state["pending_recovery"].is_null() && state["status"]["condition"] == "up").then_some(())
    })
    .await;
}

#[tokio::test]
async fn named_slow_unbans_are_waited_for_and_what_is_left_after_25_s_is_a_job_that_goes_on_where_they_ended()
{
    const MANY: u32 = 40;
    let (mut cluster, client) = beside_web().await;
    slow_bans(&mut cluster, &client, MANY).await;
    let ips: Vec<String> = (0..MANY).map(|n| format!("198.51.100.{n}")).collect();
    let unban = async |ips: &[String]| {
        let request = client.request(Method::POST, &path("jails/app/unban")).json(&json!({ "ips": ips }));
        client.send(request.timeout(LONG)).await
    };
    let answer = unban(&ips).await;
    let job = answer.expect(202).body.clone();
    let number = |job: &Value, name: &str| job[name].as_u64().unwrap_or_else(|| panic!("{job}"));
    let done = number(&job, "done");
    assert!((10..u64::from(MANY)).contains(&done), "{job}");
    assert_eq!((number(&job, "asked"), number(&job, "changed")), (u64::from(MANY), done), "{job}");
    let begun = client.get("/api/v1/audit?limit=5").await.expect(200).body["items"].clone();
    let begun = begun.as_array().unwrap();
    let first = begun.iter().find(|entry| entry["what"] == "ban.remove" && entry["after"]["job"].is_string());
    assert_eq!(first.map(|entry| &entry["after"]["changed"]), Some(&json!(done)), "{begun:?}");
    let place = answer.headers["location"].to_str().unwrap().to_owned();
    let over = is(&client, &place, "done", |job| job["state"] == "done").await;
    let counts = ["asked", "done", "changed", "failed"].map(|name| number(&over, name));
    assert_eq!(counts, [u64::from(MANY), u64::from(MANY), u64::from(MANY), 0], "{over}");
    assert_eq!(over["id"], job["id"]);
    for ip in [&ips[0], &ips[39]] {
        assert!(!cluster.fail2ban().bans("app", ip).await, "{ip}");
    }
    // One undo covers everything, also what was done before the job.
    let (store, id) = (cluster.connected_store().await, UndoId::parse(job["id"].as_str().unwrap()).unwrap());
    let deed = store.undoable(std::slice::from_ref(&id)).await.unwrap().remove(0).unwrap().deed;
    assert_eq!(deed, Deed::Bans { banned: false, ips: Vec::new(), changed: MANY as usize });
    assert_eq!(store.undo_ips(&id).await.unwrap().len(), MANY as usize);
}

#[tokio::test]
async fn lifting_all_slow_bans_at_once_says_how_many_remain_and_is_not_taken_for_a_busy_fail2ban() {
    let (mut cluster, client) = beside_web().await;
    slow_bans(&mut cluster, &client, 40).await;
    let mut left = 40;
    while left > 0 {
        let request = client.request(Method::DELETE, &path("jails/app/bans")).timeout(LONG);
        let lifted = client.send(request).await;
        let remaining = lifted.expect(200).body["remaining"].as_u64().unwrap();
        assert!(remaining < left, "{}", lifted.text);
        left = remaining;
    }
    assert!(cluster.fail2ban().bans("web", BANNED).await);
}

#[tokio::test]
async fn a_change_whose_worker_was_killed_is_not_known_and_the_host_ends_up_as_asked() {
    let (mut cluster, client) = impatient().await;
    slow_bans(&mut cluster, &client, 12).await;
    let (change, _) = begun(&client, Method::POST, "jails/app/deactivate", Value::Null).await;
    cluster.workers[0].process.kill();
    let other = client.renewed(cluster.workers[1].address);
    let shown = other.get(&change).await;
    assert_eq!(shown.expect(200).body["state"], "running", "it may be heard again");
    let lost = ended(&other, &change).await;
    let nothing = ["finished_at", "result", "problem"].map(|name| &lost[name]);
    assert_eq!((&lost["state"], nothing), (&json!("not_known"), [&Value::Null; 3]), "{lost}");
    eventually("the end of the jail", LONG, || async {
        let jail = other.get(&path("jails/app")).await.body;
        (jail["active"] == false && jail["enabled"] == false).then_some(())
    })
    .await;
    other.get(&change.replace("jail-changes/", "jail-changes/0")).await.problem(404);
    other.get(&format!("/api/v1/jail-changes/{}", "0".repeat(32))).await.problem(404);
}

#[tokio::test]
async fn a_worker_that_was_paused_is_heard_again_and_so_is_what_came_of_the_change() {
    let (mut cluster, client) = impatient().await;
    slow_bans(&mut cluster, &client, 4).await;
    let (change, _) = begun(&client, Method::POST, "jails/app/deactivate", Value::Null).await;
    cluster.workers[0].pause();
    let other = client.renewed(cluster.workers[1].address);
    assert_eq!(ended(&other, &change).await["state"], "not_known");
    cluster.workers[0].resume();
    let done =
        is(&other, &change, "known", |change| change["state"] != "not_known" && change["state"] != "running");
    assert_eq!(done.await["state"], "done");
}

#[tokio::test]
async fn a_change_whose_end_redis_does_not_record_is_reported_as_under_way() {
    let (mut cluster, client) = beside_web_with("BANGUI_TEST_ANSWER_WITHIN_MS", 4000).await;
    slow_bans(&mut cluster, &client, 8).await;
    let asked = tokio::spawn({
        let client = client.clone();
        async move {
            let request = client.request(Method::POST, &path("jails/app/deactivate")).timeout(LONG);
            client.send(request).await
        }
    });
    let other = client.at(cluster.workers[1].address);
    eventually("the beginning", SOON, || async {
        let entry = other.get("/api/v1/audit?limit=1").await.body["items"][0].clone();
        (entry["what"] == "jail.deactivate").then_some(())
    })
    .await;
    eventually("the record", SOON, || async {
        server(&other).await["last_activation"].is_null().then_some(())
    })
    .await;
    cluster.redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let answer = asked.await.unwrap();
    cluster.redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    assert_eq!(answer.problem(503), "change-under-way");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("NOREPLICAS") && !detail.contains("nothing was changed"), "{detail}");
    eventually("the end of the jail", LONG, || async {
        let jail = other.get(&path("jails/app")).await.body;
        (jail["active"] == false && jail["enabled"] == false).then_some(())
    })
    .await;
}

/// `app` has an action written in Python whose import waits for a file `go`, and then does what `rest` says. The trial of a
/// change imports it.
fn waiting_app(cluster: &mut Cluster, rest: &str) -> std::path::PathBuf {
    let fail2ban = cluster.fail2ban();
    let go = fail2ban.config().join("go");
    let wait = format!(
        "import os, time\nwhile not os.path.exists({:?}): time.sleep(0.02)\n",
        go.display().to_string()
    );
    fail2ban.write("action.d/wait.py", &format!("{wait}{rest}\n"));
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, "").replace("note[name=app]", "wait.py"));
    go
}

const ACTION: &str = "from fail2ban.server.action import ActionBase\nclass Action(ActionBase): pass";

#[tokio::test]
async fn a_persistent_change_of_settings_that_takes_long_is_shown_at_the_other_worker_until_it_is_done() {
    let (mut cluster, client) = impatient().await;
    let other = client.at(cluster.workers[1].address);
    switch_on(&client).await;
    let go = waiting_app(&mut cluster, ACTION);
    let body = json!({ "bantime": 4711, "persistent": true });
    let (change, asked) = begun(&client, Method::PATCH, "jails/app", body).await;
    assert_eq!(asked["change"], "settings", "{asked}");
    assert_eq!(other.get(&change).await.expect(200).body["state"], "running");
    std::fs::write(&go, "").unwrap();
    let done = ended(&other, &change).await;
    assert_eq!((&done["state"], &done["problem"]), (&json!("done"), &Value::Null), "{done}");
    assert_eq!(
        (&done["result"]["name"], &done["result"]["bantime"]),
        (&json!("app"), &json!(4711)),
        "{done}"
    );
    std::fs::remove_file(&go).unwrap();
    let body = json!({ "network": BANNED, "persistent": true });
    let (change, asked) = begun(&other, Method::POST, "jails/app/ignore", body).await;
    assert_eq!(asked["change"], "ignore", "{asked}");
    std::fs::write(&go, "").unwrap();
    let done = ended(&client, &change).await;
    assert!(done["result"]["ignoreip"].as_array().unwrap().contains(&json!(BANNED)), "{done}");
}

#[tokio::test]
async fn a_change_that_is_refused_after_its_202_shows_the_refusal() {
    let (mut cluster, client) = impatient().await;
    let go = waiting_app(&mut cluster, "raise ValueError('boom')");
    let files = cluster.fail2ban().jail_d();
    let (change, asked) = begun(&client, Method::POST, "jails/app/activate", Value::Null).await;
    assert_eq!(asked["change"], "activate", "{asked}");
    std::fs::write(&go, "").unwrap();
    let refused = ended(&client.at(cluster.workers[1].address), &change).await;
    assert_eq!((&refused["state"], &refused["result"]), (&json!("refused"), &Value::Null), "{refused}");
    let problem = &refused["problem"];
    assert_eq!(
        (&problem["status"], &problem["type"]),
        (&json!(422), &json!("urn:bangui:problem:configuration-refused"))
    );
    assert!(problem["detail"].as_str().unwrap().contains("boom"), "{refused}");
    assert_eq!(cluster.fail2ban().jail_d(), files);
    assert!(server(&client).await["last_activation"].is_null());
}

#[tokio::test]
async fn a_change_of_settings_that_is_asked_for_again_is_not_made_again() {
    let (mut cluster, client) = beside_web().await;
    let body = json!({ "bantime": 4711, "persistent": true });
    let set = async || {
        let answer = client.send(client.request(Method::PATCH, &path("jails/web")).json(&body)).await;
        assert_eq!(answer.expect(200).body["bantime"], 4711);
    };
    set().await;
    let reloads = |log: &str| log.matches("Reload jail 'web'").count();
    let once = reloads(&cluster.fail2ban().log());
    assert!(once > 0, "{}", cluster.fail2ban().log());
    set().await;
    assert_eq!(reloads(&cluster.fail2ban().log()), once);
    // The change is made if somebody has set another value since.
    cluster.fail2ban().command(&["set", "web", "bantime", "5"]).await;
    set().await;
    assert!(reloads(&cluster.fail2ban().log()) > once);
    post(&client, "jails/web/deactivate").await.expect(200);
    eventually("the end of web", SOON, || async {
        (server(&client).await["status"]["active_jails"] == 0).then_some(())
    })
    .await;
}
