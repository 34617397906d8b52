//! Behind a load balancer: who is trusted to report the client, and what that does to the cookie.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Cluster, PASSWORD};

/// A login with these headers.
async fn login(cluster: &Cluster, headers: &[(&str, &str)]) -> Answer {
    let client = cluster.client(0);
    let request = client.request(Method::POST, "/api/v1/session").json(&json!({ "password": PASSWORD }));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = client.send(request).await;
    answer.expect(201);
    answer
}

fn ip(answer: &Answer) -> &Value {
    &answer.body["session"]["ip"]
}

#[tokio::test]
async fn what_a_stranger_forwards_is_ignored() {
    let cluster = Cluster::bare(1).set_up().await;
    let answer = login(&cluster, &[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")]).await;
    assert_eq!(ip(&answer), "127.0.0.1");
    assert!(answer.cookies()[0].starts_with("bangui="), "{:?}", answer.cookies());
}

#[tokio::test]
async fn a_trusted_proxy_reports_the_address_and_that_the_user_came_by_https() {
    let trusted = "127.0.0.0/8,10.0.0.0/8";
    let cluster = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", trusted).set_up().await;
    for (forwarded, expected) in [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        // Anything to the left of the first stranger was written by that stranger.
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9,10.1.2.3", "203.0.113.9"),
        ("203.0.113.9, nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
    ] {
        let answer = login(&cluster, &[("X-Forwarded-For", forwarded)]).await;
        assert_eq!(ip(&answer), expected, "{forwarded:?}");
    }
    let answer = login(&cluster, &[("X-Forwarded-Proto", "https")]).await;
    let cookie = answer.cookies()[0].to_owned();
    let token = answer.body["token"].as_str().unwrap();
    assert!(cookie.starts_with(&format!("__Host-bangui={token};")), "{cookie}");
    assert!(cookie.contains("Secure") && cookie.contains("Path=/") && !cookie.contains("Domain"), "{cookie}");
}

#[tokio::test]
async fn a_trusted_proxy_may_be_written_as_a_mapped_address() {
    let trusted = "::ffff:127.0.0.1,::ffff:10.0.0.0/104";
    let cluster = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", trusted).set_up().await;
    let answer = login(&cluster, &[("X-Forwarded-For", "203.0.113.9, 10.1.2.3")]).await;
    assert_eq!(ip(&answer), "203.0.113.9");
}

#[tokio::test]
async fn with_an_https_public_url_only_the_cookie_that_no_neighbour_can_plant_is_taken() {
    let builder = Cluster::bare(2).env("BANGUI_PUBLIC_URL", "https://bangui.example");
    let cluster = builder.set_up().await;
    let answer = login(&cluster, &[]).await;
    let token = answer.body["token"].as_str().unwrap();
    assert!(answer.cookies()[0].starts_with("__Host-bangui="), "{:?}", answer.cookies());
    let client = cluster.client(1);
    let get = async |cookie: String| {
        client.send(client.request(Method::GET, "/api/v1/session").header("Cookie", cookie)).await
    };
    get(format!("__Host-bangui={token}")).await.expect(200);
    get(format!("other=1; __Host-bangui={token}; more=2")).await.expect(200);
    get(format!("bangui={token}")).await.problem(401);
}
