//! The limits of logins, each at its boundary, on two workers at once. That they keep no owner out is in `limits_owner.rs`.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::support::{Answer, Client, Cluster, PASSWORD, SOON};

pub const WRONG: &str = "a wrong password";

/// Logs in with these `X-Forwarded-For` lines.
pub async fn log_in_from(client: &Client, lines: &[&str], username: &str, password: &str) -> Answer {
    let body = json!({ "username": username, "password": password });
    let request = client.request(Method::POST, "/api/v1/session").json(&body);
    client.send(lines.iter().fold(request, |request, line| request.header("X-Forwarded-For", *line))).await
}

pub async fn guess(client: &Client, from: &str) -> Answer {
    log_in_from(client, &[from], "admin", WRONG).await
}

/// The limit that refused, after a look at the whole refusal.
#[track_caller]
pub fn refused_by(answer: &Answer) -> &str {
    assert_eq!(answer.problem(429), "rate-limited");
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(seconds >= 1, "{answer:?}");
    assert_eq!(answer.body["retry_after_seconds"], seconds);
    assert!(answer.cookies().is_empty(), "{answer:?}");
    answer.body["limit"].as_str().unwrap()
}

async fn metric(client: &Client, line: &str) -> u64 {
    let page = client.get("/metrics").await.text;
    let value = page.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or(0)
}

#[tokio::test]
async fn of_twice_as_many_racing_logins_as_the_limit_takes_exactly_half_are_checked() {
    let cluster = Cluster::bare(2).env("BANGUI_LOGIN_LIMIT", "8/3600").set_up().await;
    let answers = join_all((0..16).map(|n| {
        let client = cluster.client(n % 2);
        async move { client.post("/api/v1/session", json!({ "password": WRONG })).await }
    }))
    .await;
    let (tried, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
    assert_eq!((tried.len(), refused.len()), (8, 8), "{answers:?}");
    for answer in refused {
        assert_eq!(refused_by(answer), "address");
        // One attempt comes back every 450 s.
        assert!((1..=450).contains(&answer.body["retry_after_seconds"].as_u64().unwrap()), "{answer:?}");
    }
    // The right password is refused too, without being checked.
    let right = cluster.client(1).post("/api/v1/session", json!({ "password": PASSWORD })).await;
    assert_eq!(refused_by(&right), "address");
    let mut counted = 0;
    for n in 0..2 {
        counted += metric(&cluster.client(n), "bangui_rate_limited_total{limit=\"address\"}").await;
    }
    assert_eq!(counted, 9);
}

#[tokio::test]
async fn one_attempt_comes_back_at_a_time_and_refusals_do_not_put_it_off() {
    // One attempt comes back every 8 s: a login on a busy machine takes a second of that.
    let cluster = Cluster::bare(2).env("BANGUI_LOGIN_LIMIT", "2/16").set_up().await;
    let login =
        async |n: usize| cluster.client(n % 2).post("/api/v1/session", json!({ "password": PASSWORD })).await;
    let began = Instant::now();
    login(0).await.expect(201);
    login(1).await.expect(201);
    let mut asked = 0;
    let came_back = loop {
        let answer = login(asked).await;
        asked += 1;
        if answer.status == 201 {
            break began.elapsed();
        }
        assert_eq!(refused_by(&answer), "address");
        assert!(answer.body["retry_after_seconds"].as_u64().unwrap() <= 8, "{answer:?}");
        sleep(Duration::from_millis(100)).await;
    };
    // At any worker, however often it was asked before; and only one.
    assert!(asked > 5, "{asked}");
    assert!(came_back >= Duration::from_millis(7900), "{came_back:?}");
    assert!(came_back < Duration::from_millis(15_900), "{came_back:?}");
    assert_eq!(refused_by(&login(0).await), "address");
}

#[tokio::test]
async fn ipv6_is_limited_by_64_strictly_and_by_48_loosely() {
    let cluster = Cluster::bare(2)
        .env("BANGUI_TRUSTED_PROXIES", "127.0.0.1")
        .env("BANGUI_LOGIN_LIMIT", "3/3600")
        .set_up()
        .await;
    let (a, b) = (cluster.client(0), cluster.client(1));
    for network in 0..4 {
        // Other addresses of one /64, on either worker.
        for host in 1..=3 {
            guess(&a, &format!("2001:db8:1:{network}::{host}")).await.problem(401);
        }
        assert_eq!(refused_by(&guess(&b, &format!("2001:db8:1:{network}:ffff::1")).await), "address");
    }
    // Twelve were tried in this /48: a fresh /64 of it gets no more, and the refusal costs it nothing.
    for host in 1..=5 {
        assert_eq!(refused_by(&guess(&b, &format!("2001:db8:1:99::{host}")).await), "site");
    }
    guess(&b, "2001:db8:2::1").await.problem(401);

    // An IPv4 address counts separately, however it is spelled.
    for from in ["203.0.113.7", "::ffff:203.0.113.7", " 203.0.113.7 "] {
        guess(&a, from).await.problem(401);
    }
    assert_eq!(refused_by(&guess(&b, "::ffff:203.0.113.7").await), "address");
    guess(&b, "203.0.113.8").await.problem(401);
}

#[tokio::test]
async fn an_address_that_a_client_invents_does_not_help_it() {
    let wide = Cluster::bare(2).env("BANGUI_LOGIN_LIMIT", "3/3600");
    // The peer is not a trusted proxy: whatever it forwards is ignored.
    let cluster = wide.env("BANGUI_TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::/32").set_up().await;
    for n in 0..3 {
        guess(&cluster.client(n % 2), &format!("203.0.113.{n}")).await.problem(401);
    }
    assert_eq!(refused_by(&guess(&cluster.client(1), "203.0.113.99").await), "address");

    // The peer is trusted: anything to the left of the address that the proxy saw is ignored.
    let cluster = Cluster::bare(2)
        .env("BANGUI_LOGIN_LIMIT", "4/3600")
        .env("BANGUI_TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")
        .set_up()
        .await;
    let shapes: [&[&str]; 5] = [
        &["192.0.2.1, 203.0.113.7"],
        &["192.0.2.2", "203.0.113.7, 10.0.0.1"],
        &["203.0.113.7,10.0.0.2 ,10.0.0.1"],
        &["nonsense, 203.0.113.7"],
        &["192.0.2.3,203.0.113.7"],
    ];
    for (n, lines) in shapes.iter().enumerate() {
        let answer = log_in_from(&cluster.client(n % 2), lines, "admin", WRONG).await;
        if n < 4 {
            answer.problem(401);
        } else {
            assert_eq!(refused_by(&answer), "address");
        }
    }
    // What cannot be read stops the walk at the proxy itself, so a new nonsense each time is still one address.
    for n in 0..5 {
        let answer = guess(&cluster.client(n % 2), &format!("203.0.113.{n}, nonsense-{n}")).await;
        if n < 4 {
            answer.problem(401);
        } else {
            assert_eq!(refused_by(&answer), "address");
        }
    }
}

async fn account_cluster() -> Cluster {
    Cluster::bare(2)
        .env("BANGUI_TRUSTED_PROXIES", "127.0.0.1")
        .env("BANGUI_LOGIN_FAILURE_LIMIT", "5/3600")
        .set_up()
        .await
}

#[tokio::test]
async fn an_account_counts_failures_alone_and_never_refuses_an_address_that_has_logged_in_to_it() {
    let cluster = account_cluster().await;
    let (a, b) = (cluster.client(0), cluster.client(1));
    // Successes count nothing, from however many addresses.
    for n in 0..7 {
        log_in_from(&a, &[&format!("198.51.100.{n}")], "admin", PASSWORD).await.expect(201);
    }
    log_in_from(&b, &["2001:db8:1:1::1"], "admin", PASSWORD).await.expect(201);

    // Ten guessers with an address each, at once on both workers: five of them learn something.
    let answers = join_all((0..10).map(|n| {
        let client = cluster.client(n % 2);
        async move { guess(&client, &format!("203.0.113.{n}")).await }
    }))
    .await;
    let (tried, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
    assert_eq!((tried.len(), refused.len()), (5, 5), "{answers:?}");
    for answer in refused {
        assert_eq!(refused_by(answer), "account");
    }
    // A stranger is refused now, even with the right password.
    assert_eq!(refused_by(&log_in_from(&b, &["192.0.2.9"], "admin", PASSWORD).await), "account");

    // Those who have logged in before are not, on either worker, whether they mistype or not.
    for _ in 0..3 {
        log_in_from(&b, &["198.51.100.0"], "admin", WRONG).await.problem(401);
        log_in_from(&b, &["198.51.100.0"], "admin", PASSWORD).await.expect(201);
        log_in_from(&a, &["2001:db8:1:1:ffff::7"], "admin", PASSWORD).await.expect(201);
    }
    assert_eq!(refused_by(&log_in_from(&a, &["2001:db8:1:2::1"], "admin", PASSWORD).await), "account");

    // Unknown names share another bucket, and none is stored in Redis in plain text.
    for n in 0..5 {
        let name = ["a-name-nobody-has", "another", "", "root", "Admin"][n];
        log_in_from(&a, &[&format!("192.0.2.{n}")], name, PASSWORD).await.problem(401);
    }
    let answer = log_in_from(&b, &["192.0.2.99"], "a-name-nobody-has", PASSWORD).await;
    assert_eq!(refused_by(&answer), "account");
    let stored = cluster.redis.everything().await;
    assert!(
        !stored.windows(17).any(|bytes| bytes == b"a-name-nobody-has"),
        "a name that was typed is stored"
    );
}

#[tokio::test]
async fn an_address_is_known_for_thirty_days_and_a_bucket_lives_no_longer_than_it_takes_to_be_full() {
    let cluster = account_cluster().await;
    log_in_from(&cluster.client(0), &["198.51.100.1"], "admin", PASSWORD).await.expect(201);
    guess(&cluster.client(1), "198.51.100.2").await.problem(401);
    let mut lives = Vec::new();
    for key in cluster.redis.keys().await {
        let text = String::from_utf8_lossy(&key).into_owned();
        if let Some(kind) = text.strip_prefix("it:") {
            let mut connection = cluster.redis.connection().await;
            let ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
            lives.push((kind.split(':').next().unwrap().to_owned(), ms));
        }
    }
    let of = |kind: &str| lives.iter().filter(|(k, _)| k == kind).map(|(_, ms)| *ms).collect::<Vec<_>>();
    let thirty_days = 30 * 86_400_000;
    assert!(
        matches!(of("known")[..], [ms] if (thirty_days - 60_000..=thirty_days).contains(&ms)),
        "{lives:?}"
    );
    assert!(matches!(of("failures")[..], [ms] if (600_000..=720_000).contains(&ms)), "{lives:?}");
    assert!(of("attempts").iter().all(|ms| (-2..=1000).contains(ms)), "{lives:?}");
}

#[tokio::test]
async fn a_stolen_session_cannot_be_used_to_guess_the_password_either() {
    let cluster = account_cluster().await;
    let token = cluster.client(0).log_in().await;
    let change = async |n: usize, current: &str| {
        let client = cluster.client(n % 2).with_bearer(&token);
        let body = json!({ "current": current, "new": "another password altogether" });
        let request = client.request(Method::PUT, "/api/v1/password").json(&body);
        client.send(request.header("X-Forwarded-For", "203.0.113.66")).await
    };
    for n in 0..5 {
        change(n, WRONG).await.problem(403);
    }
    assert_eq!(refused_by(&change(0, WRONG).await), "account");
    assert_eq!(refused_by(&change(1, PASSWORD).await), "account");
    // Guesses cannot end the owner's session.
    cluster.client(1).with_bearer(&token).get("/api/v1/session").await.expect(200);
    assert_eq!(refused_by(&guess(&cluster.client(1), "203.0.113.67").await), "account");
}

#[tokio::test]
async fn a_login_costs_one_round_trip_more_and_outlives_a_redis_that_forgot_its_scripts() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    client.log_in().await;
    let _: String = cluster.redis.command(&["SCRIPT", "FLUSH"]).await;
    client.log_in().await;
    let monitor = cluster.redis.monitor().await;
    client.log_in().await;
    let seen = monitor.stop(&cluster.redis).await;
    let limits = seen.iter().filter(|seen| seen.command.contains("it:")).count();
    // The two buckets and the look at the known address travel together; the address is noted after.
    assert_eq!(limits, 4, "{seen:?}");
}

#[tokio::test]
async fn a_bucket_that_another_limit_left_far_from_full_refills_by_the_one_in_force() {
    let cluster = Cluster::bare(2).env("BANGUI_LOGIN_LIMIT", "3/3600").set_up().await;
    let client = cluster.client(0);
    let token = client.log_in().await;
    client.with_bearer(&token).confirm(PASSWORD).await.expect(204);
    client.post("/api/v1/session", json!({ "password": WRONG })).await.problem(401);
    assert_eq!(refused_by(&client.post("/api/v1/session", json!({ "password": WRONG })).await), "address");
    let patch = json!({ "login_limit": "2/2" });
    client.with_bearer(&token).patch("/api/v1/settings", "*", patch).await.expect(200);
    crate::support::eventually("one to come back within a second or two", Duration::from_secs(3), || async {
        let answer = cluster.client(1).post("/api/v1/session", json!({ "password": PASSWORD })).await;
        (answer.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refusal_by_the_accounts_limit_costs_the_address_its_attempt() {
    let cluster = Cluster::bare(2)
        .env("BANGUI_TRUSTED_PROXIES", "127.0.0.1")
        .env("BANGUI_LOGIN_LIMIT", "5/3600")
        .env("BANGUI_LOGIN_FAILURE_LIMIT", "2/3600")
        .set_up()
        .await;
    for n in 0..2 {
        guess(&cluster.client(n), &format!("203.0.113.{n}")).await.problem(401);
    }
    for n in 0..5 {
        assert_eq!(refused_by(&guess(&cluster.client(n % 2), "203.0.113.9").await), "account");
    }
    assert_eq!(refused_by(&guess(&cluster.client(0), "203.0.113.9").await), "address");
}

#[tokio::test]
async fn a_client_that_hangs_up_has_used_the_attempt_and_is_counted_and_logged() {
    use tokio::io::AsyncWriteExt as _;
    let cluster = Cluster::bare(1)
        .env("BANGUI_LOGIN_LIMIT", "3/3600")
        .env("BANGUI_LOGIN_FAILURE_LIMIT", "3/3600")
        .set_up()
        .await;
    let client = cluster.client(0);
    let body = json!({ "password": WRONG }).to_string();
    let request = format!(
        "POST /api/v1/session HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let wrong = "bangui_logins_total{outcome=\"wrong\"}";
    for n in 1..=3 {
        let mut stream = tokio::net::TcpStream::connect(cluster.workers[0].address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // Once its attempt is counted, it has arrived.
        crate::support::eventually("the attempt", SOON, || async {
            let bucket = "it:attempts:{127.0.0.1/32}:127.0.0.1/32";
            let left: i64 = cluster.redis.command(&["PTTL", bucket]).await;
            (left > (n as i64 - 1) * 1_200_000).then_some(())
        })
        .await;
        drop(stream);
        crate::support::eventually("the failure in the metrics", SOON, || async {
            (metric(&client, wrong).await == n).then_some(())
        })
        .await;
    }
    let login = client.post("/api/v1/session", json!({ "password": PASSWORD })).await;
    assert_eq!(refused_by(&login), "address");
    let log = cluster.workers[0].process.printed();
    let refused =
        log.lines().filter(|line| line.contains("login.refused") && line.contains("wrong name or password"));
    assert_eq!(refused.count(), 3, "{log}");
    let failures: i64 =
        cluster.redis.command(&["EXISTS", "it:emptied:{8c6976e5b5410415bde908bd4dee15df}"]).await;
    assert_eq!(failures, 1, "the failures were not counted");
}
