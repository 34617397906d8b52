//! Rounds of login, check on three workers, logout, check on three workers, with near caches on, while something goes wrong.
//! Tests run a few of them, `cargo bench -- near_cache` thousands.
//!
//! The third worker is the victim: it reaches Redis through a proxy, and it is stopped and killed. Logouts go to the other two,
//! or to all three if the case has no fault.

pub mod failovers;
mod faults;
pub mod hang_ups;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bangui::actions::Actor;
use bangui::domain::access::Access;
use bangui::store::{LoginOrigin, Owner, SessionLife, Store};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::time::sleep;

use super::cluster::Cluster;
use super::proxy::{Mode, Proxy};
use super::redis::Redis;
use super::worker::Worker;
use super::{Client, SOON, eventually};
pub use faults::Fault;
use faults::Hands;

/// A check before the logout waits this long for its answer, so that a stopped worker does not hold up the logout. The check may
/// be answered, and fill a cache, after the logout.
const BEFORE: Duration = Duration::from_millis(400);
const AFTER: Duration = Duration::from_secs(20);

/// The outcome of the rounds.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rounds whose logout was answered.
    pub rounds: usize,
    /// Rounds that did not happen, as the login failed.
    pub void: usize,
    /// Sessions that were accepted after the answer to their logout, each as a sentence.
    pub accepted: Vec<String>,
    /// How long each answered logout took, in ms.
    pub logouts: Vec<f64>,
    /// Checks that were answered from a near cache.
    pub hits: f64,
    /// How long there was no leader after the victim was killed as the leader, in ms.
    pub takeovers: Vec<f64>,
}

/// Three workers, the third behind a proxy.
pub struct Scene {
    cluster: Cluster,
    victim: Worker,
    proxy: Proxy,
    victims: Mutex<SocketAddr>,
    store: Store,
    hits: Mutex<f64>,
    takeovers: Mutex<Vec<f64>>,
}

/// The value of the first series that begins with `name`.
pub async fn metric(client: &Client, name: &str) -> f64 {
    let page = client.try_send(client.request(reqwest::Method::GET, "/metrics")).await;
    let page = page.map(|answer| answer.text).unwrap_or_default();
    let line = page.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// Waits until a worker may answer from its near cache, or may not.
pub async fn holds(client: &Client, holds: bool) {
    eventually("a near cache to be on or off", SOON, || async {
        (metric(client, "bangui_session_cache_holder").await == f64::from(u8::from(holds))).then_some(())
    })
    .await;
}

/// A cluster of so many workers, set up, each of which holds a near cache that Redis knows.
pub async fn with_near_caches(workers: usize) -> Cluster {
    let cluster = Cluster::bare(workers).env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    for n in 0..workers {
        holds(&cluster.client(n), true).await;
    }
    holders_are_known(&cluster).await;
    cluster
}

/// Waits until a logout no longer waits out a lease because Redis may have forgotten holders.
pub async fn holders_are_known(cluster: &Cluster) {
    eventually("a logout that waits for no lease", SOON, || async {
        let client = cluster.client(0).logged_in().await;
        let begun = Instant::now();
        client.delete("/api/v1/session").await.expect(204);
        (begun.elapsed() < Duration::from_secs(1)).then_some(())
    })
    .await;
}

impl Scene {
    /// Starts the three workers, with every near cache in use.
    pub async fn set_up(fault: Fault) -> Self {
        let redis = match fault {
            Fault::Forgetful => Redis::start_with(&[]).await,
            _ => Redis::start().await,
        };
        let builder = Cluster::bare(2).redis(redis).env("RUST_LOG", "warn,bangui::worker=info");
        let cluster = builder.env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
        let proxy = Proxy::start(cluster.redis.socket(), Mode::Pass).await;
        let victim = victim(&cluster, &proxy).await;
        let store = cluster.store();
        store.ready().await.unwrap();
        let scene = Self {
            victims: Mutex::new(victim.address),
            cluster,
            victim,
            proxy,
            store,
            hits: Mutex::new(0.0),
            takeovers: Mutex::default(),
        };
        for client in scene.clients() {
            holds(&client, true).await;
        }
        holders_are_known(&scene.cluster).await;
        scene
    }

    fn clients(&self) -> Vec<Client> {
        let victim = *self.victims.lock().unwrap();
        let workers = self.cluster.workers.iter().map(|worker| worker.address);
        workers.chain([victim]).map(Client::new).collect()
    }

    /// Runs at least this many rounds, `together` at once, while the fault comes and goes; and until it has come twice.
    pub async fn run(mut self, fault: Fault, rounds: usize, together: usize) -> Tally {
        let tally = Mutex::new(Tally::default());
        let (begun, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let clients = self.clients();
        {
            // The fault needs exclusive access to parts of the scene.
            let (this, mut hands) = self.split();
            let rounds = async {
                let lane = |_| async {
                    loop {
                        let n = begun.fetch_add(1, Ordering::Relaxed);
                        if n >= rounds && came.load(Ordering::Relaxed) >= 2 {
                            return;
                        }
                        this.round(&clients, fault, n, &tally).await;
                    }
                };
                let mut lanes: FuturesUnordered<_> = (0..together).map(lane).collect();
                while lanes.next().await.is_some() {}
            };
            tokio::select! {
                () = rounds => {}
                () = hands.make(fault, &came) => unreachable!("faults never end"),
            }
        }
        // The fault may have left the victim stopped, or dead.
        let mut clients = self.clients();
        if self.victim.process.runs() {
            self.victim.resume();
        } else {
            clients.pop();
        }
        for client in clients {
            *self.hits.lock().unwrap() += hits(&client).await;
        }
        let mut tally = tally.into_inner().unwrap();
        tally.hits = *self.hits.lock().unwrap();
        tally.takeovers = self.takeovers.into_inner().unwrap();
        tally
    }

    fn split(&mut self) -> (View<'_>, Hands<'_>) {
        let view = View { store: &self.store, victims: &self.victims };
        let hands = Hands {
            cluster: &mut self.cluster,
            victim: &mut self.victim,
            proxy: &self.proxy,
            victims: &self.victims,
            hits: &self.hits,
            takeovers: &self.takeovers,
        };
        (view, hands)
    }
}

async fn victim(cluster: &Cluster, proxy: &Proxy) -> Worker {
    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_REDIS_URL".to_owned(), proxy.redis_url());
    let victim = Worker::start("victim", &environment).await;
    victim.ready(SOON).await;
    victim
}

async fn hits(client: &Client) -> f64 {
    metric(client, "bangui_session_checks_total{source=\"near_cache\"").await
}

/// Begins a session past the workers; returns its token.
async fn begin_session(store: &Store) -> Option<String> {
    let life = SessionLife { idle: Duration::from_secs(600), absolute: Duration::from_secs(600) };
    let origin = LoginOrigin { ip: [198, 51, 100, 7].into(), user_agent: "rounds".to_owned() };
    let admin = Owner::admin();
    let audit = |_: &_| Actor::operator().record("session.begin");
    let account = store.account(&admin.username).await.ok()??;
    let begun = store
        .begin_session((&admin, &Access::everything()), account.generation, &origin, life, audit)
        .await
        .ok()??;
    Some(begun.0.reveal())
}

/// What a round needs.
struct View<'a> {
    store: &'a Store,
    victims: &'a Mutex<SocketAddr>,
}

impl View<'_> {
    /// Logs in every twentieth with the password, which costs as much as a thousand checks; the others only begin a session, as a
    /// login does after the check of the password.
    async fn log_in(&self, client: &Client, n: usize) -> Option<String> {
        if n.is_multiple_of(20) {
            let body = json!({ "password": super::PASSWORD });
            let request = client.request(reqwest::Method::POST, "/api/v1/session").json(&body);
            let answer = client.try_send(request).await.ok()?;
            return answer.body["token"].as_str().map(str::to_owned);
        }
        begin_session(self.store).await
    }

    async fn round(&self, clients: &[Client], fault: Fault, n: usize, tally: &Mutex<Tally>) {
        let Some(token) = self.log_in(&clients[n % 2], n).await else {
            sleep(Duration::from_millis(50)).await;
            tally.lock().unwrap().void += 1;
            return;
        };
        let victim = *self.victims.lock().unwrap();
        let callers = [
            clients[0].with_bearer(&token),
            clients[1].with_bearer(&token),
            clients[2].at(victim).with_bearer(&token),
        ];
        // The first check fills, the second hits.
        for _ in 0..2 {
            futures_util::future::join_all(callers.iter().map(|caller| check(caller, BEFORE))).await;
        }
        let places = if fault == Fault::None { 3 } else { 2 };
        let mut took = None;
        for attempt in 0..100 {
            let caller = &callers[(n + attempt) % places];
            let begun = Instant::now();
            let request = caller.request(reqwest::Method::DELETE, "/api/v1/session");
            let status = caller.try_send(request).await.map(|answer| answer.status.as_u16());
            // 401: the session was already gone, after an attempt whose answer was lost or with Redis's data; then it is gone everywhere.
            if matches!(status, Ok(204 | 401)) {
                took = Some(begun.elapsed());
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let took = took.expect("a logout of a hundred is answered");
        let after = futures_util::future::join_all(callers.iter().map(|caller| check(caller, AFTER))).await;
        let mut tally = tally.lock().unwrap();
        for (worker, status) in after.iter().enumerate().filter(|(_, status)| **status == Some(200)) {
            tally.accepted.push(format!("round {n}: worker {worker} answered {status:?} after the logout"));
        }
        tally.rounds += 1;
        tally.logouts.push(took.as_secs_f64() * 1_000.0);
    }
}

/// The status; none without an answer.
async fn check(caller: &Client, patience: Duration) -> Option<u16> {
    let request = caller.request(reqwest::Method::GET, "/api/v1/session").timeout(patience);
    caller.try_send(request).await.ok().map(|answer| answer.status.as_u16())
}
