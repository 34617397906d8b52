//! Users who are disabled, changed or deleted while something else happens; and nothing of a user is left for the next one of that name.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::event_stream::EventStream;
use crate::support::people::{
    USERS_PASSWORD, change_user, create_token, create_user, logged_in_as, try_log_in,
};
use crate::support::rounds::with_near_caches;
use crate::support::{Answer, Client, Cluster};

/// A jail of a server that does not answer.
const JAIL: &str = "/api/v1/servers/web-1/jails/x";

async fn with_a_silent_server(workers: usize) -> Cluster {
    let cluster = Cluster::bare(workers).env("BANGUI_SERVERS", "web-1=http+unix:///nowhere/agent.sock");
    cluster.env("BANGUI_AGENT_TOKEN", "integration-test-token-of-40-characters.").set_up().await
}

/// Asks for a ban of so many addresses under an idempotency key.
async fn ban(client: &Client, key: &str, count: usize) -> Answer {
    let ips: Vec<String> = (0..count).map(|n| format!("198.51.100.{n}")).collect();
    let request = client.request(Method::POST, &format!("{JAIL}/bans")).header("Idempotency-Key", key);
    client.send(request.json(&json!({ "ips": ips }))).await
}

#[tokio::test]
async fn a_login_in_flight_never_outlives_the_change_that_overtook_it() {
    let cluster = with_near_caches(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "viewer").await;
    let changes = [
        json!({ "disabled": true }),
        json!({ "disabled": false, "role": "operator" }),
        json!({ "role": "viewer" }),
    ];
    for round in 0..12 {
        let change = changes[round % 3].clone();
        let logins = (0..3).map(|n| {
            let client = cluster.client(n % 2);
            async move { (try_log_in(&client, "anna", USERS_PASSWORD).await, client) }
        });
        let (logins, changed) = tokio::join!(join_all(logins), change_user(&admin, "anna", change));
        changed.expect(200);
        for (login, client) in logins {
            if login.status != 201 {
                continue;
            }
            let client = client.with_bearer(login.body["token"].as_str().unwrap());
            let shown = client.get("/api/v1/session").await;
            // Begun before the change, and ended by it; or begun after it, with what it allows.
            if shown.status == 200 {
                assert_eq!(changed.body["disabled"], false, "{}", shown.text);
                assert_eq!(shown.body["role"], changed.body["role"], "{}", shown.text);
            } else {
                assert_eq!(shown.problem(401), "no-session");
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_is_made_while_its_owner_is_demoted_is_dead_or_was_never_made() {
    let cluster = with_near_caches(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "admin").await;
    for round in 0..12 {
        let anna = logged_in_as(&cluster.client(1), "anna").await;
        anna.confirm(USERS_PASSWORD).await.expect(204);
        let making = (0..6).map(|n| {
            let anna = anna.at(cluster.workers[n % 2].address);
            async move { anna.post("/api/v1/tokens", json!({ "name": format!("{round} {n}") })).await }
        });
        // By herself and by another one.
        let demoting = if round % 2 == 0 { &anna } else { &admin };
        let (made, demoted) =
            tokio::join!(join_all(making), change_user(demoting, "anna", json!({ "role": "viewer" })));
        demoted.expect(200);
        for answer in made {
            if answer.status == 201 {
                let program = cluster.client(round % 2).with_bearer(answer.body["secret"].as_str().unwrap());
                program.get("/api/v1/servers").await.problem(401);
            } else {
                assert!([401, 403, 409].contains(&answer.status.as_u16()), "{}", answer.text);
            }
        }
        let listed = admin.get("/api/v1/tokens?user=anna").await;
        assert_eq!(listed.expect(200).body["items"], json!([]));
        change_user(&admin, "anna", json!({ "role": "admin" })).await.expect(200);
    }
}

#[tokio::test]
async fn of_two_changes_of_a_user_at_once_neither_undoes_the_other() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let other = admin.at(cluster.workers[1].address);
    create_user(&admin, "anna", "viewer").await;
    for round in 0..20 {
        let (role, disabled) = (["operator", "viewer"][round % 2], round % 2 == 0);
        let (one, two) = tokio::join!(
            change_user(&admin, "anna", json!({ "role": role })),
            change_user(&other, "anna", json!({ "disabled": disabled })),
        );
        one.expect(200);
        two.expect(200);
        let listed = admin.get("/api/v1/users?cursor=admin").await;
        let anna = &listed.expect(200).body["items"][0];
        assert_eq!((&anna["role"], &anna["disabled"]), (&json!(role), &json!(disabled)), "{anna}");
    }
}

#[tokio::test]
async fn the_event_streams_of_a_user_who_is_disabled_end_and_those_of_others_do_not() {
    let cluster = with_near_caches(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let anna = logged_in_as(&cluster.client(1), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    let (secret, _) = create_token(&anna, json!({ "name": "watcher" })).await;
    let program = cluster.client(1).with_bearer(&secret);
    let mut streams = [EventStream::open(&anna, None).await, EventStream::open(&program, None).await];
    let mut others = EventStream::open(&admin.at(cluster.workers[1].address), None).await;
    change_user(&admin, "anna", json!({ "disabled": true })).await.expect(200);
    for stream in &mut streams {
        assert_eq!(stream.until("end").await.data["reason"], "the session has ended");
        assert!(stream.next().await.is_none());
    }
    let change = json!({ "probe_interval_seconds": 20 });
    admin.patch("/api/v1/settings", "*", change).await.expect(200);
    others.until("settings.changed").await;
}

#[tokio::test]
async fn a_ban_job_outlives_the_disabling_of_who_asked_for_it_and_an_admin_cancels_it() {
    let cluster = with_a_silent_server(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let anna = logged_in_as(&cluster.client(1), "anna").await;
    let asked = ban(&anna, "a-job", 150).await;
    let job = asked.expect(202).headers["location"].to_str().unwrap().to_owned();
    change_user(&admin, "anna", json!({ "disabled": true })).await.expect(200);
    anna.get(&job).await.problem(401);
    let kept = admin.get(&job).await;
    assert_eq!(kept.expect(200).body["finished_at"], Value::Null, "{}", kept.text);
    assert_eq!(kept.body["username"], "anna", "{}", kept.text);
    let cancelled = admin.post(&format!("{job}/cancel"), json!({})).await;
    assert!([200, 502].contains(&cancelled.status.as_u16()), "{}", cancelled.text);
}

#[tokio::test]
async fn a_user_who_is_created_again_gets_nothing_of_the_one_who_was_deleted() {
    let cluster = with_a_silent_server(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let former = logged_in_as(&cluster.client(1), "anna").await;
    former.confirm(USERS_PASSWORD).await.expect(204);
    let (secret, _) = create_token(&former, json!({ "name": "cron" })).await;
    let program = cluster.client(0).with_bearer(&secret);
    let asked = ban(&former, "the-key", 150).await;
    let job = asked.expect(202).headers["location"].to_str().unwrap().to_owned();
    let again = ban(&former, "the-key", 150).await;
    assert_eq!(again.expect(202).headers["idempotency-replayed"], "true");

    admin.delete("/api/v1/users/anna").await.expect(204);
    create_user(&admin, "anna", "operator").await;
    let anna = logged_in_as(&cluster.client(1), "anna").await;
    for dead in [&former, &program] {
        for worker in &cluster.workers {
            dead.at(worker.address).get("/api/v1/session").await.problem(401);
        }
    }
    let sessions = anna.get("/api/v1/sessions").await;
    assert_eq!(sessions.expect(200).body["items"].as_array().unwrap().len(), 1, "{}", sessions.text);
    assert_eq!(anna.get("/api/v1/tokens").await.expect(200).body["items"], json!([]));
    // Nor is the new one confirmed because the former one was.
    let body = json!({ "name": "cron" });
    assert_eq!(anna.post("/api/v1/tokens", body).await.problem(403), "confirmation-required");
    // Their keys are not each other's, whether the request is the same or another.
    let another = ban(&anna, "the-key", 151).await;
    assert!(!another.expect(202).headers.contains_key("idempotency-replayed"), "{}", another.text);
    assert_ne!(another.headers["location"].to_str().unwrap(), job);
    // The jobs of the former one are jobs of somebody else.
    assert_eq!(anna.post(&format!("{job}/cancel"), json!({})).await.problem(403), "not-allowed");
    let own = another.headers["location"].to_str().unwrap();
    // No page shows a button that would be refused.
    let id = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let listed = anna.get("/jobs").await;
    assert!(listed.expect(200).text.contains(&format!("/jobs/{}/cancel", id(own))), "{}", listed.text);
    assert!(!listed.text.contains(&format!("/jobs/{}/cancel", id(&job))), "{}", listed.text);
    for (path, is_shown) in [(own, true), (&*job, false)] {
        let page = anna.get(&format!("/servers/web-1/jails/x?job={}", id(path))).await;
        assert_eq!(page.expect(200).text.contains("/jails/x/cancel"), is_shown, "{}", page.text);
    }
    let cancelled = anna.post(&format!("{own}/cancel"), json!({})).await;
    assert!([200, 502].contains(&cancelled.status.as_u16()), "{}", cancelled.text);
}

#[tokio::test]
async fn a_change_of_a_user_with_anything_odd_in_it_changes_nothing() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "viewer").await;
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    let many: Vec<String> = (0..10_000).map(|n| format!("w{n}")).collect();
    let too_many: Vec<String> = (0..51).map(|n| format!("web-{n}")).collect();
    for odd in [
        json!({ "role": "operator", "password_hash": "x" }),
        json!({ "role": "operator", "id": "admin" }),
        json!({ "role": "root" }),
        json!({ "role": "Admin" }),
        json!({ "role": ["admin"] }),
        json!({ "disabled": "yes" }),
        json!({ "disabled": 1 }),
        json!({ "servers": "web-*" }),
        json!({ "servers": ["web,*"] }),
        json!({ "servers": [""] }),
        json!({ "servers": ["w\u{435}b-1"] }),
        json!({ "servers": ["x".repeat(64)] }),
        json!({ "servers": too_many }),
        json!({ "servers": many }),
        json!([]),
        json!("disabled"),
    ] {
        let answer = change_user(&admin, "anna", odd.clone()).await;
        assert!([400, 413, 422].contains(&answer.status.as_u16()), "{odd}: {}", answer.text);
    }
    // Letters of other scripts that look like those of a name.
    for name in
        ["\u{430}nna", "ann\u{430}", "anna\u{200b}", "\u{430}dmin", "adm\u{131}n", "ANNA", "\u{ff41}nna"]
    {
        let invited = admin.post("/api/v1/invitations", json!({ "username": name, "role": "viewer" })).await;
        invited.problem(422);
        change_user(&admin, name, json!({ "disabled": true })).await.problem(404);
        try_log_in(&cluster.client(0), name, USERS_PASSWORD).await.problem(401);
    }
    // The patterns that come twice count once.
    let same = vec!["web-1"; 200];
    let changed = change_user(&admin, "anna", json!({ "servers": [] })).await;
    assert_eq!(changed.expect(200).body["role"], "viewer");
    // A change that changes nothing ends nothing.
    anna.get("/api/v1/session").await.expect(200);
    let changed = change_user(&admin, "anna", json!({ "servers": same })).await;
    assert_eq!(changed.expect(200).body["servers"], json!(["web-1"]));
    anna.get("/api/v1/session").await.problem(401);
}
