//! The agent dies in the middle of a change: after its next start the host is as before or as asked.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};

use bangui::agent::client::RefusedKind;

use crate::agent_jails::{BANNED, beside, jail, refused};
use crate::support::{SOON, eventually};

#[tokio::test]
async fn killed_at_any_moment_of_a_change_the_host_is_as_before_or_as_asked() {
    let (fail2ban, mut agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    // How long one takes here and now.
    let began = Instant::now();
    agent.client().activate(&jail("app")).await.unwrap();
    let whole = began.elapsed();
    let mut dice = rand::rngs::SmallRng::seed_from_u64(20);
    let mut outcomes = [0, 0];
    for round in 0..20 {
        let on = fail2ban.jails().await.contains(&"app".to_owned());
        let files = fail2ban.jail_d();
        let client = agent.client();
        let change = tokio::spawn(async move {
            if on { client.deactivate(&jail("app")).await } else { client.activate(&jail("app")).await }
        });
        let moment = whole.mul_f64(dice.random_range(0.0..1.2));
        tokio::time::sleep(moment).await;
        agent.kill();
        let answered = change.await.unwrap().is_ok();
        agent.start_again().await;
        eventually("the end of what was left", SOON, || async {
            agent.info().await.interrupted_change.is_none().then_some(())
        })
        .await;
        let what =
            format!("round {round}, killed after {moment:?} of {whole:?}, on: {on}, answered: {answered}");
        let now = fail2ban.jails().await;
        let runs = now.contains(&"app".to_owned());
        let file = fail2ban.jail_d().get("zz-bangui-app.local").cloned();
        let says_on = file.as_deref().unwrap_or_default().contains("enabled = true");
        assert_eq!(runs, says_on, "{what}: {file:?}");
        if runs == on {
            assert_eq!(file, files.get("zz-bangui-app.local").cloned(), "{what}");
            assert!(!answered, "{what}: it was said to be done");
        }
        outcomes[usize::from(runs != on)] += 1;
        assert!(now.contains(&"web".to_owned()) && fail2ban.bans("web", BANNED).await, "{what}: {now:?}");
        if runs {
            // Listed and running: it bans.
            let ip = format!("203.0.113.{}", 100 + round);
            fail2ban.log_failure("app", &ip);
            eventually(&what, SOON, || async { fail2ban.bans("app", &ip).await.then_some(()) }).await;
        }
    }
    println!("as before: {}, as asked: {} (a change takes {whole:?})", outcomes[0], outcomes[1]);
    assert!(!fail2ban.log().contains("Jail 'web' stopped"));
    let left: Vec<_> = fail2ban.jail_d().into_keys().filter(|name| name.contains("journal")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_was_left_is_undone_when_fail2ban_comes_back() {
    let (mut fail2ban, mut agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    agent.kill();
    fail2ban.kill();
    fail2ban.write("jail.d/zz-bangui-app.local", "[app]\nenabled = true\n");
    let journal = serde_json::json!({ "jail": "app", "before": null, "running": ["web"], "reloaded": true });
    fail2ban.write("jail.d/.bangui-journal.json", &journal.to_string());
    agent.start_again().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(agent.info().await.interrupted_change, Some(jail("app")), "fail2ban cannot be asked yet");
    assert!(!fail2ban.jail_d().contains_key("zz-bangui-app.local"), "the file is as before at once");
    fail2ban.start_again().await;
    eventually("the end of what was left", SOON, || async {
        agent.info().await.interrupted_change.is_none().then_some(())
    })
    .await;
    assert_eq!(fail2ban.jails().await, ["web"]);
}

#[tokio::test]
async fn a_crash_is_rolled_back_the_jail_off_and_fail2ban_up_with_its_other_jails() {
    let (mut fail2ban, mut agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    let started = fail2ban.config().join("started");
    agent.more = vec![("BANGUI_FAIL2BAN_START", format!("touch {}", started.display()))];
    agent.start_again().await;
    let client = agent.client();
    client.activate(&jail("app")).await.unwrap();
    // It goes down, and would not come up: its filter has become wrong.
    fail2ban.kill();
    let filter = "[Definition]\nfailregex = ^(<ADDR>$\n";
    fail2ban.write("filter.d/open.conf", filter);
    let text = fail2ban.jail("app", false, "");
    fail2ban.write("jail.d/app.conf", &text.replace("filter = app", "filter = open"));
    let rolling = tokio::spawn({
        let client = client.clone();
        async move { client.roll_back(&jail("app")).await }
    });
    eventually("the start command", SOON, || async { started.exists().then_some(()) }).await;
    assert!(fail2ban.jail_d()["zz-bangui-app.local"].ends_with("enabled = false\n"));
    fail2ban.start_again().await;
    let back = rolling.await.unwrap().unwrap();
    assert!(back.started && back.running == [jail("web")] && back.missing.is_empty(), "{back:?}");
    eventually("the bans from the database", SOON, || async {
        fail2ban.bans("web", BANNED).await.then_some(())
    })
    .await;

    // Up, but without its jails: no start, and they are brought back, except for one that is wrong.
    fail2ban.command(&["stop", "web"]).await;
    fail2ban.write("jail.d/other.conf", "[other]\nenabled = true\nfilter = open\nlogpath = /dev/null\n");
    let back = client.roll_back(&jail("app")).await.unwrap();
    assert!(!back.started && back.running == [jail("web")], "{back:?}");
    assert!(back.missing[&jail("other")].contains("unterminated subpattern"), "{back:?}");
    refused(client.roll_back(&jail("nothing")).await, RefusedKind::Jail);
}

#[tokio::test]
async fn without_a_start_command_a_rollback_says_what_to_set_and_leaves_the_jail_off() {
    let (mut fail2ban, mut agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", true, ""))).await;
    fail2ban.kill();
    for (command, words) in [(None, "BANGUI_FAIL2BAN_START"), (Some("/nowhere/start now"), "/nowhere/start")]
    {
        agent.more =
            command.map(|command| ("BANGUI_FAIL2BAN_START", command.to_owned())).into_iter().collect();
        agent.start_again().await;
        let said = refused(agent.client().roll_back(&jail("app")).await, RefusedKind::Failed);
        assert!(said.contains(words) || std::path::Path::new("/run/systemd/system").exists(), "{said}");
        assert!(fail2ban.jail_d()["zz-bangui-app.local"].ends_with("enabled = false\n"));
    }
}
