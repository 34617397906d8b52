//! Second factors, and logins that wait for one.

use bangui::domain::second_factor::{AppSecret, RecoveryCode};
use bangui::store::{Asks, Owner, SessionId, WaitingLogin};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Route;
use super::observed::{Observed, after_and_answered, hang_up};
use crate::support::authenticator::Passkey;
use crate::support::factors::App;
use crate::support::{Cluster, SOON, eventually};

pub const ROUTES: &[Route] = &[
    Route::new("POST", "/api/v1/factors/app/confirm", "factor.set_app"),
    Route::new("POST", "/api/v1/factors/recovery-codes", "factor.renew_recovery_codes"),
    Route::new("POST", "/api/v1/session/factor", "session.begin"),
    Route::new("DELETE", "/api/v1/factors/app", "factor.remove_app"),
    Route::new("POST", "/api/v1/session/factor/app/confirm", "factor.set_app"),
];
const URL: &str = "https://bangui.example";

/// What is proposed changes nothing.
pub const PROPOSALS: &[Route] = &[
    Route::new("POST", "/api/v1/factors/app", ""),
    Route::new("POST", "/api/v1/factors/passkeys", ""),
    Route::new("POST", "/api/v1/session/passkey", ""),
    Route::new("POST", "/api/v1/session/factor/app", ""),
    Route::new("POST", "/api/v1/session/factor/passkey", ""),
];
/// What a browser has made or signed.
pub const PASSKEYS: &[Route] = &[
    Route::new("POST", "/api/v1/session/factor/passkey/finish", "factor.add_passkey"),
    Route::new("POST", "/api/v1/factors/passkeys/finish", "factor.add_passkey"),
    Route::new("POST", "/api/v1/session/passkey/finish", "session.begin"),
    Route::new("DELETE", "/api/v1/factors/passkeys/{id}", "factor.remove_passkey"),
];

/// What the request needs, past the workers; its body.
async fn prepared(seen: &Observed, (what, route): (&str, &str), session: &SessionId, n: u8) -> Value {
    let secret = AppSecret::of([n; 20]);
    let (text, recovery) = (secret.base32(), RecoveryCode::of([n; 10]));
    let key = "{it}:account:admin";
    if route.starts_with("/api/v1/session/factor/app") {
        for field in ["factor_app", "factor_recovery"] {
            seen.number(&["HDEL", key, field]).await;
        }
        let account = seen.store.account(&Owner::admin().username).await.unwrap().unwrap();
        let login = WaitingLogin::of(&account.owner, account.generation);
        let waiting = seen.store.keep_waiting_login(&login).await.unwrap();
        let proposed = seen.store.propose_app(Asks::Login(&waiting.hash(), &login)).await.unwrap();
        let code = App::of(proposed.base32().expose_secret()).code();
        return json!({ "login": waiting.reveal(), "code": code });
    }
    if what == "factor.set_app" {
        let proposed = seen.store.propose_app(Asks::Session(session)).await.unwrap();
        return json!({ "code": App::of(proposed.base32().expose_secret()).code() });
    }
    seen.number(&["HSET", key, "factor_app", text.expose_secret(), "factor_recovery", &recovery.hash()])
        .await;
    if what != "session.begin" {
        return Value::Null;
    }
    let account = seen.store.account(&Owner::admin().username).await.unwrap().unwrap();
    let login = WaitingLogin::of(&account.owner, account.generation);
    let login = seen.store.keep_waiting_login(&login).await.unwrap();
    json!({ "login": login.reveal(), "code": recovery.shown() })
}

#[tokio::test]
async fn second_factors_are_accounted_for_though_the_client_hung_up() {
    let cluster = Cluster::bare(2).proxied().set_up().await;
    let seen = Observed::new(cluster).await;
    let client = seen.cluster.client(0);
    let (session, token) = seen.begun_session().await;
    let admin = client.with_bearer(&token).confirmed().await;
    for route in ROUTES {
        let what = route.what;
        let entries = seen.entries(what).await.len();
        for (n, after) in (0..).zip(after_and_answered(10)) {
            let body = prepared(&seen, (what, route.path), &session, n).await;
            let caller = if what == "session.begin" { &client } else { &admin };
            hang_up(&admin, caller.request(route.method(), route.path).json(&body), after).await;
        }
        // Counted by their entries, which are written in the same step.
        let changed = eventually(&format!("an entry `{what}` for a change"), SOON, || async {
            let written = seen.entries(what).await.len() - entries;
            (written > 0).then_some(written)
        })
        .await;
        seen.accounted(route.method, route.path, changed).await;
    }
    for route in PROPOSALS {
        hang_up(&admin, admin.request(route.method(), route.path).json(&json!({})), SOON).await;
        seen.accounted(route.method, route.path, 1).await;
    }
}

/// A passkey for a login that must set one up; none if the one that was left before was added in between.
async fn begun_at_login(seen: &Observed) -> Option<Value> {
    for field in ["factor_passkeys", "factor_recovery"] {
        seen.number(&["HDEL", "{it}:account:admin", field]).await;
    }
    let account = seen.store.account(&Owner::admin().username).await.unwrap().unwrap();
    let login = WaitingLogin::of(&account.owner, account.generation);
    let login = seen.store.keep_waiting_login(&login).await.unwrap();
    let begun = json!({ "login": login.reveal() });
    let begun = seen.cluster.client(0).post("/api/v1/session/factor/passkey", begun).await;
    let (_, credential) = (begun.status == 200).then(|| Passkey::create(&begun.body["options"], URL))?;
    Some(json!({ "login": login.reveal(), "name": "key", "credential": credential }))
}

#[tokio::test]
async fn passkeys_are_accounted_for_though_the_client_hung_up() {
    let cluster = Cluster::bare(2)
        .proxied()
        .env("BANGUI_PUBLIC_URL", URL)
        .env("BANGUI_ALLOWED_HOSTS", "127.0.0.1")
        .set_up()
        .await;
    let seen = Observed::new(cluster).await;
    let client = seen.cluster.client(0);
    let (_, token) = seen.begun_session().await;
    let admin = client.with_bearer(&token).confirmed().await;
    let (mut passkeys, mut ids) = (Vec::new(), Vec::new());
    for route in PASSKEYS {
        let what = route.what;
        let entries = seen.entries(what).await.len();
        for (n, after) in after_and_answered(6).into_iter().enumerate() {
            let at_login = route.path.starts_with("/api/v1/session/factor");
            let (path, body) = match what {
                "factor.add_passkey" if at_login => {
                    let body = eventually("a passkey that is begun", SOON, || begun_at_login(&seen)).await;
                    (route.path.to_owned(), body)
                }
                "factor.add_passkey" => {
                    let begun = admin.post("/api/v1/factors/passkeys", json!({})).await;
                    let (passkey, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
                    passkeys.push(passkey);
                    (route.path.to_owned(), json!({ "name": n.to_string(), "credential": credential }))
                }
                "session.begin" => {
                    let begun = client.post("/api/v1/session/passkey", json!({})).await;
                    // The last one was answered.
                    let signed = passkeys.last_mut().unwrap().sign(&begun.expect(200).body["options"]);
                    (
                        route.path.to_owned(),
                        json!({ "ceremony": begun.body["ceremony"], "credential": signed }),
                    )
                }
                _ => {
                    if ids.is_empty() {
                        let listed = admin.get("/api/v1/factors").await;
                        let listed = listed.body["passkeys"].as_array().unwrap().clone();
                        ids = listed.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
                    }
                    (route.path.replace("{id}", &ids[n % ids.len()]), Value::Null)
                }
            };
            let caller = if what == "session.begin" || at_login { &client } else { &admin };
            hang_up(&admin, caller.request(route.method(), &path).json(&body), after).await;
        }
        let changed = eventually(&format!("an entry `{what}` for a change"), SOON, || async {
            let written = seen.entries(what).await.len() - entries;
            (written > 0).then_some(written)
        })
        .await;
        seen.accounted(route.method, route.path, changed).await;
    }
}
