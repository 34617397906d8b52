//! Single sign-on: where groups come from, how a session is confirmed without a password, and a provider that is away.

use serde_json::json;

use crate::single_sign_on::{browser, client, logged_in, session, sign_on, with_provider};
use crate::support::provider::{Lie, Provider, User};
use crate::support::{Cluster, PASSWORD, SOON, eventually};

#[tokio::test]
async fn groups_that_only_the_userinfo_endpoint_has_count_if_it_speaks_of_the_same_user() {
    let (cluster, provider) = with_provider(2).await;
    provider.groups_only_at_userinfo();
    let anna = User::new("anna", &["looks"]);
    assert_eq!(session(&logged_in(&cluster, &provider, &anna).await).await["role"], "viewer");
    provider.lie(Lie::SubjectOfUserinfo);
    let (browser, page) = sign_on(&cluster, &provider, &anna, 0, 1).await;
    assert!(page.status.as_u16() >= 400 && browser.cookie("bangui").is_none(), "{}", page.html);
}

#[tokio::test]
async fn a_session_without_a_password_is_confirmed_at_the_provider_by_the_same_user() {
    let (cluster, provider) = with_provider(2).await;
    let (anna, bert) = (User::new("anna", &["admins"]), User::new("bert", &["admins"]));
    let (mut user, page) = sign_on(&cluster, &provider, &anna, 0, 1).await;
    page.expect(303);
    let session = client(&cluster, &user, 0);
    let invite =
        async || session.post("/api/v1/invitations", json!({ "username": "carl", "role": "viewer" })).await;
    assert_eq!(invite().await.problem(403), "confirmation-required");
    assert_eq!(session.confirm(PASSWORD).await.problem(403), "no-password");
    let form = [("username", "carl"), ("role", "viewer"), ("servers", "")];
    let asked = user.post("/users/invite", &form).await;
    assert!(asked.expect(403).html.contains("action=\"/login/sso/confirm\""), "{}", asked.html);
    // The way without a form that is kept.
    let link = "/login/sso/confirm?next=%2Fusers";
    let refused = [(&bert, true), (&anna, false)];
    for (who, proven) in refused {
        let there = user.get(link).await.expect(303).to().unwrap();
        assert!(there.contains("prompt=login") && there.contains("max_age=0"), "{there}");
        let back = provider.approve(&there, who);
        if !proven {
            provider.forget_proofs();
        }
        user.get(&back).await.expect(403);
        assert_eq!(invite().await.problem(403), "confirmation-required");
    }
    // Another browser's session is not confirmed by it.
    let there = user.get(link).await.expect(303).to().unwrap();
    let back = provider.approve(&there, &anna);
    let mut elsewhere = user.at(cluster.workers[0].address);
    elsewhere.set_cookie("bangui", &cluster.client(0).log_in().await);
    elsewhere.get(&back).await.expect(400);
    let there = user.get(link).await.expect(303).to().unwrap();
    let done = user.get(&provider.approve(&there, &anna)).await;
    assert!(done.expect(303).to().unwrap().starts_with("/users?m="), "{:?}", done.to());
    invite().await.expect(201);
    // Strangers are led to the login.
    assert!(browser(&cluster, 0).get(link).await.expect(303).to().unwrap().starts_with("/login?next="));
}

#[tokio::test]
async fn a_provider_that_is_away_or_silent_hinders_no_password_and_is_found_once_it_is_back() {
    let provider = Provider::start().await;
    provider.lie(Lie::NoJson);
    let cluster = provider.for_workers(Cluster::bare(2)).set_up().await;
    let mut user = browser(&cluster, 0);
    eventually("the page to say so", SOON, || {
        let mut user = user.clone();
        async move {
            let page = user.get("/login").await;
            page.expect(200).text("main").contains("could not be reached").then_some(())
        }
    })
    .await;
    let refused = user.get("/login/sso").await;
    assert_eq!(refused.expect(503).text("h1"), "The provider cannot be reached");
    assert!(refused.headers.contains_key("retry-after"));
    user.log_in().await;
    provider.lie(Lie::None);
    let anna = User::new("anna", &["looks"]);
    let back = eventually("the provider to be found", SOON, || {
        let (mut user, provider) = (browser(&cluster, 0), provider.clone());
        let anna = anna.clone();
        async move {
            let there = user.get("/login/sso").await;
            let back = provider.approve(&there.to()?, &anna);
            Some((user, back))
        }
    })
    .await;
    let (mut user, back) = back;
    // Now it is silent: the worker gives up by itself, and everything else goes on.
    provider.hang(true);
    let waiting = tokio::spawn(async move { user.get(&back).await });
    cluster.client(0).logged_in().await.get("/api/v1/session").await.expect(200);
    let page = waiting.await.unwrap();
    assert_eq!(page.expect(503).text("h1"), "The provider cannot be reached");
}

#[tokio::test]
async fn a_login_with_the_provider_needs_no_second_factor_of_the_account_since_the_provider_asks_for_its_own()
{
    let (cluster, provider) = with_provider(2).await;
    let anna = User::new("anna", &["looks"]);
    logged_in(&cluster, &provider, &anna).await;
    let key = "{it}:account:anna";
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    cluster.redis.command::<u64>(&["HSET", key, "factor_app", secret]).await;
    let factors = logged_in(&cluster, &provider, &anna).await.get("/api/v1/factors").await;
    assert!(factors.expect(200).body["app"].is_object(), "{}", factors.text);
}
