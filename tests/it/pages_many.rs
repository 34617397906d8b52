//! Pages where there are many servers: none of which can be reached here, so that each is a row, and a finding.

use std::collections::BTreeSet;

use axum::http::Method;

use crate::support::agent::AGENT_TOKEN;
use crate::support::browser::{Browser, Page};
use crate::support::{Cluster, SOON, eventually};

const SERVERS: usize = 120;
/// The most bytes of a page, its style and its scripts left out.
const MOST: usize = 60_000;

/// A cluster with so many servers, and somebody who is logged in and sees that none can be reached.
async fn many() -> (Cluster, Browser) {
    // Nothing listens there.
    let servers: Vec<String> =
        (0..SERVERS).map(|n| format!("node-{n:03}=http://127.0.9.{}:1", n + 1)).collect();
    let cluster = Cluster::bare(1)
        .env("BANGUI_SERVERS", servers.join(","))
        .env("BANGUI_AGENT_TOKEN", AGENT_TOKEN)
        .set_up()
        .await;
    let mut user = Browser::new(cluster.workers[0].address);
    user.log_in().await;
    eventually("all to be probed", SOON, || {
        let mut user = user.clone();
        async move {
            let chips = user.get("/").await.texts(".chip");
            chips.contains(&format!("unreachable {SERVERS}")).then_some(())
        }
    })
    .await;
    (cluster, user)
}

/// What `of` finds on this page and all that follow it.
async fn pages(user: &mut Browser, first: Page, of: &str) -> Vec<Vec<String>> {
    let mut all = vec![first.texts(of)];
    let mut page = first;
    while let Some(next) = page.attribute("a[rel=next]", "href") {
        assert!(all.len() < 10, "there is no end to {next}");
        page = user.get(&next).await;
        assert!(page.expect(200).html.len() < MOST, "{} bytes", page.html.len());
        all.push(page.texts(of));
    }
    all
}

#[tokio::test]
async fn many_servers_are_paged_and_each_is_on_one_page() {
    let (_cluster, mut user) = many().await;
    let first = user.get("/").await;
    assert!(first.html.len() < MOST, "{} bytes", first.html.len());
    assert_eq!(first.texts(".attention li").len(), 6, "the first five, and how many more there are");
    let all = pages(&mut user, first, "tbody tr[data-row] th").await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [49, 50, 21], "a line is the head of the group");
    let all: BTreeSet<String> = all.into_iter().flatten().collect();
    assert_eq!(all.len(), SERVERS);
    // A word that all have in their name filters, and one that ten have as well.
    assert_eq!(user.get("/?q=node").await.texts(".chip")[0], format!("All {SERVERS}"));
    assert_eq!(user.get("/?q=NODE-03").await.texts("tbody tr[data-row] th").len(), 10);
    let live = [("x-bangui-live", "1"), ("accept", "application/json")];
    let parts = user.send(Method::GET, "/?page=2", None, &live).await.html;
    let parts: serde_json::Value = serde_json::from_str(&parts).unwrap();
    assert_eq!(parts["parts"]["node-060.word"][0], "unreachable", "{parts}");
}

#[tokio::test]
async fn of_many_findings_each_kind_is_one_line_that_leads_to_pages_of_its_own() {
    let (_cluster, mut user) = many().await;
    let page = user.get("/diagnosis").await;
    assert!(page.expect(200).html.len() < MOST, "{} bytes", page.html.len());
    let found: usize = page.text("[data-k=found]").parse().unwrap();
    assert!(found >= SERVERS, "{found}");
    let menu = user.get("/account").await.text(".places a[href='/diagnosis'] .count");
    assert_eq!(menu.parse::<usize>().unwrap(), found, "the menu counts each");
    let line = page.text("li[data-row='server-unreachable*']");
    assert!(line.contains("node-000 node-001") && line.contains("and 115 more servers"), "{line}");
    assert!(line.contains("The agent cannot be reached 120"), "{line}");
    assert_eq!(page.texts("li[data-row^='server-unreachable:']"), [""; 0]);

    let to = page.attribute("li[data-row='server-unreachable*'] a.button", "href").unwrap();
    let first = user.get(&to).await;
    assert!(first.expect(200).html.len() < MOST, "{} bytes", first.html.len());
    assert!(first.texts("button").contains(&"Check node-000 now".to_owned()), "{}", first.html);
    let all = pages(&mut user, first, "li[data-row] p:first-child a").await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 20]);
    assert_eq!(all.into_iter().flatten().collect::<BTreeSet<_>>().len(), SERVERS);

    let page = user.get("/diagnosis?kind=server-down").await;
    assert!(page.expect(200).text("main").contains("Nothing of this kind"), "{}", page.html);
    user.get("/diagnosis?kind=server-unreachable&page=99999999").await.expect(200);
}

#[tokio::test]
async fn the_page_of_a_server_shows_its_latest_events_however_many_others_there_are() {
    let (cluster, mut user) = many().await;
    let mut connection = cluster.redis.connection().await;
    let mut pipeline = redis::pipe();
    let mut add = |server: &str, ip: &str| {
        let facts = format!(r#"{{"jail":"web","ip":"{ip}"}}"#);
        let event = ["type", "ban.added", "server", server, "facts", &facts];
        pipeline.cmd("XADD").arg("{it}:events").arg("*").arg(&event).ignore();
    };
    for _ in 0..1_200 {
        add("node-001", "203.0.113.1");
    }
    add("node-000", "203.0.113.2");
    pipeline.query_async::<()>(&mut connection).await.unwrap();
    let page = user.get("/servers/node-000").await;
    assert!(page.expect(200).html.contains("203.0.113.2 banned in web"), "{}", page.html);
    assert!(!page.html.contains("203.0.113.1 "), "another's");
}
