//! What scripts add to pages: they fill in fields, patch numbers, and report in place. Keys are in `keys.rs`, times in `times.rs`, the
//! walk through everything in `whole.rs`.

use crate::chrome::{Chrome, PHONE, WIDE};
use crate::site::{cluster, logged_in, url};
use crate::support::factors::with_app;
use crate::support::{Cluster, PASSWORD, SETUP_TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_the_link_is_filled_in_and_leaves_the_address() {
    let cluster = Cluster::bare(2).start().await;
    let chrome = Chrome::start(PHONE).await;
    chrome.goto(&url(&cluster, 0, &format!("/setup#code={SETUP_TOKEN}"))).await;
    chrome.until("#came", "The code came with the link.").await;
    assert_eq!(chrome.path().await, "/setup");
    chrome.type_into("password", "winter2026").await;
    chrome.until("#strength", "Too short. 2 more to go.").await;
    chrome.type_into("password", "wintertime2026").await;
    chrome.until("#strength", "Weak. A word and a number are tried first.").await;
    chrome.type_into("password", PASSWORD).await;
    chrome.until("#strength", "Strong.").await;
    chrome.press("Set password and log in").await;
    chrome.until("h1", "Do these next").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_session_is_shown_in_place_and_what_was_typed_is_kept() {
    let cluster = cluster().await;
    let chrome = logged_in(&cluster, WIDE).await;
    chrome.goto(&url(&cluster, 0, "/account")).await;
    chrome.type_into("current", "what was typed").await;
    let other = cluster.client(1).logged_in().await.confirmed().await;
    other.delete("/api/v1/sessions").await.expect(204);
    chrome.until("#session-ended", "Your session has ended").await;
    // A telephone has no Escape key.
    chrome.press_in("#session-ended", "Close").await;
    let is_open = "return document.getElementById('session-ended').open";
    chrome.until_run("a closed dialog", is_open, false).await;
    chrome.run("document.getElementById('session-ended').showModal()").await;
    chrome.type_into("ended-password", PASSWORD).await;
    chrome.press("Log in here").await;
    chrome.until(".dock", "Logged in again. Nothing was done yet.").await;
    chrome.until("#live", "Live").await;
    assert_eq!(chrome.run("return document.getElementById('current').value").await, "what was typed");
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_factor_is_asked_for_in_place_too_and_a_login_that_has_ended_begins_again() {
    let cluster = cluster().await;
    let chrome = logged_in(&cluster, WIDE).await;
    let other = cluster.client(1).logged_in().await.confirmed().await;
    let (app, codes) = with_app(&cluster, &other, "admin").await;
    chrome.goto(&url(&cluster, 0, "/account")).await;
    chrome.type_into("current", "what was typed").await;
    other.delete("/api/v1/sessions").await.expect(204);
    chrome.until("#session-ended", "Your session has ended").await;
    chrome.type_into("ended-password", PASSWORD).await;
    chrome.press("Log in here").await;
    chrome.until("#session-ended", "Code of your authenticator app").await;
    chrome.type_into("ended-code", &app.wrong_code()).await;
    chrome.press("Log in here").await;
    chrome.until("#session-ended", "The code is wrong, or was used before.").await;
    // Too many wrong ones: from the password again.
    for _ in 0..4 {
        chrome.until_run("an empty field", "return document.getElementById('ended-code').value", "").await;
        chrome.type_into("ended-code", &app.wrong_code()).await;
        chrome.press("Log in here").await;
    }
    chrome.until("#session-ended", "That login has ended. Log in again.").await;
    chrome.type_into("ended-password", PASSWORD).await;
    chrome.press("Log in here").await;
    chrome.until("#session-ended", "Code of your authenticator app").await;
    assert_eq!(chrome.text("form[action='/login/factor'] [role=alert]").await, "");
    chrome.type_into("ended-code", &codes[0]).await;
    chrome.press("Log in here").await;
    chrome.until(".dock", "Logged in again. Nothing was done yet.").await;
    chrome.until("#live", "Live").await;
    assert_eq!(chrome.run("return document.getElementById('current').value").await, "what was typed");
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_change_in_place_and_the_focus_stays() {
    let cluster = cluster().await;
    let chrome = logged_in(&cluster, WIDE).await;
    let link = "document.querySelector('tr[data-row=\"web-1\"] a')";
    chrome.run(&format!("{link}.focus(); window.kept = {link}")).await;
    let banned = "[data-row='web-1'] [data-k='.banned']";
    chrome.until(banned, "0").await;
    let user = cluster.client(1).logged_in().await;
    let ips = serde_json::json!({ "ips": ["203.0.113.7", "203.0.113.8"] });
    user.post("/api/v1/servers/web-1/jails/sshd/bans", ips).await.expect(200);
    chrome.until(banned, "2").await;
    assert_eq!(
        chrome.run(&format!("return window.kept === document.activeElement && {link} === window.kept")).await,
        true
    );
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}
