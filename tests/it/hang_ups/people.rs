//! Users, invitations and tokens for programs.

use bangui::actions::Actor;
use bangui::domain::access::{Access, Role};
use bangui::store::{Accepted, InvitationCode, Invited, NewInvitation, Owner, Store, Username};
use serde_json::{Value, json};

use super::Route;
use super::observed::{Observed, after_and_answered, hang_up};
use crate::support::people::USERS_PASSWORD;
use crate::support::{Cluster, SOON, eventually};

pub const ROUTES: &[Route] = &[
    Route::new("POST", "/api/v1/invitations", "user.invite"),
    Route::new("DELETE", "/api/v1/invitations/{id}", "invitation.revoke"),
    Route::new("POST", "/api/v1/invitations/accept", "user.accept"),
    Route::new("PATCH", "/api/v1/users/{name}", "user.disable"),
    Route::new("DELETE", "/api/v1/users/{name}", "user.delete"),
    Route::new("POST", "/api/v1/tokens", "token.create"),
    Route::new("DELETE", "/api/v1/tokens/{id}", "token.revoke"),
];

/// Somebody is invited, past the workers.
async fn invited(store: &Store, name: &str) -> InvitationCode {
    let (code, username) = (InvitationCode::fresh().unwrap(), Username::parse(name).unwrap());
    let access = Access { role: Role::Viewer, servers: Vec::new() };
    let new = NewInvitation { username: &username, access: &access, by: &Owner::admin() };
    let record = Actor::operator().record("user.test");
    assert_eq!(store.invite(&code, new, &record).await.unwrap(), Invited::Done);
    code
}

async fn user(store: &Store, name: &str) {
    let code = invited(store, name).await;
    let invitation = store.invitation(&code.id()).await.unwrap().unwrap();
    let record = Actor::operator().record("user.test");
    let accepted = store.accept_invitation(&invitation, "no hash", &record).await.unwrap();
    assert_eq!(accepted, Accepted::Done);
}

#[tokio::test]
async fn users_invitations_and_tokens_are_accounted_for_though_the_client_hung_up() {
    let cluster = Cluster::bare(2).proxied().env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let seen = Observed::new(cluster).await;
    let client = seen.cluster.client(0);
    let (_, token) = seen.begun_session().await;
    let admin = client.with_bearer(&token).confirmed().await;
    for route in ROUTES {
        let what = route.what;
        let entries = seen.entries(what).await.len();
        // Each request is about a subject of its own, so each change has an entry with another one.
        let delays = after_and_answered(10);
        let mut requests = Vec::new();
        for n in 0..delays.len() {
            let name = format!("u{n}-{}", what.replace('.', "-"));
            let (path, body) = match what {
                "user.invite" => (route.path.to_owned(), json!({ "username": name, "role": "viewer" })),
                "invitation.revoke" => {
                    let id = invited(&seen.store, &name).await.id();
                    (route.path.replace("{id}", &id.to_string()), Value::Null)
                }
                "user.accept" => {
                    let code = invited(&seen.store, &name).await;
                    let body = json!({ "code": code.reveal(), "password": USERS_PASSWORD });
                    (route.path.to_owned(), body)
                }
                "user.disable" | "user.delete" => {
                    user(&seen.store, &name).await;
                    (route.path.replace("{name}", &name), json!({ "disabled": true }))
                }
                "token.create" => (route.path.to_owned(), json!({ "name": name })),
                _ => {
                    let made = admin.post("/api/v1/tokens", json!({ "name": name })).await;
                    let id = made.expect(201).body["token"]["id"].as_str().unwrap().to_owned();
                    (route.path.replace("{id}", &id), Value::Null)
                }
            };
            requests.push(admin.request(route.method(), &path).json(&body));
        }
        seen.silence_holder().await;
        for (request, after) in requests.into_iter().zip(delays) {
            hang_up(&admin, request, after).await;
        }
        let number = async |words: &[&str]| seen.number(words).await;
        let changed = eventually(&format!("an entry `{what}` for each change"), SOON * 2, || async {
            let written = seen.entries(what).await.len() - entries;
            let changed = match what {
                "user.invite" => number(&["SCARD", "{it}:invitations"]).await,
                "token.create" => number(&["SCARD", "{it}:api-tokens:admin"]).await,
                // Counted by their entries, which are written in the same step.
                _ => written,
            };
            (changed == written && changed > 0).then_some(changed)
        })
        .await;
        seen.accounted(route.method, route.route(), changed).await;
        if what == "user.invite" {
            for key in seen.cluster.redis.keys().await {
                if key.starts_with(b"{it}:invitation") {
                    seen.number(&["DEL", std::str::from_utf8(&key).unwrap()]).await;
                }
            }
        }
    }
}
