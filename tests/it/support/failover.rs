//! The load while a primary is replaced: users at work on every worker, and what must hold for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::cluster::SERVER;
use super::redis::MonitoredCommand;
use super::{Client, Cluster, PASSWORD, SOON, eventually};

/// How soon after the promotion of the replica workers promise to be back.
pub const PROMISED: Duration = Duration::from_secs(2);
/// Added to that, for a machine that is busy with other tests.
pub const SLACK: Duration = Duration::from_secs(3);
/// The commands of a fenced script that is refused: it reads the lease, and writes nothing.
const READS: [&str; 2] = ["GET", "TIME"];

/// Users who check their sessions, log in and write, on every worker, until stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Answers so far, by status.
    answered: Arc<[AtomicU64; 600]>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Starts the load.
    pub fn start(cluster: &Cluster, users: &[Client]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered: Arc<[AtomicU64; 600]> = Arc::new([const { AtomicU64::new(0) }; 600]);
        let mut tasks = JoinSet::new();
        for (n, worker) in cluster.workers.iter().enumerate() {
            for (kind, pause) in [("check", 5), ("login", 60), ("write", 40)] {
                let user = users[(n + 1) % users.len()].at(worker.address);
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                tasks.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let request = match kind {
                            "check" => user.request(Method::GET, "/api/v1/session"),
                            "login" => user
                                .anonymous()
                                .request(Method::POST, "/api/v1/session")
                                .json(&json!({ "password": PASSWORD })),
                            _ => user.request(Method::POST, &format!("/api/v1/servers/{SERVER}/probe")),
                        };
                        let answer = user.send(request).await;
                        let allowed = [200, 201, 202, 503];
                        assert!(allowed.contains(&answer.status.as_u16()), "{kind}: {answer:?}");
                        answered[usize::from(answer.status.as_u16())].fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                    }
                });
            }
        }
        Self { stop, answered, tasks }
    }

    /// Ends the load; fails if any user got a wrong answer. Returns how many answers were right, and how many 503.
    pub async fn stop(mut self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let count = |status: usize| self.answered[status].load(Ordering::Relaxed);
        (count(200) + count(201) + count(202), count(503))
    }
}

/// Waits until every worker checks sessions, takes logins and is ready; returns when that was.
pub async fn all_back(users: &[Client], cluster: &Cluster) -> Instant {
    let mut waits = JoinSet::new();
    for worker in &cluster.workers {
        let user = users[0].at(worker.address);
        waits.spawn(async move {
            eventually("a worker to be back", SOON * 2, || async {
                let checked = user.get("/api/v1/session").await;
                assert!([200, 503].contains(&checked.status.as_u16()), "{checked:?}");
                let ready = user.get("/readyz").await.status == 200 && checked.status == 200;
                let login = json!({ "password": PASSWORD });
                let logged_in = ready && user.anonymous().post("/api/v1/session", login).await.status == 201;
                logged_in.then(Instant::now)
            })
            .await
        });
    }
    let mut last = Instant::now();
    while let Some(back) = waits.join_next().await {
        last = last.max(back.unwrap());
    }
    last
}

/// Fails unless the fenced writes that both Redises recorded as accepted are in the order of their terms. Returns their number.
pub fn check_one_writer(records: Vec<Vec<MonitoredCommand>>) -> usize {
    let mut accepted: Vec<(f64, String, u64)> = Vec::new();
    for seen in records.iter().flatten() {
        let wrote =
            seen.inside.iter().any(|command| !READS.contains(&MonitoredCommand::name(command).as_str()));
        for word in seen.command.split('"').filter(|_| wrote) {
            let Some((owner, epoch)) = word.split_once('|') else { continue };
            if let (32, Ok(epoch)) = (owner.len(), epoch.parse()) {
                accepted.push((seen.at, owner.to_owned(), epoch));
            }
        }
    }
    accepted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut owners: BTreeMap<u64, &str> = BTreeMap::new();
    for pair in accepted.windows(2) {
        assert!(pair[0].2 <= pair[1].2, "an older term wrote after a newer one: {pair:?}");
    }
    for (_, owner, epoch) in &accepted {
        assert_eq!(owners.entry(*epoch).or_insert(owner), owner, "two owners of epoch {epoch}");
    }
    accepted.len()
}
