//! Walks through the pages as a person does, with JavaScript and without.

use crate::chrome::{Chrome, Look, PHONE, WIDE};
use crate::site::{cluster, logged_in, url};
use crate::support::{Client, Cluster, PASSWORD, SETUP_TOKEN, SOON, eventually};

/// Login, overview, account: the same steps on each browser.
async fn walk(look: Look) {
    let cluster = cluster().await;
    let chrome = Chrome::start(look).await;
    chrome.goto(&url(&cluster, 0, "/account")).await;
    assert_eq!(chrome.path().await, "/login?next=%2Faccount");
    chrome.type_into("password", "wrong").await;
    chrome.press("Log in").await;
    chrome.until("#password-error", "The name or the password is wrong.").await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Log in").await;
    chrome.until("h1", "Your account").await;

    // Another session, ended from here: the message comes with the next page, and one may take it away.
    Client::new(cluster.workers[1].address).log_in().await;
    chrome.goto(&url(&cluster, 1, "/account")).await;
    chrome.press("End session").await;
    chrome.until("h1", "Confirm with your password").await;
    chrome.type_into("password", "wrong").await;
    chrome.press("Confirm password").await;
    chrome.until("#password-error", "This is not your password.").await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Confirm password").await;
    chrome.until("[role=status]", "One step is left").await;
    chrome.press("End one of your sessions").await;
    chrome.until("[role=status]", "The session has ended.").await;
    // A field that is refused, with what is allowed beside it.
    chrome.type_into("current", PASSWORD).await;
    chrome.type_into("new", "short").await;
    chrome.press("Change password").await;
    chrome.until("#new-error", "A password must have 12 characters or more, this one has 5.").await;

    chrome.goto(&url(&cluster, 1, "/")).await;
    chrome.until("table", "web-1").await;
    chrome.until(".attention", "db-2 cannot be reached").await;
    if look.scripts {
        chrome.until("#live", "Live").await;
    } else {
        chrome.until("#live", "Not live").await;
    }
    let wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    if look.scripts {
        assert_eq!(chrome.run(wider).await, 0, "the page scrolls sideways");
        assert_eq!(chrome.complaints().await, Vec::<String>::new());
    }
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn login_overview_and_account_work_with_scripts() {
    walk(WIDE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn login_overview_and_account_work_without_scripts_on_a_phone() {
    walk(PHONE.without_scripts()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_the_link_is_filled_in_and_leaves_the_address() {
    let cluster = Cluster::bare(2).start().await;
    let chrome = Chrome::start(PHONE).await;
    chrome.goto(&url(&cluster, 0, &format!("/setup#code={SETUP_TOKEN}"))).await;
    chrome.until("#came", "The code came with the link.").await;
    assert_eq!(chrome.path().await, "/setup");
    chrome.type_into("password", "winter2026").await;
    chrome.until("#strength", "Weak. A word and a number are tried first.").await;
    chrome.type_into("password", PASSWORD).await;
    chrome.until("#strength", "Strong.").await;
    chrome.press("Set password and log in").await;
    chrome.until("h1", "Do these next").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_is_said_in_place_and_what_was_typed_is_kept() {
    let cluster = cluster().await;
    let chrome = logged_in(&cluster, WIDE).await;
    chrome.goto(&url(&cluster, 0, "/account")).await;
    chrome.type_into("current", "what was typed").await;
    let other = cluster.client(1).logged_in().await.confirmed().await;
    other.delete("/api/v1/sessions").await.expect(204);
    chrome.until("#ended", "Your session has ended").await;
    chrome.type_into("ended-password", PASSWORD).await;
    chrome.press("Log in here").await;
    chrome.until(".dock", "Logged in again. Nothing was sent yet.").await;
    chrome.until("#live", "Live").await;
    assert_eq!(chrome.run("return document.getElementById('current').value").await, "what was typed");
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_change_in_place_and_the_focus_stays() {
    let cluster = cluster().await;
    let chrome = logged_in(&cluster, WIDE).await;
    let link = "document.querySelector('tr[data-row=\"web-1\"] a')";
    chrome.run(&format!("{link}.focus(); window.kept = {link}")).await;
    let banned = "[data-k='web-1.banned']";
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

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_lead_around_and_the_search_suggests() {
    let cluster = cluster().await;
    let chrome = logged_in(&cluster, WIDE).await;
    let body = chrome.client.find(fantoccini::Locator::Css("body")).await.unwrap();
    body.send_keys("?").await.unwrap();
    chrome.until("#keys", "search").await;
    body.send_keys("\u{e00c}").await.unwrap();
    body.send_keys("gm").await.unwrap();
    chrome.until("h1", "Your account").await;
    let body = chrome.client.find(fantoccini::Locator::Css("body")).await.unwrap();
    body.send_keys("/").await.unwrap();
    let field = chrome.client.active_element().await.unwrap();
    field.send_keys("web").await.unwrap();
    chrome.until("#suggestions", "web-1 (up)").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    field.send_keys("-2\u{e007}").await.unwrap();
    eventually("the page of the server", SOON, || async {
        (chrome.path().await == "/servers/web-2").then_some(())
    })
    .await;
    chrome.end().await;
}
