//! The near cache on real processes: fast, and never behind an answered logout, whatever goes wrong. More rounds of the same,
//! with figures: `cargo bench -- near_cache`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::rounds::{Fault, Scene, Tally, holders_are_known, holds, metric, with_near_caches};
use crate::support::{Client, Cluster, SOON};

/// Runs rounds; no session may be accepted after its logout was answered. At least so many rounds must have come to a logout.
async fn rounds(fault: Fault, rounds: usize, together: usize) -> Tally {
    let mut tally = Scene::set_up(fault).await.run(fault, rounds, together).await;
    assert!(tally.accepted.is_empty(), "{:?}", tally.accepted);
    assert!(tally.rounds * 2 > rounds, "{} of {rounds} rounds came to a logout", tally.rounds);
    assert!(tally.hits > 0.0, "no near cache was used");
    tally.logouts.sort_by(f64::total_cmp);
    tally
}

/// Whether a logout has waited for a lease, which proves that the fault came while a holder had sessions.
fn waited_for_a_lease(tally: &Tally) -> bool {
    tally.logouts.last().is_some_and(|longest| *longest > 1_000.0)
}

#[tokio::test]
async fn a_session_is_refused_everywhere_once_its_logout_is_answered() {
    rounds(Fault::None, 200, 4).await;
}

#[tokio::test]
async fn a_holder_that_is_paused_past_its_lease_accepts_nothing_when_it_continues() {
    assert!(waited_for_a_lease(&rounds(Fault::Stopped, 30, 8).await));
}

#[tokio::test]
async fn a_logout_waits_out_the_lease_of_a_holder_that_was_killed() {
    assert!(waited_for_a_lease(&rounds(Fault::Killed, 30, 8).await));
}

#[tokio::test]
async fn a_logout_waits_out_the_lease_of_a_holder_that_was_killed_while_it_led_and_another_leads() {
    let tally = rounds(Fault::KilledLeader, 30, 8).await;
    assert!(waited_for_a_lease(&tally) && tally.takeovers.len() >= 2, "{tally:?}");
}

#[tokio::test]
async fn a_holder_whose_link_is_cut_accepts_nothing_that_was_logged_out() {
    rounds(Fault::Cut, 30, 4).await;
}

#[tokio::test]
async fn a_holder_whose_link_swallows_everything_accepts_nothing_that_was_logged_out() {
    assert!(waited_for_a_lease(&rounds(Fault::BlackHole, 30, 8).await));
}

#[tokio::test]
async fn a_holder_that_hears_no_messages_accepts_nothing_that_was_logged_out() {
    assert!(waited_for_a_lease(&rounds(Fault::Deaf, 30, 8).await));
}

#[tokio::test]
async fn a_holder_counts_its_lease_from_before_a_renewal_whose_reply_is_late() {
    assert!(waited_for_a_lease(&rounds(Fault::LateReplies, 60, 16).await));
}

#[tokio::test]
async fn a_holder_whose_confirmations_are_late_is_waited_for() {
    rounds(Fault::Slow, 30, 8).await;
}

#[tokio::test]
async fn a_redis_that_comes_back_with_nothing_waits_for_holders_it_does_not_know() {
    rounds(Fault::Forgetful, 30, 8).await;
}

#[tokio::test]
async fn switching_the_cache_on_and_off_between_logouts_opens_no_gap() {
    rounds(Fault::Switched, 30, 4).await;
}

#[tokio::test]
async fn the_near_cache_is_switched_on_and_off_for_all_workers_while_they_run() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    for on in [true, false, true] {
        client.patch("/api/v1/settings", "*", json!({ "session_cache_enabled": on })).await.expect(200);
        for n in 0..2 {
            holds(&cluster.client(n), on).await;
        }
        let holders = client.get("/api/v1/cluster").await.body["cache_holders"].clone();
        assert_eq!(holders, if on { 2 } else { 0 });
    }
    let other = client.at(cluster.workers[1].address);
    for _ in 0..10 {
        other.get("/api/v1/session").await.expect(200);
    }
    assert!(metric(&other, "bangui_session_checks_total{source=\"near_cache\"").await > 0.0);
}

#[tokio::test]
async fn a_worker_whose_cache_was_switched_off_answers_nothing_from_what_it_held() {
    let cluster = with_near_caches(2).await;
    let (admin, client) = (cluster.client(0).logged_in().await, cluster.client(0).logged_in().await);
    let other = client.at(cluster.workers[1].address);
    for _ in 0..2 {
        other.get("/api/v1/session").await.expect(200);
    }
    admin.patch("/api/v1/settings", "*", json!({ "session_cache_enabled": false })).await.expect(200);
    holds(&other, false).await;
    client.delete("/api/v1/session").await.expect(204);
    other.get("/api/v1/session").await.problem(401);
}

#[tokio::test]
async fn a_password_change_and_a_revocation_of_all_sessions_empty_every_near_cache() {
    let cluster = Cluster::bare(2).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    for n in 0..2 {
        holds(&cluster.client(n), true).await;
    }
    let mut clients = [cluster.client(0).logged_in().await, cluster.client(1).logged_in().await];
    let look = async |clients: &[Client]| {
        for worker in &cluster.workers {
            for client in clients {
                client.at(worker.address).get("/api/v1/session").await;
            }
        }
    };
    look(&clients).await;
    look(&clients).await;
    let new = "another correct horse battery staple";
    let before = clients[0].clone();
    clients[0] = before.change_password(crate::support::PASSWORD, new).await;
    for worker in &cluster.workers {
        before.at(worker.address).get("/api/v1/session").await.problem(401);
    }
    clients[0].confirm(new).await.expect(204);
    for worker in &cluster.workers {
        clients[0].at(worker.address).get("/api/v1/session").await.expect(200);
        clients[1].at(worker.address).get("/api/v1/session").await.problem(401);
    }
    look(&clients).await;
    clients[0].delete("/api/v1/sessions").await.expect(204);
    for worker in &cluster.workers {
        clients[0].at(worker.address).get("/api/v1/session").await.problem(401);
    }
}

#[tokio::test]
async fn a_user_who_is_active_only_in_near_caches_is_not_logged_out() {
    let cluster = Cluster::bare(1)
        .env("BANGUI_SESSION_CACHE_ENABLED", true)
        .env("BANGUI_SESSION_IDLE_SECONDS", 2)
        .set_up()
        .await;
    let client = cluster.client(0).logged_in().await;
    holds(&client, true).await;
    let hits = "bangui_session_checks_total{source=\"near_cache\"";
    let (begun, before, mut requests) = (Instant::now(), metric(&client, hits).await, 0.0);
    while begun.elapsed() < Duration::from_secs(7) {
        client.get("/api/v1/session").await.expect(200);
        requests += 1.0;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let hits = metric(&client, hits).await - before;
    assert!(hits > requests / 2.0, "{hits} of {requests} requests were answered from the near cache");
    tokio::time::sleep(Duration::from_millis(2_700)).await;
    client.get("/api/v1/session").await.problem(401);
}

#[tokio::test]
async fn ending_a_session_that_is_gone_waits_for_the_holder_that_may_not_know_it() {
    let cluster = Cluster::bare(2).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    for n in 0..2 {
        holds(&cluster.client(n), true).await;
    }
    let store = cluster.store();
    store.ready().await.unwrap();
    holders_are_known(&cluster).await;
    // On a busy machine a holder may lose its lease by itself, so that no logout waits for it: one of a few attempts must succeed.
    for _ in 0..5 {
        holds(&cluster.client(1), true).await;
        let client = cluster.client(0).logged_in().await;
        let other = client.at(cluster.workers[1].address);
        other.get("/api/v1/session").await.expect(200);
        other.get("/api/v1/session").await.expect(200);
        cluster.workers[1].pause();
        // The first try is cut off before its answer, as by a client that loses its connection.
        let request = client.request(reqwest::Method::DELETE, "/api/v1/session");
        let cut_off = tokio::time::timeout(Duration::from_millis(300), client.try_send(request)).await;
        let begun = Instant::now();
        client.delete("/api/v1/session").await.problem(401);
        let waited = begun.elapsed();
        cluster.workers[1].resume();
        other.get("/api/v1/session").await.problem(401);
        if cut_off.is_err() && waited > Duration::from_secs(1) {
            return;
        }
    }
    panic!("no second try has waited for a holder that was stopped");
}

#[tokio::test]
async fn logouts_of_strangers_share_one_wait_and_cost_redis_next_to_nothing() {
    let cluster = with_near_caches(2).await;
    let client = cluster.client(0);
    // A revocation that a holder does not confirm: the strangers have something to wait for.
    let revoked = client.logged_in().await;
    holds(&cluster.client(1), true).await;
    cluster.workers[1].pause();
    let request = revoked.request(reqwest::Method::DELETE, "/api/v1/session");
    let _ = tokio::time::timeout(Duration::from_millis(200), revoked.try_send(request)).await;
    let total = async || cluster.redis.command_counts().await.values().sum::<u64>();
    let (before, begun) = (total().await, Instant::now());
    let strangers = (0..200).map(|n| {
        // With invented tokens.
        let stranger = client.with_bearer(&format!("{n:043}"));
        async move { stranger.delete("/api/v1/session").await.status.as_u16() }
    });
    let answers = futures_util::future::join_all(strangers).await;
    // On a machine that is busy with other tests a check may be too late.
    assert!(
        answers.contains(&401) && answers.iter().all(|status| [401, 503].contains(status)),
        "{answers:?}"
    );
    let (commands, took) = (total().await - before, begun.elapsed());
    cluster.workers[1].resume();
    // One check for each, and two waits: the one that was under way, and one for all who came during it.
    println!("200 strangers: {commands} commands in {took:?}");
    assert!(commands < 200 * 4 + 600, "{commands} commands");
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn a_logout_with_a_made_up_token_costs_a_dozen_commands_while_a_near_cache_is_silent() {
    // On a busy machine the silent holder's lease may have run out before the stranger's wait begins: one of a few attempts must succeed.
    for _ in 0..5 {
        let looks = looks_for_a_stranger().await;
        // Polling every 20 ms of a lease of 2 s would be about 107. The rest is other polling.
        assert!(looks < 40, "{looks} looks");
        if looks >= 5 {
            return;
        }
    }
    panic!("no stranger's logout has waited for a holder that was stopped");
}

/// How often a stranger's logout looks whether the one holder that was stopped has confirmed.
async fn looks_for_a_stranger() -> u64 {
    let cluster = with_near_caches(3).await;
    let client = cluster.client(0);
    let revoked = client.logged_in().await;
    holds(&cluster.client(1), true).await;
    cluster.workers[1].pause();
    // The revocation waits for the holder that was stopped, and goes with its worker: only the stranger's wait is left.
    let request = revoked.request(reqwest::Method::DELETE, "/api/v1/session");
    let _ = tokio::time::timeout(Duration::from_millis(200), revoked.try_send(request)).await;
    cluster.workers[0].process.kill();
    let looks = async || cluster.redis.command_counts().await.get("hmget").copied().unwrap_or_default();
    let before = looks().await;
    let stranger = cluster.client(2).with_bearer(&"8".repeat(43));
    let status = stranger.delete("/api/v1/session").await.status;
    assert!([401, 503].contains(&status.as_u16()), "{status}");
    let looks = looks().await - before;
    cluster.workers[1].resume();
    looks
}
