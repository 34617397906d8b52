//! A change of a jail on a host where other things happen and other files are invalid: nothing takes effect before it has
//! been checked, only errors of the jail itself lead to a refusal, the answer is true, and no other jail is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bangui::agent::client::{AgentClient, RefusedKind};
use bangui::agent::wire::{ChangeSettings, JailView};
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent_jails::{BANNED, beside, jail, refused, refused_and_as_before};
use crate::jails::{beside_web, path, post};
use crate::support::cluster::{server, server_is};
use crate::support::fail2ban::Fail2ban;
use crate::support::{Answer, Client, SOON, eventually};

/// A filter that a reload stumbles over, as in public reports; `-t` finds nothing wrong with it.
pub const BAD: &str = "[Definition]\nfailregex = ^bad ( from <HOST>$\n";

/// Waits at its import until the test has done something, and fails then: what the trial of a change loads.
pub fn waiting_action(fail2ban: &Fail2ban) -> (std::path::PathBuf, std::path::PathBuf) {
    let (waits, go) = (fail2ban.config().join("waits"), fail2ban.config().join("go"));
    let text = format!(
        "import os, time\nopen({:?}, 'w').close()\nwhile not os.path.exists({:?}): time.sleep(0.02)\n\
         raise ValueError('boom')\n",
        waits.display().to_string(),
        go.display().to_string()
    );
    fail2ban.write("action.d/wait.py", &text);
    (waits, go)
}

pub fn set(settings: Value) -> ChangeSettings {
    ChangeSettings { settings: serde_json::from_value(settings).unwrap(), persistent: true }
}

/// For an answer that waits for lost jails to come back, and for a probe.
async fn patient_post(client: &Client, rest: &str) -> Answer {
    client.send(client.request(Method::POST, &path(rest)).timeout(SOON * 4)).await
}

pub async fn view(client: &AgentClient, name: &str) -> JailView {
    client.jail_view(&jail(name)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_refused_jail_is_never_in_effect_beside_one_who_reloads() {
    let (fail2ban, agent) = beside(|f| {
        f.write("filter.d/bad.conf", BAD);
        let text = f.jail("delta", false, "").replace("filter = app", "filter = bad");
        f.write("jail.local", &text);
    })
    .await;
    let (client, over) = (agent.client(), Arc::new(AtomicBool::new(false)));
    let live = fail2ban.config().join("jail.d/zz-bangui-delta.local");
    let watching = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut seen = 0;
            while !over.load(Relaxed) {
                seen += usize::from(live.exists());
                std::thread::sleep(Duration::from_micros(200));
            }
            seen
        }
    });
    let refusing = async {
        for _ in 0..6 {
            let said = refused(client.activate(&jail("delta")).await, RefusedKind::Configuration);
            assert!(said.contains("filter.d/bad.conf: failregex = ^bad ("), "{said}");
        }
        over.store(true, Relaxed);
    };
    let reloading = async {
        while !over.load(Relaxed) {
            fail2ban.command(&["reload"]).await;
        }
    };
    tokio::join!(refusing, reloading);
    assert_eq!(watching.join().unwrap(), 0, "the drop-in was there to be read");
    assert_eq!(fail2ban.jails().await, ["web"]);
    assert!(fail2ban.bans("web", BANNED).await && !fail2ban.log().contains("Jail 'web' stopped"));
    assert!(!fail2ban.jail_d().keys().any(|name| name.contains("bangui")), "{:?}", fail2ban.jail_d());
}

#[tokio::test]
async fn jails_lost_during_a_refused_change_are_named_and_the_state_offers_the_way_back_at_once() {
    let (mut cluster, client) = beside_web().await;
    let fail2ban = cluster.fail2ban();
    let (waits, go) = waiting_action(fail2ban);
    let text = fail2ban.jail("bad", false, "").replace("note[name=bad]", "wait.py");
    fail2ban.write("jail.d/bad.conf", &text);
    let asked = tokio::spawn({
        let client = client.at(cluster.workers[1].address);
        async move { patient_post(&client, "jails/bad/activate").await }
    });
    eventually("the trial", SOON, || async { waits.exists().then_some(()) }).await;
    // Somebody else, at this moment.
    cluster.fail2ban().command(&["stop", "web"]).await;
    std::fs::write(&go, "").unwrap();
    let answer = asked.await.unwrap();
    let state = server(&client).await;
    assert_eq!(answer.problem(500), "host-unsettled");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("boom") && detail.contains("not running now: web"), "{detail}");
    assert!(!answer.text.contains("nothing was changed"), "{}", answer.text);
    assert_eq!(state["status"]["condition"], "degraded", "{state}");
    assert_eq!(state["status"]["missing_jails"], json!(["web"]), "{state}");
    assert_eq!(state["pending_recovery"]["jail_name"], "bad", "{state}");
    let back = post(&client, "recovery/rollback").await;
    assert_eq!(back.expect(200).body["running"], json!(["web"]), "{}", back.text);
    let up = server_is(&client, "up").await;
    assert!(up["pending_recovery"].is_null(), "{up}");
    cluster.fail2ban().bans_again("web", BANNED).await;
}

#[tokio::test]
async fn another_jail_that_lost_its_log_does_not_keep_a_third_one_off() {
    // Debian 12's own fail2ban.conf lacks a setting, so that every run of its programs prints a warning with the time.
    let (fail2ban, agent) = beside(|f| {
        let own = std::fs::read_to_string(f.config().join("fail2ban.conf")).unwrap();
        f.write("fail2ban.conf", &own.replace("allowipv6 = auto\n", ""));
        f.write("jail.d/app.conf", &f.jail("app", false, ""));
        f.write("jail.d/other.conf", &f.jail("other", false, ""));
    })
    .await;
    let client = agent.client();
    assert!(client.activate(&jail("other")).await.unwrap().active);
    std::fs::remove_file(fail2ban.config().parent().unwrap().join("other-app.log")).unwrap();
    assert!(!fail2ban.try_command(&["-t"]).await.0, "fail2ban itself finds fault with it");
    assert!(client.activate(&jail("app")).await.unwrap().active);
    assert_eq!(fail2ban.jails().await, ["app", "other", "web"]);
    client.change_settings(&jail("app"), &set(json!({ "bantime": 77 }))).await.unwrap();
    assert!(!client.deactivate(&jail("app")).await.unwrap().active);
    // The jail that owns the log is to blame, and the answer names it.
    client.deactivate(&jail("other")).await.unwrap();
    let said = refused(client.activate(&jail("other")).await, RefusedKind::Configuration);
    assert!(said.contains("other-app.log") && said.contains("jail.d/other.conf: logpath"), "{said}");
    assert!(!said.contains("allowipv6") && said.lines().count() == 1, "{said}");
}

#[tokio::test]
async fn settings_of_the_server_that_a_reload_would_stumble_over_are_refused_before_anything_is_touched() {
    let (fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    let client = agent.client();
    client.activate(&jail("app")).await.unwrap();
    for (line, words) in [
        ("logtarget = /none/x.log", "there is no folder /none"),
        ("dbpurgeage = banana", "banana"),
        ("dbmaxmatches = several", "dbmaxmatches = several: not a whole number"),
        ("loglevel = LOUD", "fail2ban.local: loglevel = LOUD"),
    ] {
        fail2ban.write("fail2ban.local", &format!("[Definition]\n{line}\n"));
        let (files, log) = (fail2ban.jail_d(), fail2ban.log());
        let changes = [
            client.change_settings(&jail("web"), &set(json!({ "bantime": 1234 }))).await.map(drop),
            client.deactivate(&jail("app")).await.map(drop),
            client.activate(&jail("app")).await.map(drop),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            // The last one is on already.
            if n < 2 {
                let said = refused(change, RefusedKind::Configuration);
                assert!(said.contains(words), "{line}: {said}");
            }
        }
        assert_eq!((fail2ban.jail_d(), fail2ban.log()), (files, log), "{line}");
        fail2ban.write("fail2ban.local", "");
        assert_eq!(fail2ban.jails().await, ["app", "web"], "{line}");
    }
    // It already logs there, so the setting does not matter, even if the folder is gone.
    let own = fail2ban.config().parent().unwrap().join("logs");
    std::fs::create_dir(&own).unwrap();
    fail2ban.write("fail2ban.local", &format!("[Definition]\nlogtarget = {}/f2b.log\n", own.display()));
    client.change_settings(&jail("web"), &set(json!({ "bantime": 1234 }))).await.unwrap();
    std::fs::remove_dir_all(&own).unwrap();
    client.change_settings(&jail("web"), &set(json!({ "bantime": 1235 }))).await.unwrap();
    assert_eq!(view(&client, "web").await.bantime, Some(1235));
}

#[tokio::test]
async fn a_python_action_that_cannot_be_loaded_is_refused_before_anything_is_touched() {
    let (fail2ban, agent) = beside(|f| {
        f.write("action.d/broken.py", "import no_such_module\n");
        f.write("action.d/none.py", "print('noise')\n");
        let head = "from fail2ban.server.action import ActionBase\nclass Action(ActionBase):\n    def __init__(self, jail, name, colour):\n        super().__init__(jail, name)\n";
        f.write("action.d/wants.py", head);
    })
    .await;
    let client = agent.client();
    for (action, words) in [
        ("broken.py", "no_such_module"),
        ("none.py", "Action"),
        ("wants.py", "colour"),
        ("wants.py[size=1]", "size"),
    ] {
        fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, "").replace("note[name=app]", action));
        let said = refused_and_as_before(&fail2ban, &client).await;
        assert!(said.contains(words), "{action}: {said}");
        assert!(!fail2ban.log().contains("Creating new jail 'app'"), "{action}: fail2ban was not even asked");
    }
    fail2ban.write(
        "jail.d/app.conf",
        &fail2ban.jail("app", false, "").replace("note[name=app]", "wants.py[colour=red]"),
    );
    assert!(client.activate(&jail("app")).await.unwrap().active);
}

#[tokio::test]
async fn a_setting_that_a_later_file_overrides_is_refused_with_the_file_that_wins() {
    let (fail2ban, agent) = beside(|_| ()).await;
    let client = agent.client();
    fail2ban.write("jail.d/zzz-ansible.local", "[web]\nbantime = 5m\nignoreip = 192.0.2.1\n");
    fail2ban.command(&["reload", "web"]).await;
    // The age of its log may differ.
    let seen = async || JailView { logs: None, ..view(&client, "web").await };
    let (files, before) = (fail2ban.jail_d(), seen().await);
    let said = refused(
        client.change_settings(&jail("web"), &set(json!({ "bantime": 7200 }))).await,
        RefusedKind::Configuration,
    );
    assert!(said.contains("jail.d/zzz-ansible.local") && said.contains("bantime of web to 300"), "{said}");
    let said =
        refused(client.ignore(&jail("web"), BANNED.parse_network(), true).await, RefusedKind::Configuration);
    assert!(said.contains("jail.d/zzz-ansible.local") && said.contains("ignoreip"), "{said}");
    let list = json!({ "ignoreip": ["203.0.113.0/24"] });
    refused(client.change_settings(&jail("web"), &set(list)).await, RefusedKind::Configuration);
    assert_eq!((fail2ban.jail_d(), seen().await), (files, before), "nothing stays behind");
    assert!(fail2ban.bans("web", BANNED).await, "it was not unbanned either");
    // A setting that the file does not name can be set, also for a jail that is off.
    client.change_settings(&jail("web"), &set(json!({ "maxretry": 9 }))).await.unwrap();
    assert_eq!(view(&client, "web").await.maxretry, Some(9));
    client.deactivate(&jail("web")).await.unwrap();
    refused(
        client.change_settings(&jail("web"), &set(json!({ "bantime": 7200 }))).await,
        RefusedKind::Configuration,
    );
}

/// A test's own text for a network.
trait ParseNetwork {
    fn parse_network(&self) -> bangui::domain::Network;
}

impl ParseNetwork for str {
    fn parse_network(&self) -> bangui::domain::Network {
        bangui::domain::Network::parse(self).unwrap()
    }
}

#[tokio::test]
async fn an_invalid_number_is_refused_with_its_file_and_option() {
    let (fail2ban, agent) =
        beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, "maxretry = five"))).await;
    let said = refused_and_as_before(&fail2ban, &agent.client()).await;
    assert!(said.contains("jail.d/app.conf: maxretry = five: not a whole number"), "{said}");
    assert!(!said.contains("NoneType"), "{said}");
}

#[tokio::test]
async fn a_failed_deactivation_of_a_jail_that_is_lost_by_it_leaves_the_jail_among_the_missing() {
    let (mut cluster, client) = beside_web().await;
    post(&client, "jails/app/activate").await.expect(200);
    let fail2ban = cluster.fail2ban();
    // A later file keeps it on, so that its action is tried out; the jail is lost before that is refused.
    fail2ban.write("jail.d/zzz-last.local", "[app]\nenabled = true\n");
    let (waits, go) = waiting_action(fail2ban);
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, "").replace("note[name=app]", "wait.py"));
    let asked = tokio::spawn({
        let client = client.at(cluster.workers[1].address);
        async move { patient_post(&client, "jails/app/deactivate").await }
    });
    eventually("the trial", SOON, || async { waits.exists().then_some(()) }).await;
    cluster.fail2ban().command(&["stop", "app"]).await;
    std::fs::write(&go, "").unwrap();
    let answer = asked.await.unwrap();
    let state = server(&client).await;
    assert_eq!(answer.problem(500), "host-unsettled");
    assert!(answer.body["detail"].as_str().unwrap().contains("not running now: app"), "{}", answer.text);
    assert_eq!(state["status"]["missing_jails"], json!(["app"]), "{state}");
    assert_eq!(state["status"]["condition"], "degraded", "{state}");
    let request = client.request(Method::GET, &path("jails/app"));
    assert_eq!(client.send(request).await.expect(200).body["enabled"], json!(true));
}

#[tokio::test]
async fn a_network_is_ignored_beside_a_list_that_refers_to_the_files_before_it() {
    let (fail2ban, agent) = beside(|f| {
        f.write("jail.d/a.conf", "[DEFAULT]\nignoreip = 192.0.2.1\n");
        f.write("jail.local", "[web]\nignoreip = %(known/ignoreip)s localhost 203.0.113.6\n");
    })
    .await;
    let client = agent.client();
    fail2ban.command(&["reload", "web"]).await;
    client.ignore(&jail("web"), BANNED.parse_network(), true).await.unwrap();
    client.ignore(&jail("web"), "198.51.100.0/24".parse_network(), true).await.unwrap();
    fail2ban.command(&["reload"]).await;
    let ignored = ["192.0.2.1", "198.51.100.0/24", "203.0.113.6", BANNED, "localhost"];
    assert_eq!(view(&client, "web").await.ignoreip, ignored, "kept, and added");
    assert!(!fail2ban.bans("web", BANNED).await);
    // Another jail's list refers to nothing, and stays as the other files have it.
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, "ignoreip = 192.0.2.9"));
    client.ignore(&jail("app"), BANNED.parse_network(), true).await.unwrap();
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, "ignoreip = 192.0.2.10"));
    assert_eq!(view(&client, "app").await.ignoreip, ["192.0.2.10", BANNED]);
    // Until it does: then bangui writes its drop-in differently.
    let text = fail2ban.jail("app", false, "ignoreip = %(known/ignoreip)s 192.0.2.11");
    fail2ban.write("jail.d/app.conf", &text);
    client.ignore(&jail("app"), "198.51.100.7".parse_network(), true).await.unwrap();
    assert_eq!(view(&client, "app").await.ignoreip, ["192.0.2.1", "192.0.2.11", BANNED, "198.51.100.7"]);
    assert!(client.activate(&jail("app")).await.unwrap().active);
}

#[tokio::test]
async fn a_jail_that_runs_and_is_in_no_file_any_more_is_switched_off() {
    let (fail2ban, agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", true, ""))).await;
    let client = agent.client();
    fail2ban.command(&["reload", "--if-exists", "app"]).await;
    std::fs::remove_file(fail2ban.config().join("jail.d/app.conf")).unwrap();
    let off = client.deactivate(&jail("app")).await.unwrap();
    assert!(off.changed && !off.active, "{off:?}");
    assert_eq!(fail2ban.jails().await, ["web"]);
    let files = fail2ban.jail_d();
    assert!(files.is_empty(), "there is nothing to write: {files:?}");
    refused(client.deactivate(&jail("app")).await, RefusedKind::Jail);
    refused(client.activate(&jail("app")).await, RefusedKind::Jail);
    assert!(fail2ban.bans("web", BANNED).await);
}

#[tokio::test]
async fn a_missing_jail_that_was_taken_out_of_the_files_is_given_up_by_switching_it_off() {
    let (mut cluster, client) = beside_web().await;
    post(&client, "jails/app/activate").await.expect(200);
    eventually("both jails in the status", SOON, || async {
        (server(&client).await["status"]["active_jails"] == 2).then_some(())
    })
    .await;
    let fail2ban = cluster.fail2ban();
    for file in ["jail.d/app.conf", "jail.d/zz-bangui-app.local"] {
        std::fs::remove_file(fail2ban.config().join(file)).unwrap();
    }
    fail2ban.command(&["stop", "app"]).await;
    let degraded = server_is(&client, "degraded").await;
    assert_eq!(degraded["status"]["missing_jails"], json!(["app"]), "{degraded}");
    // It cannot be brought back.
    post(&client, "jails/app/activate").await.problem(404);
    assert_eq!(server_is(&client, "degraded").await["status"]["missing_jails"], json!(["app"]));
    let given_up = post(&client.at(cluster.workers[1].address), "jails/app/deactivate").await;
    let switch = json!({ "jail": "app", "active": false, "changed": false, "last_activation": null });
    assert_eq!(given_up.expect(200).body, switch);
    let up = server_is(&client, "up").await;
    assert_eq!(up["status"]["missing_jails"], json!([]), "{up}");
    let entry = client.get("/api/v1/audit?limit=1").await.expect(200).body["items"][0].clone();
    assert_eq!((&entry["what"], &entry["outcome"]), (&json!("jail.deactivate"), &json!("done")), "{entry}");
    assert!(cluster.fail2ban().jail_d().is_empty());
    // One that nobody expects is unknown.
    post(&client, "jails/app/deactivate").await.problem(404);
    post(&client, "jails/nothing/deactivate").await.problem(404);
}
