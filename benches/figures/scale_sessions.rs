//! A thousand sessions up to a million: what a check costs, what a session takes in Redis, what a login and the list cost.
//!
//! The first ten thousand are begun by the library's own verb, as logins do once the password was checked, the others are copies
//! of such a record under new tokens, with their place in the index. The audit is bounded (16 MiB),
//! so it is not counted among the bytes of a session. The checks go in turn through a hundred thousand sessions at most, so
//! that nothing is faster because it was just used; with the near cache through a thousand.

use std::time::{Duration, Instant};

use bangui::store::Owner;

use crate::bans::millis;
use crate::scale_load::{
    CheckCost, Requests, Spent, checks, copied_sessions, info, medians, sessions, used_later,
};
use crate::scale_table::{Panel, Table};
use crate::support::redis::Redis;
use crate::support::rounds::holds;
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, SOON, eventually};
use crate::{Figure, quantile};

const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// So many are begun, the others copied.
const BEGUN: u32 = 10_000;
/// Sessions that are used: of all of them, and at every size the same number with the near cache, which reads each again every 5 s.
const USED: usize = 100_000;
const NEAR: usize = 1_000;
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 3;
const MEASURED_SECONDS: u64 = 3;
/// One pass through all that are used.
const WARM_SECONDS: u64 = 6;
const LOGINS: u32 = 30;
const LISTS: usize = 300;
const LONG: Duration = Duration::from_secs(120);

const COLUMNS: [&str; 13] = [
    "strict: worker us",
    "strict: Redis us",
    "strict: Redis commands",
    "strict: p50 ms",
    "strict: p99 ms",
    "near cache: worker us",
    "near cache: Redis commands",
    "near cache: p50 ms",
    "near cache: p99 ms",
    "bytes a session",
    "login p50 ms",
    "login's Redis commands",
    "list p50 ms",
];
const PANELS: [Panel; 6] = [
    Panel {
        shows: "ms of a check, 16 connections, strict",
        lines: &[("strict: p99 ms", "p99"), ("strict: p50 ms", "p50")],
        limit: None,
    },
    Panel {
        shows: "µs of a worker's processor for a check",
        lines: &[("strict: worker us", "strict"), ("near cache: worker us", "near cache")],
        limit: None,
    },
    Panel {
        shows: "Redis commands for a check",
        lines: &[("strict: Redis commands", "strict"), ("near cache: Redis commands", "near cache")],
        limit: None,
    },
    Panel { shows: "bytes in Redis for a session", lines: &[("bytes a session", "bytes")], limit: None },
    Panel { shows: "ms of a login (p50)", lines: &[("login p50 ms", "login")], limit: None },
    Panel { shows: "ms of a page of 50 sessions (p50)", lines: &[("list p50 ms", "list")], limit: None },
];

pub async fn measure() -> Vec<Figure> {
    let mut table = Table::open("scale-sessions", "sessions", &COLUMNS);
    let cluster = Cluster::bare(1).env("RUST_LOG", "warn,bangui::worker=info").set_up().await;
    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_SESSION_CACHE_ENABLED".to_owned(), "true".to_owned());
    let near = Worker::start("near", &environment).await;
    near.ready(SOON).await;
    holds(&near.client(), true).await;
    let (redis, strict) = (&cluster.redis, &cluster.workers[0]);
    let store = cluster.store();
    store.ready().await.unwrap();
    let client = cluster.client(0).logged_in().await;
    let empty = stored_bytes(redis).await;
    let mut tokens: Vec<String> = Vec::new();
    for size in SIZES {
        let there = u32::try_from(tokens.len()).unwrap();
        tokens.extend(match size {
            ..=BEGUN => sessions(&store, there..size).await,
            _ => {
                copied_sessions(redis, &tokens[0], &Owner::admin(), usize::try_from(size - there).unwrap())
                    .await
            }
        });
        settled(redis).await;
        let bytes = (stored_bytes(redis).await - empty) / f64::from(size);
        let all = cost(redis, strict, &spread(redis, &tokens, USED).await).await;
        let held = cost(redis, &near, &spread(redis, &tokens, NEAR).await).await;
        let (login, commands) = logins(redis, &client).await;
        table.put(
            size.into(),
            &[
                ("strict: worker us", all.worker),
                ("strict: Redis us", all.redis),
                ("strict: Redis commands", all.commands),
                ("strict: p50 ms", all.p50),
                ("strict: p99 ms", all.p99),
                ("near cache: worker us", held.worker),
                ("near cache: Redis commands", held.commands),
                ("near cache: p50 ms", held.p50),
                ("near cache: p99 ms", held.p99),
                ("login p50 ms", login),
                ("login's Redis commands", commands),
                ("list p50 ms", lists(&client).await),
            ],
        );
        // Of fewer sessions, buffers that come and go are too large a part.
        if size >= SIZES[1] {
            table.put(size.into(), &[("bytes a session", bytes)]);
        }
    }
    let ended = end_all(client, strict, &tokens).await;
    table.draw("Does anything cost more with more sessions?", &PANELS);
    let words = |column, unit, digits| table.words(column, unit, digits);
    vec![
        Figure {
            what: "N sessions, strict, 16 connections: a check",
            aim: "the same",
            measured: format!(
                "p50 {}; p99 {}",
                words("strict: p50 ms", " ms", 2),
                words("strict: p99 ms", " ms", 2)
            ),
        },
        Figure {
            what: "the same: processor time of the worker for a check",
            aim: "the same",
            measured: format!(
                "{} (and {} of Redis)",
                words("strict: worker us", " µs", 1),
                words("strict: Redis us", " µs", 1)
            ),
        },
        Figure {
            what: "the same: Redis commands for a check",
            aim: "the same, 2 or less",
            measured: words("strict: Redis commands", "", 3),
        },
        Figure {
            what: "the same, near cache, 1,000 of them in use: a check",
            aim: "the same",
            measured: format!(
                "{} of the worker's processor; {} Redis commands",
                words("near cache: worker us", " µs", 1),
                words("near cache: Redis commands", "", 3)
            ),
        },
        Figure {
            what: "bytes in Redis for each of N sessions, index and user agents included, audit (16 MiB at most) left out",
            aim: "350 or less",
            measured: words("bytes a session", "", 0),
        },
        Figure {
            what: "a login beside N sessions, password hash included",
            aim: "the same",
            measured: format!(
                "p50 {} ({} Redis commands)",
                words("login p50 ms", " ms", 1),
                words("login's Redis commands", "", 0)
            ),
        },
        Figure {
            what: "a page of 50 of N sessions",
            aim: "the same",
            measured: format!("p50 {}", words("list p50 ms", " ms", 2)),
        },
        Figure {
            what: "ending all of 1,000,000 sessions at once",
            aim: "",
            measured: format!("{ended:.1} ms, after which each of them is refused"),
        },
    ]
}

/// Requests of so many of them, from everywhere among them. A session that has not been used for a minute is extended by its next check:
/// which of them are due depends on how long it took to make them all, not on how many there are.
async fn spread(redis: &Redis, tokens: &[String], most: usize) -> Requests {
    let used: Vec<String> = tokens.iter().step_by(tokens.len().div_ceil(most)).cloned().collect();
    used_later(redis, &used).await;
    Requests::of(used.iter())
}

async fn cost(redis: &Redis, worker: &Worker, requests: &Requests) -> CheckCost {
    checks(redis, &[worker], requests, CONNECTIONS, WARM_SECONDS).await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(checks(redis, &[worker], requests, CONNECTIONS, MEASURED_SECONDS).await);
    }
    medians(&rounds)
}

/// The median of some logins in ms, and the Redis commands of one.
async fn logins(redis: &Redis, client: &Client) -> (f64, f64) {
    let before = Spent::so_far(redis, &[]).await;
    let mut took = Vec::new();
    for _ in 0..LOGINS {
        let begun = Instant::now();
        client.log_in().await;
        took.push(millis(begun));
    }
    let spent = Spent::so_far(redis, &[]).await.since(&before);
    (quantile(&mut took, 0.5), spent.commands / f64::from(LOGINS))
}

async fn lists(client: &Client) -> f64 {
    let mut took = Vec::new();
    for _ in 0..LISTS {
        let begun = Instant::now();
        client.get("/api/v1/sessions?limit=50").await.expect(200);
        took.push(millis(begun));
    }
    quantile(&mut took, 0.5)
}

/// How long it took, in ms.
async fn end_all(client: Client, worker: &Worker, tokens: &[String]) -> f64 {
    let client = client.confirmed().await;
    let begun = Instant::now();
    client.delete("/api/v1/sessions").await.expect(204);
    let took = millis(begun);
    for token in tokens.iter().step_by(tokens.len() / 1_000) {
        worker.client().with_bearer(token).get("/api/v1/session").await.expect(401);
    }
    took
}

/// Redis rewrites its file when that has grown, on one of the two cores.
pub async fn settled(redis: &Redis) {
    eventually("the end of a rewrite", LONG, || async {
        let info = info(redis).await;
        (info["aof_rewrite_in_progress"] + info["aof_rewrite_scheduled"] == 0.0).then_some(())
    })
    .await;
}

/// What is stored, but for the audit, and without what connections hold.
pub async fn stored_bytes(redis: &Redis) -> f64 {
    let info = info(redis).await;
    let mut audit = 0.0;
    for trail in ["security", "changes", "refusals"] {
        let key = format!("{{it}}:audit-{trail}");
        let bytes: Option<f64> = redis.command(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]).await;
        audit += bytes.unwrap_or(0.0);
    }
    info["used_memory"] - info["mem_clients_normal"] - info["mem_aof_buffer"] - audit
}
