//! What the page of the cluster shows: workers that went silent, Redis, agents.

use serde_json::{Value, json};

use crate::support::cluster::{PREFIX, SERVER, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

async fn view(client: &Client) -> Value {
    client.get("/api/v1/cluster").await.expect(200).body.clone()
}

fn pids(workers: &Value) -> Vec<u64> {
    workers.as_array().unwrap().iter().map(|worker| worker["pid"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_worker_that_was_killed_is_silent_and_one_that_ended_is_gone() {
    let mut cluster = Cluster::bare(3).set_up().await;
    let client = cluster.client(0).logged_in().await;
    eventually("three workers", SOON, || async {
        (pids(&view(&client).await["workers"]).len() == 3).then_some(())
    })
    .await;
    assert_eq!(view(&client).await["silent_workers"], json!([]));
    let (ended, killed) = (cluster.workers.remove(1), cluster.workers.remove(1));
    let pid = u64::try_from(killed.process.pid().as_raw_pid()).unwrap();
    ended.terminate();
    killed.process.kill();
    let silent = eventually("the killed one to be silent", SOON * 3, || async {
        let view = view(&client).await;
        (pids(&view["silent_workers"]) == [pid]).then(|| view["silent_workers"][0].clone())
    })
    .await;
    assert!(silent["seen_at"].is_string() && silent["leader"] == json!(false), "{silent}");
    let view = eventually("the other to be gone", SOON, || async {
        let view = view(&client).await;
        (pids(&view["workers"]).len() == 1).then_some(view)
    })
    .await;
    assert_eq!(pids(&view["silent_workers"]), [pid], "{view}");
}

#[tokio::test]
async fn a_silent_worker_is_removed_by_the_leader_after_an_hour_and_not_before() {
    let (mut cluster, _) = Cluster::bare(1).start_surroundings().await;
    let mut connection = cluster.redis.connection().await;
    let (now, _): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
    let key = format!("{{{PREFIX}}}:workers");
    for (id, ago) in [("a".repeat(32), 3_500_i64), ("b".repeat(32), 3_601)] {
        let line = json!({ "hostname": "h", "pid": 1, "version": "0.2.0", "started_at": 0, "seen_at": (now - ago) * 1_000_000 });
        let mut command = redis::cmd("HSET");
        command.arg(&key).arg(id).arg(rmp_serde::to_vec_named(&line).unwrap());
        let _: i64 = command.query_async(&mut connection).await.unwrap();
    }
    let ids = |view: &Value| -> Vec<String> {
        let silent = view["silent_workers"].as_array().unwrap();
        silent.iter().map(|worker| worker["id"].as_str().unwrap().to_owned()).collect()
    };
    // The job is due as soon as there is a leader.
    cluster.add_worker().await;
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    eventually("the job to remove the other", SOON * 2, || async {
        let mut connection = cluster.redis.connection().await;
        let mut command = redis::cmd("HKEYS");
        let left: Vec<String> = command.arg(&key).query_async(&mut connection).await.unwrap();
        (!left.contains(&"b".repeat(32))).then_some(())
    })
    .await;
    assert_eq!(ids(&view(&client).await), ["a".repeat(32)]);
}

#[tokio::test]
async fn redis_and_the_jobs_are_in_the_cluster_and_the_agents_beside_it_at_every_worker() {
    let mut cluster = Cluster::with_fail2ban(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    for n in 0..2 {
        let client = client.at(cluster.workers[n].address);
        let view = view(&client).await;
        let redis = &view["redis"];
        assert!(redis["version"].is_string() && redis["latency_us"].as_u64().unwrap() > 0, "{redis}");
        assert!(redis["used_memory_bytes"].as_u64().unwrap() > 100_000, "{redis}");
        assert!(redis["persistence"]["append_only"].is_boolean(), "{redis}");
        assert_eq!(redis["replicas"], json!([]));
        let probe = view["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "probe").unwrap();
        assert!(probe["last_started_at"].is_string() && probe["next_due_at"].is_string(), "{probe}");
        let agents = client.get("/api/v1/cluster/agents").await;
        let agent = &agents.expect(200).body["items"][0];
        assert_eq!((&agent["server"], &agent["error"]), (&json!(SERVER), &Value::Null), "{agent}");
        assert_eq!(agent["version"], env!("CARGO_PKG_VERSION"));
        assert!(agent["fail2ban_version"].is_string() && agent["instance"].is_string(), "{agent}");
    }
    cluster.agent().kill();
    let agents = client.get("/api/v1/cluster/agents").await;
    let agent = &agents.expect(200).body["items"][0];
    assert!(agent["version"].is_null() && agent["error"].is_string(), "{agent}");
}
