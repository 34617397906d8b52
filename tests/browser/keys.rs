//! Use without a mouse: single keys, which do nothing in a field or after they were switched off.

use serde_json::json;

use crate::chrome::{Chrome, WIDE};
use crate::site::{cluster, log_in, logged_in, url};
use crate::support::{Client, Cluster, SOON, eventually};

const ESCAPE: &str = "\u{e00c}";
const ENTER: &str = "\u{e007}";
const JAIL: &str = "/servers/web-1/jails/sshd";
const BANS: &str = "/api/v1/servers/web-1/jails/sshd/bans";
/// The text of the element that has the focus, and whether the focus is visible.
const FOCUS: &str =
    "return [document.activeElement.textContent.trim(), document.activeElement.matches(':focus-visible')]";

async fn arrives(chrome: &Chrome, path: &str) {
    eventually(&format!("the page {path}"), SOON, || async {
        let there = "return document.readyState === 'complete' && location.pathname === arguments[0]";
        (chrome.client.execute(there, vec![json!(path)]).await.ok()? == true).then_some(())
    })
    .await;
}

/// Bans these addresses, and waits until the jail's list has them.
async fn ban(client: &Client, ips: &[String]) {
    for ips in ips.chunks(100) {
        client.post(BANS, json!({ "ips": ips })).await.expect(200);
    }
    eventually("the list of bans", SOON, || async {
        let listed = client.get(&format!("{BANS}?limit=1000")).await;
        (listed.body["items"].as_array()?.len() >= ips.len()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_lead_to_each_place_of_the_menu_and_the_search_suggests() {
    let cluster = cluster().await;
    let chrome = logged_in(&cluster, WIDE).await;
    chrome.keys("?").await;
    chrome.until("#keys", "next, previous row").await;
    chrome.keys(ESCAPE).await;
    chrome
        .until_run("the list of keys to be closed", "return document.getElementById('keys').open", false)
        .await;
    let places = [
        ("a", "/activity"),
        ("j", "/jobs"),
        ("d", "/diagnosis"),
        ("c", "/cluster"),
        ("e", "/settings"),
        ("m", "/account"),
        ("s", "/"),
    ];
    for (key, path) in places {
        chrome.keys("g").await;
        chrome.keys(key).await;
        arrives(&chrome, path).await;
    }
    chrome.keys("/").await;
    assert_eq!(chrome.run("return document.activeElement.id").await, "q");
    // In a field they are letters.
    chrome.keys("web?").await;
    assert_eq!(chrome.run("return document.getElementById('keys').open").await, false);
    chrome.keys("\u{e003}").await;
    chrome.until("#suggestions", "web-1 (up)").await;
    chrome.keys(ESCAPE).await;
    assert_eq!(chrome.text("#suggestions").await, "");
    chrome.keys(&format!("-2{ENTER}")).await;
    arrives(&chrome, "/servers/web-2").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_walk_lists_open_rows_turn_pages_unban_and_load_what_is_new() {
    let cluster = cluster().await;
    let client = cluster.client(1).logged_in().await;
    let ips: Vec<String> = (0..120).map(|n| format!("198.51.100.{n}")).collect();
    ban(&client, &ips).await;
    let chrome = Chrome::start(WIDE).await;
    log_in(&chrome, &cluster).await;

    // The warnings come first, then the table.
    chrome.keys("j").await;
    let first = chrome.run(FOCUS).await;
    assert_eq!(first[1], true, "{first}");
    chrome.keys("j").await;
    let second = chrome.run(FOCUS).await;
    assert_ne!(first, second);
    chrome.keys("kkk").await;
    assert_eq!(chrome.run(FOCUS).await, first, "there is nothing before the first");
    chrome.keys(ENTER).await;
    eventually("the page of that server", SOON, || async {
        chrome.path().await.starts_with("/servers/").then_some(())
    })
    .await;

    chrome.goto(&url(&cluster, 0, JAIL)).await;
    chrome.until("#live", "Live").await;
    chrome.keys("n").await;
    chrome.until_run("the next page", "return !!document.querySelector('a[rel=prev]')", true).await;
    chrome.keys("j").await;
    let focused = chrome.run(FOCUS).await;
    let address = focused[0].as_str().unwrap().to_owned();
    assert!(address.starts_with("198.51.100."), "{focused}");
    chrome.keys("u").await;
    chrome.until("#messages .message", &format!("Unbanned {address} in sshd on web-1.")).await;

    chrome.goto(&url(&cluster, 0, JAIL)).await;
    chrome.until("#live", "Live").await;
    ban(&client, &["100.64.0.1".to_owned()]).await;
    chrome.until(".new", "1 new").await;
    assert!(!chrome.text(".bans").await.contains("100.64.0.1"), "rows do not come by themselves");
    chrome.keys(".").await;
    chrome.until(".bans", "100.64.0.1").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_switched_off_do_nothing_and_all_can_be_reached_by_the_tab_key() {
    let cluster = Cluster::bare(1).set_up().await;
    let chrome = Chrome::start(WIDE).await;
    log_in(&chrome, &cluster).await;
    chrome.goto(&url(&cluster, 0, "/account")).await;
    chrome.press("Switch single-key shortcuts off").await;
    chrome.until("main", "Single-key shortcuts are off in this browser.").await;
    chrome.keys("?gs/").await;
    let still =
        "return [document.getElementById('keys').open, document.activeElement.tagName, location.pathname]";
    assert_eq!(chrome.run(still).await, json!([false, "BODY", "/account"]));

    // Every stop shows the focus; the first leads past the menu.
    let stop = "const now = document.activeElement, style = getComputedStyle(now); \
        return [now.textContent.trim() || now.name, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]";
    let mut stops = Vec::new();
    while !stops.last().is_some_and(|stop: &String| stop.starts_with("Switch single-key shortcuts on")) {
        assert!(stops.len() < 60, "{stops:?}");
        chrome.keys("\u{e004}").await;
        let at = chrome.run(stop).await;
        assert_eq!(at[1], true, "no ring around {at}");
        stops.push(at[0].as_str().unwrap().to_owned());
    }
    assert_eq!(stops[0], "Skip to the content");
    for wanted in ["Servers", "Settings", "q", "current", "new", "Change password", "Dark"] {
        assert!(stops.iter().any(|stop| stop.contains(wanted)), "{wanted}: {stops:?}");
    }
    chrome.end().await;
}
