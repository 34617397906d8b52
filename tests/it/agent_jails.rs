//! Jails of a real fail2ban are switched on and off: whatever is wrong with one, the others keep running and keep
//! their bans, and the files are as before.

use bangui::agent::client::{AgentClient, AgentError, RefusedKind};
use bangui::domain::JailName;

use crate::support::agent::{AGENT_TOKEN, Agent};
use crate::support::fail2ban::Fail2ban;
use crate::support::{SOON, eventually};

/// The address that `web`, the jail that must not suffer, bans in every test.
pub const BANNED: &str = "203.0.113.77";

pub fn jail(name: &str) -> JailName {
    JailName::parse(name).unwrap()
}

/// A fail2ban whose jail `web` bans [`BANNED`], and its agent.
pub async fn beside(more: impl Fn(&Fail2ban)) -> (Fail2ban, Agent) {
    let fail2ban = Fail2ban::start(&["web"]).await;
    more(&fail2ban);
    fail2ban.log_failure("web", BANNED);
    eventually("the ban of web", SOON, || async { fail2ban.bans("web", BANNED).await.then_some(()) }).await;
    let agent = Agent::start(&fail2ban.socket(), &fail2ban.config()).await;
    (fail2ban, agent)
}

/// The reason of a refusal of this kind.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, AgentError>, expected: RefusedKind) -> String {
    match answer {
        Err(AgentError::Refused { kind, reason }) if kind == expected => reason,
        other => panic!("{other:?}"),
    }
}

/// Activates `app`, whose configuration is invalid; fail2ban and its files must be as before. Returns the refusal's words.
pub async fn refused_and_as_before(fail2ban: &Fail2ban, client: &AgentClient) -> String {
    let (files, jails) = (fail2ban.jail_d(), fail2ban.jails().await);
    let words = refused(client.activate(&jail("app")).await, RefusedKind::Configuration);
    assert_eq!(fail2ban.jail_d(), files, "{words}");
    assert_eq!(fail2ban.jails().await, jails, "{words}");
    assert!(fail2ban.bans("web", BANNED).await, "{words}");
    assert!(!fail2ban.log().contains("Jail 'web' stopped"), "web was stopped in between: {words}");
    words
}

#[tokio::test]
async fn a_jail_is_switched_on_and_off_and_no_other_is_touched() {
    let (fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    let client = agent.client();
    let on = client.activate(&jail("app")).await.unwrap();
    assert!(on.active && on.changed, "{on:?}");
    assert_eq!(fail2ban.jails().await, ["app", "web"]);
    fail2ban.log_failure("app", "203.0.113.5");
    eventually("a ban by app", SOON, || async { fail2ban.bans("app", "203.0.113.5").await.then_some(()) })
        .await;
    assert!(!client.activate(&jail("app")).await.unwrap().changed, "it was on already");
    let text = &fail2ban.jail_d()["zz-bangui-app.local"];
    assert!(text.ends_with("[app]\nenabled = true\n"), "{text}");

    let off = client.deactivate(&jail("app")).await.unwrap();
    assert!(!off.active && off.changed, "{off:?}");
    assert_eq!(fail2ban.jails().await, ["web"]);
    assert!(!client.deactivate(&jail("app")).await.unwrap().changed);
    client.activate(&jail("app")).await.unwrap();
    eventually("the bans from the database", SOON, || async {
        fail2ban.bans("app", "203.0.113.5").await.then_some(())
    })
    .await;
    assert!(fail2ban.bans("web", BANNED).await);
    assert!(!fail2ban.log().contains("Jail 'web' stopped") && !fail2ban.log().contains("Reload all jails"));
    assert!(!fail2ban.jail_d().contains_key(".bangui-journal.json"));
}

#[tokio::test]
async fn what_only_the_running_server_finds_out_is_undone() {
    // It is loaded twice: by the trial of the change, and by fail2ban.
    let (fail2ban, agent) = beside(|f| {
        let seen = f.config().join("seen").display().to_string();
        let text = format!(
            "import os\nif os.path.exists({seen:?}): raise ValueError('boom')\nopen({seen:?}, 'w').close()\n"
        );
        let head = "from fail2ban.server.action import ActionBase\nclass Action(ActionBase): pass\n";
        f.write("action.d/bad.py", &format!("{text}{head}"));
    })
    .await;
    let client = agent.client();
    let text = fail2ban.jail("app", false, "");
    fail2ban.write("jail.d/app.conf", &text.replace("note[name=app]", "bad.py"));
    let said = refused_and_as_before(&fail2ban, &client).await;
    assert!(said.contains("boom"), "{said}");
    assert!(fail2ban.log().contains("Creating new jail 'app'"), "fail2ban was asked, and left it listed");

    // A jail that runs is lost by such a reload; it is brought back with its bans once its files are as before.
    fail2ban.write("jail.d/app.conf", &text);
    client.activate(&jail("app")).await.unwrap();
    fail2ban.log_failure("app", "203.0.113.6");
    eventually("a ban", SOON, || async { fail2ban.bans("app", "203.0.113.6").await.then_some(()) }).await;
}

#[tokio::test]
async fn a_reload_that_could_not_work_is_not_begun() {
    let (fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    let client = agent.client();
    fail2ban.write("fail2ban.local", "[Definition]\ndbfile = /nowhere/another.sqlite3\n");
    let said = refused_and_as_before(&fail2ban, &client).await;
    assert!(said.contains("restart fail2ban first"), "{said}");
    std::fs::remove_file(fail2ban.config().join("fail2ban.local")).unwrap();
    fail2ban.write("jail.d/zzz-last.local", "[app]\nenabled = false\n");
    let said = refused_and_as_before(&fail2ban, &client).await;
    assert!(said.contains("switches app off again"), "{said}");
    assert!(!fail2ban.log().contains("Reload"));
}

#[tokio::test]
async fn a_jail_that_is_listed_but_was_never_started_is_recognized_and_can_be_switched_off_or_on() {
    let (fail2ban, agent) =
        beside(|f| f.write("filter.d/open.conf", "[Definition]\nfailregex = ^(<ADDR>$\n")).await;
    let client = agent.client();
    let text = fail2ban.jail("app", true, "");
    fail2ban.write("jail.d/app.conf", &text.replace("filter = app", "filter = open"));
    let (well, printed) = fail2ban.try_command(&["reload", "--if-exists", "app"]).await;
    assert!(!well && fail2ban.jails().await == ["app", "web"], "what an administrator may do: {printed}");
    let (_, status) = agent.get("/v1/status", AGENT_TOKEN).await.unwrap();
    assert_eq!(status["stalled"], serde_json::json!(["app"]), "{status}");
    assert!(status["jails"]["app"].is_null() && status["jails"]["web"].is_object(), "{status}");
    refused(client.activate(&jail("app")).await, RefusedKind::Configuration);
    assert_eq!(fail2ban.jails().await, ["app", "web"], "as before");
    fail2ban.write("jail.d/app.conf", &text);
    assert!(client.activate(&jail("app")).await.unwrap().changed);
    let (_, status) = agent.get("/v1/status", AGENT_TOKEN).await.unwrap();
    assert!(status["jails"]["app"].is_object() && status["stalled"].is_null(), "{status}");
}

#[tokio::test]
async fn a_mistake_in_another_jail_does_not_keep_this_one_off() {
    let (fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    fail2ban.write("jail.d/other.conf", "[other]\nenabled = true\nfilter = nowhere\n");
    let client = agent.client();
    assert!(client.activate(&jail("app")).await.unwrap().active);
    refused(client.activate(&jail("other")).await, RefusedKind::Configuration);
    assert!(!client.deactivate(&jail("other")).await.unwrap().active, "a broken jail can be switched off");
    assert_eq!(fail2ban.jails().await, ["app", "web"]);
    assert!(fail2ban.try_command(&["-t"]).await.0);
}

#[tokio::test]
async fn a_name_that_is_no_jail_of_the_configuration_is_refused() {
    let (fail2ban, agent) = beside(|f| f.write("jail.d/odd.conf", "[Definition]\nx = y\n")).await;
    let client = agent.client();
    for name in ["nothing", "KNOWN", "default"] {
        let said = refused(client.activate(&jail(name)).await, RefusedKind::Jail);
        assert!(said.contains(name), "{said}");
    }
    for (path, status) in [
        ("/v1/jails/a%0Ab/activate", 400),
        ("/v1/jails/a%2Fb/activate", 404),
        ("/v1/jails/%25(x)s/activate", 404),
        ("/v1/jails/--all/activate", 422),
        ("/v1/jails/DEFAULT/activate", 422),
        ("/v1/jails/INCLUDES/activate", 422),
        ("/v1/jails/Definition/activate", 422),
    ] {
        let (answered, body) = agent.post(path, serde_json::Value::Null).await;
        assert_eq!(answered, status, "{path}: {body}");
    }
    assert_eq!(fail2ban.jails().await, ["web"]);
    let ours: Vec<_> = fail2ban.jail_d().into_keys().filter(|name| name.starts_with("zz-bangui")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[tokio::test]
async fn a_file_that_somebody_edited_is_not_overwritten() {
    let (fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    let mine = "[app]\nenabled = false\nmaxretry = 7\n";
    fail2ban.write("jail.d/zz-bangui-app.local", mine);
    let said = refused(agent.client().activate(&jail("app")).await, RefusedKind::Configuration);
    assert!(said.contains("edited by hand"), "{said}");
    assert_eq!(fail2ban.jail_d()["zz-bangui-app.local"], mine);
}

#[tokio::test]
async fn changes_come_one_at_a_time_also_with_two_agents() {
    let names = ["a", "b", "c", "d"];
    let (fail2ban, agent) = beside(|f| {
        let text: String = names.iter().map(|name| f.jail(name, false, "")).collect();
        f.write("jail.d/more.conf", &text);
    })
    .await;
    let other = Agent::start(&fail2ban.socket(), &fail2ban.config()).await;
    let clients = [agent.client(), other.client()];
    let changes = names.iter().enumerate().map(|(n, name)| {
        let client = &clients[n % 2];
        async move { client.activate(&jail(name)).await }
    });
    for changed in futures_util::future::join_all(changes).await {
        assert!(changed.unwrap().active);
    }
    assert_eq!(fail2ban.jails().await, ["a", "b", "c", "d", "web"]);
}

#[tokio::test]
async fn without_fail2ban_nothing_is_changed() {
    let (mut fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    fail2ban.kill();
    let answer = agent.client().activate(&jail("app")).await;
    assert!(matches!(answer, Err(AgentError::Down { .. })), "{answer:?}");
    assert!(!fail2ban.jail_d().contains_key("zz-bangui-app.local"));
    assert_eq!(agent.info().await.interrupted_change, None);
}
