//! Tokens for programs: what they may do, from where, until when; gone everywhere once revoked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::people::{
    USERS_PASSWORD, change_user, create_token, create_user, invite, logged_in_as, rounds,
};
use crate::support::rounds::with_near_caches;
use crate::support::{Answer, Client, Cluster, PASSWORD};

async fn from(client: &Client, address: &str, path: &str) -> Answer {
    client.send(client.request(Method::GET, path).header("X-Forwarded-For", address)).await
}

#[tokio::test]
async fn a_token_is_shown_once_and_acts_for_its_owner_on_every_worker() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await;
    let body = json!({ "name": "backup", "role": "viewer", "servers": ["web-*"], "days": 7 });
    let unconfirmed = admin.post("/api/v1/tokens", body.clone()).await;
    assert_eq!(unconfirmed.problem(403), "confirmation-required");
    let admin = admin.confirmed().await;
    let (secret, id) = create_token(&admin, body).await;
    let (head, checksum) = secret.rsplit_once('_').unwrap();
    assert!(head.starts_with("bgt_") && head.len() == 40 && checksum.len() == 6, "{secret}");
    let list = admin.at(cluster.workers[1].address).get("/api/v1/tokens").await;
    assert!(!list.text.contains(&secret[12..40]), "the secret is not shown again");
    assert_eq!(list.expect(200).body["items"][0]["last_used_at"], Value::Null);
    let program = cluster.client(1).with_bearer(&secret);
    let session = program.get("/api/v1/session").await;
    assert_eq!(session.expect(200).body["role"], "viewer");
    assert_eq!((&session.body["username"], &session.body["id"]), (&json!("admin"), &json!(id)));
    program.at(cluster.workers[0].address).get("/api/v1/servers").await.expect(200);
    let list = admin.get("/api/v1/tokens").await;
    let shown = &list.body["items"][0];
    assert!(shown["last_used_at"].is_string(), "{shown}");
    assert_eq!((&shown["name"], &shown["servers"]), (&json!("backup"), &json!(["web-*"])), "{shown}");
    // Nothing that logs in is stored, and nothing printed.
    let stored = cluster.redis.everything().await;
    let random = &secret.as_bytes()[12..40];
    assert!(!stored.windows(random.len()).any(|bytes| bytes == random), "the secret is stored");
    assert!(cluster.workers.iter().all(|worker| !worker.process.printed().contains(&secret[12..40])));
    // As a cookie it is nothing.
    cluster.client(0).with_cookie(&secret).get("/api/v1/session").await.problem(401);
}

#[tokio::test]
async fn a_token_that_is_revoked_on_one_worker_is_refused_on_all_at_once_with_near_caches_on() {
    let cluster = with_near_caches(3).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    for round in 0..rounds(40) {
        // A confirmation holds for five minutes.
        if round % 100 == 99 {
            admin.confirm(PASSWORD).await.expect(204);
        }
        let (secret, id) = create_token(&admin, json!({ "name": format!("round {round}") })).await;
        let program = cluster.client(0).with_bearer(&secret);
        for _ in 0..2 {
            for worker in &cluster.workers {
                program.at(worker.address).get("/api/v1/session").await.expect(200);
            }
        }
        let admin = admin.at(cluster.workers[round % 3].address);
        admin.delete(&format!("/api/v1/tokens/{id}")).await.expect(204);
        for worker in &cluster.workers {
            program.at(worker.address).get("/api/v1/session").await.problem(401);
        }
        admin.delete(&format!("/api/v1/tokens/{id}")).await.problem(404);
    }
    admin.get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn a_change_of_what_the_owner_may_do_ends_the_tokens_and_a_new_password_does_not() {
    let cluster = with_near_caches(3).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let new = async || {
        let anna = logged_in_as(&cluster.client(1), "anna").await;
        anna.confirm(USERS_PASSWORD).await.expect(204);
        let (secret, _) = create_token(&anna, json!({ "name": "cron" })).await;
        let program = cluster.client(2).with_bearer(&secret);
        for worker in &cluster.workers {
            program.at(worker.address).get("/api/v1/session").await.expect(200);
        }
        (anna, program)
    };
    let (anna, program) = new().await;
    anna.delete("/api/v1/sessions").await.expect(204);
    for worker in &cluster.workers {
        program.at(worker.address).get("/api/v1/session").await.expect(200);
    }
    let changes = [json!({ "role": "viewer" }), json!({ "servers": ["web-*"] }), json!({ "disabled": true })];
    for change in changes {
        let (_, program) = new().await;
        change_user(&admin, "anna", change).await.expect(200);
        for worker in &cluster.workers {
            program.at(worker.address).get("/api/v1/session").await.problem(401);
        }
    }
    change_user(&admin, "anna", json!({ "disabled": false })).await.expect(200);
    let (_, program) = new().await;
    let of_anna = admin.get("/api/v1/tokens?user=anna").await;
    assert_eq!(of_anna.expect(200).body["items"].as_array().unwrap().len(), 1, "{}", of_anna.text);
    admin.delete("/api/v1/users/anna").await.expect(204);
    for worker in &cluster.workers {
        program.at(worker.address).get("/api/v1/session").await.problem(401);
    }
    let left = cluster.redis.keys().await;
    assert!(left.iter().all(|key| !key.starts_with(b"{it}:api-token")), "tokens that have ended are removed");
}

#[tokio::test]
async fn a_token_may_do_no_more_than_its_owner() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let code = invite(&admin, "anna", "operator", &["web-*"]).await;
    crate::support::people::accept(&admin, &code, USERS_PASSWORD).await.expect(201);
    let anna = logged_in_as(&cluster.client(0), "anna").await;
    anna.confirm(USERS_PASSWORD).await.expect(204);
    for beyond in [
        json!({ "name": "x", "role": "admin" }),
        json!({ "name": "x", "servers": [] }),
        json!({ "name": "x", "servers": ["*"] }),
        json!({ "name": "x", "servers": ["web-1", "db-1"] }),
    ] {
        assert_eq!(anna.post("/api/v1/tokens", beyond).await.problem(422), "token-too-powerful");
    }
    for wrong in [
        json!({ "name": "" }),
        json!({ "name": " x" }),
        json!({ "name": "x".repeat(65) }),
        json!({ "name": "x", "days": 0 }),
        json!({ "name": "x", "days": 366 }),
        json!({ "name": "x", "networks": ["nowhere"] }),
    ] {
        anna.post("/api/v1/tokens", wrong).await.problem(422);
    }
    let body = json!({ "name": "x", "role": "viewer", "servers": ["web-1"] });
    let answer = anna.post("/api/v1/tokens", body).await;
    let made = &answer.expect(201).body["token"];
    assert_eq!((&made["role"], &made["servers"]), (&json!("viewer"), &json!(["web-1"])));
    let key = "{it}:api-tokens:anna";
    let members: u64 = cluster.redis.command(&["SCARD", key]).await;
    assert_eq!(members, 1);
    let (created, expires) = (made["created_at"].as_str().unwrap(), made["expires_at"].as_str().unwrap());
    let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
    assert_eq!((time(expires) - time(created)).num_days(), 90);
}

#[tokio::test]
async fn a_token_from_a_network_that_it_is_not_for_is_refused_and_the_audit_says_so() {
    let cluster = Cluster::bare(2).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1").set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let networks = json!(["198.51.100.0/24", "2001:db8::/32"]);
    let (secret, id) = create_token(&admin, json!({ "name": "cron", "networks": networks })).await;
    let program = cluster.client(1).with_bearer(&secret);
    for address in ["198.51.100.7", "2001:db8::1", "::ffff:198.51.100.9"] {
        from(&program, address, "/api/v1/servers").await.expect(200);
    }
    for address in ["203.0.113.7", "2001:db9::1"] {
        assert_eq!(from(&program, address, "/api/v1/servers").await.problem(403), "token-network");
    }
    let store = cluster.connected_store().await;
    let entry = crate::support::eventually("an entry of each refusal", crate::support::SOON, || async {
        let entries = store.audit_page(None, 50).await.unwrap().items;
        let refused: Vec<_> = entries.into_iter().filter(|entry| entry.what == "token.refused").collect();
        (refused.len() == 2)
            .then(|| refused.into_iter().find(|entry| entry.address.as_deref() == Some("203.0.113.7")))
    })
    .await
    .expect("an entry with the address");
    assert_eq!((entry.username.as_str(), entry.session.as_deref()), ("admin", Some(id.as_str())));
    assert!(entry.outcome.contains("cron"), "{entry:?}");
    assert!(cluster.workers[1].process.printed().contains("203.0.113.7"), "it is in the log too");
}

#[tokio::test]
async fn a_malformed_token_is_refused_without_a_command_of_redis() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (secret, _) = create_token(&admin, json!({ "name": "cron" })).await;
    let mut wrong: Vec<String> =
        vec![secret[..46].to_owned(), format!("{secret}0"), secret.replace("bgt_", "bgs_")];
    for at in [4, 12, 20, 39, 41, 46] {
        let other = if &secret[at..=at] == "x" { "y" } else { "x" };
        wrong.push(format!("{}{other}{}", &secret[..at], &secret[at + 1..]));
    }
    let monitor = cluster.redis.monitor().await;
    for secret in &wrong {
        cluster.client(0).with_bearer(secret).get("/api/v1/servers").await.problem(401);
    }
    let seen = monitor.stop(&cluster.redis).await;
    let checks: Vec<_> = seen
        .iter()
        .filter(|seen| {
            seen.all()
                .any(|c| c.starts_with("\"MGET\"") || c.contains(":session:") || c.contains(":api-token"))
        })
        .collect();
    assert!(checks.is_empty(), "{checks:?}");
    cluster.client(0).with_bearer(&secret).get("/api/v1/servers").await.expect(200);
}

#[tokio::test]
async fn no_token_makes_tokens_or_users_or_touches_passwords_and_sessions() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (secret, id) = create_token(&admin, json!({ "name": "all", "role": "admin" })).await;
    let program = cluster.client(0).with_bearer(&secret);
    let none = "A".repeat(43);
    let document = program.get("/openapi.json").await.body;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let kept = [
            "/api/v1/session",
            "/api/v1/password",
            "/api/v1/users",
            "/api/v1/invitations",
            "/api/v1/tokens",
            "/api/v1/factors",
        ];
        if !kept.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let open = [
                ("post", "/api/v1/session"),
                ("post", "/api/v1/session/factor"),
                ("post", "/api/v1/session/factor/app"),
                ("post", "/api/v1/session/factor/app/confirm"),
                ("post", "/api/v1/session/factor/passkey"),
                ("post", "/api/v1/session/factor/passkey/finish"),
                ("post", "/api/v1/session/passkey"),
                ("post", "/api/v1/session/passkey/finish"),
                ("get", "/api/v1/session"),
                ("post", "/api/v1/invitations/accept"),
            ];
            if open.contains(&(method.as_str(), path.as_str())) {
                continue;
            }
            let filled = path.replace("{id}", &none).replace("{name}", "admin");
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = program.send(program.request(method, &filled).json(&json!({}))).await;
            assert_eq!(answer.problem(403), "token-not-allowed", "{}", answer.asked);
            tried += 1;
        }
    }
    assert!(tried >= 15, "{tried} routes");
    program.delete(&format!("/api/v1/tokens/{id}")).await.problem(403);
    program.get("/account").await.expect(403);
    program.get("/api/v1/settings").await.expect(200);
    admin.get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn a_check_of_a_token_is_one_read_as_that_of_a_session() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "viewer").await;
    let (secret, _) = create_token(&admin, json!({ "name": "cron" })).await;
    for client in [cluster.client(0).with_bearer(&secret), logged_in_as(&cluster.client(0), "anna").await] {
        client.get("/api/v1/session").await.expect(200);
        let monitor = cluster.redis.monitor().await;
        for _ in 0..50 {
            client.get("/api/v1/session").await.expect(200);
        }
        let seen = monitor.stop(&cluster.redis).await;
        let about = |seen: &&crate::support::redis::MonitoredCommand| {
            seen.command.contains("{it}:session:") || seen.command.contains("{it}:api-token:")
        };
        let reads = seen.iter().filter(about).filter(|seen| seen.command.starts_with("\"MGET\"")).count();
        assert_eq!(reads, 50, "one read each");
        // And perhaps one that records its use.
        let all = seen.iter().filter(about).count();
        assert!((50..=51).contains(&all), "{all} commands about it");
    }
}

#[tokio::test]
async fn a_token_expires_in_redis_and_is_refused_even_if_redis_has_it_longer() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (secret, id) = create_token(&admin, json!({ "name": "cron", "days": 1 })).await;
    let program = cluster.client(0).with_bearer(&secret);
    let key = [b"{it}:api-token:", &URL_SAFE_NO_PAD.decode(&id).unwrap()[..]].concat();
    let mut connection = cluster.redis.connection().await;
    // Before its first use, which sets it again.
    let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
    assert!((86_000_000..=86_401_000).contains(&left), "{left}");
    program.get("/api/v1/session").await.expect(200);
    let record: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
    let mut fields: std::collections::BTreeMap<String, Value> = rmp_serde::from_slice(&record[16..]).unwrap();
    // A microsecond after it was made.
    fields.insert("x".to_owned(), json!(fields["c"].as_i64().unwrap() + 1));
    let record = [&record[..16], &rmp_serde::to_vec_named(&fields).unwrap()].concat();
    let mut command = redis::cmd("SET");
    command.arg(&key).arg(record).arg("KEEPTTL");
    command.query_async::<()>(&mut connection).await.unwrap();
    program.get("/api/v1/session").await.problem(401);
    admin.get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn a_token_that_has_ended_stays_ended_even_if_its_key_comes_back() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "anna", "operator").await;
    let mut connection = cluster.redis.connection().await;
    for end in ["change", "delete"] {
        let anna = logged_in_as(&cluster.client(0), "anna").await;
        anna.confirm(USERS_PASSWORD).await.expect(204);
        let (secret, id) = create_token(&anna, json!({ "name": "cron" })).await;
        let program = cluster.client(0).with_bearer(&secret);
        program.get("/api/v1/session").await.expect(200);
        let key = [b"{it}:api-token:", &URL_SAFE_NO_PAD.decode(&id).unwrap()[..]].concat();
        let record: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
        if end == "change" {
            change_user(&admin, "anna", json!({ "role": "viewer" })).await.expect(200);
        } else {
            admin.delete("/api/v1/users/anna").await.expect(204);
        }
        // Removing the keys only tidies up.
        redis::cmd("SET").arg(&key).arg(record).query_async::<()>(&mut connection).await.unwrap();
        assert_eq!(program.get("/api/v1/session").await.problem(401), "no-session", "{end}");
    }
}
