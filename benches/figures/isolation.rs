//! How long a session check waits for other traffic to Redis: alone, and beside large exchanges, with and without the pool
//! of connections for those.
//!
//! "Without" means `BANGUI_REDIS_POOL_SIZE=0`, which sends everything over the shared connection.
//! Rounds with and without alternate in one run. On few cores a check also waits for the processor, so each round measures
//! that alone too: the same load goes to another cluster, with a separate Redis, on the same machine.

use std::time::{Duration, Instant};

use bangui::domain::{JailName, Network};
use bangui::fail2ban::{Client as Fail2banClient, Command, Options};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::cluster::{PREFIX, SERVER, server_is};
use crate::support::event_stream::EventStream;
use crate::support::{Client, Cluster, eventually};
use crate::{Figure, quantile};

const BANS: u32 = 100_000;
const EVENTS: u32 = 5_000;
const AUDIT_ENTRIES: u32 = 2_000;
const STREAMS: usize = 10;
const ROUNDS: usize = 2;
/// How long checks are timed, alone and beside the load.
const TIMED: Duration = Duration::from_secs(15);
const LONG: Duration = Duration::from_secs(120);

/// Latencies of session checks, in milliseconds.
#[derive(Default)]
struct Checks {
    alone: Vec<f64>,
    /// While another cluster carries the load: the wait for the processor alone.
    elsewhere: Vec<f64>,
    beside: Vec<f64>,
}

pub async fn measure() -> Vec<Figure> {
    let (mut on, mut off) = (Checks::default(), Checks::default());
    for _ in 0..ROUNDS {
        round(8, &mut on).await;
        round(0, &mut off).await;
    }
    vec![
        Figure {
            what: "a session check beside large exchanges, pool on",
            aim: "p99 at most 1.5 times p99 with the load on another Redis",
            measured: on.summary(),
        },
        Figure { what: "the same over one connection, as before", aim: "", measured: off.summary() },
    ]
}

impl Checks {
    fn summary(mut self) -> String {
        let [alone, elsewhere, beside] = [&mut self.alone, &mut self.elsewhere, &mut self.beside]
            .map(|took| (took.len(), quantile(took, 0.5), quantile(took, 0.99)));
        let part = |(checks, p50, p99)| format!("p50 {p50:.2} ms, p99 {p99:.2} ms ({checks} checks)");
        format!(
            "alone {}; load on another Redis {}; beside the load {} = {:.2} times the p99 with the load on another Redis, \
             {:.2} times p99 alone",
            part(alone),
            part(elsewhere),
            part(beside),
            beside.2 / elsewhere.2,
            beside.2 / alone.2,
        )
    }
}

async fn round(pool_size: u32, checks: &mut Checks) {
    let (timed, other) = (Loaded::start(pool_size).await, Loaded::start(pool_size).await);
    checks.alone.extend(timed_checks(&timed.client).await);
    let load = other.load();
    checks.elsewhere.extend(timed_checks(&timed.client).await);
    drop(load);
    let load = timed.load();
    checks.beside.extend(timed_checks(&timed.client).await);
    drop(load);
}

/// A cluster with lists, events and audit entries to read.
struct Loaded {
    client: Client,
    direct: Fail2banClient,
    /// Kept running.
    _cluster: Cluster,
}

impl Loaded {
    async fn start(pool_size: u32) -> Self {
        let mut cluster = Cluster::with_fail2ban(1)
            .jails(&["web"])
            .env("BANGUI_PROBE_INTERVAL_SECONDS", 300)
            .env("BANGUI_REDIS_POOL_SIZE", pool_size)
            .env("RUST_LOG", "warn,bangui::worker=info")
            .set_up()
            .await;
        let direct = Fail2banClient::start(Options::new(cluster.fail2ban().socket()));
        let client = cluster.client(0).logged_in().await;
        server_is(&client, "up").await;
        prepare(&cluster, &client, &direct).await;
        Self { client, direct, _cluster: cluster }
    }

    /// The large exchanges, until this is dropped.
    fn load(&self) -> JoinSet<()> {
        let bans = format!("/api/v1/servers/{SERVER}/jails/web/bans");
        let mut load = JoinSet::new();
        load.spawn(sync(self.client.clone(), self.direct.clone()));
        for path in [
            &format!("{bans}?limit=1000"),
            &format!("{bans}?limit=100&q=10.20.77."),
            "/api/v1/audit?limit=200",
        ] {
            load.spawn(page(self.client.clone(), path.to_owned()));
        }
        for _ in 0..STREAMS {
            load.spawn(catch_up(self.client.clone()));
        }
        load
    }
}

/// 100,000 bans, listed; events and audit entries to read.
async fn prepare(cluster: &Cluster, client: &Client, direct: &Fail2banClient) {
    let all: Vec<Network> = (0..BANS).map(address).collect();
    for some in all.chunks(25) {
        ban(direct, some).await;
    }
    client.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
    eventually("the whole list", LONG, || async {
        let page = client.get(&format!("/api/v1/servers/{SERVER}/jails/web/bans?limit=1")).await;
        page.body["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(())
    })
    .await;
    let fill = "for n = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2)) end";
    let add = async |key: &str, count: u32, fields: &[&str]| {
        let (key, count) = (format!("{{{PREFIX}}}:{key}"), count.to_string());
        let command = [&["EVAL", fill, "1", key.as_str(), count.as_str()], fields].concat();
        cluster.redis.command::<Option<u64>>(&command).await;
    };
    let facts = json!({ "jail": "web", "ip": "10.20.30.40", "why": "x".repeat(200) }).to_string();
    add("events", EVENTS, &["type", "ban.added", "server", SERVER, "facts", &facts]).await;
    let before = json!("y".repeat(500)).to_string();
    add(
        "audit",
        AUDIT_ENTRIES,
        &["user", "admin", "what", "settings.change", "before", &before, "outcome", "done"],
    )
    .await;
}

fn address(n: u32) -> Network {
    let [_, b, c, d] = n.to_be_bytes();
    Network::from(std::net::IpAddr::from([10 + b, 20, c, d]))
}

async fn ban(direct: &Fail2banClient, some: &[Network]) {
    let deadline = tokio::time::Instant::now() + LONG;
    let jail = JailName::parse("web").unwrap();
    direct.ask(Command::Ban(jail, some.into()), deadline).await.unwrap();
}

async fn timed_checks(client: &Client) -> Vec<f64> {
    let until = Instant::now() + TIMED;
    let mut took = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        client.get("/api/v1/session").await.expect(200);
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        sleep(Duration::from_millis(2)).await;
    }
    took
}

/// Changes the list and has it read again.
async fn sync(client: Client, direct: Fail2banClient) {
    for n in BANS.. {
        ban(&direct, &[address(n)]).await;
        client.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await;
        sleep(Duration::from_secs(2)).await;
    }
}

async fn page(client: Client, path: String) {
    loop {
        client.get(&path).await.expect(200);
        sleep(Duration::from_millis(100)).await;
    }
}

/// Reads all events from the first one.
async fn catch_up(client: Client) {
    loop {
        let mut stream = EventStream::open(&client, Some("0-0")).await;
        for _ in 0..EVENTS {
            stream.next().await;
        }
        drop(stream);
        sleep(Duration::from_secs(2)).await;
    }
}
