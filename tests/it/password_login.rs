//! Passwords switched off for all accounts but one: nobody learns which accounts there are, and the one gets in without the provider.

use serde_json::json;

use crate::single_sign_on::{browser, client, sign_on};
use crate::support::people::{USERS_PASSWORD, create_user, try_log_in};
use crate::support::process::{Child, bangui};
use crate::support::provider::{Provider, User};
use crate::support::worker::Worker;
use crate::support::{Cluster, PASSWORD, SOON};

#[tokio::test]
async fn only_the_named_account_logs_in_with_a_password_and_the_answer_tells_of_no_account() {
    let provider = Provider::start().await;
    let mut cluster = provider.for_workers(Cluster::bare(1)).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "bert", "viewer").await;
    let open = crate::support::people::invite(&admin, "carl", "viewer", &[]).await;
    cluster.environment.insert("BANGUI_PASSWORD_LOGIN".to_owned(), "only:admin".to_owned());
    for _ in 0..2 {
        cluster.add_worker().await;
    }
    for n in [1, 2] {
        let answers = [
            try_log_in(&cluster.client(n), "bert", USERS_PASSWORD).await,
            try_log_in(&cluster.client(n), "bert", "wrong").await,
            try_log_in(&cluster.client(n), "nobody", USERS_PASSWORD).await,
            try_log_in(&cluster.client(n), "Not A Name", "x").await,
        ];
        for answer in &answers {
            assert_eq!(answer.problem(403), "password-login-off");
            assert_eq!(answer.body, answers[0].body);
        }
        try_log_in(&cluster.client(n), "admin", "wrong").await.problem(401);
        try_log_in(&cluster.client(n), "admin", PASSWORD).await.expect(201);
    }
    let mut user = browser(&cluster, 1);
    let page = user.get("/login").await;
    assert_eq!(page.expect(200).text("a.button"), "Log in with Example ID");
    assert!(page.texts("main form input[type=password]").is_empty(), "{}", page.html);
    assert!(page.attribute("main .hint a", "href").unwrap().starts_with("/login?password=1"));
    let page = user.get("/login?password=1").await;
    let refused = user
        .submit(&page, "main form", &[("username", "bert"), ("password", USERS_PASSWORD)], "Log in")
        .await;
    assert!(refused.expect(403).error_at("username").unwrap().contains("single sign-on"), "{}", refused.html);
    let entered = user.submit(&page, "main form", &[("password", PASSWORD)], "Log in").await;
    entered.expect(303);
    // Invitations end with a password.
    let admin = admin.at(cluster.workers[1].address);
    let invited = admin.post("/api/v1/invitations", json!({ "username": "dora", "role": "viewer" })).await;
    assert_eq!(invited.problem(409), "password-login-off");
    let accepted = crate::support::people::accept(&cluster.client(2), &open, USERS_PASSWORD).await;
    assert_eq!(accepted.problem(409), "password-login-off");
    // A user of the provider has none to change, to confirm or to reset.
    let (browser, page) = sign_on(&cluster, &provider, &User::new("anna", &["looks"]), 1, 2).await;
    page.expect(303);
    let anna = client(&cluster, &browser, 1);
    let change = json!({ "current": "", "new": "seven loud lanterns at dusk" });
    assert_eq!(anna.put("/api/v1/password", change).await.problem(403), "password-login-off");
    let mut on_page = browser;
    assert!(!on_page.get("/account").await.expect(200).html.contains("action=\"/account/password\""));
    let mut command = bangui("reset-password");
    command.arg("anna").env("BANGUI_REDIS_URL", cluster.redis.url()).env("BANGUI_REDIS_PREFIX", "it");
    command.env("BANGUI_ADMIN_PASSWORD", "seven loud lanterns at dusk");
    let (code, printed) = Child::run("bangui reset-password", command, SOON).await;
    assert!(code == Some(1) && printed.contains("has no password"), "{printed}");
}

#[tokio::test]
async fn a_configuration_that_would_let_nobody_in_stops_the_start() {
    let cluster = Cluster::bare(0).start().await;
    let starts = [
        (vec![("BANGUI_PASSWORD_LOGIN", "only:admin")], "needs BANGUI_OIDC_ISSUER"),
        (vec![("BANGUI_OIDC_ISSUER", "https://id.example")], "BANGUI_OIDC_ROLES"),
        (vec![("BANGUI_OIDC_ISSUER", "http://id.example")], "https://"),
        (vec![("BANGUI_OIDC_CLIENT_ID", "bangui")], "is of no use without BANGUI_OIDC_ISSUER"),
        (
            vec![
                ("BANGUI_OIDC_ISSUER", "https://id.example"),
                ("BANGUI_OIDC_CLIENT_ID", "bangui"),
                ("BANGUI_OIDC_ROLES", "a=admin"),
            ],
            "BANGUI_PUBLIC_URL: is not set",
        ),
    ];
    for (more, says) in starts {
        let mut environment = cluster.environment.clone();
        environment.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut command = bangui("serve");
        command.envs(&environment);
        let (code, printed) = Child::run("bangui serve", command, SOON).await;
        assert!(code == Some(2) && printed.contains(says), "{says}: {printed}");
    }
    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_PASSWORD_LOGIN".to_owned(), "on".to_owned());
    Worker::start("worker", &environment).await.ready(SOON).await;
}
