//! A worker dies in the middle of a switch: the host ends up as before or as asked, the record and the audit say no more
//! than is known, and another worker continues.

use std::time::{Duration, Instant};

use bangui::domain::{ServerName, ServerState};
use bangui::store::BEGUN;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::jails::{BANNED, beside_web, path, post};
use crate::support::cluster::{SERVER, server};
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, SOON, eventually};

const KILLS: u32 = 10;

/// Waits until the agent has brought what it began to its end: changes of a host come one at a time, so that this one is
/// the last.
async fn agent_is_done(client: &Client) {
    let request = client.request(reqwest::Method::PATCH, &path("jails/web"));
    let body = json!({ "maxretry": 1, "persistent": true });
    client.send(request.timeout(SOON * 3).json(&body)).await.expect(200);
}

async fn state(cluster: &Cluster) -> ServerState {
    cluster
        .connected_store()
        .await
        .server(&ServerName::parse(SERVER).unwrap())
        .await
        .unwrap()
        .state
        .as_ref()
        .clone()
}

#[tokio::test]
async fn a_worker_killed_at_any_moment_of_a_switch_leaves_a_true_record_and_a_host_as_before_or_as_asked() {
    let (mut cluster, first) = beside_web().await;
    let store = cluster.connected_store().await;
    let client = first.at(cluster.workers[1].address);
    let began = Instant::now();
    post(&first, "jails/app/activate").await.expect(200);
    let whole = began.elapsed();
    let seed = std::env::var("BANGUI_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("BANGUI_TEST_SEED={seed}, a switch takes {whole:?}");
    let mut dice = rand::rngs::SmallRng::seed_from_u64(seed);
    let mut ends = [0, 0];
    for round in 0..KILLS {
        let on = cluster.fail2ban().jails().await.contains(&"app".to_owned());
        let before = server(&client).await["last_activation"].clone();
        let newest = store.audit_page(None, 1).await.unwrap().items[0].id.clone();
        let wanted = if on { "deactivate" } else { "activate" };
        let first = first.renewed(cluster.workers[0].address);
        let asked = tokio::spawn(async move {
            let request = first.request(reqwest::Method::POST, &path(&format!("jails/app/{wanted}")));
            first.try_send(request).await.is_ok_and(|answer| answer.status.is_success())
        });
        // Over the whole, and denser at its beginning: what the worker itself does comes before the agent has the request.
        let at = (f64::from(round) + dice.random_range(0.0..1.0)) / f64::from(KILLS);
        let moment = whole.mul_f64(at.powi(4));
        tokio::time::sleep(moment).await;
        cluster.workers[0].process.kill();
        let answered = asked.await.unwrap();
        let process = Worker::spawn("worker A again", &cluster.environment);
        cluster.workers[0] = Worker::listening(process).await;
        cluster.workers[0].ready(SOON).await;
        agent_is_done(&client).await;

        let fail2ban = cluster.fail2ban();
        let (runs, file) = (fail2ban.jails().await.contains(&"app".to_owned()), fail2ban.jail_d());
        let file = file.get("zz-bangui-app.local").cloned().unwrap_or_default();
        let record = server(&client).await["last_activation"].clone();
        let banned = fail2ban.bans("web", BANNED).await;
        let audited = store.audit_page(None, 50).await.unwrap().items;
        let audited: Vec<_> = audited.into_iter().take_while(|entry| entry.id != newest).collect();
        let what = format!(
            "seed {seed}, round {round}: {wanted}, killed after {moment:?} of {whole:?}, answered: {answered}, \
             runs: {runs}, {file:?}, before: {before}, record: {record}, audit: {audited:?}"
        );
        assert_eq!(runs, file.contains("enabled = true"), "{what}");
        assert!(banned, "{what}");
        let audited: Vec<&str> = audited
            .iter()
            .filter(|entry| entry.what == format!("jail.{wanted}"))
            .map(|entry| entry.outcome.as_str())
            .collect();
        if runs == on {
            assert!(!answered, "{what}");
        } else {
            // Whatever happened to the host has an entry, and after a death it does not say `done` for certain.
            assert_eq!(audited.last(), Some(&BEGUN), "{what}");
            let expected = if on { Value::Null } else { json!("app") };
            assert_eq!(record["jail_name"], expected, "{what}");
        }
        if !audited.contains(&BEGUN) {
            assert_eq!((runs, &record), (on, &before), "{what}");
        }
        ends[usize::from(runs != on)] += 1;
        assert_eq!(server(&client).await["status"]["condition"], "up", "{what}");
    }
    println!("as before: {}, as asked: {}", ends[0], ends[1]);
    assert!(!cluster.fail2ban().log().contains("Jail 'web' stopped"));

    // What the dead left is settled by what runs, once it can no longer be under way.
    let name = ServerName::parse(SERVER).unwrap();
    let older = |mut state: ServerState, now: bangui::domain::Timestamp| {
        for switch in &mut state.switching {
            switch.at = now - chrono::TimeDelta::seconds(300);
        }
        Ok::<_, std::convert::Infallible>(Some((state, vec![])))
    };
    eventually("the switches to be old", SOON, || async { store.change_server(&name, older).await.ok() })
        .await;
    eventually("the settling", SOON, || async { state(&cluster).await.switching.is_empty().then_some(()) })
        .await;
    for wanted in ["deactivate", "activate"] {
        post(&client, &format!("jails/app/{wanted}")).await.expect(200);
    }
}

#[tokio::test]
async fn an_activation_that_a_dead_worker_only_began_is_taken_back_by_a_later_probe() {
    let (mut cluster, client) = beside_web().await;
    let other = client.at(cluster.workers[1].address);
    post(&client, "jails/app/activate").await.expect(200);
    let before = server(&other).await["last_activation"].clone();
    let fail2ban = cluster.fail2ban();
    fail2ban.write("jail.d/more.conf", &fail2ban.jail("more", false, ""));
    // The agent takes the request and cannot begin: fail2ban does not answer it. The worker dies before the answer.
    fail2ban.pause();
    let asked = tokio::spawn(async move { post_quietly(&client, "jails/more/activate").await });
    eventually("the record", SOON, || async {
        (server(&other).await["last_activation"]["jail_name"] == "more").then_some(())
    })
    .await;
    cluster.workers[0].process.kill();
    asked.await.unwrap();
    cluster.agent().kill();
    cluster.fail2ban().resume();
    cluster.agent().start_again().await;
    assert_eq!(server(&other).await["last_activation"]["jail_name"], "more", "it might still be under way");
    let (store, name) = (cluster.store(), ServerName::parse(SERVER).unwrap());
    let older = |mut state: ServerState, _| {
        let aged = chrono::TimeDelta::seconds(300);
        state.switching.iter_mut().for_each(|switch| switch.at -= aged);
        let records = [&mut state.last_activation, &mut state.settled_activation];
        records.into_iter().flatten().for_each(|record| record.at -= aged);
        Ok::<_, std::convert::Infallible>(Some((state, vec![])))
    };
    eventually("the switch to be old", SOON, || async { store.change_server(&name, older).await.ok() }).await;
    eventually("the record of before", SOON * 2, || async {
        (server(&other).await["last_activation"]["jail_name"] == before["jail_name"]).then_some(())
    })
    .await;
    assert!(!cluster.fail2ban().jail_d().contains_key("zz-bangui-more.local"));
}

async fn post_quietly(client: &Client, rest: &str) {
    let request = client.request(reqwest::Method::POST, &path(rest)).timeout(Duration::from_secs(20));
    let _ = client.try_send(request).await;
}
