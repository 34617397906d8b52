//! Times in the zone of the browser, countdowns that tick, and the theme, which follows the system until one is chosen.

use std::cell::RefCell;

use serde_json::json;

use crate::chrome::{Chrome, SYSTEMS, WIDE};
use crate::site::{cluster, log_in, logged_in, url};
use crate::support::{Cluster, SOON, eventually};

const JAIL: &str = "/servers/web-1/jails/sshd?part=ban";
/// Every time on the page: its value, its text, and its text on hover.
const TIMES: &str = "return Array.from(document.querySelectorAll('time:not([data-form])'), \
    (time) => [time.dateTime, time.textContent, time.title])";

#[tokio::test(flavor = "multi_thread")]
async fn each_time_is_in_the_zone_of_the_browser_with_the_exact_value_and_the_zone_on_hover() {
    let cluster = cluster().await;
    let client = cluster.client(1).logged_in().await;
    let ban = json!({ "ips": ["203.0.113.7"] });
    client.post("/api/v1/servers/web-1/jails/sshd/bans", ban).await.expect(200);
    let chrome = Chrome::start(WIDE).await;
    chrome.zone("Asia/Kathmandu").await;
    log_in(&chrome, &cluster).await;
    chrome.goto_until(&url(&cluster, 0, JAIL), ".bans", "203.0.113.7").await;
    chrome.until(".foot", "Times in GMT+5:45").await;
    // As the server makes them, now that it knows the zone.
    let made = chrome.run(TIMES).await;
    let times = made.as_array().unwrap();
    assert!(times.len() >= 2, "{made}");
    for time in times {
        let at = chrono::DateTime::parse_from_rfc3339(time[0].as_str().unwrap()).unwrap();
        let local = at.with_timezone(&chrono::FixedOffset::east_opt((5 * 60 + 45) * 60).unwrap());
        let exact = format!("{} GMT+5:45", local.format("%-d %b %Y, %H:%M:%S"));
        assert_eq!(time[2], *exact, "{time}");
        assert!(time[1].as_str().unwrap().contains(&local.format("%H:%M").to_string()), "{time}");
    }
    // As the script makes them, while the server does not know the zone.
    chrome.client.delete_cookie("bangui-zone").await.unwrap();
    chrome.goto(&url(&cluster, 0, JAIL)).await;
    let remade = chrome.run(TIMES).await;
    for time in times {
        let same = remade.as_array().unwrap().iter().find(|other| other[0] == time[0]);
        assert!(same.is_none_or(|same| same == time), "{time}: {remade}");
    }
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_countdown_ticks_and_what_is_not_possible_any_more_goes_at_its_end() {
    let cluster = cluster().await;
    let chrome = logged_in(&cluster, WIDE).await;
    chrome.goto(&url(&cluster, 0, JAIL)).await;
    chrome.type_into("ips", "203.0.113.7").await;
    chrome.press_in("#ban", "Ban").await;
    chrome.until("#messages .message", "Banned 203.0.113.7").await;
    chrome.until("#messages .message", "Unban it").await;
    let left = "return document.querySelector('#messages time[data-form=left]').textContent";
    let seen = RefCell::new(Vec::new());
    eventually("texts of a countdown", SOON, || async {
        let text = chrome.run(left).await.as_str()?.to_owned();
        let mut seen = seen.borrow_mut();
        if seen.last() != Some(&text) {
            seen.push(text);
        }
        (seen.len() > 3).then_some(())
    })
    .await;
    let seen = seen.into_inner();
    assert!(seen[1..].iter().all(|text| text.starts_with("9 min ") && text.ends_with(" s")), "{seen:?}");
    // Ten minutes later, for this page.
    chrome
        .run(
            "document.querySelector('#messages time[data-form=left]').dateTime = \
             new Date(Date.now() + 2000).toISOString()",
        )
        .await;
    chrome
        .until_run("the way back to go", "return document.querySelectorAll('#messages form').length", 0)
        .await;
    chrome.until("#messages .message", "Banned 203.0.113.7").await;
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_limited_counts_down_to_when_it_is_possible_and_is_not_sent_before() {
    let cluster = Cluster::bare(1).env("BANGUI_LOGIN_LIMIT", "1/60").set_up().await;
    let chrome = Chrome::start(WIDE).await;
    chrome.goto(&url(&cluster, 0, "/login")).await;
    for (place, says) in [("#password-error", "is wrong"), ("[role=alert]", "Too many attempts")] {
        chrome.type_into("password", "wrong").await;
        chrome.press("Log in").await;
        chrome.until(place, says).await;
    }
    chrome.until("[role=alert]", "Too many attempts from your address.").await;
    let button = "const button = document.querySelector('main form button'); return [button.ariaDisabled, button.textContent]";
    let other =
        |words: &str| format!("return document.querySelector('main form button').textContent !== '{words}'");
    let before = chrome.run(button).await;
    assert_eq!(before[0], "true");
    let words = before[1].as_str().unwrap().to_owned();
    assert!(words.starts_with("Log in, possible in "), "{words}");
    chrome.until_run("the next second", &other(&words), true).await;
    chrome.run("window.same = true").await;
    let words = chrome.run(button).await[1].as_str().unwrap().to_owned();
    chrome.press("Log in").await;
    chrome.until_run("the second after that", &other(&words), true).await;
    assert_eq!(chrome.run("return window.same").await, true, "it is not sent");
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_theme_follows_the_system_until_one_is_chosen() {
    let cluster = Cluster::bare(1).set_up().await;
    let chrome = logged_in(&cluster, WIDE).await;
    let ground = "return getComputedStyle(document.documentElement).backgroundColor";
    let grounds = ["rgb(243, 244, 246)", "rgb(14, 17, 20)", "rgb(255, 255, 255)", "rgb(0, 0, 0)"];
    for ((_, dark, contrast), expected) in SYSTEMS.into_iter().zip(grounds) {
        chrome.system(dark, contrast).await;
        assert_eq!(chrome.run(ground).await, expected);
    }
    chrome.system(true, false).await;
    chrome.goto(&url(&cluster, 0, "/account")).await;
    chrome.press_in("main", "Light").await;
    chrome.until_run("the light theme on a dark system", ground, grounds[0]).await;
    chrome.press_in("main", "As the system").await;
    chrome.until_run("the theme of the system", ground, grounds[1]).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_empty_says_what_is_so_and_what_to_do() {
    let (bare, cluster) = tokio::join!(Cluster::bare(1).set_up(), cluster());
    let nobody = "/servers/web-1/jails/nginx-botsearch";
    let lists: [(&Cluster, &str, &str, &str); 9] = [
        (&bare, "/", "There is no server yet.", "What to do next"),
        (&bare, "/jobs", "There are no jobs.", "Choose a jail to ban addresses in"),
        (&bare, "/addresses/203.0.113.7", "There is no server to ask yet.", ""),
        (&cluster, "/?q=nothing", "nothing", "Show all servers"),
        (&cluster, "/activity?kind=people&jail=none", "Nothing is listed here.", "Show everything"),
        (
            &cluster,
            nobody,
            "Nobody is banned in nginx-botsearch on web-1.",
            "To ban an address, use the form on this page.",
        ),
        (
            &cluster,
            "/servers/web-1/jails/nginx-botsearch?q=203",
            "No ban of nginx-botsearch begins with 203.",
            "Show all bans",
        ),
        (&cluster, nobody, "The list is empty: nginx-botsearch may ban any address.", "Add for good"),
        (&cluster, "/servers/db-2", "No jail is known on db-2.", "Add one in"),
    ];
    let chrome = logged_in(&bare, WIDE).await;
    let mut at = bare.workers[0].address;
    for (place, path, says, offers) in lists {
        if place.workers[0].address != at {
            at = place.workers[0].address;
            chrome.client.delete_all_cookies().await.unwrap();
            log_in(&chrome, place).await;
        }
        chrome.goto_until(&url(place, 0, path), "main", says).await;
        chrome.until("main", offers).await;
    }
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}
