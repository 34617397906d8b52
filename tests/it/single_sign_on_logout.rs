//! The provider says that a session has ended there (back-channel logout): it ends on every worker, and nobody else can say so.

use axum::http::Method;
use serde_json::{Value, json};

use crate::single_sign_on::{client, refused_everywhere, sign_on};
use crate::support::provider::{Provider, User, now};
use crate::support::rounds::{holders_are_known, holds};
use crate::support::{Answer, Client, Cluster};

/// Rounds with near caches.
const ROUNDS: usize = 30;

/// Sends a logout token to a worker, as a provider does.
pub async fn send(cluster: &Cluster, n: usize, token: &str) -> Answer {
    let client = cluster.client(n);
    let body =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", token).finish();
    let request = client
        .request(Method::POST, "/login/backchannel-logout")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    client.send(request).await
}

async fn logged_in(cluster: &Cluster, provider: &Provider, user: &User) -> Client {
    let (browser, page) = sign_on(cluster, provider, user, 0, 1).await;
    page.expect(303);
    client(cluster, &browser, 0)
}

async fn is_alive(client: &Client) {
    client.get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn a_logout_at_the_provider_ends_its_session_on_every_worker_with_near_caches_on_and_no_other() {
    let provider = Provider::start().await;
    let builder = provider.for_workers(Cluster::bare(3)).env("BANGUI_SESSION_CACHE_ENABLED", true);
    let cluster = builder.set_up().await;
    for n in 0..3 {
        holds(&cluster.client(n), true).await;
    }
    holders_are_known(&cluster).await;
    let anna = User::new("anna", &["looks"]);
    let bert = logged_in(&cluster, &provider, &User::new("bert", &["looks"]).in_session("of-bert")).await;
    for round in 0..ROUNDS {
        let (one, other) =
            (anna.clone().in_session(&format!("a{round}")), anna.clone().in_session(&format!("b{round}")));
        let (first, second) =
            (logged_in(&cluster, &provider, &one).await, logged_in(&cluster, &provider, &other).await);
        for client in [&first, &first, &second, &bert] {
            for worker in &cluster.workers {
                is_alive(&client.at(worker.address)).await;
            }
        }
        let answer = send(&cluster, round % 3, &provider.logout_token(&one, |_, _| {})).await;
        assert_eq!(answer.expect(200).headers["cache-control"], "no-store");
        refused_everywhere(&cluster, &first).await;
        is_alive(&second).await;
        is_alive(&bert).await;
        second.delete("/api/v1/session").await.expect(204);
    }
    // A provider whose ID tokens name no session, and whose logouts do.
    let nameless = logged_in(&cluster, &provider, &anna).await;
    let named = logged_in(&cluster, &provider, &anna.clone().in_session("named")).await;
    let ended = anna.clone().in_session("never-named");
    send(&cluster, 0, &provider.logout_token(&ended, |_, _| {})).await.expect(200);
    refused_everywhere(&cluster, &nameless).await;
    is_alive(&named).await;
    // Everything of a user.
    let sessions = [
        logged_in(&cluster, &provider, &anna.clone().in_session("x")).await,
        logged_in(&cluster, &provider, &anna.clone().in_session("y")).await,
        logged_in(&cluster, &provider, &anna).await,
    ];
    let token = provider.logout_token(&anna, |_, _| {});
    send(&cluster, 1, &token).await.expect(200);
    for client in &sessions {
        refused_everywhere(&cluster, client).await;
    }
    is_alive(&bert).await;
    // The same token again ends nothing that began after it, at any worker.
    let again = logged_in(&cluster, &provider, &anna).await;
    for n in 0..3 {
        assert_eq!(send(&cluster, n, &token).await.problem(400), "invalid-logout-token");
    }
    is_alive(&again).await;
}

#[tokio::test]
async fn a_login_in_flight_does_not_outlive_the_logout_of_its_session_at_the_provider() {
    let provider = Provider::start().await;
    let cluster = provider.for_workers(Cluster::bare(2)).set_up().await;
    let anna = User::new("anna", &["looks"]).in_session("soon-over");
    let mut browser = crate::single_sign_on::browser(&cluster, 0);
    let there = browser.get("/login/sso").await;
    let back = provider.approve(&there.expect(303).to().unwrap(), &anna);
    send(&cluster, 1, &provider.logout_token(&anna, |_, _| {})).await.expect(200);
    let page = browser.get(&back).await;
    assert!(page.expect(403).html.contains("has ended since"), "{}", page.html);
    assert!(browser.cookie("bangui").is_none());
    let admin = cluster.client(0).logged_in().await;
    is_alive(&admin).await;
    let fresh = User::new("anna", &["looks"]).in_session("another");
    is_alive(&logged_in(&cluster, &provider, &fresh).await).await;
}

#[tokio::test]
async fn a_logout_token_that_is_not_one_of_this_provider_for_this_installation_ends_nothing() {
    let provider = Provider::start().await;
    let cluster = provider.for_workers(Cluster::bare(2)).set_up().await;
    let anna = User::new("anna", &["looks"]).in_session("s");
    let session = logged_in(&cluster, &provider, &anna).await;
    type Change = fn(&mut Value, &mut Value);
    let changes: [(&str, Change); 18] = [
        ("issuer", |_, claims| claims["iss"] = "https://evil.example".into()),
        ("client", |_, claims| claims["aud"] = "another".into()),
        ("client", |_, claims| claims["aud"] = json!(["another"])),
        ("expired", |_, claims| (claims["iat"], claims["exp"]) = ((now() - 60).into(), (now() - 61).into())),
        ("expired", |_, claims| claims["iat"] = (now() - 3600).into()),
        ("expired", |_, claims| claims["iat"] = (now() + 3600).into()),
        ("cannot be read", |_, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("cannot be read", |_, claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
        ("time", |_, claims| claims["exp"] = 1e300.into()),
        ("events", |_, claims| claims["events"] = json!({})),
        ("events", |_, claims| {
            claims["events"] = json!({ "http://schemas.openid.net/event/backchannel-logout": true });
        }),
        ("nonce", |_, claims| claims["nonce"] = "x".into()),
        ("jti", |_, claims| claims["jti"] = "".into()),
        ("neither", |_, claims| {
            claims.as_object_mut().unwrap().retain(|name, _| name != "sub" && name != "sid");
        }),
        ("typ", |header, _| header["typ"] = "at+jwt".into()),
        ("crit", |header, _| header["crit"] = json!(["b64"])),
        ("alg", |header, _| header["alg"] = "HS256".into()),
        ("alg", |header, _| header["alg"] = "none".into()),
    ];
    for (says, change) in changes {
        let answer = send(&cluster, 0, &provider.logout_token(&anna, change)).await;
        assert_eq!(answer.problem(400), "invalid-logout-token", "{says}");
        assert!(answer.body["detail"].as_str().unwrap().contains(says), "{says}: {}", answer.text);
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    // Another key with the right name, a signature that was changed, an ID token, nonsense.
    let right = provider.logout_token(&anna, |_, _| {});
    let (signed, signature) = right.rsplit_once('.').unwrap();
    let spoiled = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let stranger = Provider::start().await;
    let issuer = provider.issuer.clone();
    let forged = stranger.logout_token(&anna, |_, claims| claims["iss"] = issuer.into());
    for token in [&*spoiled, &forged, signed, "", "a.b.c", "..", &"x".repeat(7000)] {
        assert_eq!(send(&cluster, 1, token).await.problem(400), "invalid-logout-token", "{token}");
    }
    send(&cluster, 1, &"x".repeat(200_000)).await.problem(413);
    for worker in &cluster.workers {
        is_alive(&session.at(worker.address)).await;
    }
    // The clocks may differ a little, an audience may be a list, and a type be left out.
    let token = provider.logout_token(&anna, |header, claims| {
        header.as_object_mut().unwrap().remove("typ");
        claims["aud"] = json!([crate::support::provider::CLIENT, "another"]);
        claims["iat"] = (now() + 30).into();
    });
    send(&cluster, 1, &token).await.expect(200);
    refused_everywhere(&cluster, &session).await;
}

#[tokio::test]
async fn without_a_provider_there_is_no_single_sign_on() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut browser = crate::single_sign_on::browser(&cluster, 0);
    assert!(!browser.get("/login").await.expect(200).html.contains("/login/sso"));
    for path in ["/login/sso", "/login/callback?code=x&state=y"] {
        assert_eq!(browser.get(path).await.expect(404).text("h1"), "There is no single sign-on");
    }
    assert_eq!(send(&cluster, 0, "a.b.c").await.problem(404), "no-provider");
}
