//! Jails of any name: shown, counted, searched, addressed and changed as others are, unless a file cannot express the name
//! or fail2ban's own commands would misread it.

use std::fmt::Write as _;

use bangui::domain::JailName;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::agent::AGENT_TOKEN;
use crate::support::cluster::{SERVER, server_is};
use crate::support::fail2ban::Fail2ban;
use crate::support::{Answer, Client, Cluster, SOON, eventually};

/// Names that people gave to jails.
const ODD: [&str; 10] = [
    "ssh ddos",
    "größe",
    "a,b",
    "a, b",
    "-dash",
    "a/b",
    ".",
    "..",
    "[x",
    "of-seventy-characters-which-is-more-than-any-screen-has-room-for-------",
];

fn path(jail: &str, rest: &str) -> String {
    let segment = JailName::parse(jail).unwrap().to_segment();
    format!("/api/v1/servers/{SERVER}/jails/{segment}{rest}")
}

/// A section that watches the log of `web`.
fn section(fail2ban: &Fail2ban, name: &str, enabled: bool) -> String {
    fail2ban.jail("web", enabled, "").replace("[web]", &format!("[{name}]"))
}

/// A cluster whose fail2ban runs `web` and a jail of each odd name.
async fn cluster() -> (Cluster, Client) {
    let mut cluster = Cluster::with_fail2ban(1).jails(&["web"]).set_up().await;
    let fail2ban = cluster.fail2ban();
    let mut text = String::new();
    for name in ODD {
        writeln!(text, "{}", section(fail2ban, name, true)).unwrap();
    }
    fail2ban.write("jail.d/odd.conf", &text);
    fail2ban.command(&["reload"]).await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    client.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
    eventually("all jails in the status", SOON, || async {
        let server = client.get(&format!("/api/v1/servers/{SERVER}")).await.body;
        (server["status"]["active_jails"] == json!(ODD.len() + 1)).then_some(())
    })
    .await;
    (cluster, client)
}

async fn patch(client: &Client, path: &str, body: Value) -> Answer {
    client.send(client.request(Method::PATCH, path).json(&body)).await
}

#[tokio::test]
async fn a_jail_of_any_name_is_shown_counted_searched_and_banned_in() {
    let (mut cluster, client) = cluster().await;
    let list = client.get(&format!("/api/v1/servers/{SERVER}/jails")).await;
    for name in ODD {
        let jail = list.body["items"].as_array().unwrap().iter().find(|jail| jail["name"] == name);
        let jail = jail.unwrap_or_else(|| panic!("{name}: {}", list.text));
        assert_eq!((&jail["active"], &jail["enabled"]), (&json!(true), &json!(true)), "{jail}");
        assert_eq!(client.get(&path(name, "")).await.expect(200).body["name"], name);
        let banned = client.post(&path(name, "/bans"), json!({"ips": ["203.0.113.9"]})).await;
        assert_eq!(banned.expect(200).body["results"][0]["banned"], true, "{name}: {}", banned.text);
    }
    let found = client.get("/api/v1/bans/203.0.113.9").await;
    let mut jails: Vec<_> =
        found.expect(200).body["banned"].as_array().unwrap().iter().map(|place| &place["jail"]).collect();
    jails.sort_unstable_by_key(|jail| jail.as_str());
    let mut expected = ODD;
    expected.sort_unstable();
    assert_eq!(jails, expected);
    for name in ODD {
        eventually("the list of its bans", SOON, || async {
            let page = client.get(&path(name, "/bans")).await;
            (page.expect(200).body["items"][0]["ip"] == "203.0.113.9").then_some(())
        })
        .await;
        let lifted = client.send(client.request(Method::DELETE, &path(name, "/bans/203.0.113.9"))).await;
        assert_eq!(lifted.expect(200).body["results"][0]["changed"], true, "{name}: {}", lifted.text);
    }
    assert!(!cluster.fail2ban().bans("ssh ddos", "203.0.113.9").await);
}

#[tokio::test]
async fn a_jail_of_any_name_that_a_file_can_express_is_changed_for_good() {
    let (mut cluster, client) = cluster().await;
    for name in ODD {
        let set = patch(&client, &path(name, ""), json!({"bantime": 4711, "persistent": true})).await;
        assert_eq!(set.expect(200).body["bantime"], 4711, "{name}: {}", set.text);
        let off = client.post(&path(name, "/deactivate"), json!({})).await;
        assert_eq!(off.expect(200).body["active"], false, "{name}: {}", off.text);
        let on = client.post(&path(name, "/activate"), json!({})).await;
        assert_eq!(on.expect(200).body["active"], true, "{name}: {}", on.text);
    }
    let mine = cluster.fail2ban().jail_d().into_keys().filter(|name| name.starts_with("zz-bangui-")).count();
    assert_eq!(mine, ODD.len(), "each has its own drop-in");
    // All of them are still there after a reload of everything.
    cluster.fail2ban().command(&["reload"]).await;
    assert_eq!(client.get(&path("größe", "")).await.expect(200).body["bantime"], 4711);
}

#[tokio::test]
async fn a_name_that_fail2ban_would_misread_is_shown_and_refused_for_changes_with_the_reason() {
    let mut cluster = Cluster::with_fail2ban(1).jails(&["web"]).set_up().await;
    let fail2ban = cluster.fail2ban();
    let names = [("logtarget", "settings"), ("--restart", "option"), ("a]b", "`]`")];
    let text: String = names.iter().map(|(name, _)| section(fail2ban, name, false)).collect();
    fail2ban.write("jail.d/odd.conf", &text);
    let files = fail2ban.jail_d();
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    for (name, reason) in names {
        assert_eq!(client.get(&path(name, "")).await.expect(200).body["active"], false);
        let refused = client.post(&path(name, "/activate"), json!({})).await;
        assert_eq!(refused.problem(422), "configuration-refused", "{name}");
        assert!(refused.body["detail"].as_str().unwrap().contains(reason), "{name}: {}", refused.text);
        patch(&client, &path(name, ""), json!({"bantime": 5, "persistent": true})).await.problem(422);
        // For `set logtarget banip ...` fail2ban would create a log file `banip`.
        client.post(&path(name, "/bans"), json!({"ips": ["203.0.113.9"]})).await.problem(404);
        client.get("/api/v1/bans/203.0.113.9").await.expect(200);
    }
    let (_, target) = cluster.fail2ban().try_command(&["get", "logtarget"]).await;
    assert!(target.contains("f2b.log"), "{target}");
    assert_eq!(cluster.fail2ban().jail_d(), files);
}

#[tokio::test]
async fn a_neighbouring_version_sees_the_names_that_it_can_read() {
    let (mut cluster, client) = cluster().await;
    // An agent lists other names only for workers that say that they can read them.
    let (_, status) = cluster.agent().get("/v1/status", AGENT_TOKEN).await.unwrap();
    let jails: Vec<_> = status["jails"].as_object().unwrap().keys().collect();
    assert_eq!(jails, [".", "..", "web"], "{status}");
    let (_, views) = cluster.agent().get("/v1/jails/settings", AGENT_TOKEN).await.unwrap();
    assert_eq!(views["jails"].as_array().unwrap().len(), 3, "{views}");
    // The stored state that an old worker reads has none of these names; after its write, the state has none.
    let key = format!("{{{}}}:server:{SERVER}", crate::support::cluster::PREFIX);
    let mut redis = cluster.redis.connection().await;
    let state: Vec<u8> = redis::cmd("HGET").arg(&key).arg("state").query_async(&mut redis).await.unwrap();
    let text = String::from_utf8_lossy(&state);
    assert!(text.contains("web") && !text.contains("ssh ddos"), "{text}");
    // A slow probe may come in between; it writes all names again.
    let _: i64 =
        redis::cmd("HINCRBY").arg(&key).arg("revision").arg(1).query_async(&mut redis).await.unwrap();
    eventually("the next probe's state", SOON, || async {
        let server = client.get(&format!("/api/v1/servers/{SERVER}")).await.body;
        (server["status"]["active_jails"] == json!(ODD.len() + 1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_fail2ban_cannot_read_is_reported_with_the_list_and_instead_of_a_404() {
    let mut cluster = Cluster::with_fail2ban(1).jails(&["web"]).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let list = format!("/api/v1/servers/{SERVER}/jails");
    assert_eq!(client.get(&list).await.expect(200).body["errors"], json!([]));
    client.get(&path("delta", "")).await.problem(404);
    let fail2ban = cluster.fail2ban();
    let delta = section(fail2ban, "delta", false).into_bytes();
    let file = fail2ban.config().join("jail.d/delta.conf");
    for (before, why) in [(&b"# gr\xfc\xdfe\n"[..], "decod"), (&b"\xef\xbb\xbf"[..], "section header")] {
        std::fs::write(&file, [before, &delta].concat()).unwrap();
        let listed = client.get(&list).await;
        let errors = listed.expect(200).body["errors"].to_string();
        assert!(errors.contains("delta.conf") && errors.contains(why), "{errors}");
        let shown = client.get(&path("delta", "")).await;
        assert_eq!(shown.problem(422), "configuration-unreadable");
        let activated = client.post(&path("delta", "/activate"), json!({})).await;
        assert_eq!(activated.problem(422), "configuration-refused");
        for refused in [shown, activated] {
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(detail.contains("delta.conf") && !detail.contains("add it"), "{detail}");
        }
    }
}
