//! Checking passwords is costly on purpose, so it must neither stop the worker nor be a way to attack it.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::json;

use crate::support::process::{Child, bangui};
use crate::support::{Cluster, PASSWORD, SOON};

#[tokio::test]
async fn a_flood_of_logins_is_answered_or_asked_to_retry_while_the_worker_stays_quick() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    let flood = join_all((0..300).map(|n| {
        let client = client.clone();
        let password = if n % 2 == 0 { PASSWORD } else { "a wrong password" };
        async move { (n % 2, client.post("/api/v1/session", json!({ "password": password })).await) }
    }));
    let health = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..30 {
            let began = Instant::now();
            client.get("/healthz").await.expect(200);
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest
    };
    let (answers, slowest) = join(flood, health).await;
    let mut refused = 0;
    for (wrong, answer) in answers {
        match answer.status.as_u16() {
            503 => {
                answer.problem(503);
                let seconds = answer.headers["retry-after"].to_str().unwrap();
                assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds >= 1), "Retry-After: {seconds}");
                refused += 1;
            }
            201 => assert_eq!(wrong, 0),
            401 => assert_eq!(wrong, 1),
            other => panic!("{other}: {answer:?}"),
        }
    }
    // Two at a time and a queue of eight cannot take three hundred at once.
    assert!(refused > 0, "nothing was refused");
    assert!(slowest < Duration::from_secs(3), "/healthz took {slowest:?}");
    client.logged_in().await.get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn an_unknown_user_is_refused_as_a_wrong_password_is_and_as_slowly() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    // In processor time of the worker, which other tests do not disturb.
    let mut costs = Vec::new();
    for body in [
        json!({ "password": "a wrong password" }),
        json!({ "username": "nobody", "password": PASSWORD }),
        json!({ "username": "Admin", "password": PASSWORD }),
    ] {
        let before = processor_ticks(&cluster);
        for _ in 0..10 {
            client.post("/api/v1/session", body.clone()).await.problem(401);
        }
        costs.push(processor_ticks(&cluster) - before);
    }
    // Ten hashes take tens of ticks; without them, ten answers take one or two.
    assert!(costs[0] >= 10, "{costs:?}");
    assert!(costs[1] * 2 > costs[0] && costs[2] * 2 > costs[0], "{costs:?}");
}

/// The processor time of the first worker, in hundredths of a second.
fn processor_ticks(cluster: &Cluster) -> u64 {
    let pid = cluster.workers[0].process.pid().as_raw_pid();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn resetting_the_password_from_the_command_line_ends_all_sessions() {
    let cluster = Cluster::bare(2).set_up().await;
    let (one, two) = (cluster.client(0).logged_in().await, cluster.client(1).logged_in().await);
    let new = "a password set by the operator";
    let mut command = bangui("reset-password");
    command.envs(&cluster.environment).env("BANGUI_ADMIN_PASSWORD", new);
    let (code, printed) = Child::run("bangui reset-password", command, SOON).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(!printed.contains(new), "{printed}");
    for client in [&one, &two] {
        client.get("/api/v1/session").await.problem(401);
    }
    let client = cluster.client(0);
    client.post("/api/v1/session", json!({ "password": PASSWORD })).await.problem(401);
    client.post("/api/v1/session", json!({ "password": new })).await.expect(201);
}

#[tokio::test]
async fn resetting_to_a_password_of_a_wrong_length_or_without_redis_changes_nothing() {
    let mut cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let reset = |environment: std::collections::BTreeMap<String, String>, password: &str| {
        let mut command = bangui("reset-password");
        command.envs(environment).env("BANGUI_ADMIN_PASSWORD", password);
        Child::run("bangui reset-password", command, SOON)
    };
    let (code, printed) = reset(cluster.environment.clone(), "short").await;
    assert_eq!(code, Some(2), "{printed}");
    client.get("/api/v1/session").await.expect(200);
    cluster.redis.kill();
    let (code, printed) = reset(cluster.environment.clone(), "long enough a password").await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("Redis"), "{printed}");
}

/// Resident memory of a process, in MiB.
pub fn resident(process: &Child) -> u64 {
    memory(process, "VmRSS:")
}

/// The same without the pages of its program, which an unoptimised one reads in by the ten MiB.
pub fn own(process: &Child) -> u64 {
    memory(process, "RssAnon:")
}

/// The most that a process had of it, in MiB.
pub fn peak(process: &Child) -> u64 {
    memory(process, "VmHWM:")
}

fn memory(process: &Child, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn logins_leave_nothing_behind_of_the_memory_of_their_hashes() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    let before = resident(&cluster.workers[0].process);
    for _ in 0..20 {
        join_all((0..6).map(|_| client.log_in())).await;
    }
    let grown = resident(&cluster.workers[0].process).saturating_sub(before);
    // One hash takes 19 MiB.
    assert!(grown < 19, "120 logins took {grown} MiB");
}
