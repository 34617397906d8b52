//! The agent dies in the middle of a change: after its next start the host is as before or as asked.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};

use bangui::agent::client::RefusedKind;

use crate::agent_jails::{BANNED, beside, jail, refused};
use crate::support::disk::SmallDisk;
use crate::support::{SOON, eventually};

const KILLS: u32 = 20;

/// The system calls that end the steps of a change: each step ends with its data on the disk, in a temporary file, or in the folder
/// after a rename or a removal.
const STEPS: [&str; 7] = [
    "the new drop-in is written beside, not in effect yet",
    "the journal is written beside",
    "the journal is there",
    "the drop-in is there",
    "the journal that fail2ban may be reloaded is written beside",
    "that journal is there",
    "the journal is gone",
];

#[tokio::test]
async fn killed_after_each_step_of_an_activation_the_host_is_as_before_or_as_asked() {
    let (fail2ban, mut agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    // One thread, so that its calls are counted as one series.
    agent.more = vec![("TOKIO_WORKER_THREADS", "1".to_owned())];
    let before = fail2ban.jail_d();
    let mut reached = 0;
    for (step, name) in STEPS.iter().enumerate() {
        let kill = format!("inject=fsync:signal=KILL:when={}", step + 1);
        let options = ["-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=fsync", "-e", &kill];
        agent.under = std::iter::once("strace").chain(options).map(str::to_owned).collect();
        agent.start_again().await;
        let answer = agent.client().activate(&jail("app")).await;
        assert!(answer.is_err(), "it should have died when {name}: {answer:?}");
        agent.process.as_ref().unwrap().ended(SOON).await;
        reached += usize::from(fail2ban.jail_d() != before);
        agent.under.clear();
        agent.start_again().await;
        eventually("the end of what was left", SOON, || async {
            let files = fail2ban.jail_d();
            let left = files.keys().any(|file| file.starts_with(".bangui"));
            (agent.info().await.interrupted_change.is_none() && !left).then_some(())
        })
        .await;
        let (files, jails) = (fail2ban.jail_d(), fail2ban.jails().await);
        if step + 1 < STEPS.len() {
            assert_eq!((&files, &jails[..]), (&before, &["web".to_owned()][..]), "{name}");
        } else {
            assert!(files["zz-bangui-app.local"].ends_with("enabled = true\n"), "{name}: {files:?}");
            assert_eq!(jails, ["app", "web"], "{name}");
        }
        assert!(fail2ban.bans("web", BANNED).await, "{name}");
    }
    assert_eq!(reached, STEPS.len(), "after some step, the files were as before");
    assert!(!fail2ban.log().contains("Jail 'web' stopped"));
    // The change has no more steps.
    agent.under = ["strace", "-f", "-qq", "-o"].map(str::to_owned).into();
    let trace = fail2ban.config().join("trace");
    agent.under.extend([
        trace.display().to_string(),
        "-e".into(),
        "trace=fsync,fdatasync,rename,renameat,renameat2".into(),
    ]);
    agent.client().deactivate(&jail("app")).await.unwrap();
    agent.start_again().await;
    agent.client().activate(&jail("app")).await.unwrap();
    let trace = std::fs::read_to_string(&trace).unwrap();
    let count = |call: &str| trace.lines().filter(|line| line.contains(call)).count();
    assert_eq!((count("fsync("), count("fdatasync("), count("rename")), (STEPS.len(), 0, 3), "{trace}");
}

#[tokio::test]
async fn killed_at_any_moment_of_a_change_the_host_is_as_before_or_as_asked() {
    let (fail2ban, mut agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    // How long a change takes on this machine now.
    let began = Instant::now();
    agent.client().activate(&jail("app")).await.unwrap();
    let whole = began.elapsed();
    let seed = std::env::var("BANGUI_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("BANGUI_TEST_SEED={seed}, a change takes {whole:?}");
    let mut dice = rand::rngs::SmallRng::seed_from_u64(seed);
    let (mut outcomes, mut in_the_middle) = ([0, 0], 0);
    for round in 0..3 * KILLS {
        if round >= KILLS && in_the_middle > 0 {
            break;
        }
        let on = fail2ban.jails().await.contains(&"app".to_owned());
        let files = fail2ban.jail_d();
        let client = agent.client();
        let change = tokio::spawn(async move {
            if on { client.deactivate(&jail("app")).await } else { client.activate(&jail("app")).await }
        });
        // One kill in each twentieth of the change, and a little beyond its end.
        let moment =
            whole.mul_f64(1.1 * (f64::from(round % KILLS) + dice.random_range(0.0..1.0)) / f64::from(KILLS));
        tokio::time::sleep(moment).await;
        agent.kill();
        in_the_middle += usize::from(fail2ban.jail_d().contains_key(".bangui-journal.json"));
        let answered = change.await.unwrap().is_ok();
        agent.start_again().await;
        eventually("the end of what was left", SOON, || async {
            agent.info().await.interrupted_change.is_none().then_some(())
        })
        .await;
        let what = format!(
            "seed {seed}, round {round}, killed after {moment:?} of {whole:?}, on: {on}, answered: {answered}"
        );
        let now = fail2ban.jails().await;
        let runs = now.contains(&"app".to_owned());
        let file = fail2ban.jail_d().get("zz-bangui-app.local").cloned();
        let says_on = file.as_deref().unwrap_or_default().contains("enabled = true");
        assert_eq!(runs, says_on, "{what}: {file:?}");
        if runs == on {
            assert_eq!(file, files.get("zz-bangui-app.local").cloned(), "{what}");
            assert!(!answered, "{what}: it was reported as done");
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
    println!("as before: {}, as asked: {}, with a journal left: {in_the_middle}", outcomes[0], outcomes[1]);
    assert!(in_the_middle > 0, "no kill met a change that had begun to write");
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
    // It goes down, and would not come up again: its filter has become invalid.
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
    fail2ban.bans_again("web", BANNED).await;

    // fail2ban is up, but without its jails: it is not started, and they are brought back, except an invalid one.
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
        let said = refused(agent.client().roll_back(&jail("app")).await, RefusedKind::Unsettled);
        assert!(said.contains(words) || std::path::Path::new("/run/systemd/system").exists(), "{said}");
        assert!(fail2ban.jail_d()["zz-bangui-app.local"].ends_with("enabled = false\n"));
    }
}

#[tokio::test]
async fn the_next_agent_waits_for_a_reload_that_outlives_the_last_one() {
    // A reload that ends a jail runs the unban action of each of its bans, which takes its time here.
    let slow = "[Definition]\nactionstart =\nactionstop =\nactioncheck =\nactionban =\n\
                actionunban = touch FOLDER/unbanning; while [ -d FOLDER ] && [ ! -e FOLDER/go ]; do sleep 0.05; done\n[Init]\nname = default\n";
    let (fail2ban, mut agent) = beside(|f| {
        // In a separate folder, which is removed with the test.
        f.write("action.d/slow.conf", &slow.replace("FOLDER", &f.config().display().to_string()));
        f.write("jail.d/app.conf", &f.jail("app", false, "").replace("note[", "slow["));
    })
    .await;
    agent.client().activate(&jail("app")).await.unwrap();
    fail2ban.log_failure("app", "203.0.113.5");
    eventually("a ban", SOON, || async { fail2ban.bans("app", "203.0.113.5").await.then_some(()) }).await;
    let client = agent.client();
    let asked = tokio::spawn(async move { client.deactivate(&jail("app")).await });
    let (unbanning, go) = (fail2ban.config().join("unbanning"), fail2ban.config().join("go"));
    eventually("the unban action", SOON * 2, || async { unbanning.exists().then_some(()) }).await;
    // Only the agent is killed: its reload continues, as after a SIGKILL from outside.
    agent.process.take().unwrap().kill_alone();
    assert!(asked.await.unwrap().is_err());
    agent.start_again().await;
    for _ in 0..10 {
        assert_eq!(agent.info().await.interrupted_change, Some(jail("app")), "the reload is not over");
        assert!(fail2ban.jail_d()["zz-bangui-app.local"].contains("enabled = false"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::write(&go, "").unwrap();
    eventually("the end of what was left", SOON * 2, || async {
        agent.info().await.interrupted_change.is_none().then_some(())
    })
    .await;
    assert_eq!(fail2ban.jails().await, ["app", "web"], "as before");
    assert!(fail2ban.jail_d()["zz-bangui-app.local"].contains("enabled = true"));
}

#[tokio::test]
async fn on_a_full_disk_a_change_is_refused_in_plain_words_and_the_host_is_as_before() {
    let (fail2ban, agent) = beside(|_| ()).await;
    let Some(disk) = SmallDisk::mount(&fail2ban.config().join("jail.d"), 24).await else {
        println!("NOT RUN: a small file system cannot be mounted here");
        return;
    };
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, ""));
    let client = agent.client();
    let set = |maxretry: i64| bangui::agent::wire::ChangeSettings {
        settings: serde_json::from_value(serde_json::json!({ "maxretry": maxretry })).unwrap(),
        persistent: true,
    };
    // Something is there that must be as before, and something is not.
    client.change_settings(&jail("web"), &set(1)).await.unwrap();
    let (files, jails) = (fail2ban.jail_d(), fail2ban.jails().await);
    let mut refusals = 0;
    for free in 0..6 {
        disk.leave_free(free);
        for change in ["activate", "set"] {
            let answer = match change {
                "activate" => client.activate(&jail("app")).await.map(drop),
                _ => client.change_settings(&jail("web"), &set(9)).await.map(drop),
            };
            disk.clear();
            let what = format!("{change} with {free} pages free: {answer:?}");
            match answer {
                Err(_) => {
                    refusals += 1;
                    let said = refused(answer, RefusedKind::Failed);
                    assert!(said.contains("No space left") && said.contains("make room"), "{what}");
                    assert_eq!(
                        (fail2ban.jail_d(), fail2ban.jails().await),
                        (files.clone(), jails.clone()),
                        "{what}"
                    );
                }
                Ok(()) if change == "activate" => drop(client.deactivate(&jail("app")).await.unwrap()),
                Ok(()) => drop(client.change_settings(&jail("web"), &set(1)).await.unwrap()),
            }
            std::fs::remove_file(fail2ban.config().join("jail.d/zz-bangui-app.local")).unwrap_or_default();
            assert_eq!(fail2ban.jail_d(), files, "{what}");
            assert_eq!(agent.info().await.interrupted_change, None, "{what}");
            assert!(fail2ban.bans("web", BANNED).await, "{what}");
            disk.leave_free(free);
        }
        disk.clear();
    }
    assert!(refusals >= 4, "the disk was never full: {refusals}");
}
