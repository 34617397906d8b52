//! Switches that overlap: the host makes them one after the other, and the record of each is kept or taken back by its own
//! outcome, whatever the others do.

use std::time::Duration;

use crate::jails::{beside_web, post};
use crate::support::cluster::{PREFIX, server, server_is};
use crate::support::proxy::Mode;
use crate::support::{Cluster, SOON, eventually};

#[tokio::test]
async fn a_jail_switched_off_and_on_at_once_runs_and_a_crash_after_it_offers_a_rollback() {
    let (mut cluster, client) = beside_web().await;
    let other = client.at(cluster.workers[1].address);
    post(&client, "jails/app/activate").await.expect(200);
    let off = {
        let client = client.at(cluster.workers[0].address);
        tokio::spawn(async move { post(&client, "jails/app/deactivate").await })
    };
    // The switches must overlap: the agent has the first and has not finished it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let on = post(&other, "jails/app/activate").await;
    off.await.unwrap().expect(200);
    assert_eq!(on.expect(200).body["active"], true, "{}", on.text);
    assert_eq!(cluster.fail2ban().jails().await, ["app", "web"]);
    let state = server(&client).await;
    assert_eq!(state["last_activation"]["jail_name"], "app", "{state}");

    cluster.fail2ban().kill();
    let down = server_is(&client, "down").await;
    assert_eq!(down["pending_recovery"]["jail_name"], "app", "{down}");
    assert_eq!(down["pending_recovery"]["activated_at"], state["last_activation"]["at"], "{down}");
}

#[tokio::test]
async fn two_refused_activations_at_once_leave_no_record_to_blame_a_crash_on() {
    let (mut cluster, client) = beside_web().await;
    let other = client.at(cluster.workers[1].address);
    let fail2ban = cluster.fail2ban();
    fail2ban.write("filter.d/open.conf", "[Definition]\nfailregex = ^login (failed from <ADDR>$\n");
    for name in ["bad", "worse"] {
        let jail = fail2ban.jail(name, false, "").replace("filter = app", "filter = open");
        fail2ban.write(&format!("jail.d/{name}.conf"), &jail);
    }
    let (bad, worse) =
        tokio::join!(post(&client, "jails/bad/activate"), post(&other, "jails/worse/activate"));
    bad.problem(422);
    worse.problem(422);
    let state = server(&client).await;
    assert!(state["last_activation"].is_null(), "{state}");
    cluster.fail2ban().kill();
    let down = server_is(&client, "down").await;
    assert!(down["pending_recovery"].is_null(), "{down}");
}

#[tokio::test]
async fn an_activation_whose_record_redis_wrote_without_an_answer_is_not_made_and_its_record_is_taken_back() {
    let mut cluster = Cluster::with_fail2ban(1).jails(&["web"]).proxied().set_up().await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, ""));
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let proxy = cluster.proxy.as_ref().unwrap();
    proxy.set(Mode::LoseAnswerTo(b"activation.recorded".to_vec()));
    post(&client, "jails/app/activate").await.problem(503);
    let audited = eventually("the outcome in the audit", SOON, || async {
        let answer = client.get("/api/v1/audit?limit=1").await;
        let entry = &answer.body["items"][0];
        (entry["what"] == "jail.activate" && entry["outcome"] != "begun")
            .then(|| entry["outcome"].to_string())
    })
    .await;
    assert!(audited.contains("not tried") && audited.contains("has been removed"), "{audited}");
    let state = server_is(&client, "up").await;
    assert!(state["last_activation"].is_null(), "{state}");
    let recorded: Vec<String> = {
        let name = format!("{{{}}}:events", PREFIX);
        let all: redis::Value = cluster.redis.command(&["XRANGE", &name, "-", "+"]).await;
        format!("{all:?}").matches("activation.recorded").map(str::to_owned).collect()
    };
    assert_eq!(recorded.len(), 1, "the write arrived, and only its answer was lost");
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
}
