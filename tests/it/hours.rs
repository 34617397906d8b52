//! Bans and failures per hour, counted by the leader and shown by every worker.

use serde_json::{Value, json};

use crate::scheduler::{leader, successor};
use crate::support::cluster::{PREFIX, SERVER, server, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

/// The sum of the hours that are known: a test may run when an hour turns.
fn sum(hours: &Value) -> u64 {
    hours["bans"].as_array().unwrap().iter().filter_map(Value::as_u64).sum()
}

async fn jail(client: &Client) -> Value {
    client.get(&format!("/api/v1/servers/{SERVER}/jails/app")).await.expect(200).body.clone()
}

/// Waits until that many bans were counted, of the server and of its jail.
async fn counted(client: &Client, bans: u64) -> Value {
    eventually(&format!("{bans} bans in the hours"), SOON * 2, || async {
        let server = server(client).await;
        (server["hours"].is_object() && sum(&server["hours"]) == bans).then_some(server)
    })
    .await
}

async fn begun(workers: usize) -> (Cluster, Client) {
    let cluster = Cluster::with_fail2ban(workers).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    (cluster, client)
}

/// Lets fail2ban ban these, one after the other.
async fn ban(cluster: &mut Cluster, from: u32, to: u32) {
    for n in from..to {
        cluster.fail2ban().log_failure("app", &format!("203.0.113.{n}"));
    }
    let last = format!("203.0.113.{}", to - 1);
    let fail2ban = cluster.fail2ban();
    eventually("the last ban", SOON, || async { fail2ban.bans("app", &last).await.then_some(()) }).await;
}

#[tokio::test]
async fn bans_are_counted_by_the_hour_at_any_worker_and_by_the_next_leader() {
    let (mut cluster, client) = begun(2).await;
    counted(&client, 0).await;
    ban(&mut cluster, 1, 4).await;
    let seen = counted(&client, 3).await;
    let hours = &seen["hours"];
    assert_eq!(
        (hours["bans"].as_array().unwrap().len(), hours["failures"].as_array().unwrap().len()),
        (24, 24)
    );
    assert!(hours["bans"][0].is_null() && hours["bans"][23].is_u64(), "{hours}");
    assert!(
        hours["usual_bans"].is_u64() && hours["latest"].as_str().unwrap().ends_with(":00:00.000000Z"),
        "{hours}"
    );
    assert_eq!(seen["busiest_jail"]["jail"], "app", "{seen}");
    let of_jail = jail(&client).await;
    assert_eq!(of_jail["hours"]["bans"], hours["bans"], "{of_jail}");

    let (n, holder, _) = leader(&cluster, &client).await;
    cluster.workers[n].process.kill();
    let other = client.at(cluster.workers[1 - n].address);
    successor(&other, &holder, SOON).await;
    ban(&mut cluster, 4, 6).await;
    let seen = counted(&other, 5).await;
    let list = other.get("/api/v1/servers").await;
    assert_eq!(list.expect(200).body["items"][0]["hours"], seen["hours"]);
}

#[tokio::test]
async fn bans_that_fail2ban_restores_at_its_start_are_not_counted_again() {
    let (mut cluster, client) = begun(2).await;
    counted(&client, 0).await;
    ban(&mut cluster, 1, 6).await;
    counted(&client, 5).await;
    // Its total is then lower than before: it restores three.
    for n in 1..3 {
        cluster.fail2ban().command(&["set", "app", "unbanip", &format!("203.0.113.{n}")]).await;
    }
    eventually("three bans in the status", SOON, || async {
        (server(&client).await["status"]["currently_banned"] == 3).then_some(())
    })
    .await;
    cluster.fail2ban().kill();
    // Empty the log, or it would read the failures again.
    cluster.fail2ban().jail("app", true, "");
    server_is(&client, "down").await;
    cluster.fail2ban().start_again().await;
    eventually("the restored bans", SOON, || async {
        (server(&client).await["status"]["currently_banned"] == 3).then_some(())
    })
    .await;
    ban(&mut cluster, 6, 7).await;
    eventually("the new ban in the status", SOON, || async {
        (server(&client).await["status"]["currently_banned"] == 4).then_some(())
    })
    .await;
    assert_eq!(sum(&counted(&client, 6).await["hours"]), 6);
}

#[tokio::test]
async fn hours_that_cannot_be_read_hold_no_probe_up_and_are_counted_afresh() {
    let (mut cluster, client) = begun(2).await;
    ban(&mut cluster, 1, 3).await;
    counted(&client, 2).await;
    let mut connection = cluster.redis.connection().await;
    let key = format!("{{{PREFIX}}}:hours:{SERVER}");
    for field in ["all", "jail/app"] {
        let mut command = redis::cmd("HSET");
        command.arg(&key).arg(field).arg("of another kind");
        let _: i64 = command.query_async(&mut connection).await.unwrap();
    }
    counted(&client, 0).await;
    ban(&mut cluster, 3, 4).await;
    counted(&client, 1).await;
    let left: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
    assert!((1..=25 * 3600).contains(&left), "{left}");
    assert_eq!(server(&client).await["status"]["condition"], json!("up"));
}
