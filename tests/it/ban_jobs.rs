//! Large bans as jobs: on any worker, through the death and the pause of workers, until they are done or cancelled.

use std::time::Duration;

use bangui::domain::JailName;
use serde_json::{Value, json};

use crate::support::cluster::{SERVER, server_is};
use crate::support::worker::field;
use crate::support::{Answer, Client, Cluster, SOON, eventually};

/// Longer than a claim lives, and than a job of these tests takes.
const LONG: Duration = Duration::from_secs(180);

fn place(jail: &str) -> String {
    format!("/api/v1/servers/{SERVER}/jails/{jail}")
}

fn addresses(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("198.51.{}.{}", 100 + n / 250, n % 250)).collect()
}

/// A cluster with a slow schedule, a jail `slow` whose action takes a while for each address, and a quick jail, `web`.
async fn cluster(workers: usize) -> (Cluster, Client) {
    let mut cluster = Cluster::with_fail2ban(workers)
        .jails(&["web"])
        .env("BANGUI_PROBE_INTERVAL_SECONDS", 300)
        .set_up()
        .await;
    cluster.fail2ban().start_slow_jail(0.02).await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    (cluster, client)
}

/// Enqueues a job; returns its URL.
async fn put(client: &Client, path: &str, ips: &[String]) -> String {
    let put = client.post(path, json!({ "ips": ips })).await;
    assert_eq!(
        put.expect(202).headers["location"],
        format!("/api/v1/ban-jobs/{}", put.body["id"].as_str().unwrap())
    );
    put.headers["location"].to_str().unwrap().to_owned()
}

async fn job_is(client: &Client, job: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("the job to be {what}"), LONG, || async {
        let answer = client.get(job).await;
        Some(answer.expect(200).body.clone()).filter(&is)
    })
    .await
}

async fn ended(client: &Client, job: &str) -> Value {
    job_is(client, job, "over", |job| !job["finished_at"].is_null()).await
}

async fn begun(client: &Client, job: &str) -> Value {
    job_is(client, job, "under way", |job| job["done"].as_u64() > Some(0)).await
}

/// The worker that runs the job, according to the logs.
fn runner(cluster: &Cluster, job: &str) -> usize {
    let id = job.rsplit('/').next().unwrap();
    let names_it = |line: &Value| {
        field(line, "message")
            .and_then(Value::as_str)
            .is_some_and(|text| text.starts_with(&format!("claimed ban job {id}")))
    };
    cluster.workers.iter().position(|worker| worker.log().iter().any(names_it)).unwrap()
}

async fn banned(cluster: &mut Cluster, jail: &str) -> usize {
    cluster.agent().client().bans(&JailName::parse(jail).unwrap()).await.unwrap().bans.len()
}

fn numbers(job: &Value) -> [u64; 4] {
    ["asked", "done", "changed", "failed"].map(|name| job[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_large_ban_is_a_job_that_any_worker_shows() {
    let (mut cluster, client) = cluster(2).await;
    let other = client.at(cluster.workers[1].address);
    let mut ips = addresses(130);
    ips.push(ips[7].clone());
    let job = put(&client, &format!("{}/bans", place("web")), &ips).await;
    let done = ended(&other, &job).await;
    assert_eq!(
        (&done["state"], &done["order"], numbers(&done)),
        (&json!("done"), &json!("ban"), [130, 130, 130, 0])
    );
    assert_eq!((&done["username"], &done["failures"]), (&json!("admin"), &json!([])));
    assert_eq!(done["failures_by_reason"], json!([]));
    assert!(done["started_at"].is_string() && done["reason"].is_null(), "{done}");
    assert_eq!(banned(&mut cluster, "web").await, 130);
    let audit = other.get("/api/v1/audit?limit=2").await;
    let [end, begin] = [&audit.body["items"][0], &audit.body["items"][1]];
    assert_eq!((&begin["what"], &begin["after"]["asked"]), (&json!("ban_job.begin"), &json!(130)), "{begin}");
    assert_eq!(
        (&end["what"], &end["outcome"], &end["username"]),
        (&json!("ban_job.end"), &json!("done"), &json!("admin"))
    );
    assert_eq!(end["target"], format!("{SERVER}/web"));
    // The counts are known now: the same the other way round.
    eventually("the counts", SOON, || async {
        let server = other.get(&format!("/api/v1/servers/{SERVER}")).await;
        (server.body["status"]["currently_banned"] == 130).then_some(())
    })
    .await;
    let all = client.delete(&format!("{}/bans", place("web"))).await;
    let job = all.expect(202).headers["location"].to_str().unwrap();
    let done = ended(&other, job).await;
    assert_eq!((&done["order"], numbers(&done)), (&json!("unban_all"), [130, 130, 130, 0]), "{done}");
    assert_eq!(banned(&mut cluster, "web").await, 0);
    let mut ended = 0;
    for worker in [&client, &other] {
        let page = worker.get("/metrics").await;
        let line =
            page.text.lines().find_map(|line| line.strip_prefix("bangui_ban_jobs_total{outcome=\"done\"} "));
        ended += line.unwrap().parse::<u32>().unwrap();
    }
    assert_eq!(ended, 2);
    let list = other.get("/api/v1/ban-jobs?limit=1").await;
    assert_eq!(list.expect(200).body["items"][0]["id"], done["id"]);
    let cursor = list.body["next_cursor"].as_str().unwrap();
    let rest = other.get(&format!("/api/v1/ban-jobs?cursor={cursor}")).await;
    assert_eq!(rest.body["items"].as_array().map(Vec::len), Some(1), "{}", rest.text);
    assert_eq!((&rest.body["items"][0]["order"], &rest.body["next_cursor"]), (&json!("ban"), &Value::Null));
}

#[tokio::test]
async fn a_job_that_lifts_all_bans_lifts_those_that_are_no_addresses_and_counts_what_is_left() {
    let (mut cluster, client) = cluster(1).await;
    let words: Vec<String> =
        addresses(101).into_iter().chain(["mallory", "a user"].map(str::to_owned)).collect();
    let command: Vec<&str> =
        ["set", "web", "banip"].into_iter().chain(words.iter().map(String::as_str)).collect();
    cluster.fail2ban().command(&command).await;
    // It cannot be sent back as an address.
    cluster.fail2ban().command(&["set", "web", "banip", "--all"]).await;
    client.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
    eventually("the counts", SOON, || async {
        let server = client.get(&format!("/api/v1/servers/{SERVER}")).await;
        (server.body["status"]["currently_banned"] == 104).then_some(())
    })
    .await;
    let all = client.delete(&format!("{}/bans", place("web"))).await;
    let job = all.expect(202).headers["location"].to_str().unwrap();
    let done = ended(&client, job).await;
    assert_eq!((&done["state"], numbers(&done)), (&json!("done"), [104, 104, 103, 1]), "{done}");
    let web = JailName::parse("web").unwrap();
    let left = cluster.agent().client().bans(&web).await.unwrap();
    assert_eq!((left.bans.len(), left.marks.len(), left.others), (0, 0, 1), "{left:?}");
    assert!(cluster.fail2ban().bans("web", "--all").await);
}

#[tokio::test]
async fn a_job_outlives_the_worker_that_took_it_and_delays_no_probe() {
    let (mut cluster, client) = cluster(2).await;
    let job = put(&client, &format!("{}/bans", place("slow")), &addresses(150)).await;
    begun(&client, &job).await;
    let died = runner(&cluster, &job);
    cluster.workers[died].process.kill();
    let client = client.renewed(cluster.workers[1 - died].address);
    let before = begun(&client, &job).await["done"].as_u64();
    let outcome = async {
        let mut conditions = std::collections::BTreeSet::new();
        while client.get(&job).await.body["finished_at"].is_null() {
            client.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
            let server = client.get(&format!("/api/v1/servers/{SERVER}")).await;
            conditions.insert(server.body["status"]["condition"].as_str().unwrap().to_owned());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        conditions
    };
    let conditions = tokio::time::timeout(LONG, outcome).await.expect("the job ends");
    assert_eq!(conditions, ["up".to_owned()].into());
    let done = ended(&client, &job).await;
    assert_eq!(
        (&done["state"], &done["done"], &done["failed"]),
        (&json!("done"), &json!(150), &json!(0)),
        "{done}"
    );
    assert!(before < Some(150), "it died in the middle");
    assert_eq!(banned(&mut cluster, "slow").await, 150);
}

#[tokio::test]
async fn a_cancelled_job_stays_cancelled_even_if_its_worker_was_paused() {
    let (mut cluster, client) = cluster(2).await;
    // Each time at another moment between two commands.
    for round in 0..4u64 {
        let job = put(&client, &format!("{}/bans", place("slow")), &addresses(300)).await;
        begun(&client, &job).await;
        let paused = runner(&cluster, &job);
        tokio::time::sleep(Duration::from_millis(130 * round)).await;
        cluster.workers[paused].pause();
        let other = client.renewed(cluster.workers[1 - paused].address);
        let cancelled = other.post(&format!("{job}/cancel"), json!({})).await;
        assert_eq!(cancelled.expect(200).body["state"], "cancelled", "{}", cancelled.text);
        let lifted = eventually("an empty jail", LONG, || async {
            let answer = other.delete(&format!("{}/bans", place("slow"))).await;
            (answer.expect(200).body["remaining"] == 0).then_some(answer)
        })
        .await;
        assert!(
            lifted.body["unbanned"].as_u64() < Some(300),
            "it was cancelled in the middle: {}",
            lifted.text
        );
        let has_ended = |worker: usize| {
            let id = job.rsplit('/').next().unwrap();
            let after = format!("ban job {id} after");
            let is_its_end = |line: &Value| {
                field(line, "message").and_then(Value::as_str).is_some_and(|text| text.starts_with(&after))
            };
            cluster.workers[worker].log().iter().any(is_its_end)
        };
        assert!(!has_ended(paused), "it has not ended its work before it was paused");
        cluster.workers[paused].resume();
        eventually("the paused one to have given up", LONG, || async { has_ended(paused).then_some(()) })
            .await;
        assert_eq!(banned(&mut cluster, "slow").await, 0);
        assert_eq!(other.get(&job).await.body, cancelled.body, "nothing was noted of it any more");
        let again =
            client.at(cluster.workers[paused].address).post(&format!("{job}/cancel"), json!({})).await;
        assert_eq!(again.expect(200).body, cancelled.body);
    }
}

#[tokio::test]
async fn a_cancellation_that_the_agent_cannot_hear_says_so_and_is_made_good() {
    let (mut cluster, client) = cluster(2).await;
    let job = put(&client, &format!("{}/bans", place("slow")), &addresses(300)).await;
    let next = put(&client, &format!("{}/bans", place("slow")), &addresses(150)).await;
    begun(&client, &job).await;
    cluster.agent().kill();
    let cancelled = client.post(&format!("{job}/cancel"), json!({})).await;
    assert_eq!(cancelled.problem(502), "agent-unreachable");
    assert!(
        cancelled.body["detail"].as_str().unwrap().contains("up to 25 more addresses"),
        "{}",
        cancelled.text
    );
    assert_eq!(client.get(&job).await.body["state"], "cancelling");
    // A job that has not begun can be cancelled without the agent.
    assert_eq!(
        client.post(&format!("{next}/cancel"), json!({})).await.expect(200).body["state"],
        "cancelled"
    );
    cluster.agent().start_again().await;
    let over = ended(&client, &job).await;
    assert_eq!(over["state"], "cancelled", "{over}");
    let late = client.post(&format!("{}/bans", place("web")), json!({ "ips": addresses(3) })).await;
    late.expect(200);
    let over = ended(&client, &put(&client, &format!("{}/bans", place("web")), &addresses(101)).await).await;
    assert_eq!(numbers(&over), [101, 101, 98, 0], "three were banned already");
    let done = format!("/api/v1/ban-jobs/{}/cancel", over["id"].as_str().unwrap());
    assert_eq!(client.post(&done, json!({})).await.problem(409), "ban-job-over");
}

#[tokio::test]
async fn a_job_continues_after_the_agent_was_restarted() {
    let (mut cluster, client) = cluster(1).await;
    let job = put(&client, &format!("{}/bans", place("slow")), &addresses(200)).await;
    begun(&client, &job).await;
    cluster.agent().start_again().await;
    let done = ended(&client, &job).await;
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(200)), "{done}");
    assert_eq!(banned(&mut cluster, "slow").await, 200);
}

#[tokio::test]
async fn the_jobs_of_a_jail_run_one_after_the_other() {
    let (mut cluster, client) = cluster(2).await;
    let ips = addresses(120);
    let ban = put(&client, &format!("{}/bans", place("slow")), &ips).await;
    let unban = put(&client, &format!("{}/unban", place("slow")), &ips).await;
    let beside = put(&client, &format!("{}/bans", place("web")), &ips).await;
    let (ban, unban, beside) =
        (ended(&client, &ban).await, ended(&client, &unban).await, ended(&client, &beside).await);
    assert_eq!((numbers(&unban), &unban["order"]), ([120, 120, 120, 0], &json!("unban")));
    let at = |job: &Value, name: &str| job[name].as_str().unwrap().to_owned();
    assert!(at(&unban, "started_at") >= at(&ban, "finished_at"), "{ban} {unban}");
    assert!(at(&beside, "started_at") < at(&ban, "finished_at"), "{ban} {beside}");
    assert_eq!((banned(&mut cluster, "slow").await, banned(&mut cluster, "web").await), (0, 120));
}

#[tokio::test]
async fn what_may_not_be_banned_is_refused_before_a_job_is_created() {
    let (cluster, client) = cluster(1).await;
    let bans = format!("{}/bans", place("web"));
    for (own, problem) in [("127.0.0.1", "ban-needs-force"), ("203.0.113.1/33", "invalid-request")] {
        let mut ips = addresses(150);
        ips.push(own.to_owned());
        assert_eq!(client.post(&bans, json!({ "ips": ips })).await.problem(422), problem);
    }
    let many: Vec<String> = (0..20_001).map(|n| format!("2001:db8::{n:x}")).collect();
    let refused = client.post(&bans, json!({ "ips": many })).await;
    assert!(refused.body["detail"].as_str().unwrap().contains("20000"), "{}", refused.text);
    refused.problem(422);
    assert_eq!(client.get("/api/v1/ban-jobs").await.body["items"], json!([]));
    for wrong in ["nothing", "00000000000000000000000000000000"] {
        client.get(&format!("/api/v1/ban-jobs/{wrong}")).await.problem(404);
        client.post(&format!("/api/v1/ban-jobs/{wrong}/cancel"), json!({})).await.problem(404);
    }
    client.anonymous().get("/api/v1/ban-jobs").await.problem(401);
    let failed =
        ended(&client, &put(&client, &format!("{}/bans", place("nothing")), &addresses(150)).await).await;
    assert_eq!((&failed["state"], numbers(&failed)), (&json!("failed"), [150, 0, 0, 0]));
    assert!(failed["reason"].as_str().unwrap().contains("no jail nothing"), "{failed}");
    drop(cluster);
}

#[tokio::test]
async fn there_is_a_bound_to_the_jobs_that_are_not_over() {
    let (mut cluster, client) = cluster(2).await;
    cluster.agent().kill();
    let bans = format!("{}/bans", place("web"));
    let mut last = String::new();
    for _ in 0..50 {
        last = put(&client, &bans, &addresses(101)).await;
    }
    let refused: Answer = client.post(&bans, json!({ "ips": addresses(101) })).await;
    assert_eq!(refused.problem(429), "too-many-ban-jobs");
    assert!(refused.headers.contains_key("retry-after"));
    client.post(&format!("{last}/cancel"), json!({})).await.expect(200);
    put(&client, &bans, &addresses(101)).await;
}
