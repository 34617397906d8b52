//! What a worker and a session cost while nothing happens.

use std::time::{Duration, Instant};

use bangui::actions::Actor;
use bangui::domain::access::Access;
use bangui::store::{LoginOrigin, Owner, SessionLife, Store, Username};
use futures_util::StreamExt as _;

use crate::support::cluster::PREFIX;
use crate::support::worker::Worker;
use crate::support::{Cluster, SOON};
use crate::{Figure, quantile};

const STARTS: usize = 20;
const SESSIONS: u32 = 100_000;
const WATCHED: Duration = Duration::from_secs(20);
/// User agents as browsers send them: a session stores its own, so its size must be realistic.
const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
];

pub async fn measure() -> Vec<Figure> {
    let mut figures = Vec::from(standing_by().await);
    figures.extend([memory().await, start().await, sessions().await]);
    figures
}

/// The Redis commands of the worker that watches the leader, and of two more that only stand by.
async fn standing_by() -> [Figure; 2] {
    let defaults = |cluster: crate::support::cluster::Builder| {
        cluster.env("BANGUI_LEASE_TTL_MS", "5000").env("BANGUI_PROBE_INTERVAL_SECONDS", "10")
    };
    let mut cluster = defaults(Cluster::with_fail2ban(1)).set_up().await;
    let alone = commands_a_second(&cluster).await;
    cluster.add_worker().await;
    let watched = commands_a_second(&cluster).await;
    cluster.add_worker().await;
    cluster.add_worker().await;
    let together = commands_a_second(&cluster).await;
    let seconds = WATCHED.as_secs();
    [
        Figure {
            what: "idle Redis commands a second per standing-by worker",
            aim: "2 or less",
            measured: format!(
                "{:.2} (leader and watcher {watched:.2}, with two more {together:.2}; {seconds} s each)",
                (together - watched) / 2.0,
            ),
        },
        Figure {
            what: "the same of the one that watches the leader",
            aim: "",
            measured: format!("{:.2} (leader alone {alone:.2})", watched - alone),
        },
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
async fn commands_a_second(cluster: &Cluster) -> f64 {
    // Leave out what a worker asks only once, at its start.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before: u64 = cluster.redis.command_counts().await.values().sum();
    let begun = Instant::now();
    tokio::time::sleep(WATCHED).await;
    let after: u64 = cluster.redis.command_counts().await.values().sum();
    (after - before) as f64 / begun.elapsed().as_secs_f64()
}

/// Resident memory of a worker that has answered only readiness probes.
async fn memory() -> Figure {
    let cluster = Cluster::with_fail2ban(2).set_up().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let of = |field: &str| {
        let resident = cluster.workers.iter().map(|worker| {
            let path = format!("/proc/{}/status", worker.process.pid().as_raw_nonzero());
            let status = std::fs::read_to_string(path).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim_matches(['\t', ' ', ':']).trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
        });
        quantile(&mut resident.collect::<Vec<_>>(), 1.0)
    };
    let (all, own) = (of("VmRSS"), of("RssAnon"));
    Figure {
        what: "resident memory of an idle worker",
        aim: "under 20 MB",
        measured: format!(
            "{all:.1} MiB, of which {own:.1} MiB are its own and the rest is pages of the program file, which workers share and \
             the kernel may drop (the larger of a leader and one standing by)"
        ),
    }
}

/// From the start of the process to the first 200 of `/readyz`.
async fn start() -> Figure {
    let cluster = Cluster::bare(1).set_up().await;
    let mut took = Vec::new();
    for n in 0..STARTS {
        let begun = Instant::now();
        let worker = Worker::start(&format!("start {n}"), &cluster.environment).await;
        worker.ready(SOON).await;
        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    Figure {
        what: "start to ready",
        aim: "under 200 ms",
        measured: format!(
            "p50 {:.0} ms, longest {:.0} ms ({STARTS} starts, sampled every 15 ms)",
            quantile(&mut took, 0.5),
            quantile(&mut took, 1.0)
        ),
    }
}

/// Everything that 100,000 sessions add to Redis, index and user agents included. The audit has an entry for each login, and a
/// bound of its own.
async fn sessions() -> Figure {
    let cluster = Cluster::bare(1).set_up().await;
    let store = cluster.store();
    store.ready().await.unwrap();
    let generation = store.account(&Username::admin()).await.unwrap().unwrap().generation;
    let before = without_audit(&cluster).await;
    futures_util::stream::iter(0..SESSIONS)
        .map(|n| begin(store.clone(), generation, n))
        .buffer_unordered(128)
        .for_each(async |_| {})
        .await;
    let each = f64::from(without_audit(&cluster).await - before) / f64::from(SESSIONS);
    Figure {
        what: "bytes in Redis per session, at 100,000 sessions",
        aim: "350 or less",
        measured: format!("{each:.0} (`used_memory` without the audit, index and user agents included)"),
    }
}

/// Begins a session of the admin, as a login does once the password was checked; its token.
pub async fn begin(store: Store, generation: u64, n: u32) -> String {
    begin_of(&store, (&Owner::admin(), &Access::everything()), generation, n).await
}

/// The same for any account.
pub async fn begin_of(store: &Store, account: (&Owner, &Access), generation: u64, n: u32) -> String {
    let life = SessionLife { idle: Duration::from_secs(1800), absolute: Duration::from_secs(43_200) };
    let [_, b, c, d] = n.to_be_bytes();
    let origin = LoginOrigin {
        ip: [198, 18 + b % 2, c, d].into(),
        user_agent: BROWSERS[usize::from(d) % BROWSERS.len()].to_owned(),
    };
    let begun = store
        .begin_session(account, generation, &origin, life, |_| Actor::operator().record("session.begin"))
        .await;
    begun.unwrap().unwrap().0.reveal()
}

async fn without_audit(cluster: &Cluster) -> u32 {
    let info: String = cluster.redis.command(&["INFO", "memory"]).await;
    let line = info.lines().find_map(|line| line.trim_end().strip_prefix("used_memory:")).unwrap();
    let trail = format!("{{{PREFIX}}}:audit-security");
    let audit: Option<u32> = cluster.redis.command(&["MEMORY", "USAGE", &trail, "SAMPLES", "0"]).await;
    line.parse::<u32>().unwrap() - audit.unwrap_or_default()
}
