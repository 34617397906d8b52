//! The schedule is in Redis and outlives every leader: as many probes as intervals, none twice, none skipped.

use std::time::{Duration, Instant};

use crate::scheduler::{SLACK, leader, runs, successor, view};
use crate::support::cluster::server_is;
use crate::support::{Client, Cluster, SOON, eventually};

/// Runs and probes over `time` must be one per interval, plus or minus one.
async fn counts_match(
    cluster: &mut Cluster,
    client: &Client,
    time: Duration,
    interval: Duration,
    expected: &str,
) {
    let (runs_before, probes_before) = (runs(&view(client).await), cluster.agent().info().await.probes);
    let began = Instant::now();
    tokio::time::sleep(time).await;
    let (runs, probes) =
        (runs(&view(client).await) - runs_before, cluster.agent().info().await.probes - probes_before);
    let due = began.elapsed().as_secs_f64() / interval.as_secs_f64();
    for (what, count) in [("runs", runs), ("probes", probes)] {
        assert!((count as f64 - due).abs() <= 1.5, "{count} {what} where {due:.1} were due: {expected}");
    }
}

#[tokio::test]
async fn the_number_of_probes_depends_on_time_and_not_on_workers() {
    let mut cluster = Cluster::with_fail2ban(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let (time, interval) = (Duration::from_secs(6), Duration::from_secs(1));
    counts_match(&mut cluster, &client, time, interval, "one worker").await;
    cluster.add_worker().await;
    cluster.add_worker().await;
    counts_match(&mut cluster, &client, time, interval, "three workers").await;
}

#[tokio::test]
async fn the_number_of_probes_is_the_same_over_changes_of_leadership() {
    let environment = [("BANGUI_LEASE_TTL_MS", 1500), ("BANGUI_PROBE_INTERVAL_SECONDS", 3)];
    let builder = environment
        .into_iter()
        .fold(Cluster::with_fail2ban(4), |builder, (name, value)| builder.env(name, value));
    let mut cluster = builder.set_up().await;
    let mut client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let (runs_before, began) = (runs(&view(&client).await), Instant::now());
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(3500)).await;
        let (n, old, _) = leader(&cluster, &client).await;
        let ended = cluster.workers.remove(n);
        client = client.at(cluster.workers[0].address);
        if round % 2 == 0 {
            ended.terminate();
        } else {
            ended.process.kill();
        }
        successor(&client, &old, SOON).await;
        ended.process.kill();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let due = began.elapsed().as_secs_f64() / 3.0;
    let runs = runs(&view(&client).await) - runs_before;
    assert!((runs as f64 - due).abs() <= 1.5, "{runs} runs where {due:.1} were due");
}

#[tokio::test]
async fn a_new_leader_neither_repeats_a_run_just_done_nor_skips_a_due_one() {
    let environment = [("BANGUI_LEASE_TTL_MS", 1500), ("BANGUI_PROBE_INTERVAL_SECONDS", 5)];
    let builder = environment
        .into_iter()
        .fold(Cluster::with_fail2ban(3), |builder, (name, value)| builder.env(name, value));
    let mut cluster = builder.set_up().await;
    let mut client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let next_run = async |client: &Client| {
        let before = runs(&view(client).await);
        eventually("a run", SOON, || async {
            let view = view(client).await;
            let job = view["jobs"].as_array()?.iter().find(|job| job["name"] == "probe")?.clone();
            (runs(&view) > before && job["last_finished_at"].as_str()? >= job["last_started_at"].as_str()?)
                .then_some(runs(&view))
        })
        .await
    };

    // The probe was just made: the successor takes over at once, and waits for the next one.
    let done = next_run(&client).await;
    let finished = Instant::now();
    let (n, old, _) = leader(&cluster, &client).await;
    let ended = cluster.workers.remove(n);
    client = client.at(cluster.workers[0].address);
    ended.terminate();
    successor(&client, &old, SLACK).await;
    while finished.elapsed() < Duration::from_secs(4) {
        assert_eq!(runs(&view(&client).await), done, "a run was repeated");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let done = next_run(&client).await;
    assert!(
        finished.elapsed() < Duration::from_secs(5) + SLACK,
        "the next run came after {:?}",
        finished.elapsed()
    );

    // A probe became due while there was no leader: the successor makes it as soon as it is elected.
    let finished = Instant::now();
    tokio::time::sleep(Duration::from_millis(4300)).await;
    let (n, old, _) = leader(&cluster, &client).await;
    let ended = cluster.workers.remove(n);
    client = client.at(cluster.workers[0].address);
    ended.process.kill();
    successor(&client, &old, SOON).await;
    eventually("the run that came due in between", SLACK, || async {
        (runs(&view(&client).await) > done).then_some(())
    })
    .await;
    assert!(finished.elapsed() > Duration::from_secs(4), "{:?}", finished.elapsed());
}
