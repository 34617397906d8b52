//! Every refusal is in the log, and no flood of refusals fills the log.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::worker::field;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

/// The lines about refusals of this worker.
fn refusals(cluster: &Cluster) -> Vec<Value> {
    cluster.workers[0].log().into_iter().filter(|line| field(line, "http.refusal").is_some()).collect()
}

#[tokio::test]
async fn nobody_is_refused_without_a_line_that_says_who_from_where_and_why() {
    let proxied = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1");
    let cluster = proxied.env("BANGUI_LOGIN_LIMIT", "3/36000").set_up().await;
    let anonymous = cluster.client(0);
    let client = anonymous.logged_in().await;
    let send = async |client: &Client, method: Method, path: &str, from: &str, body: Value| {
        let request = client.request(method, path).header("X-Forwarded-For", from).json(&body);
        client.send(request).await
    };
    let wrong = json!({ "password": "a wrong password" });
    for _ in 0..3 {
        send(&anonymous, Method::POST, "/api/v1/session", "203.0.113.7", wrong.clone()).await.problem(401);
    }
    send(&anonymous, Method::POST, "/api/v1/session", "203.0.113.7", wrong.clone()).await.problem(429);
    send(&anonymous, Method::GET, "/api/v1/servers", "2001:db8::7", json!({})).await.problem(401);
    send(&client, Method::POST, "/api/v1/session/confirm", "203.0.113.8", wrong).await.problem(403);
    send(&client, Method::DELETE, "/api/v1/sessions", "203.0.113.9", json!({})).await.problem(403);
    let expected = [
        ("203.0.113.7", 401, "/api/v1/session", "wrong-login", Value::Null),
        ("203.0.113.7", 429, "/api/v1/session", "rate-limited", Value::Null),
        ("2001:db8::7", 401, "/api/v1/servers", "no-session", Value::Null),
        ("203.0.113.8", 403, "/api/v1/session/confirm", "wrong-password", json!("admin")),
        ("203.0.113.9", 403, "/api/v1/sessions", "confirmation-required", json!("admin")),
    ];
    let lines = eventually("a line for each", SOON, || async {
        let lines = refusals(&cluster);
        (lines.len() >= 7).then_some(lines)
    })
    .await;
    for (address, status, route, reason, user) in expected {
        let of = |line: &&Value| {
            field(line, "client.address") == Some(&json!(address))
                && field(line, "http.status") == Some(&json!(status))
                && line["span"]["http.route"] == route
                && field(line, "http.refusal") == Some(&json!(reason))
        };
        let line = lines.iter().find(of).unwrap_or_else(|| panic!("{address} {status} {reason}: {lines:#?}"));
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"]["user.name"], user, "{line}");
    }
    let printed = cluster.workers[0].process.printed();
    assert!(!printed.contains(PASSWORD) && !printed.contains("a wrong password"));
}

/// Its password is being checked, or its connection is not even looked at yet, when the client goes.
async fn hang_up_in_a_login(worker: std::net::SocketAddr, from: &str) {
    let body = json!({ "password": "not the password" }).to_string();
    let request = format!(
        "POST /api/v1/session HTTP/1.1\r\nhost: 127.0.0.1\r\nx-forwarded-for: {from}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(worker).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn whatever_strangers_cause_by_requests_without_a_session_has_ten_lines_a_minute_of_an_address() {
    let proxied = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1");
    let cluster = proxied.env("BANGUI_LOGIN_LIMIT", "1000/1").start().await;
    let client = cluster.client(0);
    let send = async |path: &str, from: &str, kind: &str| {
        let request = client.request(Method::POST, path).header("X-Forwarded-For", from);
        let body = if path == "/login" { "username=admin&password=none" } else { "{}" };
        client.send(request.header("content-type", kind).body(body)).await
    };
    let login = "application/json";
    for _ in 0..40 {
        send("/nope", "203.0.113.1", "text/plain").await.expect(404);
        send("/api/v1/setup", "203.0.113.2", "text/plain").await.expect(415);
        // Before the setup nobody can log in: 409.
        let request =
            client.request(Method::POST, "/api/v1/session").header("X-Forwarded-For", "203.0.113.3");
        client.send(request.json(&json!({ "password": PASSWORD }))).await.expect(409);
        // Leads to the page of the setup.
        send("/login", "203.0.113.4", "application/x-www-form-urlencoded").await.expect(200);
        send("/api/v1/session", "203.0.113.5", login).await.expect(422);
    }
    // Somebody who is logged in has a line for each, whatever strangers of the same address did.
    cluster.post_setup(0).await.expect(201);
    for _ in 0..400 {
        hang_up_in_a_login(cluster.workers[0].address, "203.0.113.6").await;
    }
    let user = client.logged_in().await;
    for _ in 0..20 {
        let request =
            user.request(Method::PATCH, "/api/v1/settings").header("X-Forwarded-For", "203.0.113.5");
        user.send(request.json(&json!({ "nothing": 1 }))).await;
    }
    cluster.workers[0].terminate();
    cluster.workers[0].process.ended(SOON).await;
    let log = cluster.workers[0].log();
    let lines = |of: &dyn Fn(&Value) -> bool| log.iter().filter(|line| of(line)).count();
    let route = |line: &Value, route: &str| {
        line["span"]["http.route"] == route && line["span"]["user.name"].is_null()
    };
    let from = |line: &Value, address: &str| field(line, "client.address") == Some(&json!(address));
    for address in ["203.0.113.1", "203.0.113.2", "203.0.113.5"] {
        assert_eq!(
            lines(&|line| from(line, address) && field(line, "http.status").is_some()),
            10,
            "{address}"
        );
    }
    assert_eq!(lines(&|line| from(line, "203.0.113.3") && field(line, "http.status").is_some()), 10);
    assert_eq!(lines(&|line| from(line, "203.0.113.3") && field(line, "login.outcome").is_some()), 10);
    assert!(lines(&|line| route(line, "/login")) <= 20, "{log:#?}");
    let hang_ups = lines(&|line| field(line, "http.status") == Some(&json!(499)));
    assert!((1..=300).contains(&hang_ups), "{hang_ups}");
    assert_eq!(
        lines(
            &|line| line["span"]["http.route"] == "/api/v1/settings" && field(line, "http.status").is_some()
        ),
        20
    );
    let hung_up = json!("203.0.113.6/32");
    let counted = lines(&|line| {
        field(line, "http.refused").is_some() && field(line, "client.network") != Some(&hung_up)
    });
    assert_eq!(counted, 5, "{log:#?}");
}

#[tokio::test]
async fn a_flood_from_one_address_has_ten_lines_a_minute_and_is_then_counted() {
    let cluster = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1").set_up().await;
    let client = cluster.client(0);
    for n in 0..200 {
        // Addresses of one /64 are one client.
        let from = format!("2001:db8::{n:x}");
        let request = client.request(Method::GET, "/api/v1/servers").header("X-Forwarded-For", from);
        client.send(request).await.problem(401);
    }
    let request = client.request(Method::GET, "/api/v1/servers").header("X-Forwarded-For", "203.0.113.7");
    client.send(request).await.problem(401);
    let lines = eventually("the line of the one who does not flood", SOON, || async {
        let lines = refusals(&cluster);
        let other = |line: &Value| field(line, "client.address") == Some(&json!("203.0.113.7"));
        lines.iter().any(other).then_some(lines)
    })
    .await;
    assert_eq!(lines.len(), 11, "{lines:#?}");
    // Counted refusals are logged when the worker ends, at the latest.
    cluster.workers[0].terminate();
    let counted = eventually("the number of the others", SOON, || async {
        let log = cluster.workers[0].log();
        log.into_iter().find(|line| field(line, "http.refused").is_some())
    })
    .await;
    assert_eq!(field(&counted, "http.refused"), Some(&json!(190)), "{counted}");
    assert_eq!(field(&counted, "client.network"), Some(&json!("2001:db8::/64")), "{counted}");
}
