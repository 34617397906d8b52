//! Files of the host that a jail's configuration is made of: those that are included or linked, those that change, and those
//! that cannot be read.

use std::time::Duration;

use bangui::agent::client::RefusedKind;
use serde_json::json;

use crate::agent_jails::{BANNED, beside, jail, refused};
use crate::host_changes::{set, view};

#[tokio::test]
async fn settings_that_change_in_an_included_file_show_at_the_next_look() {
    let (fail2ban, agent) = beside(|f| {
        let elsewhere = f.config().parent().unwrap().join("common.conf");
        std::fs::write(elsewhere, "[DEFAULT]\nbantime = 100\n").unwrap();
        f.write("jail.d/app.conf", &f.jail("app", false, ""));
        f.write("jail.local", "[INCLUDES]\nafter = ../common.conf\n");
    })
    .await;
    let client = agent.client();
    let included = fail2ban.config().parent().unwrap().join("common.conf");
    assert_eq!(view(&client, "app").await.bantime, Some(100));
    // Old enough for the first read to be cached.
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    let age = || std::fs::File::options().write(true).open(&included).unwrap().set_modified(old).unwrap();
    age();
    assert_eq!(view(&client, "app").await.bantime, Some(100));
    std::fs::write(&included, "[DEFAULT]\nbantime = 200\n").unwrap();
    assert_eq!(view(&client, "app").await.bantime, Some(200));
    // And in a file that was not there before.
    std::fs::write(included.with_extension("local"), "[DEFAULT]\nbantime = 300\n").unwrap();
    assert_eq!(view(&client, "app").await.bantime, Some(300));
}

#[tokio::test]
async fn a_file_of_another_jail_that_cannot_be_read_does_not_keep_a_jail_from_being_changed() {
    let (fail2ban, agent) = beside(|f| {
        for name in ["app", "other"] {
            f.write(&format!("jail.d/{name}.conf"), &f.jail(name, false, ""));
        }
    })
    .await;
    let client = agent.client();
    for name in ["app", "other"] {
        client.activate(&jail(name)).await.unwrap();
    }
    let broken = |name: &str, text: &str| {
        let bytes = [&b"# gr\xf6\xdfer\n"[..], text.as_bytes()].concat();
        std::fs::write(fail2ban.config().join(name), bytes).unwrap();
    };
    let set = async |bantime| client.change_settings(&jail("app"), &set(json!({ "bantime": bantime }))).await;
    for (name, text) in [
        ("jail.d/zz-bangui-other.local", "[other]\nenabled = true\n"),
        ("jail.d/theirs.local", "[other]\nbantime = 7\n"),
    ] {
        broken(name, text);
        assert!(!client.deactivate(&jail("app")).await.unwrap().active, "{name}");
        assert!(client.activate(&jail("app")).await.unwrap().active, "{name}");
        set(77).await.unwrap();
        std::fs::remove_file(fail2ban.config().join(name)).unwrap();
    }
    // Anything but a regular file is not read either.
    let folder = fail2ban.config().join("jail.d/zz-bangui-other.local");
    std::fs::create_dir(&folder).unwrap();
    assert!(!client.deactivate(&jail("app")).await.unwrap().active);
    assert!(client.activate(&jail("app")).await.unwrap().active);
    std::fs::remove_dir(&folder).unwrap();
    // A file that may be about this jail may contain what it needs.
    for text in
        ["[app]\nbantime = 7\n", "[DEFAULT]\nbantime = 7\n", "[INCLUDES]\nafter = x.conf\n", "no title\n"]
    {
        broken("jail.d/theirs.local", text);
        let said = refused(set(78).await, RefusedKind::Configuration);
        assert!(said.contains("theirs.local") && said.contains("decod"), "{said}");
    }
    std::fs::remove_file(fail2ban.config().join("jail.d/theirs.local")).unwrap();
    set(78).await.unwrap();
    assert_eq!(fail2ban.jails().await, ["app", "other", "web"]);
    assert!(fail2ban.bans("web", BANNED).await);
}

#[tokio::test]
async fn an_include_and_a_link_are_read_as_the_host_has_them_before_anything_is_in_effect() {
    let (fail2ban, agent) = beside(|f| {
        // Both lead out of the folder.
        let elsewhere = f.config().parent().unwrap().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("common.conf"), "[DEFAULT]\nchosen = app\n").unwrap();
        std::fs::write(elsewhere.join("app.conf"), f.jail("app", false, "").replace("= app", "= %(chosen)s"))
            .unwrap();
        std::os::unix::fs::symlink(elsewhere.join("app.conf"), f.config().join("jail.d/app.conf")).unwrap();
        f.write("jail.local", "[INCLUDES]\nbefore = ../elsewhere/common.conf\n");
    })
    .await;
    assert!(agent.client().activate(&jail("app")).await.unwrap().active);
    assert_eq!(view(&agent.client(), "app").await.filter, "app");
    assert_eq!(fail2ban.jails().await, ["app", "web"]);
}
