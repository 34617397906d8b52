//! Roles that need a second factor: who has none sets one up at the login, at any worker, and the password alone never replaces one.

use bangui::domain::second_factor::AppSecret;
use bangui::store::{Asks, OnceSecret, Username, WaitingLogin};
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::factors::{App, finish, forget_steps, waits, with_app};
use crate::support::people::{USERS_PASSWORD, create_user, logged_in_as, try_log_in};
use crate::support::{Answer, Client, Cluster, PASSWORD, SOON, eventually};

/// Requires a second factor of these roles, on every worker.
pub async fn require(cluster: &Cluster, admin: &Client, roles: &str) {
    let patch = json!({ "second_factor_roles": roles });
    admin.patch("/api/v1/settings", "*", patch).await.expect(200);
    for n in 0..cluster.workers.len() {
        let admin = admin.at(cluster.workers[n].address);
        eventually("the setting on every worker", SOON, || async {
            let factors = admin.get("/api/v1/factors").await;
            let wanted = roles.contains("admin");
            (factors.expect(200).body["required"] == wanted).then_some(())
        })
        .await;
    }
}

/// The secret of a login that must set up a factor.
pub async fn must_set_up(client: &Client, name: &str, password: &str) -> String {
    let answer = eventually("the setting to be in force", SOON, || async {
        let answer = try_log_in(client, name, password).await;
        (answer.status == 401).then_some(answer)
    })
    .await;
    assert_eq!(answer.problem(401), "second-factor-setup-required");
    answer.body["login"].as_str().unwrap().to_owned()
}

pub async fn propose(client: &Client, login: &str) -> Answer {
    client.post("/api/v1/session/factor/app", json!({ "login": login })).await
}

pub async fn set_up(client: &Client, login: &str, code: &str) -> Answer {
    let body = json!({ "login": login, "code": code });
    client.post("/api/v1/session/factor/app/confirm", body).await
}

#[tokio::test]
async fn who_needs_a_second_factor_and_has_none_sets_it_up_at_the_login_over_three_workers() {
    let cluster = Cluster::bare(3).set_up().await;
    let admin = cluster.client(0).logged_in().await;
    let refused = admin.patch("/api/v1/settings", "*", json!({ "second_factor_roles": "operator" })).await;
    assert_eq!(refused.problem(403), "confirmation-required");
    let admin = admin.confirmed().await;
    for wrong in [json!("owner"), json!(["admin"]), json!(7)] {
        let patch = json!({ "second_factor_roles": wrong });
        admin.patch("/api/v1/settings", "*", patch).await.problem(422);
    }
    create_user(&admin, "anna", "operator").await;
    create_user(&admin, "vera", "viewer").await;
    let before = logged_in_as(&cluster.client(0), "anna").await;
    require(&cluster, &admin, "operator").await;
    let login = must_set_up(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let proposed = propose(&cluster.client(1), &login).await;
    let secret = proposed.expect(201).body["secret"].as_str().unwrap().to_owned();
    // The same secret again, as for a page that is reloaded.
    assert_eq!(propose(&cluster.client(2), &login).await.body["secret"], secret.as_str());
    let app = App::of(&secret);
    for wrong in [app.wrong_code(), String::new(), "aaaa-bbbb-cccc-dddd".to_owned()] {
        assert_eq!(set_up(&cluster.client(2), &login, &wrong).await.problem(401), "wrong-code");
    }
    // A code of an app is no second step before there is one.
    assert_eq!(finish(&cluster.client(0), &login, &app.code()).await.problem(401), "wrong-code");
    let begun = set_up(&cluster.client(2), &login, &app.code()).await;
    assert_eq!(begun.expect(201).body["recovery_codes"].as_array().unwrap().len(), 10);
    let anna = cluster.client(1).with_bearer(begun.body["token"].as_str().unwrap());
    anna.get("/api/v1/session").await.expect(200);
    assert_eq!(set_up(&cluster.client(0), &login, &app.code_after(1)).await.problem(401), "login-over");
    let login = waits(&cluster.client(1), "anna", USERS_PASSWORD).await;
    finish(&cluster.client(0), &login, &app.code_after(1)).await.expect(201);
    // Sessions go on, and other roles are not asked.
    before.get("/api/v1/session").await.expect(200);
    try_log_in(&cluster.client(0), "vera", USERS_PASSWORD).await.expect(201);
    let entries = cluster.connected_store().await.audit_page(None, 50).await.unwrap().items;
    let entry = entries.iter().find(|entry| entry.what == "factor.set_app").unwrap();
    assert_eq!((entry.username.as_str(), entry.session.as_ref()), ("anna", None));
}

#[tokio::test]
async fn the_password_alone_never_replaces_a_factor() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    require(&cluster, &admin, "admin").await;
    // Two logins are under way when the factor is set up.
    let early = must_set_up(&cluster.client(0), "admin", PASSWORD).await;
    let app = App::of(propose(&cluster.client(0), &early).await.expect(201).body["secret"].as_str().unwrap());
    let (own, _) = with_app(&cluster, &admin, "admin").await;
    assert_eq!(set_up(&cluster.client(1), &early, &app.code()).await.problem(401), "login-over");
    assert_eq!(propose(&cluster.client(1), &early).await.problem(401), "login-over");
    let login = waits(&cluster.client(0), "admin", PASSWORD).await;
    assert_eq!(propose(&cluster.client(1), &login).await.problem(401), "login-over");
    // Nor past the look before: the step itself refuses.
    let store = cluster.connected_store().await;
    let account = store.account(&Username::admin()).await.unwrap().unwrap();
    let waiting = WaitingLogin::of(&account.owner, account.generation);
    let hash = store.keep_waiting_login(&waiting).await.unwrap().hash();
    let asks = Asks::Login(&hash, &waiting);
    let secret: AppSecret = store.propose_app(asks).await.unwrap();
    let record = bangui::actions::Actor::operator().record("factor.set_app");
    assert!(store.set_app(&account.owner, asks, (&secret, 1), &record).await.unwrap().is_none());
    finish(&cluster.client(0), &login, &own.code()).await.expect(201);
    for secret in ["", "x", OnceSecret::fresh().unwrap().reveal()] {
        assert_eq!(propose(&cluster.client(0), secret).await.problem(401), "login-over");
        assert_eq!(set_up(&cluster.client(0), secret, "123456").await.problem(401), "login-over");
    }
}

#[tokio::test]
async fn a_page_leads_through_the_set_up_to_the_codes_and_then_to_where_one_wanted_to_go() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    require(&cluster, &admin, "admin").await;
    let mut user = Browser::new(cluster.workers[0].address);
    let page = user.get("/login?next=%2Faccount").await;
    let step = loop {
        let seen = user.submit(&page, "main form", &[("password", PASSWORD)], "Log in").await;
        if seen.status != 503 {
            break seen;
        }
    };
    assert_eq!(step.expect(200).text("h1"), "Set up a second factor");
    assert_eq!(step.texts("svg.qr").len(), 1, "{}", step.html);
    let app = App::of(&step.text("code.command"));
    let mut user = user.at(cluster.workers[1].address);
    let wrong = user.submit(&step, "main form", &[("code", &app.wrong_code())], "Set up the app").await;
    assert!(wrong.expect(422).error_at("code").is_some(), "{}", wrong.html);
    let codes = user.submit(&wrong, "main form", &[("code", &app.code())], "Set up the app").await;
    assert_eq!(codes.expect(200).texts(".codes code").len(), 10, "{}", codes.html);
    let to = codes.attribute("main a.button", "href").unwrap();
    assert_eq!(to, "/account");
    user.get(&to).await.expect(200);
    forget_steps(&cluster, "admin").await;
    let login = waits(&cluster.client(0), "admin", PASSWORD).await;
    finish(&cluster.client(0), &login, &app.code()).await.expect(201);

    // A form is kept over it, too.
    require(&cluster, &admin, "").await;
    admin.delete("/api/v1/factors/app").await.expect(204);
    require(&cluster, &admin, "admin").await;
    let mut user = Browser::new(cluster.workers[0].address);
    let login = user.post("/users/invite", &[("username", "anna"), ("role", "viewer")]).await;
    let step = loop {
        let seen = user.submit(login.expect(401), "main form", &[("password", PASSWORD)], "Log in").await;
        if seen.status != 503 {
            break seen;
        }
    };
    let app = App::of(&step.expect(200).text("code.command"));
    let codes = user.submit(&step, "main form", &[("code", &app.code())], "Set up the app").await;
    let to = codes.expect(200).attribute("main a.button", "href").unwrap();
    assert!(user.get(&to).await.expect(200).text("#messages").contains("What you typed is kept"));
}

#[tokio::test]
async fn the_setting_comes_from_the_environment_too() {
    let cluster = Cluster::bare(1).env("BANGUI_SECOND_FACTOR_ROLES", "admin,viewer").set_up().await;
    let answer: Value = try_log_in(&cluster.client(0), "admin", PASSWORD).await.body;
    assert!(answer["type"].as_str().unwrap().ends_with("second-factor-setup-required"), "{answer}");
}
