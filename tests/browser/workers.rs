//! What a page shows while the workers behind it are killed, or replaced by those of a neighbouring version.

use serde_json::json;

use crate::balanced::Balanced;
use crate::chrome::{Chrome, WIDE};
use crate::support::http;
use crate::support::{PASSWORD, SOON, eventually};

const BAN: &str = "/servers/web-1/jails/sshd?part=ban";
const TYPED: &str = "203.0.113.200 typed before";

/// A browser that is logged in and shows a jail, with something typed and the focus in that field. The page records every
/// mark ("Live", "Reconnecting") that it shows from now on.
async fn at_work(site: &Balanced) -> Chrome {
    let chrome = Chrome::start(WIDE).await;
    chrome.goto(&site.url("/login")).await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Log in").await;
    chrome.until("h1", "Servers").await;
    chrome.goto(&site.url(BAN)).await;
    chrome.until("#live", "Live").await;
    chrome.type_into("ips", TYPED).await;
    chrome
        .run(
            "window.field = document.getElementById('ips'); window.marks = []; \
             const mark = document.querySelector('#live span'); \
             new MutationObserver(() => marks.push(mark.textContent)) \
                 .observe(mark, { subtree: true, childList: true, characterData: true });",
        )
        .await;
    chrome
}

/// Fails unless the page was not loaded again and kept what was typed and the focus.
async fn untouched(chrome: &Chrome) {
    let kept = "return [window.field?.value, document.activeElement === window.field, \
                document.querySelectorAll('#messages .message').length]";
    assert_eq!(chrome.run(kept).await, json!([TYPED, true, 0]));
}

/// Fails unless the page has its style and its script.
async fn complete(chrome: &Chrome) {
    let rules = "return Array.from(document.styleSheets, (sheet) => sheet.cssRules.length).join()";
    let rules = chrome.run(rules).await;
    assert!(rules.as_str().is_some_and(|rules| rules.parse::<u32>().is_ok_and(|many| many > 100)), "{rules}");
    chrome.until("#live", "Live").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_notice_a_killed_worker_only_by_the_mark() {
    let mut site = Balanced::set_up().await;
    let chrome = at_work(&site).await;
    for n in 0..3 {
        site.cluster.workers[n].process.kill();
        let alive = site.cluster.client((n + 1) % 3).logged_in().await;
        let ban = json!({ "ips": [format!("203.0.113.{}", n + 1)] });
        alive.post("/api/v1/servers/web-1/jails/sshd/bans", ban).await.expect(200);
        // The page shows the ban.
        chrome.until("[data-k='banned']", &(n + 1).to_string()).await;
        chrome.until("#live", "Live").await;
        untouched(&chrome).await;
        site.revive(n).await;
    }
    let marks = chrome.run("return window.marks").await;
    let marks: Vec<&str> = marks.as_array().unwrap().iter().filter_map(|mark| mark.as_str()).collect();
    assert!(marks.contains(&"Reconnecting"), "one of them had the stream of the page: {marks:?}");
    assert!(marks.iter().all(|mark| ["Live", "Reconnecting"].contains(mark)), "{marks:?}");
    assert_eq!(chrome.run("return document.querySelectorAll('.dock .message').length").await, 0);

    // A form that is sent while a worker is dead, before the load balancer has noticed it, goes to another.
    site.cluster.workers[0].process.kill();
    chrome.type_into("ips", "203.0.113.9").await;
    chrome.press_in("#ban", "Ban").await;
    chrome.until("#messages .message", "Banned 203.0.113.9 in sshd on web-1.").await;
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_takes_no_page_apart_and_ends_with_the_offer_to_reload() {
    let mut site = Balanced::set_up().await;
    let chrome = at_work(&site).await;
    let visitor = at_work(&site).await;
    // A visitor whose browser keeps nothing asks for the assets of each page at any worker.
    visitor.devtools("Network.setCacheDisabled", json!({ "cacheDisabled": true })).await;
    let assets = chrome.run("return document.documentElement.dataset.assets").await;
    let assets = assets.as_str().unwrap();
    let neighbour = site.neighbour(assets);
    for _ in 0..3 {
        site.add(&neighbour).await;
        let old = site.cluster.workers.remove(0);
        old.terminate();
        while old.process.runs() {
            visitor.goto(&site.url("/")).await;
            complete(&visitor).await;
        }
        untouched(&chrome).await;
    }
    chrome.until("#live", "Live").await;
    chrome.until(".dock", "The workers have moved to another version.").await;
    let marks = chrome.run("return window.marks").await;
    let marks = marks.as_array().unwrap();
    assert!(marks.iter().all(|mark| ["Live", "Reconnecting"].contains(&mark.as_str().unwrap())), "{marks:?}");

    // A request of the old page for its script is answered with the file of the new version, and not cached.
    let answer =
        http().build().unwrap().get(site.url(&format!("/assets/{assets}/app.js"))).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");

    chrome.press_in(".dock", "Reload").await;
    eventually("the page of the new version", SOON, || async {
        let now = chrome.run("return document.documentElement.dataset.assets").await;
        (now.as_str()? != assets).then_some(())
    })
    .await;
    complete(&chrome).await;
    assert_eq!(chrome.run("return document.querySelectorAll('.dock .message').length").await, 0);
    for browser in [chrome, visitor] {
        browser.end().await;
    }
}
