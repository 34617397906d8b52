//! Second factors, and logins that wait for one.

use bangui::domain::second_factor::{AppSecret, RecoveryCode};
use bangui::store::{Asks, Owner, SessionId, WaitingLogin};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Route;
use super::observed::{Observed, after_and_answered, hang_up};
use crate::support::factors::App;
use crate::support::{Cluster, SOON, eventually};

pub const ROUTES: &[Route] = &[
    Route::new("POST", "/api/v1/factors/app/confirm", "factor.set_app"),
    Route::new("POST", "/api/v1/factors/recovery-codes", "factor.renew_recovery_codes"),
    Route::new("POST", "/api/v1/session/factor", "session.begin"),
    Route::new("DELETE", "/api/v1/factors/app", "factor.remove_app"),
];
/// What is proposed changes nothing.
pub const PROPOSALS: &[Route] = &[Route::new("POST", "/api/v1/factors/app", "")];

/// What the request needs, past the workers; its body.
async fn prepared(seen: &Observed, what: &str, session: &SessionId, n: u8) -> Value {
    let secret = AppSecret::of([n; 20]);
    let (text, recovery) = (secret.base32(), RecoveryCode::of([n; 10]));
    let key = "{it}:account:admin";
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
            let body = prepared(&seen, what, &session, n).await;
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
        hang_up(&admin, admin.request(route.method(), route.path), SOON).await;
        seen.accounted(route.method, route.path, 1).await;
    }
}
