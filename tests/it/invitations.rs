//! Invitations: a link that works once, on one worker of many, for a day.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::people::{
    USERS_PASSWORD, accept, change_user, create_user, invite, logged_in_as, try_log_in,
};
use crate::support::{Cluster, PASSWORD};

#[tokio::test]
async fn an_invitation_is_accepted_once_on_whichever_worker() {
    let cluster = Cluster::bare(3).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    for round in 0..5 {
        let name = format!("anna-{round}");
        let code = invite(&admin, &name, "operator", &["web-*"]).await;
        let passwords: Vec<String> = (0..6).map(|n| format!("orchid {n} beside six lanterns")).collect();
        let tries = passwords.iter().enumerate().map(|(n, password)| {
            let client = cluster.client(n % 3);
            let code = &code;
            async move { accept(&client, code, password).await }
        });
        let answers = join_all(tries).await;
        let won: Vec<usize> = (0..6).filter(|n| answers[*n].status == 201).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert_eq!(answers[won[0]].body["username"], name);
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            // The winner used it up, or was quicker with the name.
            assert!([404, 409].contains(&answer.status.as_u16()), "{answer:?}");
        }
        for (n, password) in passwords.iter().enumerate() {
            let expected = if n == won[0] { 201 } else { 401 };
            try_log_in(&cluster.client(n % 3), &name, password).await.expect(expected);
        }
    }
    let store = cluster.connected_store().await;
    let entries = store.audit_page(None, 200).await.unwrap().items;
    let accepted: Vec<_> = entries.iter().filter(|entry| entry.what == "user.accept").collect();
    assert_eq!(accepted.len(), 5, "{accepted:?}");
    assert!(
        accepted.iter().all(|entry| entry.after["role"] == "operator" && entry.username.starts_with("anna-"))
    );
}

#[tokio::test]
async fn an_invitation_that_was_used_revoked_or_has_expired_opens_nothing() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let code = invite(&admin, "anna", "viewer", &[]).await;
    let ttl =
        async |id: &str| -> i64 { cluster.redis.command(&["TTL", &format!("{{it}}:invitation:{id}")]).await };
    let listed = admin.get("/api/v1/invitations").await;
    let shown = &listed.expect(200).body["items"][0];
    assert_eq!((&shown["username"], &shown["created_by"]), (&json!("anna"), &json!("admin")), "{shown}");
    let id = shown["id"].as_str().unwrap().to_owned();
    assert!((86_300..=86_400).contains(&ttl(&id).await));
    assert!(!listed.text.contains(&code), "the code is not shown again");

    admin.delete(&format!("/api/v1/invitations/{id}")).await.expect(204);
    admin.delete(&format!("/api/v1/invitations/{id}")).await.problem(404);
    assert_eq!(accept(&cluster.client(1), &code, USERS_PASSWORD).await.problem(404), "no-invitation");

    let code = invite(&admin, "anna", "viewer", &[]).await;
    let listed = admin.get("/api/v1/invitations").await;
    let id = listed.body["items"][0]["id"].as_str().unwrap().to_owned();
    cluster.redis.command::<u64>(&["PEXPIRE", &format!("{{it}}:invitation:{id}"), "0"]).await;
    assert_eq!(accept(&cluster.client(1), &code, USERS_PASSWORD).await.problem(404), "no-invitation");
    assert_eq!(admin.get("/api/v1/invitations").await.body["items"], json!([]));
    let left: u64 = cluster.redis.command(&["SCARD", "{it}:invitations"]).await;
    assert_eq!(left, 0, "ids of invitations that have expired are forgotten");

    let code = invite(&admin, "anna", "viewer", &[]).await;
    let second = invite(&admin, "anna", "admin", &[]).await;
    accept(&cluster.client(1), &code, "short").await.problem(422);
    accept(&cluster.client(1), &code, "annaannaanna").await.problem(422);
    accept(&cluster.client(1), &code, USERS_PASSWORD).await.expect(201);
    assert_eq!(accept(&cluster.client(1), &code, USERS_PASSWORD).await.problem(404), "no-invitation");
    assert_eq!(accept(&cluster.client(1), &second, USERS_PASSWORD).await.problem(409), "user-exists");
    let again = admin.post("/api/v1/invitations", json!({ "username": "anna", "role": "viewer" })).await;
    assert_eq!(again.problem(409), "user-exists");
    let admin_again =
        admin.post("/api/v1/invitations", json!({ "username": "admin", "role": "viewer" })).await;
    assert_eq!(admin_again.problem(409), "user-exists");
    assert_eq!(
        logged_in_as(&cluster.client(0), "anna").await.get("/api/v1/session").await.body["role"],
        "viewer"
    );
}

#[tokio::test]
async fn an_invitation_is_void_once_who_made_it_may_not_invite_any_more() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    for (name, change) in [("anna", json!({ "role": "operator" })), ("bert", json!({ "disabled": true }))] {
        create_user(&admin, name, "admin").await;
        let client = logged_in_as(&cluster.client(1), name).await;
        client.confirm(USERS_PASSWORD).await.expect(204);
        let code = invite(&client, "eve", "admin", &[]).await;
        change_user(&admin, name, change).await.expect(200);
        assert_eq!(accept(&cluster.client(1), &code, USERS_PASSWORD).await.problem(404), "no-invitation");
        // Nor does it come back with the right to invite.
        change_user(&admin, name, json!({ "role": "admin", "disabled": false })).await.expect(200);
        assert_eq!(accept(&cluster.client(1), &code, USERS_PASSWORD).await.problem(404), "no-invitation");
        let client = logged_in_as(&cluster.client(1), name).await;
        client.confirm(USERS_PASSWORD).await.expect(204);
        let code = invite(&client, &format!("{name}s-guest"), "viewer", &[]).await;
        accept(&cluster.client(0), &code, USERS_PASSWORD).await.expect(201);
    }
    create_user(&admin, "carl", "admin").await;
    let carl = logged_in_as(&cluster.client(1), "carl").await;
    carl.confirm(USERS_PASSWORD).await.expect(204);
    let code = invite(&carl, "eve", "admin", &[]).await;
    admin.delete("/api/v1/users/carl").await.expect(204);
    create_user(&admin, "carl", "admin").await;
    assert_eq!(accept(&cluster.client(1), &code, USERS_PASSWORD).await.problem(404), "no-invitation");
}

#[tokio::test]
async fn wrong_codes_use_up_the_attempts_of_their_address_and_leave_an_entry() {
    let cluster = Cluster::bare(2).env("BANGUI_LOGIN_LIMIT", "6/3600").set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let code = invite(&admin, "anna", "viewer", &[]).await;
    let other = invite(&admin, "bert", "viewer", &[]).await;
    // One was used by the login, one by the confirmation.
    accept(&cluster.client(0), &code, USERS_PASSWORD).await.expect(201);
    for n in 0..4 {
        let wrong = format!("{n}{}", "A".repeat(42));
        assert_eq!(
            accept(&cluster.client(n % 2), &wrong, USERS_PASSWORD).await.problem(404),
            "no-invitation"
        );
    }
    assert_eq!(
        accept(&cluster.client(0), &"B".repeat(43), USERS_PASSWORD).await.problem(429),
        "rate-limited"
    );
    assert_eq!(accept(&cluster.client(0), &other, USERS_PASSWORD).await.problem(429), "rate-limited");
    let store = cluster.connected_store().await;
    let entries = store.audit_page(None, 200).await.unwrap().items;
    let refused = entries.iter().filter(|entry| entry.what == "invitation.refused").count();
    assert_eq!(refused, 6);
    for text in [code.as_str(), USERS_PASSWORD, PASSWORD] {
        assert!(!format!("{entries:?}").contains(text), "a secret is in the audit");
        for worker in &cluster.workers {
            assert!(!worker.process.printed().contains(text), "a secret is in the log");
        }
        let stored = cluster.redis.everything().await;
        assert!(!stored.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "a secret is stored");
    }
}
