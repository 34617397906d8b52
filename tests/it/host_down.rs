//! What can be changed, and what is said, while fail2ban is down.

use reqwest::Method;
use serde_json::{Value, json};

use crate::agent_jails::{BANNED, beside, jail};
use crate::host_changes::set;
use crate::jails::{beside_web, path, post};
use crate::support::cluster::{server, server_is};

#[tokio::test]
async fn the_jail_that_keeps_fail2ban_down_is_switched_off_and_fail2ban_starts_again() {
    let (mut fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", true, ""))).await;
    let client = agent.client();
    // As on a fresh Debian 12 whose sshd logs to the journal alone.
    std::fs::remove_file(fail2ban.config().parent().unwrap().join("app-app.log")).unwrap();
    assert_eq!(fail2ban.start_in_vain().await, Some(255));
    let other = client.change_settings(&jail("web"), &set(json!({ "bantime": 77 }))).await;
    let said = other.unwrap_err().to_string();
    assert!(
        said.contains("fail2ban is down") && said.contains("Have not found any log file for app jail"),
        "{said}"
    );
    let off = client.deactivate(&jail("app")).await.unwrap();
    assert!(off.changed && !off.active, "{off:?}");
    assert!(!client.deactivate(&jail("app")).await.unwrap().changed);
    fail2ban.start_again().await;
    assert_eq!(fail2ban.jails().await, ["web"]);
    fail2ban.bans_again("web", BANNED).await;
}

#[tokio::test]
async fn while_fail2ban_is_down_a_change_that_needs_it_says_why_it_is_down_and_that_nothing_was_changed() {
    let (mut cluster, client) = beside_web().await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("jail.d/other.conf", &fail2ban.jail("other", true, ""));
    std::fs::remove_file(fail2ban.config().parent().unwrap().join("other-app.log")).unwrap();
    assert_eq!(fail2ban.start_in_vain().await, Some(255));
    let files = cluster.fail2ban().jail_d();
    let before = server_is(&client, "down").await["last_activation"].clone();
    for (method, rest, body) in [
        (Method::POST, "jails/app/activate", Value::Null),
        (Method::PATCH, "jails/app", json!({ "bantime": 77, "persistent": true })),
        (Method::PATCH, "jails/web", json!({ "bantime": 77, "persistent": false })),
        (Method::POST, "jails/app/ignore", json!({ "network": BANNED, "persistent": true })),
        (Method::POST, "jails/web/ignore", json!({ "network": BANNED, "persistent": false })),
    ] {
        let asked = client.request(method, &path(rest));
        let refused = client.send(if body.is_null() { asked } else { asked.json(&body) }).await;
        assert_eq!(refused.problem(503), "fail2ban-down", "{rest} {body}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("Have not found any log file for other jail"), "{rest} {body}: {detail}");
        assert!(detail.ends_with("nothing was changed") && !detail.contains("not known"), "{detail}");
    }
    assert_eq!(cluster.fail2ban().jail_d(), files);
    let state = server(&client).await;
    assert_eq!((&state["last_activation"], &state["pending_recovery"]), (&before, &Value::Null), "{state}");
    // The jail that keeps it down can be switched off.
    assert_eq!(post(&client, "jails/other/deactivate").await.expect(200).body["changed"], json!(true));
    cluster.fail2ban().start_again().await;
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
}
