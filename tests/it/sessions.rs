//! Sessions: known on every worker, and gone from every worker at once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, Cluster, PASSWORD};

/// Rounds of the promise, and how many of them run at the same time.
const ROUNDS: usize = 1000;
const CONCURRENT_ROUNDS: usize = 4;

#[tokio::test]
async fn after_a_logout_on_one_worker_every_worker_refuses_at_once_a_thousand_times() {
    let cluster = Cluster::bare(3).set_up().await;
    join_all((0..CONCURRENT_ROUNDS).map(|lane| {
        let clients: Vec<Client> = (0..3).map(|n| cluster.client(n)).collect();
        async move {
            for round in 0..ROUNDS / CONCURRENT_ROUNDS {
                let [a, b, c] = [0, 1, 2].map(|n| &clients[(lane + round + n) % 3]);
                let token = a.log_in().await;
                b.with_cookie(&token).get("/api/v1/session").await.expect(200);
                let out = c.with_cookie(&token).delete("/api/v1/session").await;
                out.expect(204);
                let refused = join_all([a, b, c].map(|worker| {
                    let worker = worker.with_cookie(&token);
                    async move { worker.get("/api/v1/session").await }
                }))
                .await;
                for answer in refused {
                    answer.problem(401);
                }
            }
        }
    }))
    .await;
}

#[tokio::test]
async fn a_session_shows_who_when_from_where_and_how_long() {
    let cluster = Cluster::bare(2).set_up().await;
    let anonymous = cluster.client(0);
    let request = anonymous.request(reqwest::Method::POST, "/api/v1/session");
    let login = json!({ "username": "admin", "password": PASSWORD });
    let answer = anonymous.send(request.header("User-Agent", "it/1.0 (\u{e4})").json(&login)).await;
    answer.expect(201);
    let token = answer.body["token"].as_str().unwrap();
    assert!(token.len() >= 43, "256 bits: {token}");
    let cookie = answer.cookies();
    assert_eq!(cookie.len(), 1, "{cookie:?}");
    for part in [&format!("bangui={token}"), "HttpOnly", "SameSite=", "Path=/"] {
        assert!(cookie[0].contains(part), "{cookie:?} lacks {part}");
    }
    assert!(!cookie[0].contains("Domain="), "{cookie:?}");

    let seen = cluster.client(1).with_bearer(token).get("/api/v1/session").await;
    let session = &seen.expect(200).body;
    assert_eq!(session["id"], answer.body["session"]["id"]);
    assert_ne!(session["id"].as_str().unwrap(), token);
    assert_eq!(session["username"], "admin");
    assert_eq!(session["ip"], "127.0.0.1");
    assert!(session["user_agent"].as_str().unwrap().starts_with("it/1.0"), "{session}");
    assert_eq!(session["current"], true);
    let time = |field: &str| {
        let text = session[field].as_str().unwrap_or_else(|| panic!("{field} in {session}"));
        assert!(text.ends_with('Z'), "{text} is not UTC");
        chrono::DateTime::parse_from_rfc3339(text).unwrap()
    };
    assert!((time("expires_at") - time("created_at")).num_seconds().abs_diff(43200) <= 1);
    assert!((time("idle_expires_at") - time("last_seen_at")).num_seconds().abs_diff(1800) <= 1);
    for header in ["x-request-id", "x-bangui-worker"] {
        assert!(seen.headers.contains_key(header), "{header} in {:?}", seen.headers);
    }
}

async fn ids(client: &Client) -> Vec<String> {
    let answer = client.get("/api/v1/sessions").await;
    answer.expect(200);
    assert!(answer.body["next_cursor"].is_null(), "{}", answer.text);
    let items = answer.body["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn id(client: &Client) -> String {
    client.get("/api/v1/session").await.expect(200).body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn sessions_are_listed_and_revoked_one_by_one_or_all() {
    let cluster = Cluster::bare(3).set_up().await;
    let mut all = Vec::new();
    for n in 0..5 {
        all.push(cluster.client(n % 3).logged_in().await);
    }
    let mut listed = ids(&all[0]).await;
    let mut known = join_all(all.iter().map(id)).await;
    listed.sort();
    known.sort();
    assert_eq!(listed, known);
    let current = all[3].get("/api/v1/sessions").await.body["items"].clone();
    let current: Vec<&Value> =
        current.as_array().unwrap().iter().filter(|item| item["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["id"].as_str().unwrap(), id(&all[3]).await);

    // One.
    all[0].confirm(PASSWORD).await.expect(204);
    let victim = id(&all[1]).await;
    all[0].delete(&format!("/api/v1/sessions/{victim}")).await.expect(204);
    all[1].get("/api/v1/session").await.problem(401);
    all[0].delete(&format!("/api/v1/sessions/{victim}")).await.problem(404);
    let unknown = "A".repeat(43);
    all[0].delete(&format!("/api/v1/sessions/{unknown}")).await.problem(404);
    all[0].delete("/api/v1/sessions/no-id-at-all").await.problem(404);
    assert_eq!(ids(&all[2]).await.len(), 4);

    // All but this one.
    all[0].delete("/api/v1/sessions?keep_current=true").await.expect(204);
    assert_eq!(ids(&all[0]).await, [id(&all[0]).await]);
    for gone in &all[1..] {
        gone.get("/api/v1/session").await.problem(401);
    }

    // All, this one too.
    let other = cluster.client(1).logged_in().await;
    all[0].delete("/api/v1/sessions").await.expect(204);
    for gone in [&all[0], &other] {
        gone.get("/api/v1/session").await.problem(401);
    }
}

#[tokio::test]
async fn a_long_list_of_sessions_comes_in_pages_without_gaps_or_repeats() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut known = Vec::new();
    for n in 0..23 {
        known.push(cluster.client(n % 2).logged_in().await);
    }
    let mut expected = join_all(known.iter().map(id)).await;
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let client = known[0].at(cluster.workers[pages % 2].address);
        let page = client.get(&format!("/api/v1/sessions?limit=5{cursor}")).await;
        let items = page.expect(200).body["items"].as_array().unwrap();
        assert!(items.len() <= 5, "{}", page.text);
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(pages >= 5, "{pages} pages of at most 5 for 23 sessions");
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_and_the_old_one_is_wrong_everywhere() {
    let cluster = Cluster::bare(3).set_up().await;
    let (mine, other) = (cluster.client(0).logged_in().await, cluster.client(1).logged_in().await);
    let new = "another password altogether";
    let wrong = mine.put("/api/v1/password", json!({ "current": "not the password", "new": new })).await;
    assert!([401, 403, 422].contains(&wrong.status.as_u16()), "{wrong:?}");
    mine.get("/api/v1/session").await.expect(200);
    for length in [9, 1025] {
        let body = json!({ "current": PASSWORD, "new": "x".repeat(length) });
        mine.put("/api/v1/password", body).await.problem(422);
    }
    other.get("/api/v1/session").await.expect(200);

    let mine = mine.change_password(PASSWORD, new).await;
    other.at(cluster.workers[2].address).get("/api/v1/session").await.problem(401);
    mine.at(cluster.workers[2].address).get("/api/v1/session").await.expect(200);
    for n in 0..3 {
        cluster.client(n).post("/api/v1/session", json!({ "password": PASSWORD })).await.problem(401);
        cluster.client(n).post("/api/v1/session", json!({ "password": new })).await.expect(201);
    }
}

#[tokio::test]
async fn a_login_in_flight_with_the_old_password_does_not_outlive_the_change_of_it() {
    let cluster = Cluster::bare(3).set_up().await;
    let mut password = PASSWORD.to_owned();
    for round in 0..15 {
        let new = format!("the password of round {round}");
        let login = json!({ "password": password });
        let judge = cluster.client(0).post("/api/v1/session", login.clone()).await;
        let judge = cluster.client(0).with_bearer(judge.expect(201).body["token"].as_str().unwrap());
        let logins = (0..6).map(|n| {
            let (client, login) = (cluster.client(n % 3), login.clone());
            async move { client.post("/api/v1/session", login).await }
        });
        let change = async {
            // Each round another order of the two.
            tokio::time::sleep(Duration::from_millis(round * 6)).await;
            judge.change_password(&password, &new).await
        };
        let (answers, judge) = futures_util::future::join(join_all(logins), change).await;
        for answer in answers {
            assert!([201, 401, 503].contains(&answer.status.as_u16()), "{answer:?}");
            if answer.status == 201 {
                let client = cluster.client(2).with_bearer(answer.body["token"].as_str().unwrap());
                client.get("/api/v1/session").await.problem(401);
            }
        }
        assert_eq!(ids(&judge).await.len(), 1, "sessions that were begun with the old password");
        password = new;
    }
}

#[tokio::test]
async fn a_login_in_flight_is_either_before_or_after_a_revocation_of_all() {
    let cluster = Cluster::bare(3).set_up().await;
    for round in 0..10 {
        let judge = cluster.client(0).logged_in().await.confirmed().await;
        let earlier = cluster.client(1).logged_in().await;
        let logins = (0..4).map(|n| {
            let client = cluster.client(n % 3);
            async move { client.post("/api/v1/session", json!({ "password": PASSWORD })).await }
        });
        let revoke = async {
            tokio::time::sleep(Duration::from_millis(round * 6)).await;
            judge.delete("/api/v1/sessions").await.expect(204);
        };
        let (answers, ()) = futures_util::future::join(join_all(logins), revoke).await;
        for gone in [&judge, &earlier] {
            gone.get("/api/v1/session").await.problem(401);
        }
        let fresh = cluster.client(1).logged_in().await;
        let alive = ids(&fresh).await;
        for answer in answers.iter().filter(|answer| answer.status == 201) {
            let client = cluster.client(2).with_bearer(answer.body["token"].as_str().unwrap());
            let status = client.get("/api/v1/session").await.status;
            let listed = alive.contains(&answer.body["session"]["id"].as_str().unwrap().to_owned());
            assert_eq!(status == 200, listed, "the list and the check disagree");
        }
        fresh.confirm(PASSWORD).await.expect(204);
        fresh.delete("/api/v1/sessions").await.expect(204);
    }
}

#[tokio::test]
async fn with_an_authorization_header_the_cookie_is_ignored() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    let token = client.log_in().await;
    let get = |bearer: String, cookie: String| {
        let request = client.request(reqwest::Method::GET, "/api/v1/session");
        client.send(request.header("Authorization", bearer).header("Cookie", cookie))
    };
    get(format!("Bearer {token}"), "bangui=garbage".to_owned()).await.expect(200);
    get("Bearer garbage".to_owned(), format!("bangui={token}")).await.problem(401);
    get("Basic YWRtaW46YWRtaW4=".to_owned(), format!("bangui={token}")).await.problem(401);
}

#[tokio::test]
async fn a_cookie_is_checked_for_who_sends_it_and_a_bearer_token_needs_no_such_check() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    let token = client.log_in().await;
    let evil = |client: Client| async move {
        let request = client.request(reqwest::Method::DELETE, "/api/v1/session");
        client
            .send(request.header("Sec-Fetch-Site", "cross-site").header("Origin", "https://evil.example"))
            .await
    };
    evil(client.with_cookie(&token)).await.problem(403);
    client.with_cookie(&token).get("/api/v1/session").await.expect(200);
    evil(client.with_bearer(&token)).await.expect(204);
}

#[tokio::test]
async fn a_401_takes_the_cookie_away_and_so_does_a_logout() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    let token = client.log_in().await;
    let client = client.with_cookie(&token);
    let removed = |answer: &crate::support::Answer| {
        let cookies = answer.cookies();
        assert_eq!(cookies.len(), 1, "{answer:?}");
        assert!(cookies[0].starts_with("bangui=;") && cookies[0].contains("Max-Age=0"), "{cookies:?}");
    };
    removed(client.delete("/api/v1/session").await.expect(204));
    let refused = client.get("/api/v1/session").await;
    refused.problem(401);
    removed(&refused);

    // A page of another site makes the browser come without the cookie; a script's bearer token is judged without it.
    let without = cluster.client(0).get("/api/v1/session").await;
    without.problem(401);
    let both = cluster.client(0).with_cookie(&token);
    let request =
        both.request(reqwest::Method::GET, "/api/v1/session").header("authorization", "Bearer wrong");
    let by_bearer = both.send(request).await;
    by_bearer.problem(401);
    assert!(without.cookies().is_empty() && by_bearer.cookies().is_empty(), "nothing was judged by a cookie");
}
