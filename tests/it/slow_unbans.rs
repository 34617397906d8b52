//! A jail ends when the unban action of each of its bans has run, which can take minutes: fail2ban is waited for as long as it
//! works, and nothing is undone that is under way.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::jails::{BANNED, beside_web, path, post};
use crate::support::cluster::{SERVER, server};
use crate::support::eventually;

/// A second each: longer than a client waits, than fail2ban may be busy without being down, and than a reload was allowed.
const BANS: u32 = 75;
const LONG: Duration = Duration::from_secs(400);

#[tokio::test]
async fn a_jail_whose_unbans_take_a_minute_is_switched_off_behind_a_202_and_fail2ban_is_busy_and_not_down() {
    let (mut cluster, client) = beside_web().await;
    let fail2ban = cluster.fail2ban();
    let slow = "[Definition]\nactionban =\nactionunban = sleep 1\n[Init]\nname = default\n";
    fail2ban.write("action.d/slow.conf", slow);
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, "").replace("note[", "slow["));
    post(&client, "jails/app/activate").await.expect(200);
    let ips: Vec<String> = (0..BANS).map(|n| format!("198.51.100.{n}")).collect();
    let words: Vec<&str> =
        ["set", "app", "banip"].into_iter().chain(ips.iter().map(String::as_str)).collect();
    cluster.fail2ban().command(&words).await;

    let request = client.request(Method::POST, &path("jails/app/deactivate")).timeout(LONG);
    let answer = client.send(request).await;
    assert_eq!(answer.expect(202).body, json!({ "jail": "app", "under_way": true }));
    assert_eq!(answer.headers["location"], format!("/api/v1/servers/{SERVER}/jails/app"));
    let (mut busy, began) = (0, std::time::Instant::now());
    let outcome = eventually("the end of the change", LONG, || async {
        let entry = client.get("/api/v1/audit?limit=1").await.expect(200).body["items"][0].clone();
        (entry["what"] == "jail.deactivate" && entry["outcome"] != "begun").then_some(entry)
    });
    tokio::pin!(outcome);
    let entry = loop {
        tokio::select! {
            entry = &mut outcome => break entry,
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                let status = server(&client).await["status"].clone();
                assert_ne!(status["condition"], "down", "after {:?}: {status}", began.elapsed());
                busy += usize::from(status["error"].as_str().is_some_and(|error| error.contains("makes progress")));
            }
        }
    };
    assert_eq!((&entry["outcome"], &entry["after"]["active"]), (&json!("done"), &json!(false)), "{entry}");
    assert!(busy > 0, "the state said why fail2ban does not answer");
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    assert!(cluster.fail2ban().jail_d()["zz-bangui-app.local"].ends_with("enabled = false\n"));
    assert!(cluster.fail2ban().bans("web", BANNED).await);
    let state = server(&client).await;
    assert!(state["pending_recovery"].is_null() && state["last_activation"].is_null(), "{state}");
}
