//! The faults during rounds, and what causes them.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::{hits, victim};
use crate::support::cluster::{Cluster, PREFIX};
use crate::support::proxy::{Mode, Proxy};
use crate::support::worker::Worker;
use crate::support::{PASSWORD, SETUP_TOKEN, SOON, eventually};

/// A fault that comes and goes during the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The victim is paused for longer than its lease, and continues.
    Stopped,
    /// The victim is killed, and another takes its place.
    Killed,
    /// The same, while the victim is the leader: another one takes over.
    KilledLeader,
    /// The victim's link to Redis is cut.
    Cut,
    /// The victim's link to Redis drops everything.
    BlackHole,
    /// The victim's link to Redis passes everything except messages.
    Deaf,
    /// What the victim sends to Redis arrives late.
    Slow,
    /// What Redis replies to the victim arrives late, and messages do not arrive at all.
    LateReplies,
    /// Redis is killed, and comes back with nothing.
    Forgetful,
    /// The cache is switched on and off, for all workers.
    Switched,
}

/// The parts of the scene that the fault needs.
pub(super) struct Hands<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) victim: &'a mut Worker,
    pub(super) proxy: &'a Proxy,
    pub(super) victims: &'a Mutex<SocketAddr>,
    pub(super) hits: &'a Mutex<f64>,
    pub(super) takeovers: &'a Mutex<Vec<f64>>,
}

impl Hands<'_> {
    pub(super) async fn make(&mut self, fault: Fault, came: &AtomicUsize) {
        let mut on = true;
        loop {
            if fault != Fault::None {
                // Long enough to join, and for rounds to fill the caches.
                sleep(Duration::from_millis(1_500)).await;
            }
            match fault {
                Fault::None => sleep(Duration::from_millis(100)).await,
                Fault::Stopped => {
                    self.victim.pause();
                    sleep(Duration::from_millis(2_600)).await;
                    self.victim.resume();
                }
                Fault::Killed | Fault::KilledLeader => {
                    let term = match fault {
                        Fault::KilledLeader => Some(self.victim_leads().await),
                        _ => None,
                    };
                    *self.hits.lock().unwrap() += hits(&self.victim.client()).await;
                    self.victim.process.kill();
                    match term {
                        Some(term) => self.another_leads(&term).await,
                        None => sleep(Duration::from_millis(300)).await,
                    }
                    *self.victim = victim(self.cluster, self.proxy).await;
                    *self.victims.lock().unwrap() = self.victim.address;
                }
                Fault::Cut => self.network(Mode::Refuse, 1_000).await,
                Fault::BlackHole => self.network(Mode::BlackHole, 2_500).await,
                Fault::Deaf => self.network(Mode::SwallowMessages, 2_500).await,
                // A little less than a worker's timeout for a reply.
                Fault::LateReplies => {
                    self.network(Mode::LateReplies(Duration::from_millis(430)), 2_500).await
                }
                Fault::Slow => self.network(Mode::Delay(Duration::from_millis(300)), 2_500).await,
                Fault::Forgetful => {
                    self.cluster.redis.restart().await;
                    let set_up = || async {
                        let body = json!({ "password": PASSWORD, "token": SETUP_TOKEN });
                        let client = self.cluster.client(0);
                        let request = client.request(reqwest::Method::POST, "/api/v1/setup").json(&body);
                        let answer = client.try_send(request).await.ok()?;
                        matches!(answer.status.as_u16(), 201 | 409).then_some(())
                    };
                    eventually("setup after Redis came back empty", SOON, set_up).await;
                    sleep(Duration::from_millis(3_500)).await;
                }
                Fault::Switched => {
                    on = !on;
                    let client = self.cluster.client(0).logged_in().await;
                    let change = json!({ "session_cache_enabled": on });
                    client.patch("/api/v1/settings", "*", change).await.expect(200);
                }
            }
            came.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn lease(&self) -> Option<String> {
        self.cluster.redis.command(&["GET", &format!("{{{PREFIX}}}:lease")]).await
    }

    /// Makes the victim the leader, by deleting the lease until it gets it, and waits until another worker watches it. Returns its term.
    async fn victim_leads(&self) -> String {
        let answer = self.victim.client().get("/healthz").await;
        let id = answer.headers["x-bangui-worker"].to_str().unwrap();
        let redis = &self.cluster.redis;
        let term = eventually("the victim to lead", 2 * SOON, || async {
            let term = self.lease().await?;
            if term.starts_with(id) {
                return Some(term);
            }
            redis.command::<()>(&["DEL", &format!("{{{PREFIX}}}:lease")]).await;
            redis.command::<()>(&["PUBLISH", &format!("{PREFIX}:wake"), "released"]).await;
            sleep(Duration::from_millis(100)).await;
            None
        })
        .await;
        eventually("another one to watch the victim", SOON, || async {
            let watcher: Option<String> = redis.command(&["GET", &format!("{{{PREFIX}}}:watcher")]).await;
            watcher.filter(|watcher| watcher != id)
        })
        .await;
        sleep(Duration::from_millis(500)).await;
        term
    }

    async fn another_leads(&self, term: &str) {
        let killed = Instant::now();
        eventually("another leader", SOON, || async { self.lease().await.filter(|held| held != term) }).await;
        self.takeovers.lock().unwrap().push(killed.elapsed().as_secs_f64() * 1_000.0);
    }

    async fn network(&self, mode: Mode, ms: u64) {
        self.proxy.set(mode);
        sleep(Duration::from_millis(ms)).await;
        self.proxy.set(Mode::Pass);
    }
}
