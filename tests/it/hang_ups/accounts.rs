//! Logins, sessions, passwords and setups.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::Route;
use super::observed::{LIFE, Observed, after, after_and_answered, hang_up, sum};
use bangui::store::Proof;

use crate::support::{Cluster, PASSWORD, SETUP_TOKEN, SOON, eventually};

/// What ends one session.
pub const ENDING: &[Route] = &[
    Route::new("DELETE", "/api/v1/session", "session.end"),
    Route::new("DELETE", "/api/v1/sessions/{id}", "session.revoke"),
];
pub const ROUTES: &[Route] = &[
    Route::new("POST", "/api/v1/session", "session.begin"),
    Route::new("DELETE", "/api/v1/sessions?keep_current=true", "session.revoke_others"),
    Route::new("POST", "/api/v1/session/confirm", "session.confirm"),
    Route::new("PUT", "/api/v1/password", "password.change"),
    Route::new("DELETE", "/api/v1/sessions", "session.revoke_all"),
    Route::new("POST", "/api/v1/setup", "setup.complete"),
];

#[tokio::test]
async fn sessions_that_ended_are_accounted_for_though_the_client_hung_up() {
    let cluster = Cluster::bare(2).proxied().env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let seen = Observed::new(cluster).await;
    let (admin_id, admin) = seen.begun_session().await;
    let client = seen.cluster.client(0);
    let admin = client.with_bearer(&admin).confirmed().await;
    for Route { path: route, what, .. } in ENDING {
        let (route, what) = (*route, *what);
        let mut sessions = Vec::new();
        for _ in 0..24 {
            sessions.push(seen.begun_session().await);
        }
        seen.silence_holder().await;
        let gone = sessions.iter().zip(after(24)).map(async |((id, token), after)| {
            let client = if what == "session.end" { client.with_bearer(token) } else { admin.clone() };
            let path = route.replace("{id}", &id.to_string());
            let request = client.request(Method::DELETE, &path).header("x-request-id", id.to_string());
            hang_up(&client, request, after).await
        });
        let answered = futures_util::future::join_all(gone).await;
        let changed = eventually("an entry for each session that has ended", SOON, || async {
            let entries: BTreeSet<String> = seen
                .entries(what)
                .await
                .into_iter()
                .filter_map(|entry| if what == "session.end" { entry.session } else { entry.target })
                .collect();
            let lines = seen.lines("DELETE", route);
            let (mut ended, mut left_alone) = (0, 0);
            for ((id, _), answered) in sessions.iter().zip(&answered) {
                if !seen.store.session_lives(&Proof::of_admin(*id), LIFE).await.unwrap() {
                    let id = id.to_string();
                    (entries.contains(&id) && lines.contains(&id)).then_some(())?;
                    ended += 1;
                    left_alone += usize::from(!answered);
                }
            }
            (left_alone > 0).then_some(ended)
        })
        .await;
        seen.accounted("DELETE", route, changed).await;
        assert_eq!(seen.entries(what).await.len(), changed, "more entries than sessions that ended");
        eventually("the waits of all revocations in the metrics", SOON, || async {
            let page = client.get("/metrics").await.text;
            let all = seen.entries("session.end").await.len() + seen.entries("session.revoke").await.len();
            (sum(&page, "bangui_session_revocations_total") >= all).then_some(())
        })
        .await;
    }
    assert!(seen.store.session_lives(&Proof::of_admin(admin_id), LIFE).await.unwrap());
}

fn body(what: &str) -> Value {
    match what {
        "session.begin" | "session.confirm" => json!({ "password": PASSWORD }),
        "password.change" => json!({ "current": PASSWORD, "new": "another password altogether" }),
        "setup.complete" => json!({ "password": PASSWORD, "token": SETUP_TOKEN }),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn logins_passwords_revocations_and_setups_are_accounted_for_though_the_client_hung_up() {
    let cluster = Cluster::bare(2).proxied().env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let seen = Observed::new(cluster).await;
    let client = seen.cluster.client(0);
    let (_, token) = seen.begun_session().await;
    let admin = client.with_bearer(&token).confirmed().await;
    let stored: String = seen.cluster.redis.command(&["HGET", "{it}:account:admin", "password_hash"]).await;

    for route in ROUTES {
        let what = route.what;
        let changes = async || match what {
            "session.begin" => seen.number(&["SCARD", "{it}:sessions:admin"]).await,
            "session.confirm" => {
                let keys = seen.cluster.redis.keys().await;
                keys.iter().filter(|key| key.starts_with(b"{it}:confirmed:")).count()
            }
            _ => seen.generation().await,
        };
        seen.silence_holder().await;
        let (before, entries) = (changes().await, seen.entries(what).await.len());
        for after in after_and_answered(16) {
            // The session is ended, renewed, or to be confirmed for the first time: each needs another one.
            let fresh = ["session.revoke_all", "password.change", "session.confirm"].contains(&what);
            let again = if fresh { Some(seen.begun_session().await.1) } else { None };
            if fresh {
                seen.number(&["HSET", "{it}:account:admin", "password_hash", &stored]).await;
            }
            if what == "setup.complete" {
                seen.number(&["DEL", "{it}:account:admin"]).await;
            }
            let mut caller = again.map_or_else(|| admin.clone(), |token| client.with_bearer(&token));
            // One that came before may still be under way, and end this session too.
            while what == "session.revoke_all" && caller.confirm(PASSWORD).await.status != 204 {
                caller = client.with_bearer(&seen.begun_session().await.1);
            }
            let request = caller.request(route.method(), route.path).json(&body(what));
            hang_up(&caller, request, after).await;
        }
        let changed = eventually(&format!("an entry `{what}` for each change"), SOON, || async {
            let written = seen.entries(what).await.len() - entries;
            let changed = changes().await - before;
            (changed == written && changed > 0).then_some(changed)
        })
        .await;
        seen.accounted(route.method, route.route(), changed).await;
    }
}

#[tokio::test]
async fn a_worker_that_is_stopped_finishes_what_a_client_that_hung_up_has_begun() {
    let cluster = Cluster::bare(2).proxied().env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let mut seen = Observed::new(cluster).await;
    let (id, token) = seen.begun_session().await;
    seen.silence_holder().await;
    let client = seen.cluster.client(0).with_bearer(&token);
    let ended = async || !seen.store.session_lives(&Proof::of_admin(id), LIFE).await.unwrap();
    let leaving = async move { client.try_send(client.request(Method::DELETE, "/api/v1/session")).await };
    let leaving = tokio::spawn(leaving);
    eventually("the end of the session", SOON, || async { ended().await.then_some(()) }).await;
    leaving.abort();
    seen.cluster.workers[0].terminate();
    let worker = seen.cluster.workers.remove(0);
    assert_eq!(worker.process.ended(2 * SOON).await.code(), Some(0));
    assert!(!worker.process.printed().contains("timed out waiting for changes"));
    assert_eq!(seen.entries("session.end").await.len(), 1);
}
