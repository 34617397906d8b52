//! Setup: once in the life of an installation, at any worker, and only by somebody who has the code.

use std::time::Duration;

use bangui::store::AuditEntry;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::worker::field;
use crate::support::{Cluster, PASSWORD, SETUP_TOKEN, SOON, eventually};

#[tokio::test]
async fn of_twenty_racing_setups_on_three_workers_exactly_one_wins() {
    let cluster = Cluster::bare(3).start().await;
    let answers = join_all((0..20).map(|n| {
        let client = cluster.client(n % 3);
        async move {
            let password = format!("the password of racer {n}");
            loop {
                let body = json!({ "password": password, "token": SETUP_TOKEN });
                let answer = client.post("/api/v1/setup", body).await;
                // Too many passwords at once for this machine: come back, as it says.
                if answer.status != 503 {
                    return (answer, password);
                }
            }
        }
    }))
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(answer, _)| answer.status == 201);
    assert_eq!(won.len(), 1, "{won:?}");
    for (answer, _) in lost {
        answer.problem(409);
    }
    for n in 0..3 {
        assert_eq!(
            cluster.client(n).get("/api/v1/setup").await.expect(200).body,
            json!({ "complete": true })
        );
        let login = cluster.client(n).post("/api/v1/session", json!({ "password": won[0].1 })).await;
        login.expect(201);
    }
}

#[tokio::test]
async fn setup_wants_the_right_token_and_a_password_of_a_sane_length() {
    let cluster = Cluster::bare(1).start().await;
    let client = cluster.client(0);
    assert_eq!(client.get("/api/v1/setup").await.expect(200).body, json!({ "complete": false }));
    for token in ["", "wrong", &SETUP_TOKEN[1..], &SETUP_TOKEN.to_uppercase()] {
        client.post("/api/v1/setup", json!({ "password": PASSWORD, "token": token })).await.problem(403);
    }
    // Characters count, and what is hashed is bounded in bytes; a wrong length changes nothing.
    for password in ["", "tr0ub4dor&3", "ÄÖÜäöüßéèêë", &"correct horse ".repeat(80), &"ä".repeat(513)]
    {
        let answer =
            client.post("/api/v1/setup", json!({ "password": password, "token": SETUP_TOKEN })).await;
        answer.problem(422);
    }
    assert_eq!(client.get("/api/v1/setup").await.expect(200).body, json!({ "complete": false }));
    client.post("/api/v1/session", json!({ "password": PASSWORD })).await.problem(409);
    let longest = "äöüß".repeat(128);
    client.post("/api/v1/setup", json!({ "password": longest, "token": SETUP_TOKEN })).await.expect(201);
    client.post("/api/v1/session", json!({ "password": longest })).await.expect(201);
}

#[tokio::test]
async fn without_a_configured_token_one_code_in_the_log_is_the_same_for_the_whole_cluster() {
    let cluster = Cluster::bare(3).without("BANGUI_SETUP_TOKEN").start().await;
    let mut codes = Vec::new();
    for worker in &cluster.workers {
        let code = eventually("the setup code in the log", SOON, || async {
            let log = worker.log();
            log.iter().find_map(|line| Some(field(line, "setup.code")?.as_str()?.to_owned()))
        })
        .await;
        codes.push(code);
    }
    assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
    assert!(codes[0].len() >= 16, "{codes:?} can be guessed");
    let setup = |code: &str| json!({ "password": PASSWORD, "token": code });
    cluster.client(0).post("/api/v1/setup", setup("wrong-code-wrong-code")).await.problem(403);
    cluster.client(2).post("/api/v1/setup", setup(&codes[0])).await.expect(201);

    // A worker that starts after setup has no code to log.
    let mut cluster = cluster;
    let late = cluster.add_worker().await;
    let logged = cluster.workers[late].log().iter().any(|line| field(line, "setup.code").is_some());
    assert!(!logged);
}

#[tokio::test]
async fn after_redis_has_lost_its_data_the_code_that_is_valid_is_in_every_workers_log() {
    let cluster = Cluster::bare(2).without("BANGUI_SETUP_TOKEN").start().await;
    let codes = |n: usize| -> Vec<String> {
        let log = cluster.workers[n].log();
        log.iter().filter_map(|line| Some(field(line, "setup.code")?.as_str()?.to_owned())).collect()
    };
    let setup = async |n: usize, code: &str| {
        cluster.client(n).post("/api/v1/setup", json!({ "password": PASSWORD, "token": code })).await
    };
    let first = eventually("the setup code in the log", SOON, || async { codes(0).pop() }).await;
    setup(0, &first).await.expect(201);
    for (n, asked) in [(0, true), (1, false)] {
        cluster.redis.command::<()>(&["FLUSHALL"]).await;
        // A user who is pointed to the code finds it, and so does one who looks before anybody has asked.
        if asked {
            let refused = cluster.client(n).post("/api/v1/session", json!({ "password": PASSWORD })).await;
            assert!(
                refused.problem(409) == "setup-incomplete" && refused.text.contains("log"),
                "{refused:?}"
            );
            // At once, not some seconds later, when the worker checks by itself.
            let before = eventually("the refusal in the access log", SOON, || async {
                let log = cluster.workers[n].log();
                let refused = |line: &Value| field(line, "http.status").is_some_and(|status| status == 409);
                let at = log.iter().rposition(refused)?;
                Some(log[..at].to_vec())
            })
            .await;
            let stored: String = cluster.redis.command(&["GET", "{it}:setup-code"]).await;
            let has_it = |line: &Value| field(line, "setup.code").is_some_and(|code| *code == stored);
            assert!(before.iter().any(has_it), "the code is in the log before the refusal: {before:?}");
        }
        let stored = eventually("a new code", SOON, || async {
            cluster.redis.command::<Option<String>>(&["GET", "{it}:setup-code"]).await
        })
        .await;
        for worker in 0..2 {
            eventually("the new code in the log", SOON, || async {
                (codes(worker).pop()? == stored).then_some(())
            })
            .await;
        }
        setup(n, &stored).await.expect(201);
        // And once each, not every time somebody looks.
        for worker in 0..2 {
            let mut logged = codes(worker);
            let all = logged.len();
            logged.sort();
            logged.dedup();
            assert_eq!(logged.len(), all, "a code was logged twice");
        }
    }
}

#[tokio::test]
async fn after_redis_has_lost_its_data_the_admin_is_provisioned_again() {
    let cluster = Cluster::bare(1).env("BANGUI_ADMIN_PASSWORD", PASSWORD).start().await;
    cluster.client(0).logged_in().await;
    cluster.redis.command::<()>(&["FLUSHALL"]).await;
    eventually("somebody to be able to log in", SOON, || async {
        let login = cluster.client(0).post("/api/v1/session", json!({ "password": PASSWORD })).await;
        (login.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_password_from_the_environment_provisions_the_admin_once_and_never_overwrites() {
    let mut cluster = Cluster::bare(2).env("BANGUI_ADMIN_PASSWORD", PASSWORD).start().await;
    eventually("the admin", SOON, || async {
        let answer = cluster.client(0).get("/api/v1/setup").await;
        (answer.body["complete"] == true).then_some(())
    })
    .await;
    cluster.post_setup(1).await.problem(409);
    cluster.client(0).logged_in().await.get("/api/v1/session").await.expect(200);

    // Another password in the environment of a worker that starts later: a warning, and no change.
    cluster.environment.insert("BANGUI_ADMIN_PASSWORD".to_owned(), "quite another password".to_owned());
    let late = cluster.add_worker().await;
    cluster.workers[late]
        .process
        .line("a warning about the password", SOON, |line| {
            (line.contains("WARN") && line.contains("BANGUI_ADMIN_PASSWORD")).then_some(())
        })
        .await;
    cluster.client(late).logged_in().await.get("/api/v1/session").await.expect(200);
    let other = json!({ "password": "quite another password" });
    cluster.client(late).post("/api/v1/session", other).await.problem(401);
    for worker in &cluster.workers {
        let log = worker.process.printed();
        assert!(!log.contains(PASSWORD) && !log.contains("quite another"), "a secret in the log");
    }
    // The same one is no reason to warn.
    let warned = |worker: &crate::support::worker::Worker| {
        worker
            .process
            .lines()
            .iter()
            .any(|line| line.contains("WARN") && line.contains("BANGUI_ADMIN_PASSWORD"))
    };
    cluster.environment.insert("BANGUI_ADMIN_PASSWORD".to_owned(), PASSWORD.to_owned());
    let same = cluster.add_worker().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!warned(&cluster.workers[same]));
}

#[tokio::test]
async fn setup_and_login_from_another_site_are_refused() {
    let cluster = Cluster::bare(1).start().await;
    let client = cluster.client(0);
    let setup = json!({ "password": PASSWORD, "token": SETUP_TOKEN });
    let login = json!({ "password": PASSWORD });
    let post = |path: &'static str, body: &serde_json::Value, site: &'static str| {
        let request = client.request(reqwest::Method::POST, path).json(body).header("Sec-Fetch-Site", site);
        client.send(request.header("Origin", "https://evil.example"))
    };
    for site in ["cross-site", "same-site"] {
        post("/api/v1/setup", &setup, site).await.problem(403);
    }
    post("/api/v1/setup", &setup, "same-origin").await.expect(201);
    for site in ["cross-site", "same-site"] {
        post("/api/v1/session", &login, site).await.problem(403);
    }
    // A form of another site, in a browser too old for Sec-Fetch-Site.
    let request = client.request(reqwest::Method::POST, "/api/v1/session").json(&login);
    client.send(request.header("Origin", "https://evil.example")).await.problem(403);
    post("/api/v1/session", &login, "same-origin").await.expect(201);
}

#[tokio::test]
async fn a_setup_token_cannot_be_guessed_from_one_address_and_each_try_is_in_the_log() {
    let cluster = Cluster::bare(2)
        .env("BANGUI_LOGIN_LIMIT", "5/3600")
        .env("BANGUI_TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let claim = async |n: usize, from: &str, token: &str| {
        let client = cluster.client(n % 2);
        let request = client.request(reqwest::Method::POST, "/api/v1/setup");
        let request = request.json(&json!({ "password": PASSWORD, "token": token }));
        client.send(request.header("X-Forwarded-For", from)).await
    };
    for n in 0..5 {
        claim(n, "203.0.113.7", &format!("{n:024}")).await.problem(403);
    }
    for n in 0..5 {
        let refused = claim(n, "203.0.113.7", &format!("{n:024}")).await;
        assert_eq!((refused.problem(429), &refused.body["limit"]), ("rate-limited", &json!("address")));
    }
    // The right one too, from there; the attempts of logins are the same ones.
    claim(0, "203.0.113.7", SETUP_TOKEN).await.problem(429);
    let logged = |n: usize| {
        let log = cluster.workers[n].log();
        let tries = log.iter().filter(|line| {
            let text = field(line, "message").and_then(|text| text.as_str()).unwrap_or_default();
            text.contains("setup.refused: wrong setup code")
                && field(line, "client.address").is_some_and(|from| from == "203.0.113.7")
        });
        tries.count()
    };
    eventually("each try in the log", SOON, || async { (logged(0) + logged(1) == 5).then_some(()) }).await;
    // And in the audit, as those are that the limit refused.
    let store = cluster.connected_store().await;
    let entries = store.audit_page(None, 100).await.unwrap().items;
    let refused = |words: &str| {
        let of = |entry: &&AuditEntry| entry.what == "setup.refused" && entry.outcome.contains(words);
        entries.iter().filter(of).count()
    };
    assert_eq!((refused("wrong setup code"), refused("too many attempts")), (5, 6), "{entries:#?}");
    // Somebody else is not kept out, and who knows the token is limited by nothing.
    for _ in 0..6 {
        let short = json!({ "password": "short", "token": SETUP_TOKEN });
        let client = cluster.client(0);
        let request = client.request(reqwest::Method::POST, "/api/v1/setup").json(&short);
        client.send(request.header("X-Forwarded-For", "203.0.113.8")).await.problem(422);
    }
    claim(1, "203.0.113.8", SETUP_TOKEN).await.expect(201);
}

#[tokio::test]
async fn a_setup_code_is_valid_for_a_day_and_then_every_worker_logs_another() {
    let cluster = Cluster::bare(2).without("BANGUI_SETUP_TOKEN").start().await;
    let codes = |n: usize| -> Vec<String> {
        let log = cluster.workers[n].log();
        log.iter().filter_map(|line| Some(field(line, "setup.code")?.as_str()?.to_owned())).collect()
    };
    let first = eventually("the setup code in the log", SOON, || async { codes(0).pop() }).await;
    let left: i64 = cluster.redis.command(&["TTL", "{it}:setup-code"]).await;
    assert!((86_340..=86_400).contains(&left), "{left} s");
    // The day is over.
    cluster.redis.command::<bool>(&["PEXPIRE", "{it}:setup-code", "1"]).await;
    for n in 0..2 {
        eventually("another code in the log", SOON, || async { (codes(n).pop()? != first).then_some(()) })
            .await;
    }
    let claim = async |code: &str| {
        cluster.client(0).post("/api/v1/setup", json!({ "password": PASSWORD, "token": code })).await
    };
    assert_eq!(codes(0).pop(), codes(1).pop());
    claim(&first).await.problem(403);
    // A code that an earlier version stored without an expiry expires too.
    cluster.redis.command::<bool>(&["PERSIST", "{it}:setup-code"]).await;
    eventually("the code to expire", SOON, || async {
        let left: i64 = cluster.redis.command(&["TTL", "{it}:setup-code"]).await;
        (left > 0).then_some(())
    })
    .await;
    claim(&codes(1).pop().unwrap()).await.expect(201);
}
