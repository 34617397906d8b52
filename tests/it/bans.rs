//! Bans through the workers: made and lifted at a real fail2ban, listed and searched from Redis.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cluster::{SERVER, server_is};
use crate::support::event_stream::EventStream;
use crate::support::{Answer, Client, Cluster, SOON, eventually};

fn bans() -> String {
    format!("/api/v1/servers/{SERVER}/jails/web/bans")
}

async fn delete(client: &Client, path: &str) -> Answer {
    client.send(client.request(Method::DELETE, path)).await
}

/// The addresses of a page.
fn ips(page: &Answer) -> Vec<&str> {
    page.body["items"].as_array().unwrap().iter().map(|ban| ban["ip"].as_str().unwrap()).collect()
}

/// The list, once it has so many.
async fn listed(client: &Client, count: usize) -> Answer {
    eventually(&format!("{count} bans in the list"), SOON, || async {
        let page = client.get(&format!("{}?limit=1000", bans())).await;
        (page.expect(200).body["items"].as_array().unwrap().len() == count).then_some(page)
    })
    .await
}

/// A cluster with a slow schedule: whatever shows up soon was requested.
async fn cluster() -> (Cluster, Client) {
    let cluster =
        Cluster::with_fail2ban(2).jails(&["web"]).env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    (cluster, client)
}

#[tokio::test]
async fn bans_are_made_found_listed_and_lifted_at_any_worker() {
    let (mut cluster, client) = cluster().await;
    let other = client.at(cluster.workers[1].address);
    let banned = client
        .post(&bans(), json!({"ips": ["203.0.113.9", "2001:db8::9", "198.51.100.0/28", "203.0.113.9"]}))
        .await;
    let results = banned.expect(200).body["results"].as_array().unwrap();
    assert_eq!(results.len(), 3, "{}", banned.text);
    assert!(results.iter().all(|one| one["banned"] == true && one["changed"] == true), "{}", banned.text);
    assert!(cluster.fail2ban().bans("web", "2001:db8::9").await);
    let entry = other.get("/api/v1/audit?limit=1").await.expect(200).body["items"][0].clone();
    assert_eq!((&entry["what"], &entry["after"]["changed"]), (&json!("ban.add"), &json!(3)), "{entry}");

    let page = listed(&other, 3).await;
    assert_eq!(ips(&page), ["198.51.100.0/28", "2001:db8::9", "203.0.113.9"]);
    assert!(page.body["read_at"].is_string() && page.body["next_cursor"].is_null(), "{}", page.text);
    assert!(page.body["items"][0]["expires_at"].is_string(), "{}", page.text);
    let found = other.get("/api/v1/bans/203.0.113.9").await;
    let place = &found.expect(200).body["banned"][0];
    assert_eq!((&place["server"], &place["jail"]), (&json!(SERVER), &json!("web")), "{}", found.text);
    assert_eq!(found.body["unanswered"], json!([]));

    let lifted = delete(&other, &format!("{}/198.51.100.0%2F28", bans())).await;
    assert_eq!((&lifted.expect(200).body["results"][0]["banned"]), &json!(false), "{}", lifted.text);
    listed(&client, 2).await;
    let all = delete(&client, &bans()).await;
    assert_eq!(all.expect(200).body, json!({"unbanned": 2, "remaining": 0}));
    listed(&other, 0).await;
    assert_eq!(client.get("/api/v1/bans/203.0.113.9").await.body["banned"], json!([]));
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_is_searched_by_the_beginning_of_an_address() {
    let (_cluster, client) = cluster().await;
    let many: Vec<String> = (0..130).map(|n| format!("203.0.113.{n}")).collect();
    for some in many.chunks(100) {
        let banned = client.post(&bans(), json!({ "ips": some })).await;
        assert_eq!(banned.expect(200).body["results"].as_array().map(Vec::len), Some(some.len()));
    }
    listed(&client, 130).await;
    let mut seen = Vec::new();
    let mut path = format!("{}?limit=40", bans());
    loop {
        let page = client.get(&path).await;
        seen.extend(ips(page.expect(200)).into_iter().map(str::to_owned));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("{}?limit=40&cursor={cursor}", bans());
    }
    let mut expected = many;
    expected.sort();
    assert_eq!(seen, expected, "no gaps, no repeats");
    let some = client.get(&format!("{}?q=203.0.113.12", bans())).await;
    let tens: Vec<String> = (0..10).map(|n| format!("203.0.113.12{n}")).collect();
    assert_eq!(ips(some.expect(200))[1..], tens);
    let rest = client.get(&format!("{}?q=203.0.113.12&cursor=203.0.113.128&limit=5", bans())).await;
    assert_eq!(ips(rest.expect(200)), ["203.0.113.129"]);
    for wrong in ["q=%0A", "limit=0", "limit=1001", "cursor=%00"] {
        client.get(&format!("{}?{wrong}", bans())).await.problem(400);
    }
}

#[tokio::test]
async fn what_would_lock_out_the_caller_or_is_no_address_is_refused_before_anything_is_banned() {
    let (mut cluster, client) = cluster().await;
    for own in ["127.0.0.1", "127.0.0.0/8", "::1", "0.0.0.0/0", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
        let refused = client.post(&bans(), json!({"ips": ["203.0.113.5", own]})).await;
        assert_eq!(refused.problem(422), "ban-needs-force");
    }
    for crowd in [json!(["128.0.0.0/1"]), json!(["8.0.0.0/8", "9.0.0.0/8"]), json!(["2000::/3"])] {
        let refused = client.post(&bans(), json!({ "ips": crowd })).await;
        assert_eq!(refused.problem(422), "ban-needs-force");
        assert!(refused.text.contains("contains ordinary users"), "{}", refused.text);
    }
    for nobody in ["0.0.0.0", "::", "255.255.255.255", "224.0.0.0/4", "ff02::1", "::ffff:0.0.0.0"] {
        let body = json!({ "ips": ["203.0.113.5", nobody], "force": true });
        let refused = client.post(&bans(), body).await;
        assert_eq!(refused.problem(422), "invalid-request");
        assert!(refused.text.contains("no host has this address"), "{}", refused.text);
    }
    for bad in [json!(["localhost"]), json!(["203.0.113.5\n[DEFAULT]"]), json!([]), json!(["%(x)s"])] {
        client.post(&bans(), json!({ "ips": bad })).await.problem(422);
    }
    let refused = client.post(&bans(), json!({"ips": ["203.0.113.5", "127.1"]})).await;
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("`ips[1]`") && detail.contains("neither an address nor a network"), "{detail}");
    assert!(!cluster.fail2ban().bans("web", "203.0.113.5").await);
    let forced = client.post(&bans(), json!({"ips": ["127.0.0.9"], "force": true})).await;
    assert_eq!(forced.expect(200).body["results"][0]["banned"], true);
    client.post(&bans().replace("/web/", "/nothing/"), json!({"ips": ["203.0.113.5"]})).await.problem(404);
    delete(&client, &format!("{}/nonsense", bans())).await.problem(404);
}

#[tokio::test]
async fn a_mapped_address_is_the_ipv4_address_wherever_it_is_named() {
    let (mut cluster, client) = cluster().await;
    let banned = client.post(&bans(), json!({"ips": ["::ffff:198.51.100.9", "198.51.100.9"]})).await;
    let one = json!([{"ip": "198.51.100.9", "banned": true, "changed": true, "error": null}]);
    assert_eq!(banned.expect(200).body["results"], one);
    listed(&client, 1).await;
    for q in ["::ffff:198.51.100.9", "::FFFF:198.51."] {
        assert_eq!(ips(&client.get(&format!("{}?q={q}", bans())).await), ["198.51.100.9"], "{q}");
    }
    let found = client.get("/api/v1/bans/::ffff:198.51.100.9").await;
    let place = &found.expect(200).body["banned"][0];
    assert_eq!((&place["jail"], &place["ban"]), (&json!("web"), &json!("198.51.100.9")), "{}", found.text);
    let lifted = delete(&client, &format!("{}/::ffff:198.51.100.9", bans())).await;
    let one = json!([{"ip": "198.51.100.9", "banned": false, "changed": true, "error": null}]);
    assert_eq!(lifted.expect(200).body["results"], one);
    assert!(!cluster.fail2ban().bans("web", "198.51.100.9").await);
    let ignored = format!("/api/v1/servers/{SERVER}/jails/web/ignore");
    let ignored = client.post(&ignored, json!({"network": "::ffff:198.51.100.0/120"})).await;
    assert_eq!(ignored.expect(200).body["ignoreip"], json!(["198.51.100.0/24"]), "{}", ignored.text);
}

#[tokio::test]
async fn a_ban_of_something_else_than_an_address_is_shown_searched_and_lifted() {
    let (mut cluster, client) = cluster().await;
    client.post(&bans(), json!({"ips": ["203.0.113.9", "198.51.100.0/24"]})).await.expect(200);
    cluster.fail2ban().command(&["set", "web", "banip", "mallory"]).await;
    client.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
    let page = listed(&client, 3).await;
    let kinds: Vec<_> = page.body["items"].as_array().unwrap().iter().map(|ban| &ban["kind"]).collect();
    assert_eq!(ips(&page), ["198.51.100.0/24", "203.0.113.9", "mallory"]);
    assert_eq!(kinds, ["network", "address", "other"]);
    assert_eq!(ips(&client.get(&format!("{}?q=mal", bans())).await), ["mallory"]);
    let all = delete(&client, &bans()).await;
    assert_eq!(all.expect(200).body, json!({"unbanned": 3, "remaining": 0}));
    listed(&client, 0).await;
}

#[tokio::test]
async fn bans_that_came_and_went_before_anybody_looked_are_in_the_events() {
    let (cluster, client) = cluster().await;
    client.post(&bans(), json!({"ips": ["203.0.113.200"]})).await.expect(200);
    listed(&client, 1).await;
    let ips: Vec<String> = (0..20).map(|n| format!("203.0.113.{n}")).collect();
    // No list is read in between: the leader is paused.
    let leader = client.get("/api/v1/cluster").await.body["lease"]["holder"].clone();
    let at = cluster.workers.iter().position(|worker| {
        worker.log().iter().any(|line| line.to_string().contains(leader.as_str().unwrap()))
    });
    let at = at.unwrap();
    let follower = client.at(cluster.workers[1 - at].address);
    let mut stream = EventStream::open(&follower, None).await;
    cluster.workers[at].pause();
    follower.post(&bans(), json!({ "ips": ips })).await.expect(200);
    follower.post(&bans().replace("/bans", "/unban"), json!({ "ips": ips })).await.expect(200);
    cluster.workers[at].resume();
    let mut seen = std::collections::BTreeMap::<String, Vec<String>>::new();
    while seen.values().map(Vec::len).sum::<usize>() < 40 {
        let came = stream.next().await.unwrap();
        if came.kind.starts_with("ban.") {
            let ip = came.data["facts"]["ip"].as_str().unwrap_or_else(|| panic!("{came:?}")).to_owned();
            seen.entry(ip).or_default().push(came.kind);
        }
    }
    assert_eq!(seen.len(), 20, "{seen:?}");
    assert!(seen.values().all(|kinds| *kinds == ["ban.added", "ban.removed"]), "{seen:?}");
}

#[tokio::test]
async fn a_list_is_read_only_when_the_counts_have_changed_and_a_new_leader_takes_over_what_there_is() {
    let (cluster, client) = cluster().await;
    client.post(&bans(), json!({"ips": ["203.0.113.9"]})).await.expect(200);
    let before = listed(&client, 1).await.body["read_at"].clone();
    let probe = format!("/api/v1/servers/{SERVER}/probe");
    let revision = async || client.get(&format!("/api/v1/servers/{SERVER}")).await.body["revision"].as_u64();
    let probed = async |client: &Client| {
        let old = revision().await;
        client.post(&probe, json!({})).await.expect(202);
        eventually("a probe", SOON, || async { (revision().await > old).then_some(()) }).await;
    };
    probed(&client).await;
    assert_eq!(client.get(&bans()).await.body["read_at"], before, "nothing has changed");

    // The leader ends, and the other worker reads nothing that is known already.
    let cluster_view = client.get("/api/v1/cluster").await.body["lease"]["holder"].clone();
    let leader = cluster.workers.iter().position(|worker| {
        worker.log().iter().any(|line| line.to_string().contains(cluster_view.as_str().unwrap()))
    });
    let leader = leader.unwrap();
    cluster.workers[leader].terminate();
    let client = client.at(cluster.workers[1 - leader].address);
    eventually("another leader", SOON, || async {
        let view = client.get("/api/v1/cluster").await;
        (view.body["lease"]["holder"].is_string() && view.body["lease"]["holder"] != cluster_view)
            .then_some(())
    })
    .await;
    client.post(&bans(), json!({"ips": ["203.0.113.10"]})).await.expect(200);
    let after = listed(&client, 2).await.body["read_at"].clone();
    assert_ne!(after, before);
}

#[tokio::test]
async fn a_jail_that_is_gone_loses_its_list_and_one_whose_server_is_away_keeps_it() {
    let (mut cluster, client) = cluster().await;
    client.post(&bans(), json!({"ips": ["203.0.113.9"]})).await.expect(200);
    listed(&client, 1).await;
    let probe = format!("/api/v1/servers/{SERVER}/probe");
    cluster.fail2ban().kill();
    client.post(&probe, json!({})).await.expect(202);
    server_is(&client, "down").await;
    assert_eq!(ips(&client.get(&bans()).await), ["203.0.113.9"]);
    cluster.fail2ban().start_again().await;
    client.post(&probe, json!({})).await.expect(202);
    server_is(&client, "up").await;
    cluster.fail2ban().command(&["stop", "web"]).await;
    client.post(&probe, json!({})).await.expect(202);
    eventually("no list any more", SOON, || async {
        let page = client.get(&bans()).await;
        (page.expect(200).body["read_at"].is_null() && ips(&page).is_empty()).then_some(())
    })
    .await;
    let keys = cluster.redis.keys().await;
    let left: Vec<_> =
        keys.iter().map(|key| String::from_utf8_lossy(key)).filter(|key| key.contains("/web")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_named_where_an_address_is_looked_up() {
    let (mut cluster, client) = cluster().await;
    client.post(&bans(), json!({"ips": ["203.0.113.9"]})).await.expect(200);
    listed(&client, 1).await;
    cluster.agent().kill();
    let found = client.get("/api/v1/bans/203.0.113.9").await;
    assert_eq!(found.expect(200).body["banned"], Value::Array(vec![]));
    assert_eq!(found.body["unanswered"][0]["server"], SERVER, "{}", found.text);
    let refused = client.post(&bans(), json!({"ips": ["203.0.113.10"]})).await;
    assert_eq!(refused.problem(502), "agent-unreachable");
    assert_eq!(ips(&client.get(&bans()).await), ["203.0.113.9"], "the list is still served");
}
