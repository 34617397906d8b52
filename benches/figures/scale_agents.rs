//! What a leader can lead: agents with 50 jails each, and bans a minute, more and more of both until something gives way.
//!
//! `BENCH_AGENTS=1000,2000` measures these numbers of agents alone, in the rows of the table that are theirs; without a number it only
//! draws. A sweep has to end within its interval, and the lists of bans have to be read as fast as they change: both are measured
//! while the bans come.

use std::time::Duration;

use tokio::time::sleep;

use crate::Figure;
use crate::scale_fleet::Fleet;
use crate::scale_table::{Panel, Table};
use crate::scale_watch::{COLUMNS, INTERVAL, measure_one};

const AGENTS: [u16; 4] = [1_000, 2_000, 4_000, 8_000];
/// Bans a minute at each agent, where the agents are counted: ten thousand at a thousand of them.
const OF_EACH: f64 = 10.0;
/// Bans a minute at a thousand agents, where the bans are counted.
const BANS: [u32; 5] = [5_000, 10_000, 20_000, 40_000, 80_000];
/// How long the first reading of all lists is waited for, and the effect of a new pace.
const FIRST_LISTS: Duration = Duration::from_secs(150);
const SETTLED: Duration = Duration::from_secs(25);

const PANELS: [Panel; 6] = [
    Panel {
        shows: "seconds of a sweep (dashed: its interval)",
        lines: &[("sweep longest s", "longest"), ("sweep p50 s", "p50")],
        limit: Some(INTERVAL),
    },
    Panel {
        shows: "percent of a core",
        lines: &[
            ("leader % of a core", "leader"),
            ("Redis % of a core", "Redis"),
            ("agents % of a core", "all agents"),
        ],
        limit: None,
    },
    Panel {
        shows: "Redis commands a second",
        lines: &[("Redis commands a second", "commands")],
        limit: None,
    },
    Panel { shows: "MB a second at Redis", lines: &[("Redis MB a second", "in and out")], limit: None },
    Panel {
        shows: "percent of lists behind, before a sweep",
        lines: &[("lists behind %", "behind")],
        limit: Some(100.0),
    },
    Panel { shows: "MiB resident", lines: &[("leader MiB", "leader"), ("Redis MiB", "Redis")], limit: None },
];

pub async fn measure() -> Vec<Figure> {
    let asked = std::env::var("BENCH_AGENTS").ok();
    let numbers = |list: String| list.split(',').filter_map(|number| number.parse().ok()).collect();
    let asked: Option<Vec<u16>> = asked.map(numbers);
    let mut table = Table::open("scale-agents", "agents with 50 jails and 10 bans a minute each", &COLUMNS);
    for agents in asked.unwrap_or_else(|| AGENTS.into()) {
        let fleet = Fleet::start(agents, OF_EACH * f64::from(agents)).await;
        let first = first_lists(&fleet).await;
        sleep(SETTLED).await;
        measure_one(&fleet, &mut table, agents.into()).await;
        if let Some(first) = first {
            table.put(agents.into(), &[("first lists s", first)]);
        }
    }
    table.draw("What agents cost the leader and Redis", &PANELS);
    let words = |column, unit, digits| table.words(column, unit, digits);
    vec![
        Figure {
            what: "a sweep of N agents over TLS, with 50 jails each, while 10 bans a minute come at each",
            aim: "under the 10 s of its interval",
            measured: sweep(&table),
        },
        Figure {
            what: "the same: Redis commands a second, lists of bans included",
            aim: "",
            measured: format!(
                "{} ({} MB a second in and out)",
                words("Redis commands a second", "", 0),
                words("Redis MB a second", "", 1)
            ),
        },
        Figure {
            what: "the same: the leader",
            aim: "",
            measured: format!(
                "{} of a core; {} resident",
                words("leader % of a core", " %", 0),
                words("leader MiB", " MiB", 0)
            ),
        },
        Figure {
            what: "the same: lists of bans that are out of date just before the next sweep",
            aim: "0 %",
            measured: behind(&table),
        },
        Figure {
            what: "the same: from the start of the first worker until every list was read once",
            aim: "",
            measured: format!(
                "{} ({} s at most are waited for)",
                words("first lists s", " s", 0),
                FIRST_LISTS.as_secs()
            ),
        },
        Figure {
            what: "a session check, strict, beside it",
            aim: "",
            measured: format!(
                "p50 {}; p99 {}",
                words("session check p50 ms", " ms", 1),
                words("session check p99 ms", " ms", 1)
            ),
        },
        Figure {
            what: "the list of all servers in the API, beside it",
            aim: "",
            measured: words("list of servers ms", " ms", 0),
        },
    ]
}

/// More and more bans a minute at a thousand agents.
pub async fn measure_bans() -> Vec<Figure> {
    let mut table = Table::open("scale-bans", "bans a minute at 1000 agents with 50 jails each", &COLUMNS);
    let fleet = Fleet::start(AGENTS[0], f64::from(BANS[0])).await;
    first_lists(&fleet).await;
    for bans in BANS {
        fleet.attack.pace(bans.into());
        sleep(SETTLED).await;
        measure_one(&fleet, &mut table, bans.into()).await;
    }
    table.draw("What bans cost the leader and Redis", &PANELS);
    let words = |column, unit, digits| table.words(column, unit, digits);
    vec![
        Figure {
            what: "N bans a minute at 1,000 agents with 50 jails each: lists of bans that are out of date just before the next sweep",
            aim: "0 % at 10,000",
            measured: behind(&table),
        },
        Figure { what: "the same: a sweep", aim: "under the 10 s of its interval", measured: sweep(&table) },
        Figure {
            what: "the same: Redis commands a second, and the leader",
            aim: "",
            measured: format!(
                "{}; {} of a core",
                words("Redis commands a second", "", 0),
                words("leader % of a core", " %", 0)
            ),
        },
    ]
}

fn sweep(table: &Table) -> String {
    format!(
        "p50 {}; longest {}",
        table.words("sweep p50 s", " s", 2),
        table.words("sweep longest s", " s", 2)
    )
}

fn behind(table: &Table) -> String {
    format!(
        "{} ({} read a second)",
        table.words("lists behind %", " %", 1),
        table.words("lists read a second", "", 0)
    )
}

/// How long it took until every list was read once, if not too long.
async fn first_lists(fleet: &Fleet) -> Option<f64> {
    let mut redis = fleet.cluster.redis.connection().await;
    loop {
        let read: usize = redis::cmd("SCARD").arg("{it}:ban-lists").query_async(&mut redis).await.unwrap();
        let took = fleet.begun.elapsed();
        if read >= fleet.lists() {
            return Some(took.as_secs_f64());
        }
        if took > FIRST_LISTS {
            eprintln!("{read} of {} lists were read once after {} s", fleet.lists(), took.as_secs());
            return None;
        }
        sleep(Duration::from_millis(200)).await;
    }
}
