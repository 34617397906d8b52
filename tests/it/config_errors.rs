//! What each mistake in fail2ban's configuration does with bangui: the jail is refused in fail2ban's own words, the others keep
//! running and keep their bans; and if the damage was done past bangui, it is reported and can be repaired.
//!
//! | mistake | fail2ban alone | here |
//! |---|---|---|
//! | filter, action or log file missing, INI syntax | `-t` finds it | `-t` runs before any change |
//! | expression, host group, duration | `-t` says OK, and a reload of everything ends every jail | found by the trial |
//! | no jail is switched on | runs without jails | the same |
//! | a wrong expression at a start in the foreground | exits with 255 | a rollback brings it back |
//! | the same at a start in the background | every jail is listed, none runs | named, and a rollback brings them back |

use bangui::domain::JailName;
use serde_json::json;

use crate::agent_jails::{BANNED, beside, jail, refused_and_as_before};
use crate::jails::{beside_web, post};
use crate::support::agent::{AGENT_TOKEN, Agent};
use crate::support::cluster::{server, server_is};
use crate::support::fail2ban::Fail2ban;
use crate::support::{SOON, eventually};

const OPEN: &str = "[Definition]\nfailregex = ^login (failed from <ADDR>$\n";

/// Writes `app`, which is off, with this line instead of its usual one, and the invalid filters.
fn write_app(fail2ban: &Fail2ban, enabled: bool, line: &str) {
    fail2ban.write("filter.d/open.conf", OPEN);
    fail2ban.write("filter.d/nohost.conf", "[Definition]\nfailregex = ^login failed$\n");
    fail2ban.write("filter.d/ignore.conf", "[Definition]\nfailregex = ^x <ADDR>$\nignoreregex = ^(y\n");
    let key = |line: &str| line.split(" =").next().map(str::to_owned);
    let text = fail2ban.jail("app", enabled, "");
    let kept: Vec<&str> = text.lines().filter(|own| key(own) != key(line)).collect();
    fail2ban.write("jail.d/app.conf", &format!("{}\n{line}\n", kept.join("\n")));
}

/// An activation of `app` with this line is refused in these words, and all is as before; without it, it is not.
async fn row(line: &str, words: &str) {
    let (fail2ban, agent) = beside(|f| write_app(f, false, line)).await;
    let client = agent.client();
    let said = refused_and_as_before(&fail2ban, &client).await;
    assert!(said.contains(words), "{line}: {said}");
    assert!(!fail2ban.log().contains("Reload"), "{line}: fail2ban was not even asked");
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, ""));
    assert!(client.activate(&jail("app")).await.unwrap().active, "{line}: nothing is left of it");
    assert!(fail2ban.bans("web", BANNED).await);
}

#[tokio::test]
async fn a_filter_that_is_missing_is_refused() {
    row("filter = nowhere", "Unable to read the filter 'nowhere'").await;
}

#[tokio::test]
async fn an_action_that_is_missing_is_refused() {
    row("action = nowhere", "Unable to read action 'nowhere'").await;
}

#[tokio::test]
async fn a_log_file_that_is_missing_is_refused() {
    row("logpath = /nowhere/at/all.log", "Have not found any log file for app jail").await;
}

#[tokio::test]
async fn a_wrong_expression_is_refused() {
    row("filter = open", "unterminated subpattern").await;
}

#[tokio::test]
async fn a_wrong_expression_of_what_is_ignored_is_refused() {
    row("filter = ignore", "unterminated subpattern").await;
}

#[tokio::test]
async fn an_expression_without_a_host_is_refused() {
    row("filter = nohost", "No failure-id group").await;
}

#[tokio::test]
async fn a_bantime_that_is_no_duration_is_refused() {
    row("bantime = banana", "banana").await;
}

#[tokio::test]
async fn a_findtime_that_is_no_duration_is_refused() {
    row("findtime = 10 parsecs", "findtime").await;
}

#[tokio::test]
async fn an_unknown_backend_is_refused() {
    row("backend = carrier-pigeon", "Unknown backend carrier-pigeon").await;
}

#[tokio::test]
async fn an_interpolation_of_nothing_is_refused() {
    row("bantime = %(nothing)s", "nothing").await;
}

#[tokio::test]
async fn a_file_without_sections_is_refused() {
    let (fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    fail2ban.write("jail.d/broken.conf", "no section at all\n");
    let said = refused_and_as_before(&fail2ban, &agent.client()).await;
    assert!(said.contains("no section headers"), "{said}");
}

#[tokio::test]
async fn with_no_jail_switched_on_fail2ban_runs_with_none_and_the_next_one_has_its_bans() {
    let (fail2ban, agent) = beside(|_| ()).await;
    let client = agent.client();
    assert!(!client.deactivate(&jail("web")).await.unwrap().active);
    assert!(fail2ban.jails().await.is_empty());
    let (_, status) = agent.get("/v1/status", AGENT_TOKEN).await.unwrap();
    assert_eq!((&status["state"], &status["jails"]), (&json!("up"), &json!({})), "{status}");
    assert!(client.activate(&jail("web")).await.unwrap().active);
    banned_again(&fail2ban).await;
}

async fn banned_again(fail2ban: &Fail2ban) {
    eventually("the bans from the database", SOON, || async {
        (fail2ban.jails().await.contains(&"web".to_owned()) && fail2ban.bans("web", BANNED).await)
            .then_some(())
    })
    .await;
}

/// An agent whose start command only says that it was called: the test is the service manager.
async fn with_start_command(fail2ban: &Fail2ban, agent: &mut Agent) -> std::path::PathBuf {
    let called = fail2ban.config().join("called");
    agent.more = vec![("BANGUI_FAIL2BAN_START", format!("touch {}", called.display()))];
    agent.start_again().await;
    called
}

#[tokio::test]
async fn a_start_in_the_foreground_that_a_wrong_expression_ends_is_rolled_back() {
    let (mut fail2ban, mut agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    let called = with_start_command(&fail2ban, &mut agent).await;
    agent.client().activate(&jail("app")).await.unwrap();
    write_app(&fail2ban, true, "filter = open");
    assert_eq!(fail2ban.start_in_vain().await, Some(255), "it would not come up again by itself");
    let client = agent.client();
    let rolling = tokio::spawn(async move { client.roll_back(&jail("app")).await });
    eventually("the start command", SOON, || async { called.exists().then_some(()) }).await;
    fail2ban.start_again().await;
    let back = rolling.await.unwrap().unwrap();
    assert!(back.started && back.running == [jail("web")] && back.missing.is_empty(), "{back:?}");
    banned_again(&fail2ban).await;
}

#[tokio::test]
async fn a_start_in_the_background_that_leaves_every_jail_listed_and_none_running_is_named_and_rolled_back() {
    let (mut fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    let client = agent.client();
    client.activate(&jail("app")).await.unwrap();
    write_app(&fail2ban, true, "filter = open");
    fail2ban.start_in_background().await;
    let status = eventually("an answer", SOON, || async {
        let (_, status) = agent.get("/v1/status", AGENT_TOKEN).await.ok()?;
        (status["state"] == "up").then_some(status)
    })
    .await;
    assert_eq!(status["jails"], json!({}), "{status}");
    let stalled: Vec<JailName> = serde_json::from_value(status["stalled"].clone()).unwrap();
    assert!(!stalled.is_empty(), "{status}");
    let back = client.roll_back(&jail("app")).await.unwrap();
    assert!(!back.started && back.running == [jail("web")] && back.missing.is_empty(), "{back:?}");
    banned_again(&fail2ban).await;
}

#[tokio::test]
async fn jails_that_a_reload_of_everything_wiped_are_named_in_the_status_and_brought_back_with_their_bans() {
    let (mut cluster, client) = beside_web().await;
    post(&client, "jails/app/activate").await.expect(200);
    eventually("both in the status", SOON, || async {
        (server(&client).await["status"]["active_jails"] == 2).then_some(())
    })
    .await;
    // An administrator edits a file and reloads everything, past bangui.
    write_app(cluster.fail2ban(), false, "bantime = banana");
    assert!(!cluster.fail2ban().try_command(&["reload"]).await.0);
    let degraded = server_is(&client, "degraded").await;
    let missing: Vec<&str> = degraded["status"]["missing_jails"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|jail| jail.as_str())
        .collect();
    assert!(missing.contains(&"web"), "{degraded}");
    for jail in &missing {
        assert!(degraded["status"]["error"].as_str().unwrap().contains(jail), "{degraded}");
    }
    assert_eq!(degraded["pending_recovery"]["jail_name"], "app", "{degraded}");
    let back = post(&client, "recovery/rollback").await;
    assert_eq!((&back.expect(200).body["running"], &back.body["started"]), (&json!(["web"]), &json!(false)));
    let up = server_is(&client, "up").await;
    assert!(up["status"]["missing_jails"] == json!([]) && up["pending_recovery"].is_null(), "{up}");
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    banned_again(cluster.fail2ban()).await;
}
