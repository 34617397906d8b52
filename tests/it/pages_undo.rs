//! Changes of jails and of settings that are undone for ten minutes, without JavaScript, at any worker: from the message that they were
//! answered with, and from their entry in the audit. What somebody has changed since is left alone.

use serde_json::{Value, json};

use crate::jails::{BANNED, beside_web, path, post};
use crate::pages_user::{APP, SERVER_PAGE, User, WEB, says};
use crate::support::browser::{Browser, Page};
use crate::support::{Client, Cluster};

async fn jail(client: &Client) -> Value {
    client.get(&path("jails/web")).await.expect(200).body.clone()
}

async fn set(client: &Client, change: Value) {
    let request = client.request(reqwest::Method::PATCH, &path("jails/web")).json(&change);
    client.send(request).await.expect(200);
}

/// The newest entry `undo` of the audit: what was undone, and the outcome.
async fn last_undo(client: &Client) -> (Value, Value) {
    let audit = client.get("/api/v1/audit?limit=20").await.body.clone();
    let entry =
        audit["items"].as_array().unwrap().iter().find(|entry| entry["what"] == "undo").unwrap().clone();
    (entry["after"]["undone"].clone(), entry["outcome"].clone())
}

/// The label of the button of the newest entry of the audit that can be undone.
fn offered(page: &Page) -> Option<String> {
    page.texts("tr.deed form button").into_iter().next()
}

#[tokio::test]
async fn a_switch_is_undone_from_its_entry_in_the_audit_once_and_by_nobody_else_again() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let page = user.get(APP).await;
    let on = user.press(&page, "#all form", &[], "Switch app on").await;
    says(&on, "app on web-1 was switched on.");
    let activity = user.get("/activity?kind=people&server=web-1").await;
    assert_eq!(offered(&activity).as_deref(), Some("Switch off again"), "{}", activity.html);
    let left = activity.text("tr.deed form .hint");
    assert!(left.starts_with("possible for ") && left.contains(" min "), "{left}");
    let off = user.press(&activity, "tr.deed form", &[], "Switch off again").await;
    says(&off, "app on web-1 was switched off.");
    assert!(off.asked.contains("/activity?kind=people&server=web-1&m="), "it leads back: {}", off.asked);
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    assert_eq!(last_undo(&client).await, (json!("jail.activate"), json!("done")));
    // From the old message, and from the old page: it was already undone.
    for (page, form) in [(&on, "#messages form"), (&activity, "tr.deed form")] {
        let twice = user.press(page, form, &[], "Switch off again").await;
        says(&twice, "Nothing was undone.");
        says(&twice, "admin already undid it at ");
    }
    // The undo can itself be undone, from its message.
    let again = user.press(&off, "#messages form", &[], "Switch on again").await;
    says(&again, "app on web-1 was switched on.");
    assert_eq!(cluster.fail2ban().jails().await, ["app", "web"]);
    // Somebody has switched it off since.
    post(&client, "jails/app/deactivate").await.expect(200);
    let late = user.press(&again, "#messages form", &[], "Switch off again").await;
    says(&late, "It cannot be undone.");
    says(
        &late,
        "The jail web-1/app does not run now, which is not how this change left it; nothing was changed.",
    );
    let (undone, outcome) = last_undo(&client).await;
    assert_eq!(undone, "jail.activate");
    assert!(outcome.as_str().unwrap().contains("does not run now"), "the refusal is audited: {outcome}");
    assert!(user.get(SERVER_PAGE).await.text(".jails").contains("off"));
}

#[tokio::test]
async fn settings_of_a_jail_go_back_to_what_was_in_force_and_in_the_files_unless_they_changed_since() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    set(&client, json!({ "bantime": 300 })).await;
    let page = user.get(WEB).await;
    let good =
        user.press(&page, "#settings form", &[("bantime", "3600"), ("maxretry", "9")], "Save for good").await;
    says(&good, "bans for 1 h, after 9 failures, for good.");
    let activity = user.get("/activity?kind=people").await;
    assert_eq!(offered(&activity).as_deref(), Some("Set all back"));
    let back = user.press(&good, "#messages form", &[], "Set all back").await;
    says(&back, "web on web-1: bans for 5 min, after 1 failure, as before.");
    let now = jail(&client).await;
    assert_eq!((&now["bantime"], &now["maxretry"]), (&json!(300), &json!(1)), "{now}");
    assert_eq!(now["after_reload"]["bantime"], 600, "the files have what they had: {now}");
    assert_eq!(last_undo(&client).await, (json!("jail.settings"), json!("done")));

    let page = user.get(WEB).await;
    let now = user.press(&page, "#settings form", &[("findtime", "120")], "Set until the next reload").await;
    set(&client, json!({ "findtime": 240 })).await;
    let late = user.press(&now, "#messages form", &[], "Set back to").await;
    says(&late, "The settings of web-1/web have been changed since; nothing was changed.");
    assert_eq!(jail(&client).await["findtime"], 240);
    // Another setting that was changed since keeps nobody from setting this one back.
    let page = user.get(WEB).await;
    let now = user.press(&page, "#settings form", &[("findtime", "120")], "Set until the next reload").await;
    set(&client, json!({ "bantime": 900 })).await;
    says(&user.press(&now, "#messages form", &[], "Set back to 4 min").await, "within 4 min, as before.");
    assert_eq!(jail(&client).await["bantime"], 900);
    assert!(cluster.fail2ban().bans("web", BANNED).await);
}

#[tokio::test]
async fn an_entry_of_the_never_banned_list_is_taken_off_and_put_back_and_left_alone_once_somebody_did() {
    let (_cluster, client) = beside_web().await;
    let mut user = User::of(&_cluster).await;
    let ignored = async |client: &Client| jail(client).await["ignoreip"].to_string();
    let page = user.get(WEB).await;
    let never = user.press(&page, "form", &[("network", "198.51.100.0/24")], "Add for good").await;
    says(&never, "198.51.100.0/24 is never banned in web on web-1, for good.");
    let activity = user.get("/activity?kind=people").await;
    assert_eq!(offered(&activity).as_deref(), Some("Take it off the list"), "{}", activity.html);
    let off = user.press(&activity, "tr.deed form", &[], "Take it off the list").await;
    says(&off, "198.51.100.0/24 may be banned in web on web-1 again.");
    assert!(!ignored(&client).await.contains("198.51.100.0/24"));
    let again = user.press(&off, "#messages form", &[], "Put it back on the list").await;
    assert!(again.text("#messages").contains("web on web-1"), "{}", again.html);
    assert!(ignored(&client).await.contains("198.51.100.0/24"));
    let page = user.get(WEB).await;
    let never = user.press(&page, "form", &[("network", "198.51.100.7")], "Add until").await;
    set(&client, json!({ "ignoreip": ["127.0.0.1"] })).await;
    let late = user.press(&never, "#messages form", &[], "Take it off the list").await;
    says(&late, "The never-banned list of web-1/web no longer has 198.51.100.7; nothing was changed.");
}

#[tokio::test]
async fn settings_of_bangui_are_set_back_from_the_audit_with_the_password_and_not_over_later_ones() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let mut user = User::of(&cluster).await;
    let settings =
        async |client: &Client, name: &str| client.get("/api/v1/settings").await.body[name]["value"].clone();
    let page = user.get("/settings").await;
    let saved = user.press(&page, "#settings", &[("probe_interval_seconds", "9")], "Save").await;
    says(&saved, "1 setting saved, for all workers.");
    let activity = user.get("/activity?kind=people").await;
    assert_eq!(offered(&activity).as_deref(), Some("Set it back"));
    let back = user.press(&activity, "tr.deed form", &[], "Set it back").await;
    says(&back, "1 s, was 9 s.");
    assert_eq!(client.get("/api/v1/settings").await.body["probe_interval_seconds"]["origin"], "environment");

    let page = user.get("/settings").await;
    let saved = user.press(&page, "#settings", &[("probe_interval_seconds", "8")], "Save").await;
    client.patch("/api/v1/settings", "*", json!({ "session_cache_ttl_seconds": 3 })).await.expect(200);
    let late = user.press(&saved, "#messages form", &[], "Set back to 1 s").await;
    says(&late, "Settings have been changed since; nothing was changed.");
    assert_eq!(settings(&client, "probe_interval_seconds").await, 8);

    // A sensitive one was changed by a program: undoing it asks a browser for the password.
    let client = client.confirmed().await;
    client.patch("/api/v1/settings", "*", json!({ "session_idle_seconds": 1200 })).await.expect(200);
    let activity = user.get("/activity?kind=people").await;
    let asked = user.here.submit(&activity, "tr.deed form", &[], "Set it back").await;
    assert_eq!(asked.expect(403).text("h1"), "Confirm with your password");
    assert_eq!(settings(&client, "session_idle_seconds").await, 1200, "nothing is undone yet");
    let right = loop {
        let password = [("password", crate::support::PASSWORD)];
        let right = user.here.submit(&asked, "main form", &password, "Confirm password").await;
        // Too many passwords at once for this machine.
        if right.status != reqwest::StatusCode::SERVICE_UNAVAILABLE {
            break right;
        }
    };
    let offer = user.get(&right.expect(303).to().unwrap()).await;
    says(&user.press(&offer, "#messages form", &[], "Set the settings back").await, "30 min, was 20 min.");
    assert_eq!(settings(&client, "session_idle_seconds").await, 1800);
}

#[tokio::test]
async fn what_names_no_change_undoes_nothing_and_leads_nowhere_else() {
    let (cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let before = jail(&client).await;
    let long = "a".repeat(5_000);
    for id in ["", "<script>alert(1)</script>", "\u{202e}0123", "../..", &"A".repeat(32), &long] {
        let seen = user.here.post("/undo", &[("id", id), ("back", "//evil.example/")]).await;
        assert!(!seen.expect(400).html.contains("<script>alert"), "{}", seen.html);
    }
    let unknown = "0123456789abcdef0123456789abcdef";
    for back in ["//evil.example/", "https://evil.example/", "javascript:alert(1)", "<b>", &long] {
        let seen = user.here.post("/undo", &[("id", unknown), ("back", back)]).await;
        let to = seen.expect(303).to().unwrap();
        assert!(to.starts_with("/activity?m="), "{back}: {to}");
        says(&user.get(&to).await, "It was more than ten minutes ago, or there is no such change");
    }
    let stranger = Browser::new(cluster.workers[0].address).post("/undo", &[("id", unknown)]).await;
    stranger.expect(401);
    let foreign = [("sec-fetch-site", "cross-site")];
    let fields: &[(&str, &str)] = &[("id", unknown)];
    user.here.send(reqwest::Method::POST, "/undo", Some(fields), &foreign).await.expect(403);
    assert_eq!(jail(&client).await["bantime"], before["bantime"]);
}
