//! A passkey that is set up at the login, by somebody who needs a second factor and has none: begun at one worker and finished at another,
//! once, and never beside a factor that the account has.

use bangui::actions::Actor;
use bangui::store::{Asks, PasskeyId, PasskeysChanged, Username, WaitingLogin};
use serde_json::{Value, json};

use crate::passkeys::{URL, challenge, cluster, signed};
use crate::second_factor_roles::{must_set_up, propose, require, set_up};
use crate::support::authenticator::Passkey;
use crate::support::browser::Browser;
use crate::support::factors::{App, finish, waits, with_app};
use crate::support::people::{USERS_PASSWORD, create_user};
use crate::support::{Answer, Client, Cluster, PASSWORD};

/// Workers with a name, where admins need a second factor.
async fn required(workers: usize) -> (Cluster, Client) {
    let cluster = cluster(workers).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    require(&cluster, &admin, "admin,operator").await;
    (cluster, admin)
}

async fn begin(client: &Client, login: &str) -> Answer {
    client.anonymous().post("/api/v1/session/factor/passkey", json!({ "login": login })).await
}

async fn add(client: &Client, login: &str, credential: &Value) -> Answer {
    let body = json!({ "login": login, "name": "phone", "credential": credential });
    client.anonymous().post("/api/v1/session/factor/passkey/finish", body).await
}

#[tokio::test]
async fn a_passkey_is_set_up_at_the_login_begun_on_one_worker_and_finished_on_another_once() {
    let (cluster, admin) = required(3).await;
    create_user(&admin, "anna", "operator").await;
    let refused = crate::support::people::try_log_in(&cluster.client(0), "anna", USERS_PASSWORD).await;
    assert_eq!(refused.body["factors"], json!(["app", "passkey"]), "{}", refused.text);
    let login = must_set_up(&cluster.client(0), "anna", USERS_PASSWORD).await;
    let begun = begin(&cluster.client(0), &login).await;
    let (mut passkey, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    let added = add(&cluster.client(1), &login, &credential).await;
    assert_eq!(added.expect(201).body["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(added.session_cookie(), added.body["token"]);
    let anna = cluster.client(2).with_bearer(added.body["token"].as_str().unwrap());
    assert_eq!(anna.get("/api/v1/session").await.expect(200).body["username"], "anna");
    let shown = anna.get("/api/v1/factors").await;
    assert_eq!(shown.expect(200).body["passkeys"][0]["name"], "phone");
    // The login is used up at every worker, for either factor.
    for n in 0..3 {
        assert_eq!(add(&cluster.client(n), &login, &credential).await.problem(401), "login-over");
        assert_eq!(begin(&cluster.client(n), &login).await.problem(401), "login-over");
        assert_eq!(propose(&cluster.client(n), &login).await.problem(401), "login-over");
    }
    // From now on the passkey logs in, alone or after the password, which alone does not.
    let given = challenge(&cluster, 0, None).await;
    let credential = passkey.sign(&given["options"]);
    signed(&cluster, 1, &given, &credential).await.expect(201);
    let login = waits(&cluster.client(2), "anna", USERS_PASSWORD).await;
    let given = challenge(&cluster, 0, Some(&login)).await;
    let credential = passkey.sign(&given["options"]);
    signed(&cluster, 1, &given, &credential).await.expect(201);
    let login = waits(&cluster.client(2), "anna", USERS_PASSWORD).await;
    let code = added.body["recovery_codes"][0].as_str().unwrap();
    finish(&cluster.client(1), &login, code).await.expect(201);
}

#[tokio::test]
async fn a_challenge_is_of_one_login_and_is_used_once_whatever_was_made_for_it() {
    let (cluster, _) = required(2).await;
    let client = cluster.client(0);
    let login = must_set_up(&client, "admin", PASSWORD).await;
    let other = must_set_up(&client, "admin", PASSWORD).await;
    let begun = begin(&client, &login).await;
    let (_, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    assert_eq!(add(&client, &other, &credential).await.problem(409), "no-passkey-begun");
    begin(&client, &other).await.expect(200);
    assert_eq!(add(&client, &other, &credential).await.problem(403), "passkey-not-added");
    // What was refused has used its challenge up; a name that is none has not.
    let (_, made) = Passkey::create(&begun.body["options"], "https://evil.example");
    for name in ["", " x", &"x".repeat(65)] {
        let body = json!({ "login": login, "name": name, "credential": made });
        client.post("/api/v1/session/factor/passkey/finish", body).await.problem(422);
    }
    assert_eq!(add(&client, &login, &made).await.problem(403), "passkey-not-added");
    assert_eq!(add(&cluster.client(1), &login, &credential).await.problem(409), "no-passkey-begun");
    for garbage in [json!(null), json!({}), json!([]), json!("x"), json!({ "id": 7, "response": {} })] {
        begin(&client, &login).await.expect(200);
        assert_eq!(add(&client, &login, &garbage).await.problem(403), "passkey-not-added");
    }
    for secret in ["", "x", &"A".repeat(43), &"A".repeat(4000)] {
        assert_eq!(begin(&client, secret).await.problem(401), "login-over");
        assert_eq!(add(&client, secret, &credential).await.problem(401), "login-over");
    }
    // Of two workers that get the same passkey at once, one logs in.
    for _ in 0..10 {
        let login = must_set_up(&client, "admin", PASSWORD).await;
        let begun = begin(&client, &login).await;
        let (_, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
        let (a, b) = (cluster.client(0), cluster.client(1));
        let (a, b) = tokio::join!(add(&a, &login, &credential), add(&b, &login, &credential));
        assert_eq!([&a, &b].iter().filter(|answer| answer.status == 201).count(), 1, "{} {}", a.text, b.text);
        let begun = if a.status == 201 { a } else { b };
        let admin = client.with_bearer(begun.body["token"].as_str().unwrap()).confirmed().await;
        let id = admin.get("/api/v1/factors").await.body["passkeys"][0]["id"].as_str().unwrap().to_owned();
        admin.delete(&format!("/api/v1/factors/passkeys/{id}")).await.expect(204);
    }
}

#[tokio::test]
async fn the_password_alone_never_adds_a_passkey_to_a_factor() {
    let (cluster, admin) = required(2).await;
    let (early, late) = (cluster.client(0), cluster.client(1));
    let login = must_set_up(&early, "admin", PASSWORD).await;
    let begun = begin(&early, &login).await;
    let (_, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    // An app is set up in between, by a session; then by another login.
    let (app, _) = with_app(&cluster, &admin, "admin").await;
    assert_eq!(add(&late, &login, &credential).await.problem(401), "login-over");
    assert_eq!(begin(&late, &login).await.problem(401), "login-over");
    let login = waits(&early, "admin", PASSWORD).await;
    assert_eq!(begin(&late, &login).await.problem(401), "login-over");
    finish(&late, &login, &app.code()).await.expect(201);
    // Nor past the look before: the step itself refuses.
    let store = cluster.connected_store().await;
    let account = store.account(&Username::admin()).await.unwrap().unwrap();
    let waiting = WaitingLogin::of(&account.owner, account.generation);
    let hash = store.keep_waiting_login(&waiting).await.unwrap().hash();
    let (asks, id) = (Asks::Login(&hash, &waiting), PasskeyId::of(b"key"));
    let record = Actor::operator().record("factor.add_passkey");
    let changed = store.change_passkeys(&account, asks, &[], &id, &record).await.unwrap();
    assert!(matches!(changed, PasskeysChanged::Overtaken));
    admin.delete("/api/v1/factors/app").await.expect(204);
    // A login whose account was changed since, or that was finished with an app.
    let login = must_set_up(&early, "admin", PASSWORD).await;
    let begun = begin(&early, &login).await;
    let (_, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    let proposed = propose(&late, &login).await;
    let app = App::of(proposed.expect(201).body["secret"].as_str().unwrap());
    set_up(&late, &login, &app.code()).await.expect(201);
    assert_eq!(add(&early, &login, &credential).await.problem(401), "login-over");
    admin.delete("/api/v1/factors/app").await.expect(204);
    let login = must_set_up(&early, "admin", PASSWORD).await;
    let begun = begin(&early, &login).await;
    let (_, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    admin.delete("/api/v1/sessions").await.expect(204);
    assert_eq!(add(&late, &login, &credential).await.problem(401), "login-over");
}

#[tokio::test]
async fn the_page_offers_a_passkey_to_scripts_where_there_can_be_one_and_the_app_to_everybody() {
    let (cluster, admin) = required(2).await;
    let mut user = Browser::new(cluster.workers[0].address);
    let page = user.get("/login?next=%2Faccount").await;
    let step = user.submit(&page, "main form", &[("password", PASSWORD)], "Log in").await;
    let form = "form[data-passkey=create]";
    assert_eq!(step.expect(200).attribute(form, "action").as_deref(), Some("/login/set-up-passkey"));
    assert!(step.attribute(form, "hidden").is_some(), "without JavaScript it is not offered");
    assert_eq!(step.texts("svg.qr").len(), 1);
    // What the script does, at another worker.
    let login = step.attribute("input[name=login]", "value").unwrap();
    let begun = begin(&cluster.client(1), &login).await;
    let (_, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    let mut user = user.at(cluster.workers[1].address);
    let typed = [("name", "phone"), ("credential", "{")];
    let refused = user.submit(&step, form, &typed, "Add a passkey").await;
    assert!(refused.expect(422).text("form [role=alert]").contains("not a passkey"), "{}", refused.html);
    assert_eq!(refused.attribute("#name", "value").as_deref(), Some("phone"));
    let begun = begin(&cluster.client(0), &login).await;
    let (_, again) = Passkey::create(&begun.expect(200).body["options"], URL);
    assert_ne!(again, credential);
    let typed = [("name", "phone"), ("credential", &*again.to_string())];
    let codes = user.submit(&refused, form, &typed, "Add a passkey").await;
    assert_eq!(codes.expect(200).texts(".codes code").len(), 10, "{}", codes.html);
    let to = codes.attribute("main a.button", "href").unwrap();
    assert_eq!(to, "/account");
    user.get(&to).await.expect(200);
    // The login is over, and the page says so.
    let over = user.submit(&refused, form, &typed, "Add a passkey").await;
    assert!(over.expect(303).to().unwrap().contains("over=1"));
    drop(admin);

    let cluster = Cluster::bare(1).env("BANGUI_SECOND_FACTOR_ROLES", "admin").set_up().await;
    let login = must_set_up(&cluster.client(0), "admin", PASSWORD).await;
    assert_eq!(begin(&cluster.client(0), &login).await.problem(409), "no-passkeys");
    assert_eq!(add(&cluster.client(0), &login, &json!({})).await.problem(409), "no-passkeys");
    let refused = crate::support::people::try_log_in(&cluster.client(0), "admin", PASSWORD).await;
    assert_eq!(refused.body["factors"], json!(["app"]));
    let mut user = Browser::new(cluster.workers[0].address);
    let page = user.get("/login").await;
    let step = user.submit(&page, "main form", &[("password", PASSWORD)], "Log in").await;
    assert!(step.expect(200).attribute(form, "action").is_none(), "{}", step.html);
}
