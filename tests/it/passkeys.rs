//! Passkeys: a ceremony begun at one worker and finished at another, once; alone, and as the second factor.

use serde_json::{Value, json};

use crate::support::authenticator::Passkey;
use crate::support::factors::{finish, waits, with_app};
use crate::support::people::{USERS_PASSWORD, change_user, create_user, logged_in_as, try_log_in};
use crate::support::process::{Child, bangui};
use crate::support::provider::Provider;
use crate::support::{Answer, Client, Cluster, PASSWORD, SOON, eventually};

pub const URL: &str = "https://bangui.example";

/// Workers with a name.
pub async fn cluster(workers: usize) -> Cluster {
    Cluster::bare(workers)
        .env("BANGUI_PUBLIC_URL", URL)
        .env("BANGUI_ALLOWED_HOSTS", "127.0.0.1")
        .set_up()
        .await
}

/// Adds a passkey to this user, who must be confirmed: begun at one worker, finished at another.
pub async fn added(cluster: &Cluster, user: &Client, name: &str) -> (Passkey, Value) {
    let last = cluster.workers.len() - 1;
    let begun = user.at(cluster.workers[0].address).post("/api/v1/factors/passkeys", json!({})).await;
    let (passkey, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    let body = json!({ "name": name, "credential": credential });
    let added = user.at(cluster.workers[last].address).post("/api/v1/factors/passkeys/finish", body).await;
    (passkey, added.expect(201).body.clone())
}

/// A challenge from this worker.
pub async fn challenge(cluster: &Cluster, n: usize, login: Option<&str>) -> Value {
    let begun = cluster.client(n).post("/api/v1/session/passkey", json!({ "login": login })).await;
    begun.expect(200).body.clone()
}

pub async fn signed(cluster: &Cluster, n: usize, challenge: &Value, credential: &Value) -> Answer {
    let body = json!({ "ceremony": challenge["ceremony"], "credential": credential });
    cluster.client(n).post("/api/v1/session/passkey/finish", body).await
}

#[tokio::test]
async fn a_passkey_logs_in_alone_begun_on_one_worker_and_finished_on_another_and_its_challenge_works_once() {
    let cluster = cluster(3).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let anna = logged_in_as(&cluster.client(1), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    let (mut passkey, added) = added(&cluster, &anna, "yubikey").await;
    assert_eq!(added["recovery_codes"].as_array().unwrap().len(), 10, "{added}");
    let given = challenge(&cluster, 0, None).await;
    let credential = passkey.sign(&given["options"]);
    let begun = signed(&cluster, 1, &given, &credential).await;
    let token = begun.expect(201).body["token"].as_str().unwrap();
    let session = cluster.client(2).with_bearer(token).get("/api/v1/session").await;
    assert_eq!(session.expect(200).body["username"], "anna");
    for n in 0..3 {
        assert_eq!(signed(&cluster, n, &given, &credential).await.problem(401), "login-over");
        // What was signed for one challenge is none for another.
        let other = challenge(&cluster, n, None).await;
        assert_eq!(signed(&cluster, (n + 1) % 3, &other, &credential).await.problem(401), "passkey-refused");
    }
    let shown = anna.get("/api/v1/factors").await;
    let shown = &shown.expect(200).body["passkeys"][0];
    assert_eq!(shown["name"], "yubikey");
    assert!(shown["last_used_at"].is_string(), "{shown}");
    // The password alone does not log in any more.
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let code = added["recovery_codes"][0].as_str().unwrap();
    finish(&cluster.client(1), &login, code).await.expect(201);
}

#[tokio::test]
async fn the_list_of_users_says_who_has_which_second_factor() {
    let cluster = cluster(1).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    for name in ["anna", "bert", "carl"] {
        create_user(&admin, name, "operator").await;
    }
    for name in ["anna", "bert"] {
        let user = logged_in_as(&cluster.client(0), name).await;
        user.confirm(USERS_PASSWORD).await.expect(204);
        added(&cluster, &user, "one").await;
        if name == "bert" {
            added(&cluster, &user, "two").await;
            with_app(&cluster, &user, name).await;
        }
    }
    let listed = admin.get("/api/v1/users").await;
    let of = |item: &Value| (item["username"].clone(), item["second_factor"].clone());
    let shown: Vec<_> = listed.expect(200).body["items"].as_array().unwrap().iter().map(of).collect();
    let factors = |app: bool, passkeys: usize| json!({ "app": app, "passkeys": passkeys });
    let wanted = [("admin", false, 0), ("anna", false, 1), ("bert", true, 2), ("carl", false, 0)];
    assert_eq!(shown, wanted.map(|(name, app, passkeys)| (json!(name), factors(app, passkeys))));
    let changed = change_user(&admin, "bert", json!({ "role": "viewer" })).await;
    assert_eq!(changed.expect(200).body["second_factor"], factors(true, 2));
    let page = cluster.client(0).with_bearer(&admin.log_in().await).get("/users").await;
    let html = scraper::Html::parse_document(&page.expect(200).text);
    let cells = scraper::Selector::parse("#list td.d .muted").unwrap();
    let cells: Vec<String> = html.select(&cells).map(|cell| cell.text().collect()).collect();
    let wanted = ["none", "1 passkey", "app, 2 passkeys", "none"];
    assert_eq!(cells, wanted.map(|words| format!("second factor: {words}")));
}

#[tokio::test]
async fn of_two_workers_that_get_the_same_signature_at_once_one_logs_in() {
    let cluster = cluster(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (mut passkey, _) = added(&cluster, &admin, "key").await;
    for _ in 0..50 {
        let given = challenge(&cluster, 0, None).await;
        let credential = passkey.sign(&given["options"]);
        let (a, b) =
            tokio::join!(signed(&cluster, 0, &given, &credential), signed(&cluster, 1, &given, &credential));
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 401], "{} {}", a.text, b.text);
    }
}

#[tokio::test]
async fn a_passkey_is_the_second_factor_of_a_login_at_any_worker() {
    let cluster = cluster(3).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (mut passkey, _) = added(&cluster, &admin, "key").await;
    let (app, _) = with_app(&cluster, &admin, "admin").await;
    let waiting = try_log_in(&cluster.client(0), "admin", PASSWORD).await;
    assert_eq!(waiting.body["factors"], json!(["app", "recovery-code", "passkey"]));
    let login = waiting.body["login"].as_str().unwrap();
    let given = challenge(&cluster, 1, Some(login)).await;
    let allowed = given["options"]["publicKey"]["allowCredentials"].as_array().unwrap();
    assert_eq!(allowed.len(), 1, "{given}");
    let credential = passkey.sign(&given["options"]);
    assert_eq!(allowed[0]["id"], credential["id"], "as browsers read it");
    signed(&cluster, 2, &given, &credential).await.expect(201);
    // The login is over for every other factor.
    assert_eq!(finish(&cluster.client(0), login, &app.code()).await.problem(401), "login-over");
    let over = cluster.client(1).post("/api/v1/session/passkey", json!({ "login": login })).await;
    assert_eq!(over.problem(401), "login-over");
    // A challenge for a login that was finished in another way since.
    let login = waits(&cluster.client(0), "admin", PASSWORD).await;
    let given = challenge(&cluster, 1, Some(&login)).await;
    let credential = passkey.sign(&given["options"]);
    finish(&cluster.client(2), &login, &app.code()).await.expect(201);
    assert_eq!(signed(&cluster, 0, &given, &credential).await.problem(401), "login-over");
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused_on_every_worker_and_audited() {
    let cluster = cluster(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (mut passkey, _) = added(&cluster, &admin, "key").await;
    for counter in [0, 5] {
        let given = challenge(&cluster, 0, None).await;
        let credential = passkey.counting(counter).sign(&given["options"]);
        signed(&cluster, 1, &given, &credential).await.expect(201);
    }
    for (n, counter) in [(0, 5), (1, 4), (0, 0)] {
        let given = challenge(&cluster, n, None).await;
        let credential = passkey.counting(counter).sign(&given["options"]);
        assert_eq!(
            signed(&cluster, n, &given, &credential).await.problem(401),
            "passkey-copied",
            "{counter}"
        );
    }
    let store = cluster.connected_store().await;
    eventually("an entry of each refusal", SOON, || async {
        let entries = store.audit_page(None, 50).await.unwrap().items;
        let refused = entries.iter().filter(|entry| entry.what == "login.refused");
        (refused.filter(|entry| entry.outcome.contains("copied")).count() == 3).then_some(())
    })
    .await;
    let given = challenge(&cluster, 0, None).await;
    let credential = passkey.counting(6).sign(&given["options"]);
    signed(&cluster, 0, &given, &credential).await.expect(201);
}

#[tokio::test]
async fn what_is_signed_elsewhere_or_without_the_user_or_by_a_stranger_logs_nobody_in() {
    let cluster = cluster(1).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let (mut passkey, _) = added(&cluster, &admin, "key").await;
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    let (mut annas, _) = added(&cluster, &anna, "key").await;
    let refused = async |credential: &dyn Fn(&Value) -> Value, login: Option<&str>| {
        let given = challenge(&cluster, 0, login).await;
        let answer = signed(&cluster, 0, &given, &credential(&given["options"])).await;
        assert_eq!(answer.problem(401), "passkey-refused", "{}", answer.text);
    };
    let with = |options: &Value, change: &dyn Fn(&mut Value)| {
        // Signed once, and changed.
        let mut credential = options.clone();
        change(&mut credential);
        credential
    };
    passkey.origin = "https://evil.example".to_owned();
    let cell = std::cell::RefCell::new(passkey);
    refused(&|options| cell.borrow_mut().sign(options), None).await;
    cell.borrow_mut().origin = URL.to_owned();
    cell.borrow_mut().verifies = false;
    refused(&|options| cell.borrow_mut().sign(options), None).await;
    cell.borrow_mut().verifies = true;
    // For another's login.
    let login = waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    refused(&|options| cell.borrow_mut().sign(options), Some(&login)).await;
    // With another's handle.
    let handle = {
        let given = challenge(&cluster, 0, None).await;
        annas.sign(&given["options"])["response"]["userHandle"].clone()
    };
    refused(
        &|options| with(&cell.borrow_mut().sign(options), &|c| c["response"]["userHandle"] = handle.clone()),
        None,
    )
    .await;
    refused(
        &|options| with(&cell.borrow_mut().sign(options), &|c| c["response"]["signature"] = json!("AAAA")),
        None,
    )
    .await;
    for garbage in [json!(null), json!({}), json!([]), json!("x"), json!({ "id": 7, "response": {} })] {
        refused(&|_| garbage.clone(), None).await;
    }
    for ceremony in ["", "x", &"A".repeat(43)] {
        let answer = signed(&cluster, 0, &json!({ "ceremony": ceremony }), &json!({})).await;
        assert_eq!(answer.problem(401), "login-over");
    }
    let given = challenge(&cluster, 0, None).await;
    let credential = cell.borrow_mut().sign(&given["options"]);
    signed(&cluster, 0, &given, &credential).await.expect(201);
    // None of the library's own lines about strangers.
    assert!(!cluster.workers[0].process.printed().contains("webauthn_rs"), "its lines are in the log");
}

#[tokio::test]
async fn a_passkey_is_added_in_one_session_after_the_password_and_once() {
    let cluster = cluster(2).await;
    let admin = cluster.client(0).logged_in().await;
    let refused = admin.post("/api/v1/factors/passkeys", json!({})).await;
    assert_eq!(refused.problem(403), "confirmation-required");
    let admin = admin.confirmed().await;
    let begun = admin.post("/api/v1/factors/passkeys", json!({})).await;
    let (_, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    let body = json!({ "name": "key", "credential": credential });
    let other = cluster.client(0).logged_in().await;
    let foreign = other.post("/api/v1/factors/passkeys/finish", body.clone()).await;
    assert_eq!(foreign.problem(409), "no-passkey-begun");
    for wrong in ["", " x", &"x".repeat(65)] {
        let named = json!({ "name": wrong, "credential": {} });
        admin.post("/api/v1/factors/passkeys/finish", named).await.problem(422);
    }
    admin.post("/api/v1/factors/passkeys/finish", body.clone()).await.expect(201);
    let again = admin.post("/api/v1/factors/passkeys/finish", body.clone()).await;
    assert_eq!(again.problem(409), "no-passkey-begun");
    // What was made for one challenge is none for another, nor at another site.
    admin.post("/api/v1/factors/passkeys", json!({})).await.expect(200);
    let replayed = admin.post("/api/v1/factors/passkeys/finish", body).await;
    assert_eq!(replayed.problem(403), "passkey-not-added");
    let begun = admin.post("/api/v1/factors/passkeys", json!({})).await;
    let (_, credential) = Passkey::create(&begun.expect(200).body["options"], "https://evil.example");
    let body = json!({ "name": "key", "credential": credential });
    let refused = admin.post("/api/v1/factors/passkeys/finish", body).await;
    assert_eq!(refused.problem(403), "passkey-not-added");
    assert_eq!(admin.get("/api/v1/factors").await.body["passkeys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_passkey_that_was_removed_or_whose_account_has_ended_logs_nobody_in() {
    let cluster = cluster(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    let refused = async |passkey: &mut Passkey| {
        let given = challenge(&cluster, 0, None).await;
        let credential = passkey.sign(&given["options"]);
        assert_eq!(signed(&cluster, 1, &given, &credential).await.problem(401), "passkey-refused");
    };
    let (mut first, view) = added(&cluster, &anna, "first").await;
    let (mut second, _) = added(&cluster, &anna, "second").await;
    let id = view["passkey"]["id"].as_str().unwrap();
    anna.delete(&format!("/api/v1/factors/passkeys/{id}")).await.expect(204);
    anna.delete(&format!("/api/v1/factors/passkeys/{id}")).await.problem(404);
    anna.delete("/api/v1/factors/passkeys/x").await.problem(404);
    refused(&mut first).await;
    waits(&cluster.client(0), "anna", USERS_PASSWORD).await;
    change_user(&admin, "anna", json!({ "disabled": true })).await.expect(200);
    refused(&mut second).await;
    change_user(&admin, "anna", json!({ "disabled": false })).await.expect(200);
    let given = challenge(&cluster, 0, None).await;
    let credential = second.sign(&given["options"]);
    signed(&cluster, 1, &given, &credential).await.expect(201);
    let mut command = bangui("reset-password");
    command.args(["anna", "--second-factor"]);
    command.env("BANGUI_REDIS_URL", cluster.redis.url()).env("BANGUI_REDIS_PREFIX", "it");
    assert_eq!(Child::run("bangui reset-password", command, SOON).await.0, Some(0));
    refused(&mut second).await;
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    let (mut third, _) = added(&cluster, &anna, "third").await;
    admin.delete("/api/v1/users/anna").await.expect(204);
    create_user(&admin, "anna", "operator").await;
    refused(&mut third).await;
    let left = cluster.redis.keys().await;
    assert!(left.iter().all(|key| !key.starts_with(b"{it}:passkey:")), "nothing leads to them any more");
}

#[tokio::test]
async fn without_a_public_url_with_tls_there_are_no_passkeys_and_the_answer_says_why() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    for refused in [
        admin.post("/api/v1/factors/passkeys", json!({})).await,
        admin.post("/api/v1/session/passkey", json!({})).await,
    ] {
        assert_eq!(refused.problem(409), "no-passkeys");
        assert!(refused.body["detail"].as_str().unwrap().contains("BANGUI_PUBLIC_URL is not set"));
    }
}

#[tokio::test]
async fn challenges_are_limited_by_address_as_logins_are() {
    let cluster = Cluster::bare(2)
        .env("BANGUI_PUBLIC_URL", URL)
        .env("BANGUI_ALLOWED_HOSTS", "127.0.0.1")
        .env("BANGUI_LOGIN_LIMIT", "10/3600")
        .start()
        .await;
    let mut limited = 0;
    for n in 0..12 {
        let answer = cluster.client(n % 2).post("/api/v1/session/passkey", json!({})).await;
        limited += usize::from(answer.status == 429);
    }
    assert_eq!(limited, 2);
}

#[tokio::test]
async fn where_passwords_are_switched_off_a_passkey_logs_in_nobody_but_the_one_account() {
    let provider = Provider::start().await;
    let builder = provider.for_workers(Cluster::bare(1));
    let builder = builder.env("BANGUI_PUBLIC_URL", URL).env("BANGUI_ALLOWED_HOSTS", "127.0.0.1");
    let mut cluster = builder.set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    let (mut annas, _) = added(&cluster, &anna, "yubikey").await;
    let (mut admins, _) = added(&cluster, &admin, "yubikey").await;
    cluster.environment.insert("BANGUI_PASSWORD_LOGIN".to_owned(), "only:admin".to_owned());
    cluster.add_worker().await;
    for (passkey, status) in [(&mut annas, 401), (&mut admins, 201)] {
        let given = challenge(&cluster, 1, None).await;
        let credential = passkey.sign(&given["options"]);
        assert_eq!(signed(&cluster, 1, &given, &credential).await.status, status);
    }
}

#[tokio::test]
async fn a_passkey_of_a_user_of_the_single_sign_on_logs_nobody_in_past_the_groups() {
    let provider = Provider::start().await;
    let builder = provider.for_workers(Cluster::bare(2)).env("BANGUI_PUBLIC_URL", URL);
    let cluster = builder.env("BANGUI_ALLOWED_HOSTS", "127.0.0.1").set_up().await;
    let user = crate::support::provider::User::new("anna", &["looks"]);
    let (mut browser, page) = crate::single_sign_on::sign_on(&cluster, &provider, &user, 0, 1).await;
    page.expect(303);
    let there = browser.get("/login/sso/confirm").await.expect(303).to().unwrap();
    browser.get(&provider.approve(&there, &user)).await.expect(303);
    let anna = cluster.client(0).with_bearer(browser.cookie("__Host-bangui").unwrap());
    let (mut passkey, _) = added(&cluster, &anna, "key").await;
    for n in 0..2 {
        let given = challenge(&cluster, n, None).await;
        let credential = passkey.sign(&given["options"]);
        assert_eq!(signed(&cluster, 1 - n, &given, &credential).await.problem(401), "passkey-refused");
    }
    // The single sign-on continues to.
    let (_, page) = crate::single_sign_on::sign_on(&cluster, &provider, &user, 1, 0).await;
    page.expect(303);
}
