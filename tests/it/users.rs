//! Users: what each may do holds on every worker once it is answered, and the last admin stays.

use bangui::store::SessionToken;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::people::{
    USERS_PASSWORD, change_user, create_user, invite, logged_in_as, rounds, try_log_in,
};
use crate::support::process::{Child, bangui};
use crate::support::rounds::with_near_caches;
use crate::support::{Client, Cluster, PASSWORD, SOON};

/// Everywhere, twice: the first check fills a near cache, the second is answered from it.
async fn used_everywhere(cluster: &Cluster, client: &Client) {
    for _ in 0..2 {
        for worker in &cluster.workers {
            client.at(worker.address).get("/api/v1/session").await.expect(200);
        }
    }
}

async fn refused_everywhere(cluster: &Cluster, client: &Client) {
    let checks = cluster.workers.iter().map(|worker| {
        let client = client.at(worker.address);
        async move { client.get("/api/v1/session").await }
    });
    for answer in join_all(checks).await {
        assert_eq!(answer.problem(401), "no-session");
    }
}

async fn entries(cluster: &Cluster, what: &str) -> Vec<bangui::store::AuditEntry> {
    let store = cluster.connected_store().await;
    let page = store.audit_page(None, 200).await.unwrap();
    page.items.into_iter().filter(|entry| entry.what == what).collect()
}

#[tokio::test]
async fn a_user_who_is_disabled_on_one_worker_is_refused_on_all_at_once_with_near_caches_on() {
    let cluster = with_near_caches(3).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    for round in 0..rounds(60) {
        // A confirmation holds for five minutes.
        if round % 100 == 99 {
            admin.confirm(PASSWORD).await.expect(204);
        }
        let client = logged_in_as(&cluster.client(round % 3), "anna").await;
        used_everywhere(&cluster, &client).await;
        let admin = admin.at(cluster.workers[(round + 1) % 3].address);
        let answer = change_user(&admin, "anna", json!({ "disabled": true })).await;
        assert_eq!(answer.expect(200).body["disabled"], true);
        refused_everywhere(&cluster, &client).await;
        if round < 3 {
            let wrong = try_log_in(&cluster.client(round), "anna", USERS_PASSWORD).await;
            assert_eq!(wrong.problem(401), "wrong-login");
            let stranger = try_log_in(&cluster.client(round), "nobody", USERS_PASSWORD).await;
            assert_eq!(wrong.body["detail"], stranger.body["detail"], "strangers learn nothing");
            let refused = entries(&cluster, "login.refused").await;
            let said = refused.iter().find(|entry| entry.username == "anna").expect("an entry");
            assert_eq!(said.outcome, "the account is disabled");
        }
        change_user(&admin, "anna", json!({ "disabled": false })).await.expect(200);
        refused_everywhere(&cluster, &client).await;
    }
    admin.get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn a_change_of_role_or_servers_and_a_deletion_end_all_sessions_of_the_user_and_of_nobody_else() {
    let cluster = with_near_caches(3).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "viewer").await;
    create_user(&admin, "bert", "viewer").await;
    let bert = logged_in_as(&cluster.client(2), "bert").await;
    let changes =
        [json!({ "role": "operator" }), json!({ "servers": ["web-*"] }), json!({ "role": "admin" })];
    for change in changes {
        let anna =
            [logged_in_as(&cluster.client(1), "anna").await, logged_in_as(&cluster.client(2), "anna").await];
        for client in &anna {
            used_everywhere(&cluster, client).await;
        }
        used_everywhere(&cluster, &bert).await;
        let changed = change_user(&admin.at(cluster.workers[1].address), "anna", change.clone()).await;
        for (field, value) in change.as_object().unwrap() {
            assert_eq!(&changed.expect(200).body[field], value, "{}", changed.text);
        }
        for client in &anna {
            refused_everywhere(&cluster, client).await;
        }
        let again = logged_in_as(&cluster.client(0), "anna").await;
        let shown = again.get("/api/v1/session").await;
        assert_eq!(shown.body["role"], changed.body["role"], "{}", shown.text);
        assert_eq!(shown.body["servers"], changed.body["servers"], "{}", shown.text);
    }
    let anna = logged_in_as(&cluster.client(1), "anna").await;
    used_everywhere(&cluster, &anna).await;
    admin.delete("/api/v1/users/anna").await.expect(204);
    refused_everywhere(&cluster, &anna).await;
    try_log_in(&cluster.client(1), "anna", USERS_PASSWORD).await.problem(401);
    admin.delete("/api/v1/users/anna").await.problem(404);

    // Another account of that name is another account.
    create_user(&admin, "anna", "viewer").await;
    refused_everywhere(&cluster, &anna).await;
    for client in [&bert, &admin] {
        client.get("/api/v1/session").await.expect(200);
    }
}

#[tokio::test]
async fn the_end_of_all_sessions_of_one_user_leaves_those_of_another_in_the_near_caches() {
    let cluster = with_near_caches(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    for name in ["anna", "bert"] {
        create_user(&admin, name, "viewer").await;
    }
    let bert = logged_in_as(&cluster.client(1), "bert").await;
    // A holder may lose its lease on a busy machine, and with it what it kept: one of a few attempts must show it.
    for _ in 0..5 {
        let anna = logged_in_as(&cluster.client(0), "anna").await;
        anna.confirm(USERS_PASSWORD).await.expect(204);
        used_everywhere(&cluster, &bert).await;
        used_everywhere(&cluster, &anna).await;
        anna.delete("/api/v1/sessions").await.expect(204);
        let monitor = cluster.redis.monitor().await;
        for worker in &cluster.workers {
            bert.at(worker.address).get("/api/v1/session").await.expect(200);
        }
        let seen = monitor.stop(&cluster.redis).await;
        let sessions =
            |seen: &&crate::support::redis::MonitoredCommand| seen.command.contains("{it}:session:");
        let read = seen.iter().filter(sessions).count();
        refused_everywhere(&cluster, &anna).await;
        if read == 0 {
            return;
        }
    }
    panic!("the end of one user's sessions emptied the near caches of another's");
}

#[tokio::test]
async fn the_last_admin_can_be_neither_disabled_nor_demoted_nor_deleted() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    for change in [
        json!({ "disabled": true }),
        json!({ "role": "operator" }),
        json!({ "servers": ["web-*"] }),
        json!({ "role": "viewer", "servers": ["web-*"], "disabled": true }),
    ] {
        assert_eq!(change_user(&admin, "admin", change).await.problem(409), "last-admin");
    }
    assert_eq!(admin.delete("/api/v1/users/admin").await.problem(409), "admin-stays");
    // Those who are admins of some servers only, or disabled, do not count.
    let code = invite(&admin, "bound", "admin", &["web-*"]).await;
    crate::support::people::accept(&admin, &code, USERS_PASSWORD).await.expect(201);
    create_user(&admin, "away", "admin").await;
    change_user(&admin, "away", json!({ "disabled": true })).await.expect(200);
    assert_eq!(change_user(&admin, "admin", json!({ "disabled": true })).await.problem(409), "last-admin");
    admin.get("/api/v1/session").await.expect(200);

    change_user(&admin, "away", json!({ "disabled": false })).await.expect(200);
    change_user(&admin, "admin", json!({ "role": "viewer" })).await.expect(200);
    admin.get("/api/v1/session").await.problem(401);
    let away = logged_in_as(&cluster.client(1), "away").await;
    away.confirm(USERS_PASSWORD).await.expect(204);
    assert_eq!(change_user(&away, "away", json!({ "role": "viewer" })).await.problem(409), "last-admin");
    assert_eq!(away.delete("/api/v1/users/away").await.problem(409), "last-admin");
    away.get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn of_two_admins_who_demote_each_other_at_once_one_is_left() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    for name in ["anna", "bert"] {
        create_user(&admin, name, "admin").await;
    }
    change_user(&admin, "admin", json!({ "disabled": true })).await.expect(200);
    for round in 0..12 {
        let [anna, bert] = [0, 1].map(|n| cluster.client((n + round) % 2));
        let (anna, bert) = (logged_in_as(&anna, "anna").await, logged_in_as(&bert, "bert").await);
        for client in [&anna, &bert] {
            client.confirm(USERS_PASSWORD).await.expect(204);
        }
        let change = [json!({ "role": "viewer" }), json!({ "disabled": true })][round % 2].clone();
        let (one, other) =
            tokio::join!(change_user(&anna, "bert", change.clone()), change_user(&bert, "anna", change));
        let done: Vec<u16> = [&one, &other].iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(done.iter().filter(|status| **status == 200).count(), 1, "{done:?}");
        // The slower one had lost its session, its confirmation with it, or would have been the last.
        assert!(done.iter().all(|status| [200, 401, 403, 409].contains(status)), "{done:?}");
        let (winner, name) = if one.status == 200 { (&anna, "bert") } else { (&bert, "anna") };
        let back = json!({ "role": "admin", "disabled": false });
        change_user(winner, name, back).await.expect(200);
    }
}

#[tokio::test]
async fn users_are_listed_by_name_in_pages_and_show_what_they_may_do() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let listed = admin.get("/api/v1/users").await;
    let items = listed.expect(200).body["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{}", listed.text);
    assert_eq!((&items[0]["username"], &items[0]["role"]), (&json!("admin"), &json!("admin")));
    let code = invite(&admin, "zoe", "operator", &["web-*", "db-1", "db-1"]).await;
    crate::support::people::accept(&cluster.client(1), &code, USERS_PASSWORD).await.expect(201);
    for name in ["0", "anna"] {
        create_user(&admin, name, "viewer").await;
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.at(cluster.workers[1].address).get(&format!("/api/v1/users?limit=2{cursor}")).await;
        let items = page.expect(200).body["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{}", page.text);
        names.extend(items.iter().map(|item| item["username"].as_str().unwrap().to_owned()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["0", "admin", "anna", "zoe"]);
    let listed = admin.get("/api/v1/users?cursor=anna").await;
    let zoe = &listed.expect(200).body["items"][0];
    assert_eq!(zoe["servers"], json!(["db-1", "web-*"]), "{zoe}");
    assert_eq!(zoe["created_by"], "admin", "{zoe}");
    assert!(zoe["created_at"].as_str().unwrap().ends_with('Z') && zoe["disabled"] == false, "{zoe}");
}

#[tokio::test]
async fn only_a_confirmed_admin_of_all_servers_manages_users() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await;
    let tries = async |client: &Client| -> Vec<Value> {
        let invitation = json!({ "username": "carl", "role": "viewer" });
        let answers = [
            client.post("/api/v1/invitations", invitation).await,
            change_user(client, "anna", json!({ "role": "admin" })).await,
            client.delete("/api/v1/users/anna").await,
            client.delete(&format!("/api/v1/invitations/{}", "A".repeat(43))).await,
        ];
        answers.iter().map(|answer| answer.problem(403).into()).collect()
    };
    let unconfirmed = tries(&admin).await;
    assert!(unconfirmed.iter().all(|problem| problem == "confirmation-required"), "{unconfirmed:?}");
    let admin = admin.confirmed().await;
    for (name, role, servers) in [("anna", "operator", &[][..]), ("bound", "admin", &["*"][..])] {
        let code = invite(&admin, name, role, servers).await;
        crate::support::people::accept(&admin, &code, USERS_PASSWORD).await.expect(201);
        let client = logged_in_as(&cluster.client(0), name).await;
        client.confirm(USERS_PASSWORD).await.expect(204);
        let refused = tries(&client).await;
        assert!(refused.iter().all(|problem| problem == "not-allowed"), "{refused:?}");
        for path in ["/api/v1/users", "/api/v1/invitations", "/api/v1/tokens?user=admin"] {
            assert_eq!(client.get(path).await.problem(403), "not-allowed");
        }
    }
    for name in ["Anna", "a b", "", &"x".repeat(33)] {
        let answer = admin.post("/api/v1/invitations", json!({ "username": name, "role": "viewer" })).await;
        answer.problem(422);
    }
    let answer = admin.post("/api/v1/invitations", json!({ "username": "Anna", "role": "viewer" })).await;
    assert!(answer.body["detail"].as_str().unwrap().contains("lower case"), "{}", answer.text);
    for name in ["nobody", "Anna", "a%20b"] {
        change_user(&admin, name, json!({ "disabled": true })).await.problem(404);
        admin.delete(&format!("/api/v1/users/{name}")).await.problem(404);
    }
}

#[tokio::test]
async fn reset_password_helps_another_user_too_and_enables_nobody() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "viewer").await;
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    let new = "eight loud lanterns at dawn";
    let reset = async |user: &str| {
        let mut command = bangui("reset-password");
        command.arg(user).env("BANGUI_REDIS_URL", cluster.redis.url()).env("BANGUI_REDIS_PREFIX", "it");
        command.env("BANGUI_ADMIN_PASSWORD", new);
        Child::run("bangui reset-password", command, SOON).await
    };
    let (code, printed) = reset("anna").await;
    assert_eq!(code, Some(0), "{printed}");
    anna.get("/api/v1/session").await.problem(401);
    admin.get("/api/v1/session").await.expect(200);
    try_log_in(&cluster.client(0), "anna", USERS_PASSWORD).await.problem(401);
    try_log_in(&cluster.client(0), "anna", new).await.expect(201);
    try_log_in(&cluster.client(0), "admin", PASSWORD).await.expect(201);

    change_user(&admin, "anna", json!({ "disabled": true })).await.expect(200);
    let (code, printed) = reset("anna").await;
    assert!(code == Some(0) && printed.contains("disabled"), "{printed}");
    try_log_in(&cluster.client(0), "anna", new).await.problem(401);
    for nobody in ["bert", "Anna"] {
        let (code, printed) = reset(nobody).await;
        assert_ne!(code, Some(0), "{printed}");
    }
}

#[tokio::test]
async fn the_admin_of_version_0_2_stays_logged_in_and_counts_as_an_admin() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    // As version 0.2 left it: a password, and nothing else.
    for field in ["created_at", "role", "servers", "id"] {
        cluster.redis.command::<u64>(&["HDEL", "{it}:account:admin", field]).await;
    }
    assert_eq!(admin.get("/api/v1/users").await.expect(200).body["items"][0]["created_at"], Value::Null);
    create_user(&admin, "anna", "admin").await;
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    // The admin of version 0.2 is the other one.
    change_user(&anna, "anna", json!({ "role": "viewer" })).await.expect(200);
    let token = cluster.client(0).log_in().await;
    assert_eq!(token.len(), 43, "a worker of version 0.2 must be able to read it");
    let id = SessionToken::parse(&token).unwrap().id().to_string();
    let key = [b"{it}:session:", &URL_SAFE_NO_PAD.decode(id).unwrap()[..]].concat();
    let mut connection = cluster.redis.connection().await;
    let record: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
    let fields: std::collections::BTreeMap<String, Value> = rmp_serde::from_slice(&record[16..]).unwrap();
    let fields: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(fields, ["a", "c", "ip", "u", "x"], "as version 0.2 writes it");
    assert_eq!(admin.get("/api/v1/users").await.body["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn names_that_no_account_has_share_one_limit_and_users_have_their_own() {
    let cluster = Cluster::bare(2)
        .env("BANGUI_TRUSTED_PROXIES", "127.0.0.1")
        .env("BANGUI_LOGIN_FAILURE_LIMIT", "4/3600")
        .set_up()
        .await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "viewer").await;
    let guess = async |n: usize, name: &str| {
        let address = format!("203.0.113.{n}");
        crate::limits::log_in_from(&cluster.client(n % 2), &[&address], name, "a wrong password").await
    };
    for (n, name) in ["bert", "carl", "Not A Name", "bert"].into_iter().enumerate() {
        guess(n, name).await.problem(401);
    }
    for (n, name) in ["bert", "dora", "Another"].into_iter().enumerate() {
        guess(10 + n, name).await.problem(429);
    }
    for n in 0..4 {
        guess(20 + n, "anna").await.problem(401);
    }
    guess(30, "anna").await.problem(429);
    guess(31, "admin").await.problem(401);
    // A name that was typed and no account has is in no entry.
    let refused = entries(&cluster, "login.refused").await;
    let mut names: Vec<&str> = refused.iter().map(|entry| entry.username.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["-", "admin", "anna"], "{refused:?}");
}
