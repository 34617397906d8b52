//! One leader: whichever worker is killed, paused or stopped, one worker is the leader, and only its writes count.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cluster::server_is;
use crate::support::proxy::Mode;
use crate::support::redis::MonitoredCommand;
use crate::support::{Client, Cluster, SOON, eventually};

/// The commands of a fenced script that is refused: it reads the lease, and writes nothing.
const READS: [&str; 2] = ["GET", "TIME"];

/// Beyond what the lease's time to live explains, on a machine that is busy with other tests.
pub const SLACK: Duration = Duration::from_millis(1500);

pub async fn view(client: &Client) -> Value {
    let answer = client.get("/api/v1/cluster").await;
    answer.expect(200);
    answer.body
}

/// The lease's holder and its epoch.
fn lease(view: &Value) -> Option<(String, u64)> {
    Some((view["lease"]["holder"].as_str()?.to_owned(), view["lease"]["epoch"].as_u64()?))
}

pub fn runs(view: &Value) -> u64 {
    let job = view["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "probe");
    job.map_or(0, |job| job["runs"].as_u64().unwrap())
}

/// Which of the workers holds the lease, once one of them does.
pub async fn leader(cluster: &Cluster, client: &Client) -> (usize, String, u64) {
    let mut ids = Vec::new();
    for worker in &cluster.workers {
        let answer = worker.client().get("/healthz").await;
        ids.push(answer.headers["x-bangui-worker"].to_str().unwrap().to_owned());
    }
    eventually("a leader", SOON, || async {
        let (holder, epoch) = lease(&view(client).await)?;
        Some((ids.iter().position(|id| *id == holder)?, holder, epoch))
    })
    .await
}

/// Waits until a worker other than `old` holds the lease; returns it, its epoch, and how long that took.
pub async fn successor(client: &Client, old: &str, deadline: Duration) -> (String, u64, Duration) {
    let began = Instant::now();
    let (holder, epoch) = eventually("another leader", deadline, || async {
        lease(&view(client).await).filter(|(holder, _)| holder != old)
    })
    .await;
    (holder, epoch, began.elapsed())
}

#[tokio::test]
async fn there_is_one_leader_and_every_worker_reports_the_same_one() {
    let cluster = Cluster::with_fail2ban(3).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let (leader, holder, epoch) = leader(&cluster, &client).await;
    for worker in &cluster.workers {
        let view = view(&client.at(worker.address)).await;
        assert_eq!(lease(&view), Some((holder.clone(), epoch)));
        assert!(view["lease"]["expires_in_ms"].as_u64().is_some_and(|ms| ms <= 2000), "{view}");
        let workers = view["workers"].as_array().unwrap();
        assert_eq!(workers.len(), 3, "{view}");
        let pids: HashSet<i64> = workers.iter().map(|worker| worker["pid"].as_i64().unwrap()).collect();
        assert_eq!(pids, cluster.workers.iter().map(|w| i64::from(w.process.pid().as_raw_pid())).collect());
        let leaders: Vec<&Value> = workers.iter().filter(|worker| worker["leader"] == true).collect();
        assert_eq!(leaders.len(), 1, "{view}");
        assert_eq!(leaders[0]["id"], holder.as_str());
        let pid = i64::from(cluster.workers[leader].process.pid().as_raw_pid());
        assert_eq!(leaders[0]["pid"], pid);
        assert_eq!(leaders[0]["version"], env!("CARGO_PKG_VERSION"));
    }
}

#[tokio::test]
async fn when_the_leader_is_killed_another_takes_over_within_the_lease_and_the_schedule_continues() {
    let ttl = Duration::from_millis(1500);
    let mut cluster = Cluster::with_fail2ban(3).env("BANGUI_LEASE_TTL_MS", 1500).set_up().await;
    let mut client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let mut last_epoch = 0;
    for _ in 0..2 {
        let (n, holder, epoch) = leader(&cluster, &client).await;
        assert!(epoch > last_epoch);
        let killed = cluster.workers.remove(n);
        client = client.at(cluster.workers[0].address);
        killed.process.kill();
        let (_, next, took) = successor(&client, &holder, SOON).await;
        assert!(took < ttl + SLACK, "it took {took:?}");
        assert!(next > epoch);
        last_epoch = epoch;
        let before = runs(&view(&client).await);
        eventually("the schedule to continue", SOON, || async {
            (runs(&view(&client).await) >= before + 2).then_some(())
        })
        .await;
    }
    // And the last worker's own probes report it: only that worker sees fail2ban's end.
    cluster.fail2ban().kill();
    server_is(&client, "down").await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_past_its_lease_writes_nothing_when_it_wakes() {
    let mut cluster = Cluster::with_fail2ban(2).env("BANGUI_LEASE_TTL_MS", 1500).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    for round in 0..3 {
        let (n, old, old_epoch) = leader(&cluster, &client).await;
        let other = client.at(cluster.workers[1 - n].address);
        // In each round at another moment of the interval: between two probes, or during one.
        tokio::time::sleep(Duration::from_millis(round * 350)).await;
        cluster.workers[n].pause();
        let (new, epoch, _) = successor(&other, &old, SOON).await;
        assert!(epoch > old_epoch);
        let monitor = cluster.redis.monitor().await;
        cluster.workers[n].resume();
        let woken = client.at(cluster.workers[n].address);
        eventually("the stopped one to see the new leader", SOON, || async {
            (lease(&view(&woken).await)? == (new.clone(), epoch)).then_some(())
        })
        .await;
        let before = runs(&view(&other).await);
        eventually("two more runs", SOON, || async {
            (runs(&view(&other).await) >= before + 2).then_some(())
        })
        .await;
        let seen = monitor.stop(&cluster.redis).await;
        let fence = format!("{old}|{old_epoch}");
        for stale in seen.iter().filter(|seen| seen.command.contains(&fence)) {
            let wrote =
                stale.inside.iter().any(|command| !READS.contains(&MonitoredCommand::name(command).as_str()));
            assert!(!wrote, "a write of the old term was taken: {stale:?}");
        }
        assert_eq!(lease(&view(&other).await), Some((new, epoch)), "the new leader was disturbed");
    }
    // The one leader there is would report that fail2ban's agent has stopped.
    cluster.agent().kill();
    server_is(&client, "unreachable").await;
}

#[tokio::test]
async fn what_an_old_leader_sent_and_the_network_held_back_is_refused_when_it_arrives() {
    let ttl = Duration::from_secs(3);
    let (mut cluster, _) =
        Cluster::with_fail2ban(0).env("BANGUI_LEASE_TTL_MS", 3000).proxied().start_surroundings().await;
    // The first one leads, behind the proxy; the second one has a direct connection.
    cluster.add_worker().await;
    cluster.environment.insert("BANGUI_REDIS_URL".to_owned(), cluster.redis.url());
    cluster.add_worker().await;
    cluster.post_setup(1).await.expect(201);
    let client = cluster.client(1).logged_in().await;
    let (n, old, old_epoch) = leader(&cluster, &client).await;
    assert_eq!(n, 0);
    server_is(&client, "up").await;

    // For a second or two it still considers itself the leader, and sends writes; all arrive after the lease has expired.
    let monitor = cluster.redis.monitor().await;
    let proxy = cluster.proxy.as_ref().unwrap();
    proxy.set(Mode::Delay(ttl + Duration::from_millis(1500)));
    let (_, epoch, took) = successor(&client, &old, SOON).await;
    assert!(took < ttl + SLACK && epoch > old_epoch);
    let before = runs(&view(&client).await);
    eventually("the schedule to continue", SOON, || async {
        (runs(&view(&client).await) >= before + 4).then_some(())
    })
    .await;
    let seen = monitor.stop(&cluster.redis).await;
    let taken = seen.iter().position(|seen| seen.all().any(|command| command.contains(&epoch.to_string())));
    let fence = format!("{old}|{old_epoch}");
    let late: Vec<&MonitoredCommand> =
        seen[taken.unwrap()..].iter().filter(|seen| seen.command.contains(&fence)).collect();
    assert!(!late.is_empty(), "nothing came late, so nothing is proven");
    for stale in late {
        let wrote =
            stale.inside.iter().any(|command| !READS.contains(&MonitoredCommand::name(command).as_str()));
        assert!(!wrote, "a write of the old term was taken: {stale:?}");
    }
}

#[tokio::test]
async fn a_probe_that_was_in_flight_when_its_leader_was_stopped_is_not_stored_when_it_wakes() {
    let mut cluster = Cluster::with_fail2ban(2).env("BANGUI_LEASE_TTL_MS", 1500).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let (n, old, _) = leader(&cluster, &client).await;
    let other = client.at(cluster.workers[1 - n].address);
    // fail2ban answers nothing, so the leader's next probe is in flight for seconds; stop the leader within it.
    let probes = cluster.agent().info().await.probes;
    cluster.fail2ban().pause();
    let begun = runs(&view(&other).await);
    eventually("a run to begin", SOON, || async { (runs(&view(&other).await) > begun).then_some(()) }).await;
    cluster.workers[n].pause();
    successor(&other, &old, SOON).await;
    cluster.fail2ban().resume();
    server_is(&other, "up").await;
    eventually("the probe to be answered", SOON, || async {
        (cluster.agent.as_ref().unwrap().info().await.probes > probes + 1).then_some(())
    })
    .await;
    cluster.workers[n].resume();
    // The old answer was "busy", or came too late: from now on nobody sees anything but "up".
    let woken = client.at(cluster.workers[n].address);
    let before = runs(&view(&other).await);
    eventually("two more runs", SOON, || async {
        for client in [&woken, &other] {
            let server = crate::support::cluster::server(client).await;
            assert_eq!(server["status"]["condition"], "up", "{server}");
        }
        (runs(&view(&other).await) >= before + 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_is_asked_to_stop_gives_the_lease_back_at_once() {
    // A lease and a drain time so long that neither can be the reason.
    let environment = [("BANGUI_LEASE_TTL_MS", 20_000), ("BANGUI_DRAIN_SECONDS", 6)];
    let builder = environment
        .into_iter()
        .fold(Cluster::with_fail2ban(3), |builder, (name, value)| builder.env(name, value));
    let cluster = builder.set_up().await;
    let client = cluster.client(0).logged_in().await;
    let (n, old, old_epoch) = leader(&cluster, &client).await;
    let other = client.at(cluster.workers[(n + 1) % 3].address);
    cluster.workers[n].terminate();
    let (_, epoch, took) = successor(&other, &old, SOON).await;
    assert!(took < SLACK, "it took {took:?}");
    assert!(epoch > old_epoch);
    let cluster = cluster;
    assert!(cluster.workers[n].process.runs(), "it still drains");
    let before = runs(&view(&other).await);
    eventually("the schedule to continue", SOON, || async {
        (runs(&view(&other).await) > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_redis_forgot_everything_there_is_a_leader_again_with_a_greater_epoch() {
    let cluster = Cluster::with_fail2ban(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let (_, _, epoch) = leader(&cluster, &client).await;
    let _: String = cluster.redis.command(&["FLUSHALL"]).await;
    client.get("/api/v1/cluster").await.problem(401);
    cluster.post_setup(1).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    let (_, _, later) = leader(&cluster, &client).await;
    assert!(later > epoch);
    server_is(&client, "up").await;
}

#[tokio::test]
async fn a_redis_that_is_slow_all_the_time_keeps_its_leader() {
    let cluster = Cluster::bare(2).proxied().env("BANGUI_LEASE_TTL_MS", 5000).set_up().await;
    let lease = async || cluster.redis.command::<Option<String>>(&["GET", "{it}:lease"]).await;
    let before = eventually("a leader", SOON, lease).await;
    // For the first renewal after it Redis's clock seems to have jumped by as much. A worker gives up on a reply after 500 ms.
    let proxy = cluster.proxy.as_ref().unwrap();
    for latency in [Duration::from_millis(430), Duration::ZERO, Duration::from_millis(430)] {
        proxy.set(if latency.is_zero() { Mode::Pass } else { Mode::Delay(latency) });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            assert_eq!(lease().await.as_ref(), Some(&before), "{:?} after {latency:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
