//! The steps of a running change of a jail, as they happen: on the page whose button was pressed, on others, after a reload, at any
//! worker, with and without JavaScript. And how it ends: done, or refused with fail2ban's own words.

use std::path::PathBuf;

use serde_json::json;

use crate::chrome::{Chrome, PHONE, WIDE};
use crate::site::{cluster, log_in, logged_in, url};
use crate::support::Cluster;

const SERVER: &str = "/servers/web-1";
const MESSAGE: &str = "#messages .message";

/// A jail that is off. Its trial waits for the file `NAME-test` beside its configuration, and its load for the file `NAME-load`;
/// then it runs, or fails its trial with these words.
fn jail(cluster: &mut Cluster, name: &str, fails: Option<&str>) -> impl Fn(&str) + use<> {
    let fail2ban = cluster.fail2ban();
    let folder = fail2ban.config();
    let end = fails.map(|words| format!("raise ValueError('{words}')")).unwrap_or_default();
    let text = format!(
        "import os, sys, time\n\
         from fail2ban.server.action import ActionBase\n\
         def wait(step):\n    \
             while not os.path.exists('{folder}/{name}-' + step): time.sleep(0.02)\n\
         wait('load' if 'fail2ban-server' in sys.argv[0] else 'test')\n{end}\n\
         class Action(ActionBase): pass\n",
        folder = folder.display()
    );
    fail2ban.write(&format!("action.d/{name}.py"), &text);
    let text = fail2ban.jail(name, false, "").replace(&format!("note[name={name}]"), &format!("{name}.py"));
    fail2ban.write(&format!("jail.d/{name}.conf"), &text);
    let file: PathBuf = folder;
    let name = name.to_owned();
    move |step| std::fs::write(file.join(format!("{name}-{step}")), "").unwrap()
}

/// Presses the button of a jail's row. A mark in the page shows later whether it was loaded again.
async fn switch_on(chrome: &Chrome, name: &str) {
    chrome.run("window.same = true").await;
    chrome.press_in(&format!("tr[data-row='{name}']"), "Switch on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_a_switch_are_shown_as_they_happen_and_each_worker_shows_them_after_a_reload() {
    let mut cluster = cluster().await;
    let go = jail(&mut cluster, "late", None);
    let (chrome, other) =
        tokio::join!(logged_in(&cluster, WIDE), logged_in(&cluster, PHONE.without_scripts()));
    chrome.goto(&url(&cluster, 0, SERVER)).await;
    assert_eq!(chrome.text("[data-k='late.steps']").await, "", "nothing runs");
    switch_on(&chrome, "late").await;
    chrome.until("[data-k='late.steps']", "Lock 0.").await;
    chrome.until("[data-k='late.steps']", "test ").await;
    chrome.until("[data-k='late.steps']", "so far").await;
    // Somebody else, at the other worker, again and again.
    for _ in 0..2 {
        other.goto(&url(&cluster, 1, SERVER)).await;
        other.until("[data-k='late.steps']", "test ").await;
        other.goto(&url(&cluster, 1, "/servers/web-1/jails/late")).await;
        other.until("[data-k='change.says']", "Being switched on by admin").await;
        other.until(".steps .now", "Test").await;
        other.fits().await;
    }
    go("test");
    // fail2ban answers nobody while it loads, so each page takes longer.
    chrome.until("[data-k='late.steps']", "load ").await;
    assert_eq!(chrome.run("return window.same").await, true, "all of it without a load of the page");
    other.goto_until(&url(&cluster, 1, "/servers/web-1/jails/late"), ".steps .now", "Load").await;
    // The next page takes a while, and in that time this one shows that the change is over.
    let slow = json!({ "offline": false, "latency": 700, "downloadThroughput": -1, "uploadThroughput": -1 });
    chrome.devtools("Network.enable", json!({})).await;
    chrome.devtools("Network.emulateNetworkConditions", slow).await;
    go("load");
    chrome.until(MESSAGE, "late on web-1 was switched on.").await;
    chrome.until("tr[data-row='late']", "running").await;
    assert_eq!(chrome.text("[data-k='late.steps']").await, "", "it is over");
    other.goto(&url(&cluster, 1, "/servers/web-1/jails/late")).await;
    other.until("h1", "running").await;
    assert_eq!(other.text(".steps .now").await, "");
    for browser in [chrome, other] {
        assert_eq!(browser.complaints().await, Vec::<String>::new());
        browser.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_a_change_is_shown_in_place_though_the_user_did_not_wait_for_it() {
    let mut cluster = cluster().await;
    let go = jail(&mut cluster, "late", Some("no such <b>table</b>"));
    let chrome = Chrome::start(WIDE).await;
    log_in(&chrome, &cluster).await;
    chrome.goto(&url(&cluster, 0, SERVER)).await;
    switch_on(&chrome, "late").await;
    chrome.until("[data-k='late.steps']", "test ").await;
    // The user does not wait for the answer, and continues at the other worker.
    chrome.goto(&url(&cluster, 1, SERVER)).await;
    chrome.until("[data-k='late.steps']", "test ").await;
    chrome.goto(&url(&cluster, 1, "/servers/web-1/jails/late")).await;
    chrome.until(".steps .now", "Test").await;
    let seconds = "return document.querySelector('.steps .now span').textContent";
    let before = chrome.run(seconds).await;
    chrome
        .until_run("seconds that count", &format!("{seconds} !== '{}'", before.as_str().unwrap()), true)
        .await;
    go("test");
    chrome.until("#refused", "Not switched on").await;
    chrome.until("#refused", "asked for by admin").await;
    chrome.until("#refused code", "no such <b>table</b>").await;
    assert_eq!(chrome.run("return document.querySelectorAll('#refused code b').length").await, json!(0));
    assert_eq!(chrome.text(".steps .now").await, "", "the page has loaded itself again");
    chrome.goto(&url(&cluster, 0, SERVER)).await;
    chrome.until(".refusal", "no such <b>table</b>").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}
