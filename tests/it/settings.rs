//! Settings: shown with where they come from, changed only by a user who saw the newest version, in force on every worker at
//! once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cluster::server_is;
use crate::support::proxy::Mode;
use crate::support::{Answer, Client, Cluster, PASSWORD, SOON, eventually};

const SETTINGS: &str = "/api/v1/settings";

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

/// Changes settings on whatever they are now; the answer.
async fn change(client: &Client, patch: Value) -> Answer {
    let now = etag(client.get(SETTINGS).await.expect(200));
    let answer = client.patch(SETTINGS, &now, patch).await;
    answer.expect(200);
    assert_ne!(etag(&answer), now);
    answer
}

#[tokio::test]
async fn every_setting_shows_its_value_and_where_it_comes_from() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await.confirmed().await;
    let shown = client.get(SETTINGS).await;
    let setting = |value: Value, origin: &str| json!({ "value": value, "origin": origin });
    // Settings that the tests set, and settings that nobody set.
    assert_eq!(
        shown.expect(200).body,
        json!({
            "session_idle_seconds": setting(1800.into(), "default"),
            "session_absolute_seconds": setting(43_200.into(), "default"),
            "session_cache_enabled": setting(false.into(), "default"),
            "session_cache_ttl_seconds": setting(5.into(), "default"),
            "probe_interval_seconds": setting(1.into(), "environment"),
            "activation_crash_window_seconds": setting(60.into(), "default"),
            "login_limit": setting("100000/1".into(), "environment"),
            "login_failure_limit": setting("100000/1".into(), "environment"),
            "second_factor_roles": setting("".into(), "default"),
        })
    );
    let first = etag(&shown);
    let patch = json!({ "probe_interval_seconds": 3, "login_limit": "50/10" });
    let changed = client.patch(SETTINGS, &first, patch).await;
    changed.expect(200);
    assert_eq!(changed.body["probe_interval_seconds"], setting(3.into(), "runtime"));

    // Any other worker shows it at once, a second change is merged into the first, and `null` puts one back.
    let other = client.at(cluster.workers[1].address);
    assert_eq!(other.get(SETTINGS).await.body, changed.body);
    let merged = change(&other, json!({ "session_idle_seconds": 600, "probe_interval_seconds": null })).await;
    assert_eq!(merged.body["probe_interval_seconds"], setting(1.into(), "environment"));
    assert_eq!(merged.body["login_limit"], setting("50/10".into(), "runtime"));
    assert_eq!(merged.body["session_idle_seconds"], setting(600.into(), "runtime"));
    assert_eq!(client.get(SETTINGS).await.body, merged.body);

    // What changes nothing is no change.
    let same = client.patch(SETTINGS, "*", json!({ "session_idle_seconds": 600 })).await;
    assert_eq!((etag(&same), &same.body), (etag(&merged), &merged.body));
    assert_eq!(etag(client.patch(SETTINGS, "*", json!({})).await.expect(200)), etag(&merged));
}

#[tokio::test]
async fn a_change_names_what_it_was_made_on_and_is_taken_whole_or_not_at_all() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let first = etag(&client.get(SETTINGS).await);
    let before = change(&client, json!({ "probe_interval_seconds": 2 })).await;
    let patch = json!({ "probe_interval_seconds": 9 });

    let missing = client.send(client.request(Method::PATCH, SETTINGS).json(&patch)).await;
    assert_eq!(missing.problem(428), "if-match-required");
    let other = client.at(cluster.workers[1].address);
    for tag in [first.as_str(), "2", "W/\"1\"", "", "\"nonsense\""] {
        assert_eq!(other.patch(SETTINGS, tag, patch.clone()).await.problem(412), "settings-changed", "{tag}");
    }
    let wrong = json!({ "probe_interval_seconds": 9, "listen": "0.0.0.0:1", "login_limit": "ten" });
    let refused = other.patch(SETTINGS, "*", wrong).await;
    assert_eq!(refused.problem(422), "invalid-settings");
    let names: Vec<&str> =
        refused.body["mistakes"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["listen", "login_limit"]);
    // Each alone is fine, and together they are not.
    let quarrel = other.patch(SETTINGS, "*", json!({ "session_idle_seconds": 50_000 })).await;
    assert_eq!(quarrel.problem(422), "invalid-settings");
    for body in [json!([]), json!(null), json!("x"), json!([["probe_interval_seconds", 9]])] {
        other.patch(SETTINGS, "*", body).await.problem(422);
    }
    let after = client.get(SETTINGS).await;
    assert_eq!((etag(&after), after.body), (etag(&before), before.body));
    client.anonymous().get(SETTINGS).await.problem(401);
}

#[tokio::test]
async fn of_changes_made_on_the_same_revision_on_two_workers_one_is_taken() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await.confirmed().await;
    for round in 0..5 {
        let seen = etag(&client.get(SETTINGS).await);
        let answers = join_all((0..10).map(|n| {
            let client = client.at(cluster.workers[n % 2].address);
            let seen = seen.clone();
            async move {
                client.patch(SETTINGS, &seen, json!({ "session_idle_seconds": 100 + round * 10 + n })).await
            }
        }))
        .await;
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        for lost in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(lost.problem(412), "settings-changed");
        }
        assert_eq!(client.get(SETTINGS).await.body, won[0].body);
    }
}

#[tokio::test]
async fn a_change_is_in_force_on_every_worker_without_a_restart() {
    let cluster = Cluster::bare(3).set_up().await;
    let client = cluster.client(0).logged_in().await.confirmed().await;
    for round in 0..5 {
        // The limit refuses the third attempt; then it is as high as before.
        change(&client, json!({ "login_limit": format!("{}/3600", 2 + round) })).await;
        for worker in &cluster.workers {
            eventually("the limit to refuse", SOON, || async {
                let answer = worker.client().post("/api/v1/session", json!({ "password": PASSWORD })).await;
                (answer.status == 429).then_some(())
            })
            .await;
        }
        change(&client, json!({ "login_limit": null })).await;
        for worker in &cluster.workers {
            eventually("the limit to be wide again", SOON, || async {
                let answer = worker.client().post("/api/v1/session", json!({ "password": PASSWORD })).await;
                (answer.status == 201).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_worker_that_was_cut_off_or_started_later_runs_by_what_is_stored() {
    let mut cluster = Cluster::bare(1).proxied().set_up().await;
    let mut past = cluster.environment.clone();
    past.insert("BANGUI_REDIS_URL".to_owned(), cluster.redis.url());
    let client = cluster.client(0).logged_in().await.confirmed().await;
    let beside = crate::support::worker::Worker::start("worker past the proxy", &past).await;
    beside.ready(SOON).await;
    cluster.proxy.as_ref().unwrap().set(Mode::BlackHole);
    change(&client.at(beside.address), json!({ "session_idle_seconds": 1000 })).await;
    cluster.proxy.as_ref().unwrap().set(Mode::Pass);
    let late = cluster.add_worker().await;
    for n in [0, late] {
        eventually("the idle time that was set", SOON, || async {
            let answer = client.at(cluster.workers[n].address).get("/api/v1/session").await;
            if answer.status != 200 {
                return None;
            }
            let time = |field: &str| {
                chrono::DateTime::parse_from_rfc3339(answer.body[field].as_str().unwrap()).unwrap()
            };
            ((time("idle_expires_at") - time("last_seen_at")).num_seconds() == 1000).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_shorter_life_ends_sessions_that_were_begun_before_and_a_shorter_interval_does_not_wait() {
    let cluster = Cluster::with_fail2ban(2).env("BANGUI_PROBE_INTERVAL_SECONDS", 3600).set_up().await;
    let client = cluster.client(0).logged_in().await.confirmed().await;
    server_is(&client, "up").await;
    let runs = async || {
        let cluster = client.get("/api/v1/cluster").await.body;
        let jobs = cluster["jobs"].as_array().unwrap().clone();
        jobs.iter().find(|job| job["name"] == "probe").and_then(|job| job["runs"].as_u64()).unwrap_or(0)
    };
    let before = runs().await;
    change(&client, json!({ "probe_interval_seconds": 1 })).await;
    let began = Instant::now();
    eventually("two more probes", Duration::from_secs(4), || async {
        (runs().await >= before + 2).then_some(())
    })
    .await;
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());

    let old = cluster.client(1).logged_in().await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    change(&client, json!({ "session_absolute_seconds": 2, "session_idle_seconds": 2 })).await;
    eventually("the old session to be over", SOON, || async {
        (old.get("/api/v1/session").await.status == 401).then_some(())
    })
    .await;
    assert_eq!(
        cluster.client(0).logged_in().await.get("/api/v1/sessions").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_change_is_in_the_audit_with_who_where_before_and_after() {
    let cluster = Cluster::bare(2).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1").set_up().await;
    let client = cluster.client(1).logged_in().await.confirmed().await;
    let session = client.get("/api/v1/session").await.body["id"].clone();
    for n in 1..=5 {
        let request = client.request(Method::PATCH, SETTINGS).header("X-Forwarded-For", "203.0.113.7");
        let body = json!({ "session_idle_seconds": 100 * n });
        client.send(request.header("If-Match", "*").json(&body)).await.expect(200);
    }
    client.patch(SETTINGS, "*", json!({ "session_idle_seconds": 0 })).await.problem(422);

    let reader = client.at(cluster.workers[0].address);
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = reader.get(&format!("/api/v1/audit?limit=2{cursor}")).await;
        let items = page.expect(200).body["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        found.extend(items.iter().filter(|item| item["what"] == "settings.change").cloned());
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let idle: Vec<u64> =
        found.iter().map(|item| item["after"]["session_idle_seconds"].as_u64().unwrap()).collect();
    assert_eq!(idle, [500, 400, 300, 200, 100], "the newest first, each once, and none that was refused");
    let newest = &found[0];
    assert_eq!(newest["before"], json!({ "session_idle_seconds": 400 }));
    for (field, value) in [
        ("username", json!("admin")),
        ("session", session),
        ("ip", json!("203.0.113.7")),
        ("target", Value::Null),
        ("outcome", json!("done")),
    ] {
        assert_eq!(newest[field], value, "{field}: {newest}");
    }
    let worker = client.get("/healthz").await.headers["x-bangui-worker"].to_str().unwrap().to_owned();
    assert_eq!(newest["worker"], worker);
    let at = chrono::DateTime::parse_from_rfc3339(newest["at"].as_str().unwrap()).unwrap();
    assert!((chrono::Local::now().fixed_offset() - at).num_seconds().abs() < 60);

    assert_eq!(reader.get("/api/v1/audit?cursor=0-0").await.expect(200).body["items"], json!([]));
    for bad in ["cursor=x", "cursor=1", "limit=0", "limit=201", "limit=x"] {
        reader.get(&format!("/api/v1/audit?{bad}")).await.problem(400);
    }
    reader.anonymous().get("/api/v1/audit").await.problem(401);
}

#[tokio::test]
async fn a_change_is_published_as_an_event_in_the_same_step() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    change(&client, json!({ "probe_interval_seconds": 7 })).await;
    let events: redis::streams::StreamRangeReply =
        cluster.redis.command(&["XREVRANGE", "{it}:events", "+", "-", "COUNT", "1"]).await;
    let field = |name: &str| events.ids[0].get::<String>(name).unwrap();
    assert_eq!(field("type"), "settings.changed");
    let facts: Value = serde_json::from_str(&field("facts")).unwrap();
    assert_eq!(
        facts,
        json!({ "revision": 1, "before": { "probe_interval_seconds": 1 }, "after": { "probe_interval_seconds": 7 } })
    );
}
