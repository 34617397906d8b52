//! Second factors: a login in two steps at two workers, codes that work once on all of them, and what ends a login that waits.

use reqwest::Method;
use serde_json::{Value, json};

use bangui::domain::access::Access;
use bangui::domain::second_factor::RecoveryCode;
use bangui::store::{LoginOrigin, Owner, SessionLife, Store, WaitingLogin};

use crate::support::factors::{App, finish, forget_steps, proposed, waits, with_app};
use crate::support::people::{USERS_PASSWORD, change_user, create_user, logged_in_as, try_log_in};
use crate::support::process::{Child, bangui};
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

/// Workers, the admin, and anna with an app.
async fn with_anna(workers: usize) -> (Cluster, Client, Client, App, Vec<String>) {
    let cluster = Cluster::bare(workers).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    let (app, codes) = with_app(&cluster, &anna, "anna").await;
    (cluster, admin, anna, app, codes)
}

/// A login of anna that waits, past the workers and their passwords.
async fn waiting(store: &Store) -> String {
    let account = store.account(&bangui::store::Username::parse("anna").unwrap()).await.unwrap().unwrap();
    let login = WaitingLogin::of(&account.owner, account.generation);
    store.keep_waiting_login(&login).await.unwrap().reveal().to_owned()
}

#[tokio::test]
async fn a_login_begins_on_one_worker_and_ends_on_another_and_its_code_is_refused_everywhere_after() {
    let (cluster, _, _, app, codes) = with_anna(3).await;
    assert_eq!(codes.len(), 10);
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let code = app.code();
    let answer = finish(&cluster.client(1), &login, &code).await;
    let token = answer.expect(201).body["token"].as_str().unwrap();
    assert_eq!(answer.session_cookie(), token);
    for n in 0..3 {
        let session = cluster.client(n).with_bearer(token).get("/api/v1/session").await;
        assert_eq!(session.expect(200).body["username"], "anna");
        // The login is used up, and so is the code.
        assert_eq!(finish(&cluster.client(n), &login, &app.code_after(1)).await.problem(401), "login-over");
        let another = waits(&cluster.client(n), "anna", USERS_PASSWORD).await;
        assert_eq!(finish(&cluster.client(n), &another, &code).await.problem(401), "wrong-code");
    }
    // The code of the next step works, and then none before it.
    let another = waits(&cluster.client(2), "anna", USERS_PASSWORD).await;
    finish(&cluster.client(0), &another, &app.code_after(1)).await.expect(201);
    let another = waits(&cluster.client(2), "anna", USERS_PASSWORD).await;
    assert_eq!(finish(&cluster.client(1), &another, &app.code()).await.problem(401), "wrong-code");
}

#[tokio::test]
async fn of_two_workers_that_get_the_same_code_at_once_one_logs_in_a_hundred_times() {
    let (cluster, _, _, app, _) = with_anna(2).await;
    let store = cluster.connected_store().await;
    for round in 0..100_u8 {
        let recovery = RecoveryCode::of([round; 10]);
        let key = "{it}:account:anna";
        cluster.redis.command::<u64>(&["HSET", key, "factor_recovery", &recovery.hash()]).await;
        forget_steps(&cluster, "anna").await;
        let code = if round % 2 == 0 { app.code() } else { recovery.shown() };
        let (one, other) = (waiting(&store).await, waiting(&store).await);
        let (a, b) = (cluster.client(0), cluster.client(1));
        let (a, b) = tokio::join!(finish(&a, &one, &code), finish(&b, &other, &code));
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 401], "round {round}: {} {}", a.text, b.text);
    }
}

#[tokio::test]
async fn of_two_workers_that_finish_the_same_login_at_once_one_does() {
    let (cluster, _, _, app, codes) = with_anna(2).await;
    let store = cluster.connected_store().await;
    for code in codes {
        forget_steps(&cluster, "anna").await;
        let login = waiting(&store).await;
        let (a, b) = (cluster.client(0), cluster.client(1));
        let app_code = app.code();
        let (a, b) = tokio::join!(finish(&a, &login, &code), finish(&b, &login, &app_code));
        assert_eq!([&a, &b].iter().filter(|answer| answer.status == 201).count(), 1, "{} {}", a.text, b.text);
    }
}

#[tokio::test]
async fn a_recovery_code_works_once_and_new_ones_end_those_before() {
    let (cluster, _, anna, _, codes) = with_anna(2).await;
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    finish(&cluster.client(1), &login, &codes[0].to_uppercase().replace('-', " ")).await.expect(201);
    for n in 0..2 {
        let login = waits(&cluster.client(n), "anna", USERS_PASSWORD).await;
        assert_eq!(finish(&cluster.client(n), &login, &codes[0]).await.problem(401), "wrong-code");
    }
    assert_eq!(anna.get("/api/v1/factors").await.expect(200).body["recovery_codes"], 9);
    let renewed = anna.post("/api/v1/factors/recovery-codes", json!({})).await;
    let renewed = renewed.expect(201).body["recovery_codes"].clone();
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    assert_eq!(finish(&cluster.client(0), &login, &codes[1]).await.problem(401), "wrong-code");
    finish(&cluster.client(0), &login, renewed[9].as_str().unwrap()).await.expect(201);
    assert_eq!(anna.get("/api/v1/factors").await.expect(200).body["recovery_codes"], 9);
}

#[tokio::test]
async fn five_wrong_codes_end_a_login_whichever_workers_are_asked() {
    let (cluster, _, _, app, codes) = with_anna(3).await;
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let long = "1".repeat(5000);
    for (n, wrong) in [app.wrong_code().as_str(), "", "\0äñ", &long].into_iter().enumerate() {
        assert_eq!(
            finish(&cluster.client(n % 3), &login, wrong).await.problem(401),
            "wrong-code",
            "{wrong:?}"
        );
    }
    assert_eq!(finish(&cluster.client(1), &login, "aaaa-bbbb-cccc-dddd").await.problem(401), "login-over");
    for n in 0..3 {
        assert_eq!(finish(&cluster.client(n), &login, &app.code()).await.problem(401), "login-over");
        assert_eq!(finish(&cluster.client(n), &login, &codes[0]).await.problem(401), "login-over");
    }
    for secret in ["", "x", &"A".repeat(43), &"A".repeat(4000), "*", "ä"] {
        assert_eq!(
            finish(&cluster.client(0), secret, &app.code()).await.problem(401),
            "login-over",
            "{secret}"
        );
    }
}

#[tokio::test]
async fn guessing_codes_with_a_stolen_password_is_limited_over_all_workers_and_addresses() {
    let cluster = Cluster::bare(3)
        .env("BANGUI_TRUSTED_PROXIES", "127.0.0.1")
        .env("BANGUI_LOGIN_FAILURE_LIMIT", "10/3600")
        .set_up()
        .await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (app, _) = with_app(&cluster, &admin, "admin").await;
    let store = cluster.connected_store().await;
    let from = |n: usize, login: &str, code: &str| {
        let client = cluster.client(n % 3);
        let request = client.request(Method::POST, "/api/v1/session/factor");
        let request = request.header("X-Forwarded-For", format!("203.0.113.{}", n % 50));
        let request = request.json(&json!({ "login": login, "code": code }));
        async move { client.send(request).await }
    };
    // Such as an address that the account knows.
    let login = waits(&cluster.client(0), "admin", PASSWORD).await;
    from(1, &login, &app.code()).await.expect(201);
    let (mut wrong, mut limited) = (0, 0);
    let account = store.account(&bangui::store::Username::admin()).await.unwrap().unwrap();
    for n in 0..60 {
        let login = WaitingLogin::of(&account.owner, account.generation);
        let login = store.keep_waiting_login(&login).await.unwrap();
        let answer = from(n, login.reveal(), &app.wrong_code()).await;
        match answer.status.as_u16() {
            401 => wrong += 1,
            429 => {
                assert_eq!(answer.body["limit"], "account");
                limited += 1;
            }
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert!(wrong <= 5 && limited >= 55, "{wrong} wrong, {limited} limited");
    // Passwords have their own limit: the owner gets as far as before.
    waits(&cluster.client(1), "admin", PASSWORD).await;
}

#[tokio::test]
async fn the_password_alone_does_not_make_an_address_known() {
    let (cluster, _, _, app, _) = with_anna(1).await;
    let is_known = |key: &&Vec<u8>| key.starts_with(b"it:known:");
    let known = async || cluster.redis.keys().await.iter().filter(is_known).count();
    // Anna logged in before she had a factor.
    for key in cluster.redis.keys().await {
        if key.starts_with(b"it:known:") {
            cluster.redis.command::<u64>(&["DEL", std::str::from_utf8(&key).unwrap()]).await;
        }
    }
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    assert_eq!(known().await, 0);
    finish(&cluster.client(0), &login, &app.code()).await.expect(201);
    assert_eq!(known().await, 1);
}

#[tokio::test]
async fn a_login_that_waits_is_over_once_its_account_or_all_sessions_of_it_are() {
    let (cluster, admin, anna, app, codes) = with_anna(2).await;
    let over = async |login: &str| {
        for n in 0..2 {
            for code in [&app.code(), &codes[0]] {
                let answer = finish(&cluster.client(n), login, code).await;
                assert_eq!(answer.problem(401), "login-over", "{}", answer.text);
            }
        }
    };
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    anna.delete("/api/v1/sessions?keep_current=true").await.expect(204);
    over(&login).await;
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    change_user(&admin, "anna", json!({ "role": "viewer" })).await.expect(200);
    over(&login).await;
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    change_user(&admin, "anna", json!({ "disabled": true })).await.expect(200);
    over(&login).await;
    change_user(&admin, "anna", json!({ "disabled": false })).await.expect(200);
    over(&login).await;
    forget_steps(&cluster, "anna").await;
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let begun = finish(&cluster.client(0), &login, &codes[1]).await;
    let anna = cluster.client(1).with_bearer(begun.expect(201).body["token"].as_str().unwrap());
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let new = "eight loud lanterns at dawn";
    anna.put("/api/v1/password", json!({ "current": USERS_PASSWORD, "new": new })).await.expect(204);
    over(&login).await;
    // The new password still needs the factor.
    let login = waits(&cluster.client(0), "anna", new).await;
    admin.delete("/api/v1/users/anna").await.expect(204);
    over(&login).await;
    create_user(&admin, "anna", "operator").await;
    over(&login).await;
    try_log_in(&cluster.client(0), "anna", USERS_PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_code_of_another_accounts_app_is_wrong() {
    let (cluster, admin, _, app, codes) = with_anna(1).await;
    let (own, own_codes) = with_app(&cluster, &admin, "admin").await;
    let login = waits(&cluster.client(0), "admin", PASSWORD).await;
    for wrong in [app.code(), codes[0].clone()] {
        assert_eq!(finish(&cluster.client(0), &login, &wrong).await.problem(401), "wrong-code");
    }
    finish(&cluster.client(0), &login, &own.code()).await.expect(201);
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    assert_eq!(finish(&cluster.client(0), &login, &own_codes[0]).await.problem(401), "wrong-code");
    finish(&cluster.client(0), &login, &codes[0]).await.expect(201);
}

#[tokio::test]
async fn an_app_is_set_up_in_one_session_after_the_password_and_with_its_first_code() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await;
    let refused = admin.post("/api/v1/factors/app", json!({})).await;
    assert_eq!(refused.problem(403), "confirmation-required");
    let first = |code: String| json!({ "code": code });
    let none = admin.post("/api/v1/factors/app/confirm", first("123456".to_owned())).await;
    assert_eq!(none.problem(409), "no-app-proposed");
    let admin = admin.confirmed().await;
    let before = proposed(&admin).await;
    let app = proposed(&admin).await;
    // A secret is for the session that it was proposed to, and the newest counts.
    let other = cluster.client(0).logged_in().await.confirmed().await;
    let refused = other.post("/api/v1/factors/app/confirm", first(app.code())).await;
    assert_eq!(refused.problem(409), "no-app-proposed");
    for wrong in [before.code(), app.wrong_code(), "aaaa-bbbb-cccc-dddd".to_owned(), String::new()] {
        let refused = admin.post("/api/v1/factors/app/confirm", first(wrong)).await;
        assert_eq!(refused.problem(403), "wrong-code");
    }
    try_log_in(&cluster.client(1), "admin", PASSWORD).await.expect(201);
    assert_eq!(admin.get("/api/v1/factors").await.expect(200).body["app"], Value::Null);
    let code = app.code();
    let at = admin.at(cluster.workers[1].address);
    at.post("/api/v1/factors/app/confirm", first(code.clone())).await.expect(200);
    assert_eq!(
        at.post("/api/v1/factors/app/confirm", first(app.code())).await.problem(409),
        "no-app-proposed"
    );
    // The first code was its only use.
    let login = waits(&cluster.client(0), "admin", PASSWORD).await;
    assert_eq!(finish(&cluster.client(1), &login, &code).await.problem(401), "wrong-code");
    finish(&cluster.client(1), &login, &app.code_after(1)).await.expect(201);
    assert!(admin.get("/api/v1/factors").await.expect(200).body["app"]["created_at"].is_string());
}

#[tokio::test]
async fn an_app_is_removed_after_the_password_alone_and_its_codes_end() {
    let (cluster, _, anna, app, codes) = with_anna(2).await;
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let begun = finish(&cluster.client(0), &login, &app.code()).await;
    let unconfirmed = cluster.client(1).with_bearer(begun.expect(201).body["token"].as_str().unwrap());
    for refused in [
        unconfirmed.delete("/api/v1/factors/app").await,
        unconfirmed.post("/api/v1/factors/recovery-codes", json!({})).await,
        unconfirmed.post("/api/v1/factors/app", json!({})).await,
    ] {
        assert_eq!(refused.problem(403), "confirmation-required", "{}", refused.asked);
    }
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    anna.delete("/api/v1/factors/app").await.expect(204);
    assert_eq!(finish(&cluster.client(1), &login, &app.code_after(1)).await.problem(401), "wrong-code");
    assert_eq!(finish(&cluster.client(1), &login, &codes[3]).await.problem(401), "wrong-code");
    anna.delete("/api/v1/factors/app").await.problem(404);
    anna.post("/api/v1/factors/recovery-codes", json!({})).await.problem(404);
    assert_eq!(
        anna.get("/api/v1/factors").await.expect(200).body,
        json!({ "app": null, "recovery_codes": 0, "passkeys": [], "required": false })
    );
    try_log_in(&cluster.client(1), "anna", USERS_PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_version_without_second_factors_finds_no_password_while_an_account_has_one() {
    let (cluster, _, anna, _, _) = with_anna(1).await;
    // What such a version does with the field.
    let fits = async |password: &str| {
        let stored: String = cluster.redis.command(&["HGET", "{it}:account:anna", "password_hash"]).await;
        bangui::password::verify(password, &stored)
    };
    assert!(!fits(USERS_PASSWORD).await);
    let new = "eight loud lanterns at dawn";
    let anna = anna.change_password(USERS_PASSWORD, new).await;
    assert!(!fits(new).await, "also after a new password");
    anna.confirm(new).await.expect(204);
    anna.delete("/api/v1/factors/app").await.expect(204);
    assert!(fits(new).await);
}

#[tokio::test]
async fn no_session_begins_without_a_factor_that_was_set_up_after_the_password_was_checked() {
    let (cluster, _, _, _, _) = with_anna(1).await;
    let store = cluster.connected_store().await;
    let account = store.account(&bangui::store::Username::parse("anna").unwrap()).await.unwrap().unwrap();
    let origin = LoginOrigin { ip: "198.51.100.7".parse().unwrap(), user_agent: "test".to_owned() };
    let life = SessionLife { idle: SOON, absolute: SOON };
    let begin = async |owner: &Owner, generation, factor| {
        let audit = |_: &_| bangui::actions::Actor::operator().record("session.begin");
        let access = Access::everything();
        store.begin_session_with((owner, &access), (generation, factor), &origin, life, audit).await.unwrap()
    };
    assert!(begin(&account.owner, account.generation, None).await.is_none());
    assert!(begin(&account.owner, account.generation, Some("app")).await.is_some());
}

#[tokio::test]
async fn reset_password_removes_all_second_factors_of_a_user_and_ends_the_sessions() {
    let (cluster, admin, anna, app, _) = with_anna(1).await;
    let reset = async |user: &str| {
        let mut command = bangui("reset-password");
        command.args([user, "--second-factor"]);
        command.env("BANGUI_REDIS_URL", cluster.redis.url()).env("BANGUI_REDIS_PREFIX", "it");
        Child::run("bangui reset-password", command, SOON).await
    };
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let (code, printed) = reset("anna").await;
    assert!(code == Some(0) && printed.contains("Removed the second factors of anna"), "{printed}");
    assert_eq!(finish(&cluster.client(0), &login, &app.code()).await.problem(401), "login-over");
    anna.get("/api/v1/session").await.problem(401);
    admin.get("/api/v1/session").await.expect(200);
    logged_in_as(&cluster.client(0), "anna").await;
    let (code, printed) = reset("anna").await;
    assert!(code == Some(0) && printed.contains("There were no second factors"), "{printed}");
    let (code, printed) = reset("bert").await;
    assert!(code == Some(1) && printed.contains("no user bert"), "{printed}");
    let entries = cluster.connected_store().await.audit_page(None, 50).await.unwrap().items;
    let entry = entries.iter().find(|entry| entry.what == "factor.reset").unwrap();
    assert_eq!(entry.target.as_deref(), Some("anna"));
}

#[tokio::test]
async fn the_audit_has_every_change_and_refusal_and_no_secret_is_in_it_or_in_a_log() {
    let (cluster, _, anna, app, codes) = with_anna(1).await;
    let renewed = anna.post("/api/v1/factors/recovery-codes", json!({})).await;
    let code = renewed.expect(201).body["recovery_codes"][0].as_str().unwrap().to_owned();
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    finish(&cluster.client(0), &login, &app.wrong_code()).await.problem(401);
    finish(&cluster.client(0), &login, &code).await.expect(201);
    anna.post("/api/v1/factors/app", json!({})).await.expect(201);
    anna.post("/api/v1/factors/app/confirm", json!({ "code": "000000" })).await.problem(403);
    anna.delete("/api/v1/factors/app").await.expect(204);
    let store = cluster.connected_store().await;
    let of = |entries: &[bangui::store::AuditEntry], what: &str| {
        entries.iter().filter(|entry| entry.what == what && entry.username == "anna").count()
    };
    let entries = eventually("the refusals", SOON, || async {
        let entries = store.audit_page(None, 100).await.unwrap().items;
        (of(&entries, "login.refused") == 1 && of(&entries, "factor.refused") == 1).then_some(entries)
    })
    .await;
    for what in ["factor.set_app", "factor.renew_recovery_codes", "factor.remove_app"] {
        assert_eq!(of(&entries, what), 1, "{what}: {entries:?}");
    }
    let begun = entries.iter().find(|entry| entry.after["second_factor"] == "recovery-code");
    assert!(begun.is_some_and(|entry| entry.what == "session.begin"), "{entries:?}");
    let printed = cluster.workers[0].process.printed();
    let entries = format!("{entries:?}");
    for secret in [&login, &code, &codes[0], &code.replace('-', "")] {
        assert!(!printed.contains(secret.as_str()) && !entries.contains(secret.as_str()), "{secret}");
    }
    // Recovery codes and logins that wait are stored as hashes alone.
    let stored = cluster.redis.everything().await;
    for secret in [&login, &code.replace('-', "")] {
        assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret} is stored");
    }
}
