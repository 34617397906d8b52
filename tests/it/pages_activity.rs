//! What happened and what people did as one list, in a browser without JavaScript, on two workers.

use std::collections::BTreeMap;

use serde_json::json;

use crate::pages_operations::{HOSTILE, browser, confirmed};
use crate::support::cluster::{PREFIX, server_is};
use crate::support::{Cluster, SOON, eventually};

#[tokio::test]
async fn what_happens_and_what_people_did_are_one_list_that_links_filter() {
    let mut cluster = Cluster::with_fail2ban(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let mut user = confirmed(&cluster, 0).await;
    let page = user.get("/settings").await;
    user.submit(&page, "#settings", &[("session_idle_seconds", "1200")], "Save").await.expect(303);
    // What the first list has is no event.
    eventually("the first list of bans", SOON, || async {
        client.get("/api/v1/servers/web-1/jails/app/bans").await.body["read_at"].is_string().then_some(())
    })
    .await;
    let ban = client.post("/api/v1/servers/web-1/jails/app/bans", json!({ "ips": ["203.0.113.77"] })).await;
    ban.expect(200);
    cluster.agent();
    let mut user = user.at(cluster.workers[1].address);
    let page = eventually("the ban to be listed", SOON, || {
        let mut user = user.clone();
        async move {
            let page = user.get("/activity?kind=bans").await;
            page.expect(200)
                .texts("tr.event")
                .first()
                .is_some_and(|row| row.contains("203.0.113.77"))
                .then_some(page)
        }
    })
    .await;
    assert!(page.texts("tr.deed").is_empty(), "bans are events alone");
    let all = user.get("/activity").await;
    assert!(all.texts("tr.event").iter().any(|row| row.contains("203.0.113.77")), "{}", all.html);
    let deed = all.texts("tr.deed").into_iter().find(|row| row.contains("changed settings")).unwrap();
    assert!(deed.contains("admin (from 127.0.0.1) changed settings"), "{deed}");
    assert!(deed.contains("session_idle_seconds: 1800 → 1200"), "before and after: {deed}");
    let people = user.get("/activity?kind=people").await;
    assert!(people.texts("tr.event").is_empty() && !people.texts("tr.deed").is_empty());
    let of = user.get("/activity?server=web-1&jail=app&address=203.0.113.77").await;
    assert!(of.texts("tbody tr").iter().all(|row| row.contains("203.0.113.77")), "{}", of.html);
    assert_eq!(
        of.texts("nav[aria-label='Filters that are on'] .chip"),
        ["server web-1", "jail app", "address 203.0.113.77"]
    );
    let none = user.get("/activity?server=web-2").await;
    assert!(none.text(".empty").contains("Nothing is listed here."), "{}", none.html);

    for hostile in HOSTILE {
        for name in ["kind", "server", "jail", "address"] {
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair(name, hostile).finish();
            let page = user.get(&format!("/activity?{query}")).await;
            let status = if name == "kind" { 400 } else { 200 };
            assert!(
                !page.expect(status).html.contains("<script>alert") && !page.html.contains("<b>x"),
                "{name}"
            );
        }
    }
    user.get("/activity?before=%3Cb%3E").await.expect(400);
}

#[tokio::test]
async fn older_pages_of_what_happened_follow_without_a_gap_or_a_repetition() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let client = cluster.client(0).logged_in().await;
    for n in 0..60 {
        let patch = json!({ "probe_interval_seconds": 2 + n });
        client.patch("/api/v1/settings", "*", patch).await.expect(200);
    }
    // Each change is an event and an entry of the audit.
    let (mut path, mut rows, mut pages) = ("/activity".to_owned(), Vec::new(), 0);
    loop {
        let mut user = user.at(cluster.workers[pages % 2].address);
        let page = user.get(&path).await;
        let html = page.expect(200).html.clone();
        rows.extend(
            html.split(" data-row=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()),
        );
        pages += 1;
        match page.attribute("a[rel=next]", "href") {
            Some(older) if pages < 10 => path = older,
            _ => break,
        }
    }
    assert!((2..10).contains(&pages), "{pages}");
    let deeds = rows.iter().filter(|row| row.ends_with("-deed")).count();
    assert!(deeds >= 60 && rows.len() - deeds >= 60, "{deeds} of {}", rows.len());
    let mut once = rows.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), rows.len(), "a line is there twice");
    let places: Vec<_> =
        rows.iter().map(|row| bangui::store::StreamId::parse(row.trim_end_matches("-deed"))).collect();
    assert!(places.is_sorted_by(|newer, older| newer >= older), "{places:?}");
}

#[tokio::test]
async fn entries_of_several_trails_with_one_id_are_all_on_a_page_wherever_it_ends() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    // Beyond all others, so that no entry comes in between.
    let first = 9_999_999_999_000_u64;
    for n in 0..120 {
        let id = format!("{}-0", first + n);
        for stream in ["audit-changes", "audit", "audit-refusals"] {
            let key = format!("{{{PREFIX}}}:{stream}");
            let words = ["XADD", &key, &id, "what", "jail.activate", "user", "admin", "outcome", "done"];
            let _: String = cluster.redis.command(&words).await;
        }
    }
    for kind in ["", "?kind=people"] {
        let (mut path, mut seen, mut pages) = (format!("/activity{kind}"), BTreeMap::new(), 0);
        loop {
            let page = user.at(cluster.workers[pages % 2].address).get(&path).await;
            for row in page.expect(200).html.split(" data-row=\"").skip(1) {
                *seen.entry(row.split('"').next().unwrap().to_owned()).or_insert(0) += 1;
            }
            pages += 1;
            match page.attribute("a[rel=next]", "href") {
                Some(older) if pages < 20 => path = older,
                _ => break,
            }
        }
        let of = |n: u64| seen.get(&format!("{}-0-deed", first + n)).copied().unwrap_or_default();
        let lost: Vec<(u64, usize)> = (0..120).map(|n| (n, of(n))).filter(|(_, times)| *times != 3).collect();
        assert!(lost.is_empty() && pages > 3, "{kind}, {pages} pages: {lost:?}");
    }
}
