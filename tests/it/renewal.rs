//! Tokens and known addresses that are no longer valid: after another login of the same browser, and after a new password.

use reqwest::Method;
use serde_json::json;

use crate::support::rounds::holds;
use crate::support::{Answer, Client, Cluster, PASSWORD, SOON, eventually};

const NEW: &str = "another password altogether";

/// Logs in as a browser that has this session.
async fn log_in_with(client: &Client, cookie: &str, password: &str) -> Answer {
    client.with_cookie(cookie).post("/api/v1/session", json!({ "password": password })).await
}

#[tokio::test]
async fn a_browser_that_logs_in_again_leaves_no_older_session_behind_on_any_worker() {
    let cluster = Cluster::bare(2).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    for n in 0..2 {
        holds(&cluster.client(n), true).await;
    }
    let client = cluster.client(0);
    let (older, bystander) = (client.log_in().await, client.logged_in().await);
    for worker in &cluster.workers {
        client.at(worker.address).with_cookie(&older).get("/api/v1/session").await.expect(200);
        client.at(worker.address).with_cookie(&older).get("/api/v1/session").await.expect(200);
    }
    // A wrong password ends nothing.
    log_in_with(&client, &older, "a wrong password").await.problem(401);
    client.with_cookie(&older).get("/api/v1/session").await.expect(200);
    let answer = log_in_with(&client, &older, PASSWORD).await;
    let token = answer.expect(201).body["token"].as_str().unwrap();
    for worker in &cluster.workers {
        client.at(worker.address).with_cookie(&older).get("/api/v1/session").await.problem(401);
        client.at(worker.address).with_cookie(token).get("/api/v1/session").await.expect(200);
        bystander.at(worker.address).get("/api/v1/session").await.expect(200);
    }
    let entries = cluster.connected_store().await.audit_page(None, 50).await.unwrap().items;
    let replaced = entries.iter().find(|entry| entry.what == "session.replace").expect("an entry");
    assert_eq!(replaced.session.as_deref(), answer.body["session"]["id"].as_str());
    // A cookie that is no token, or of a session that has ended, keeps nobody out.
    for cookie in [older.as_str(), "nonsense", &"A".repeat(43)] {
        log_in_with(&client, cookie, PASSWORD).await.expect(201);
    }
    // The cookie of a client that sends `Authorization` is ignored, here as everywhere.
    let request = client.with_bearer(token).request(Method::POST, "/api/v1/session");
    let kept = client.log_in().await;
    let request = request.header("cookie", format!("bangui={kept}")).json(&json!({ "password": PASSWORD }));
    client.send(request).await.expect(201);
    client.with_cookie(&kept).get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn a_copied_token_is_worth_nothing_after_the_password_was_changed_with_it() {
    let cluster = Cluster::bare(2).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    for n in 0..2 {
        holds(&cluster.client(n), true).await;
    }
    let client = cluster.client(0);
    let copied = client.log_in().await;
    let before = client.with_cookie(&copied).get("/api/v1/session").await;
    client.at(cluster.workers[1].address).with_cookie(&copied).get("/api/v1/session").await.expect(200);
    let change = json!({ "current": PASSWORD, "new": NEW });
    let answer = client.with_cookie(&copied).put("/api/v1/password", change).await;
    let token = &answer.expect(204).session_cookie();
    assert_ne!(*token, copied);
    for worker in &cluster.workers {
        client.at(worker.address).with_cookie(&copied).get("/api/v1/session").await.problem(401);
        let after = client.at(worker.address).with_cookie(token).get("/api/v1/session").await;
        // The same session under another name: it lives no longer than before.
        for field in ["created_at", "expires_at", "ip", "user_agent"] {
            assert_eq!(after.expect(200).body[field], before.body[field], "{field}");
        }
        assert_ne!(after.body["id"], before.body["id"]);
    }
    let listed = client.with_cookie(token).get("/api/v1/sessions").await;
    assert_eq!(listed.expect(200).body["items"].as_array().unwrap().len(), 1, "{}", listed.text);
}

#[tokio::test]
async fn an_address_that_knew_the_old_password_is_a_stranger_after_a_new_one_or_the_end_of_all_sessions() {
    let proxied = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1");
    let cluster = proxied.env("BANGUI_LOGIN_FAILURE_LIMIT", "3/36000").set_up().await;
    let client = cluster.client(0);
    let log_in = async |from: &str, password: &str| {
        let request = client.request(Method::POST, "/api/v1/session").header("X-Forwarded-For", from);
        client.send(request.json(&json!({ "password": password }))).await
    };
    log_in("203.0.113.7", PASSWORD).await.expect(201);
    let owner = log_in("203.0.113.9", PASSWORD).await;
    let owner = client.with_bearer(owner.expect(201).body["token"].as_str().unwrap());
    // Another address uses up the account's limit; a known address still gets in.
    let use_up = async || {
        eventually("the account's limit to be used up", SOON, || async {
            (log_in("203.0.113.66", "a wrong password").await.status == 429).then_some(())
        })
        .await;
    };
    use_up().await;
    log_in("203.0.113.7", PASSWORD).await.expect(201);
    let request = owner.request(Method::PUT, "/api/v1/password").header("X-Forwarded-For", "203.0.113.9");
    let answer = owner.send(request.json(&json!({ "current": PASSWORD, "new": NEW }))).await;
    let owner = client.with_bearer(&answer.expect(204).session_cookie());
    use_up().await;
    assert_eq!(log_in("203.0.113.7", NEW).await.problem(429), "rate-limited");
    log_in("203.0.113.9", NEW).await.expect(201);
    let request =
        owner.request(Method::POST, "/api/v1/session/confirm").header("X-Forwarded-For", "203.0.113.9");
    owner.send(request.json(&json!({ "password": NEW }))).await.expect(204);
    owner.delete("/api/v1/sessions").await.expect(204);
    assert_eq!(log_in("203.0.113.9", NEW).await.problem(429), "rate-limited");
}
