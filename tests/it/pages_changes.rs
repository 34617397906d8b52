//! A running change of a jail, and the last refused one, without JavaScript and in the parts that scripts request: any worker
//! shows both, and a reload keeps them. Also what a jail reads, and what its files say.

use reqwest::Method;
use serde_json::{Value, json};

use crate::host_changes::waiting_action;
use crate::jails::{BANNED, beside_web, path, post};
use crate::pages_user::{SERVER_PAGE, User, WEB, says};
use crate::support::cluster::SERVER;
use crate::support::{Client, Cluster, SOON, eventually};

const SLOW: &str = "/servers/web-1/jails/slow";

/// A jail `slow` that is off and whose trial waits until the second file is there; it is refused then.
fn waiting_jail(cluster: &mut Cluster) -> (std::path::PathBuf, std::path::PathBuf) {
    let fail2ban = cluster.fail2ban();
    let (waits, go) = waiting_action(fail2ban);
    let text = fail2ban.jail("slow", false, "").replace("note[name=slow]", "wait.py");
    fail2ban.write("jail.d/slow.conf", &text);
    (waits, go)
}

async fn jail(client: &Client, name: &str) -> Value {
    client.get(&path(&format!("jails/{name}"))).await.expect(200).body.clone()
}

#[tokio::test]
async fn each_worker_shows_the_steps_of_a_running_change_and_its_refusal_until_a_change_works() {
    let (mut cluster, client) = beside_web().await;
    let (waits, go) = waiting_jail(&mut cluster);
    let mut user = User::of(&cluster).await;
    let page = user.get(SLOW).await;
    assert_eq!(
        page.attribute("[data-k=change]", "class").as_deref(),
        Some("panel change none"),
        "nothing runs"
    );
    let sent = tokio::spawn({
        let mut here = user.here.clone();
        async move { here.post(&format!("{SLOW}/switch"), &[("do", "on")]).await }
    });
    eventually("the trial", SOON, || async { waits.exists().then_some(()) }).await;
    let page = eventually("the step at the other worker", SOON, || {
        let mut there = user.there.clone();
        async move {
            let page = there.get(SLOW).await;
            page.texts(".steps .now").first().is_some_and(|step| step.starts_with("Test ")).then_some(page)
        }
    })
    .await;
    let done = page.texts(".steps .done");
    assert!(done[0].starts_with("Lock ") && done[1].starts_with("Save old state "), "{done:?}");
    assert!(done.iter().all(|step| step.ends_with(" s")), "each with its time: {done:?}");
    assert_eq!(page.texts(".steps .to-come"), ["Write", "Load", "Verify"]);
    assert!(page.text("[data-k='change.says']").starts_with("Being switched on by admin"), "{}", page.html);
    assert!(!page.html.contains("http-equiv=\"refresh\""), "it would take away what somebody types");
    let again = user.here.get(SLOW).await;
    assert!(
        again.text(".steps .now").starts_with("Test "),
        "a reload at the first worker too: {}",
        again.html
    );
    let server = user.get(SERVER_PAGE).await;
    assert!(
        server.text("[data-k='slow.steps']").contains("test "),
        "{}",
        server.text("[data-k='slow.steps']")
    );
    // What a script takes of the page, and a program of the API.
    let live = [("x-bangui-live", "1"), ("accept", "application/json")];
    let parts = user.there.send(Method::GET, SLOW, None, &live).await;
    let parts: Value = serde_json::from_str(&parts.html).unwrap();
    assert_eq!(parts["parts"]["change.test"][1]["class"], "now", "{parts}");
    assert_eq!(parts["parts"]["changing"][0], "yes");
    let shown = jail(&client, "slow").await;
    assert_eq!(
        (&shown["change"]["change"], &shown["change"]["username"]),
        (&json!("activate"), &json!("admin"))
    );
    let steps = shown["change"]["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["step"], "test", "{shown}");

    // While fail2ban loads a jail or lifts many bans, it answers nobody else.
    cluster.fail2ban().pause();
    let busy = user.get(SERVER_PAGE).await;
    assert!(busy.text("[data-k='slow.steps']").contains("test "), "{}", busy.html);
    assert!(user.get(SLOW).await.text(".steps .now").starts_with("Test "));
    cluster.fail2ban().resume();

    std::fs::write(&go, "").unwrap();
    let refused = user.get(&sent.await.unwrap().expect(303).to().unwrap()).await;
    says(&refused, "slow on web-1 was not switched on, and nothing was changed.");
    for page in [user.get(SLOW).await, user.here.get(SLOW).await] {
        let words = page.text("#refused");
        assert!(words.contains("Not switched on") && words.contains("asked for by admin"), "{words}");
        assert!(words.contains("boom"), "in fail2ban's own words: {words}");
        assert!(words.contains("Steps: Lock ") && words.contains(", test "), "how far it came: {words}");
        assert_eq!(page.attribute("[data-k=change]", "class").as_deref(), Some("panel change none"));
    }
    assert!(user.get(SERVER_PAGE).await.text(".refusal").contains("boom"));
    let shown = jail(&client, "slow").await;
    assert_eq!(shown["change"], Value::Null);
    assert_eq!(shown["last_refusal"]["change"], "activate", "{shown}");
    assert!(shown["last_refusal"]["reason"].as_str().unwrap().contains("boom"), "{shown}");

    let text = cluster.fail2ban().jail("slow", false, "");
    cluster.fail2ban().write("jail.d/slow.conf", &text);
    let page = user.get(SLOW).await;
    says(&user.press(&page, "#all form", &[], "Switch slow on").await, "slow on web-1 was switched on.");
    assert!(user.get(SLOW).await.texts("#refused").is_empty(), "it is over");
    assert_eq!(jail(&client, "slow").await["last_refusal"], Value::Null);
}

#[tokio::test]
async fn a_change_whose_worker_dies_is_shown_as_such_and_its_jail_is_shown_nevertheless() {
    let (mut cluster, _client) = beside_web().await;
    let (waits, go) = waiting_jail(&mut cluster);
    let mut user = User::of(&cluster).await;
    let sent = tokio::spawn({
        let mut here = user.here.clone();
        async move { here.post(&format!("{SLOW}/switch"), &[("do", "on")]).await }
    });
    eventually("the trial", SOON, || async { waits.exists().then_some(()) }).await;
    eventually("the step", SOON, || {
        let mut there = user.there.clone();
        async move { (!there.get(SLOW).await.texts(".steps .now").is_empty()).then_some(()) }
    })
    .await;
    cluster.workers[0].process.kill();
    assert!(sent.await.is_err(), "its worker is gone");
    let page = eventually("the silence of its worker", SOON * 3, || {
        let mut there = user.there.clone();
        async move {
            let page = there.get(SLOW).await;
            page.text("[data-k='change.says']").contains("is gone").then_some(page)
        }
    })
    .await;
    assert!(page.text("[data-k='change.says']").contains("or undoes it"), "{}", page.html);
    std::fs::write(&go, "").unwrap();
    let seen = user.get(SERVER_PAGE).await;
    assert_eq!(seen.texts(".jails th a"), ["app", "slow", "web"]);
}

#[tokio::test]
async fn words_of_fail2ban_and_names_are_text_in_what_was_refused_whatever_is_in_them() {
    let (mut cluster, client) = beside_web().await;
    let fail2ban = cluster.fail2ban();
    let regex = "^<script>alert(1)</script>\u{202e} (failed <img src=x> from <ADDR>$";
    fail2ban.write("filter.d/open.conf", &format!("[Definition]\nfailregex = {regex}\n"));
    let text = fail2ban.jail("bad", false, "").replace("filter = app", "filter = open");
    fail2ban.write("jail.d/bad.conf", &text);
    post(&client, "jails/bad/activate").await.problem(422);
    // A jail that does not exist leaves nothing behind.
    for n in 0..3 {
        post(&client, &format!("jails/none{n}/activate")).await.problem(404);
    }
    let mut user = User::of(&cluster).await;
    for page in [user.get("/servers/web-1/jails/bad").await, user.get(SERVER_PAGE).await] {
        assert!(page.html.contains("&#60;script"), "fail2ban's words are there: {}", page.html);
        for markup in ["<script>alert", "<img src"] {
            assert!(!page.html.contains(markup), "{}", page.html);
        }
    }
    let store = cluster.connected_store().await;
    let kept = store.changes_of(&bangui::domain::ServerName::parse(SERVER).unwrap()).await.unwrap();
    assert_eq!(kept.refused.keys().map(|jail| jail.as_str()).collect::<Vec<_>>(), ["bad"]);
    assert!(kept.running.is_empty(), "{kept:?}");
}

#[tokio::test]
async fn a_jail_shows_whether_its_log_is_written_and_what_its_files_say_beside_what_is_in_force() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let reads = |page: &crate::support::browser::Page| page.text("section[aria-labelledby=log-title]");
    let page = user.get(WEB).await;
    assert!(reads(&page).contains("being written, last "), "{}", reads(&page));
    assert!(!page.text("#settings").contains("next reload or restart on"), "nothing differs");
    let log = cluster.fail2ban().app_log("web");
    let two_days = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    std::fs::File::options().write(true).open(&log).unwrap().set_modified(two_days).unwrap();
    assert!(reads(&user.get(WEB).await).contains("not written for 2 days"));
    assert_eq!(jail(&client, "web").await["logs"][0]["missing"], false);
    std::fs::remove_file(&log).unwrap();
    assert!(reads(&user.get(WEB).await).contains("missing: there is no such file"));
    assert_eq!(jail(&client, "web").await["logs"][0]["missing"], true);
    std::fs::write(&log, "").unwrap();

    let page = user.get(WEB).await;
    let now = user.press(&page, "#settings form", &[("bantime", "3600")], "Set until the next reload").await;
    let hint = now.text("#bantime-hint");
    assert!(
        hint.contains("1 h now") && hint.contains("says 10 min: that applies from the next reload"),
        "{hint}"
    );
    let never = user.press(&now, "form", &[("network", BANNED)], "Add until").await;
    let list = never.text("section[aria-labelledby=never-title]");
    assert!(list.contains("203.0.113.77 until the next reload"), "{list}");
    cluster
        .fail2ban()
        .write("jail.d/zz-more.local", "[web]\nignoreip = 127.0.0.1/8 198.51.100.77\nenabled = false\n");
    let page = user.get(WEB).await;
    let list = page.text("section[aria-labelledby=never-title]");
    assert!(
        list.contains("these entries of the files apply too: ") && list.contains("198.51.100.77"),
        "{list}"
    );
    let warns = page.text("#settings");
    assert!(warns.contains("The files switch it off: it ends at the next reload or restart."), "{warns}");
}
