//! A change that is sent again is not made again, whichever worker it reaches.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cluster::{SERVER, server_is};
use crate::support::redis::MonitoredCommand;
use crate::support::{Answer, Client, Cluster, SOON, eventually};

fn place(jail: &str) -> String {
    format!("/api/v1/servers/{SERVER}/jails/{jail}")
}

async fn keyed(client: &Client, method: Method, path: &str, key: &str, body: Option<Value>) -> Answer {
    let request = client.request(method, path).header("idempotency-key", key);
    client
        .send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
}

async fn ban(client: &Client, key: &str, ips: &[String]) -> Answer {
    keyed(client, Method::POST, &format!("{}/bans", place("web")), key, Some(json!({ "ips": ips }))).await
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotency-replayed")
}

/// How many times this was done.
async fn audited(client: &Client, what: &str) -> usize {
    let page = client.get("/api/v1/audit?limit=200").await;
    let items = page.expect(200).body["items"].as_array().unwrap();
    items.iter().filter(|entry| entry["what"] == what && entry["outcome"] != "begun").count()
}

/// A jail whose action takes a while for each address.
async fn cluster(workers: usize) -> (Cluster, Client) {
    let mut cluster = Cluster::with_fail2ban(workers)
        .jails(&["web"])
        .env("BANGUI_PROBE_INTERVAL_SECONDS", 300)
        .set_up()
        .await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write(
        "action.d/note.conf",
        "[Definition]\nactionban = sleep 0.02\nactionunban =\n[Init]\nname = default\n",
    );
    fail2ban.command(&["reload", "web"]).await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    (cluster, client)
}

#[tokio::test]
async fn a_change_that_is_sent_again_to_another_worker_is_answered_as_before_and_not_made() {
    let (mut cluster, client) = cluster(2).await;
    let other = client.at(cluster.workers[1].address);
    let ips = ["203.0.113.9".to_owned()];
    let first = ban(&client, "one", &ips).await;
    assert_eq!(
        (first.expect(200).body["results"][0]["changed"].as_bool(), replayed(&first)),
        (Some(true), false)
    );
    cluster.fail2ban().command(&["set", "web", "unbanip", "203.0.113.9"]).await;
    for key in ["one", "\"one\""] {
        let again = ban(&other, key, &ips).await;
        assert_eq!((&again.expect(200).body, replayed(&again)), (&first.body, true));
        assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    }
    assert!(!cluster.fail2ban().bans("web", "203.0.113.9").await, "it was not made again");
    let bans = format!("{}/bans", place("web"));
    for (method, path, body) in [
        (Method::POST, &bans, Some(json!({ "ips": ["203.0.113.10"] }))),
        (Method::POST, &format!("{}/unban", place("web")), Some(json!({ "ips": ips }))),
        (Method::DELETE, &bans, None),
    ] {
        let refused = keyed(&other, method, path, "one", body).await;
        assert_eq!(refused.problem(422), "idempotency-key-reused");
    }
    for bad in ["a b", "", &"x".repeat(256)] {
        ban(&client, bad, &ips).await.problem(400);
    }
    ban(&client.anonymous(), "one", &ips).await.problem(401);
    let new = ban(&other, "two", &ips).await;
    assert_eq!(
        (new.expect(200).body["results"][0]["changed"].as_bool(), replayed(&new)),
        (Some(true), false)
    );
    assert_eq!(audited(&client, "ban.add").await, 2);
    // A final refusal is repeated too; after a "try again" the request runs again.
    let nothing = async || {
        keyed(&client, Method::DELETE, "/api/v1/servers/web-1/jails/web/bans/nonsense", "three", None).await
    };
    assert!(!replayed(&nothing().await));
    assert!(replayed(&nothing().await));
    cluster.agent().kill();
    assert_eq!(ban(&client, "four", &ips).await.problem(502), "agent-unreachable");
    cluster.agent().start_again().await;
    let tried = ban(&other, "four", &ips).await;
    assert!(!replayed(tried.expect(200)));
}

#[tokio::test]
async fn of_many_at_once_on_two_workers_one_is_run() {
    let (cluster, client) = cluster(2).await;
    let clients = [client.clone(), client.renewed(cluster.workers[1].address)];
    let ips: Vec<String> = (0..30).map(|n| format!("203.0.113.{n}")).collect();
    let answers = futures_util::future::join_all((0..20).map(|n| ban(&clients[n % 2], "same", &ips))).await;
    let mut run = 0;
    for answer in &answers {
        if answer.status == 409 {
            assert_eq!(answer.problem(409), "request-under-way");
            assert!(answer.headers.contains_key("retry-after"));
        } else {
            assert_eq!(answer.expect(200).body["results"][0]["changed"], true, "{}", answer.text);
            run += usize::from(!replayed(answer));
        }
    }
    assert_eq!((run, audited(&client, "ban.add").await), (1, 1));
    assert!(replayed(ban(&clients[1], "same", &ips).await.expect(200)));
}

#[tokio::test]
async fn a_large_ban_that_is_sent_again_is_the_same_job() {
    let (cluster, client) = cluster(2).await;
    let ips: Vec<String> = (0..130).map(|n| format!("203.0.113.{n}")).collect();
    let first = ban(&client, "job", &ips).await;
    let again = ban(&client.at(cluster.workers[1].address), "job", &ips).await;
    assert_eq!((again.expect(202).text.as_str(), replayed(&again)), (first.expect(202).text.as_str(), true));
    assert_eq!(again.headers["location"], first.headers["location"]);
    let jobs = client.get("/api/v1/ban-jobs").await;
    assert_eq!(jobs.body["items"].as_array().map(Vec::len), Some(1), "{}", jobs.text);
}

#[tokio::test]
async fn a_request_whose_worker_died_is_run_again_and_says_so() {
    let (mut cluster, client) = cluster(2).await;
    let other = client.renewed(cluster.workers[1].address);
    let ips: Vec<String> = (0..90).map(|n| format!("203.0.113.{n}")).collect();
    let (cut, sent) = (client.clone(), ips.clone());
    let under_way = tokio::spawn(async move {
        let body = json!({ "ips": sent });
        let path = format!("{}/bans", place("web"));
        cut.try_send(cut.request(Method::POST, &path).header("idempotency-key", "cut").json(&body)).await
    });
    eventually("the first ban", SOON, || async {
        let found = other.get("/api/v1/bans/203.0.113.0").await;
        (found.body["banned"] != json!([])).then_some(())
    })
    .await;
    cluster.workers[0].process.kill();
    assert!(under_way.await.unwrap().is_err());
    assert_eq!(ban(&other, "cut", &ips).await.problem(409), "request-under-way");
    let again = eventually("its worker to be given up", 3 * SOON, || async {
        Some(ban(&other, "cut", &ips).await).filter(|answer| answer.status != 409)
    })
    .await;
    assert!(again.expect(200).headers.contains_key("idempotency-rerun") && !replayed(&again));
    assert_eq!(again.body["results"].as_array().map(Vec::len), Some(90));
    assert!(replayed(&ban(&other, "cut", &ips).await));
    assert!(cluster.fail2ban().bans("web", "203.0.113.89").await);
}

#[tokio::test]
async fn the_session_of_a_request_with_a_key_is_checked_once() {
    let (cluster, client) = cluster(1).await;
    let monitor = cluster.redis.monitor().await;
    ban(&client, "counted", &["203.0.113.9".to_owned()]).await.expect(200);
    let seen = monitor.stop(&cluster.redis).await;
    let checks = seen.iter().filter(|seen| {
        MonitoredCommand::name(&seen.command) == "MGET" && seen.command.contains("}:session:")
    });
    assert_eq!(checks.count(), 1, "{seen:#?}");
}

#[tokio::test]
async fn without_redis_nothing_is_run() {
    let (mut cluster, client) = cluster(1).await;
    cluster.redis.kill();
    let refused = ban(&client, "away", &["203.0.113.9".to_owned()]).await;
    assert_eq!(refused.problem(503), "redis-unavailable");
    assert!(!cluster.fail2ban().bans("web", "203.0.113.9").await);
}
