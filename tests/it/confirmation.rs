//! What a stolen session cannot do: changes that let somebody in, or keep the owner out, need the password again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::redis::MonitoredCommand;
use crate::support::rounds::holds;
use crate::support::{Answer, Client, Cluster, PASSWORD, SOON, eventually};

const SETTINGS: &str = "/api/v1/settings";
const NEW: &str = "another password altogether";

/// The changes that need a confirmation.
fn sensitive() -> [Value; 4] {
    [
        json!({ "login_limit": "1000/1" }),
        json!({ "login_failure_limit": "1000/1" }),
        json!({ "session_idle_seconds": 86_400, "session_absolute_seconds": 86_400 }),
        json!({ "probe_interval_seconds": 7, "session_absolute_seconds": 90_000 }),
    ]
}

fn refused(answer: &Answer) {
    assert_eq!(answer.problem(403), "confirmation-required", "{}", answer.text);
    assert!(answer.cookies().is_empty(), "the session lives: {answer:?}");
}

#[tokio::test]
async fn a_stolen_session_neither_widens_limits_nor_lengthens_lives_nor_throws_its_owner_out() {
    let cluster = Cluster::bare(2).set_up().await;
    let (stolen, owner) = (cluster.client(0).logged_in().await, cluster.client(1).logged_in().await);
    let before = owner.get(SETTINGS).await.body;
    for patch in sensitive() {
        refused(&stolen.patch(SETTINGS, "*", patch).await);
    }
    refused(&stolen.delete("/api/v1/sessions").await);
    refused(&stolen.delete("/api/v1/sessions?keep_current=true").await);
    let id = owner.get("/api/v1/session").await.body["id"].as_str().unwrap().to_owned();
    refused(&stolen.delete(&format!("/api/v1/sessions/{id}")).await);
    assert_eq!(owner.get(SETTINGS).await.expect(200).body, before);
    // Other changes work without it.
    stolen.patch(SETTINGS, "*", json!({ "probe_interval_seconds": 7 })).await.expect(200);
    assert_eq!(stolen.confirm("a wrong password").await.problem(403), "wrong-password");
    refused(&stolen.delete("/api/v1/sessions").await);
    owner.get("/api/v1/session").await.expect(200);
    let own = stolen.get("/api/v1/session").await.body["id"].as_str().unwrap().to_owned();
    stolen.anonymous().confirm(PASSWORD).await.problem(401);
    stolen.delete(&format!("/api/v1/sessions/{own}")).await.expect(204);
}

#[tokio::test]
async fn a_confirmation_is_good_on_every_worker_for_its_own_session_and_for_five_minutes() {
    let cluster = Cluster::bare(2).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    for n in 0..2 {
        holds(&cluster.client(n), true).await;
    }
    let (one, other) = (cluster.client(0).logged_in().await, cluster.client(0).logged_in().await);
    let at = |client: &Client, n: usize| client.at(cluster.workers[n].address);
    // The near caches still have both sessions as they were.
    for client in [&one, &other] {
        for _ in 0..2 {
            at(client, 0).get("/api/v1/session").await.expect(200);
            at(client, 1).get("/api/v1/session").await.expect(200);
        }
        refused(&at(client, 1).patch(SETTINGS, "*", json!({ "login_limit": "999/1" })).await);
    }
    one.confirm(PASSWORD).await.expect(204);
    for (n, patch) in sensitive().into_iter().enumerate() {
        at(&one, n % 2).patch(SETTINGS, "*", patch.clone()).await.expect(200);
        refused(
            &at(&other, n % 2).patch(SETTINGS, "*", json!({ "login_limit": format!("{}/1", 500 + n) })).await,
        );
    }
    let keys: Vec<Vec<u8>> = cluster.redis.keys().await;
    let confirmed: Vec<_> = keys.iter().filter(|key| key.starts_with(b"{it}:confirmed:")).collect();
    let [key] = confirmed[..] else { panic!("{} confirmations", confirmed.len()) };
    let mut connection = cluster.redis.connection().await;
    let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.unwrap();
    assert!((240_000..=300_000).contains(&left), "{left} ms");
    let _: i64 = redis::cmd("PEXPIRE").arg(key).arg(1).query_async(&mut connection).await.unwrap();
    eventually("the five minutes to be over", SOON, || async {
        let answer = at(&one, 1).delete("/api/v1/sessions?keep_current=true").await;
        (answer.status == 403).then(|| refused(&answer))
    })
    .await;
}

#[tokio::test]
async fn a_confirmation_ends_with_its_session_and_does_not_pass_to_its_renewed_token() {
    let cluster = Cluster::bare(2).set_up().await;
    let one = cluster.client(0).logged_in().await.confirmed().await;
    let renewed = one.change_password(PASSWORD, NEW).await;
    one.at(cluster.workers[1].address).delete("/api/v1/sessions").await.problem(401);
    refused(&renewed.at(cluster.workers[1].address).delete("/api/v1/sessions").await);
    renewed.confirm(NEW).await.expect(204);
    renewed.delete("/api/v1/session").await.expect(204);
    renewed.delete("/api/v1/sessions").await.problem(401);
}

#[tokio::test]
async fn a_stolen_session_cannot_be_used_to_guess_the_password_by_confirming() {
    let cluster = Cluster::bare(2).env("BANGUI_LOGIN_LIMIT", "4/3600").set_up().await;
    let client = cluster.client(0).logged_in().await;
    for n in 0..3 {
        client.at(cluster.workers[n % 2].address).confirm("a wrong password").await.problem(403);
    }
    assert_eq!(client.confirm(PASSWORD).await.problem(429), "rate-limited");
    client.get("/api/v1/session").await.expect(200);
    refused(&client.delete("/api/v1/sessions").await);
}

#[tokio::test]
async fn a_check_of_a_confirmed_session_costs_redis_no_more_and_a_sensitive_change_one_command() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await.confirmed().await;
    client.get("/api/v1/session").await.expect(200);
    let count = async |request: &dyn Fn() -> reqwest::RequestBuilder| {
        let monitor = cluster.redis.monitor().await;
        for _ in 0..50 {
            client.send(request()).await.expect(200);
        }
        let mut names = BTreeMap::new();
        for seen in monitor.stop(&cluster.redis).await {
            *names.entry(MonitoredCommand::name(&seen.command)).or_insert(0) += 1;
        }
        names
    };
    let checked = count(&|| client.request(reqwest::Method::GET, "/api/v1/session")).await;
    assert_eq!((checked.get("MGET"), checked.get("EXISTS")), (Some(&50), None), "{checked:?}");
    let n = std::sync::atomic::AtomicU32::new(1);
    let changed = count(&|| {
        let limit = format!("{}/1", 1_000 + n.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let patch = client.request(reqwest::Method::PATCH, SETTINGS).header("if-match", "*");
        patch.json(&json!({ "login_limit": limit }))
    })
    .await;
    assert_eq!((changed.get("MGET"), changed.get("EXISTS")), (Some(&50), Some(&50)), "{changed:?}");
}
