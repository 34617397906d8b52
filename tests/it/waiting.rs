//! An agent waits for fail2ban as long as it sees progress, in any of the ways in which it can see it.

use std::time::Duration;

use serde_json::Value;

use crate::agent_jails::{BANNED, beside, jail};
use crate::support::agent::{AGENT_TOKEN, Agent};
use crate::support::fail2ban::Fail2ban;
use crate::support::{SOON, eventually};

/// `app` runs and bans so many addresses, each of which takes `seconds` to unban; to its agent a fail2ban hangs that shows no
/// progress for four seconds.
async fn slow(bans: u32, seconds: u32, under: &[&str]) -> (Fail2ban, Agent) {
    let (fail2ban, mut agent) = beside(|f| {
        f.write_slow_action(0.0, seconds as f32);
        f.write_slow_jail("app", true);
    })
    .await;
    agent.more = vec![("BANGUI_TEST_STALLED_AFTER_MS", "4000".to_owned())];
    agent.under = under.iter().map(|&word| word.to_owned()).collect();
    agent.start_again().await;
    fail2ban.command(&["reload", "--if-exists", "app"]).await;
    eventually("app to run", SOON, || async {
        fail2ban.jails().await.contains(&"app".to_owned()).then_some(())
    })
    .await;
    let ips: Vec<String> = (0..bans).map(|n| format!("198.51.100.{n}")).collect();
    let words: Vec<&str> =
        ["set", "app", "banip"].into_iter().chain(ips.iter().map(String::as_str)).collect();
    fail2ban.command(&words).await;
    (fail2ban, agent)
}

/// Switches `app` off, and probes fail2ban during the change: it never counts as hung.
async fn is_waited_for(fail2ban: &Fail2ban, agent: &Agent, words: &str) {
    let client = agent.client();
    let off = tokio::spawn(async move { client.deactivate(&jail("app")).await });
    let mut said = 0;
    while !off.is_finished() {
        if let Ok((_, Value::Object(status))) = agent.get("/v1/status", AGENT_TOKEN).await
            && status["state"] == "busy"
        {
            let reason = status["reason"].as_str().unwrap();
            assert!(status["working"] == true && reason.contains(words), "{status:?}");
            said += 1;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let off = off.await.unwrap().unwrap();
    assert!(off.changed && !off.active, "{off:?}");
    assert!(said > 0, "nobody heard that it works");
    assert_eq!(fail2ban.jails().await, ["web"]);
    assert!(fail2ban.bans("web", BANNED).await);
    assert!(fail2ban.jail_d()["zz-bangui-app.local"].ends_with("enabled = false\n"));
    assert!(agent.info().await.interrupted_change.is_none());
}

#[tokio::test]
async fn an_unban_action_that_takes_longer_than_a_fail2ban_may_be_idle_is_waited_for() {
    let (fail2ban, agent) = slow(1, 11, &[]).await;
    is_waited_for(&fail2ban, &agent, "makes progress").await;
}

#[tokio::test]
async fn an_agent_in_a_container_of_its_own_sees_the_progress_in_fail2bans_log() {
    let container = ["unshare", "--pid", "--fork", "--kill-child", "--"];
    let (fail2ban, agent) = slow(11, 1, &container).await;
    is_waited_for(&fail2ban, &agent, "makes progress").await;
}
