//! The near cache: no session is accepted after its logout was answered; what a logout costs with it, and what a check saves.

use super::requests::cost;
use crate::support::Cluster;
use crate::support::rounds::failovers::{Failovers, coordinated_failovers, sentinel_failovers};
use crate::support::rounds::hang_ups::hang_ups;
use crate::support::rounds::{Fault, Scene, holds};
use crate::{Figure, quantile};

/// The rounds of a case: `all`, or fewer with `BENCH_ROUNDS`, to try out the bench itself.
fn rounds_of(all: usize) -> usize {
    std::env::var("BENCH_ROUNDS").map_or(all, |asked| asked.parse::<usize>().unwrap().min(all))
}

/// Rounds of the cases below: sessions whose client hung up, or that were logged out after a failover.
const ROUNDS: usize = 10_000;
/// Sessions that are logged out at each failover: more than one, as a failover takes seconds.
const AT_EACH_FAILOVER: usize = 500;

/// A name, the fault, the rounds, and how many of them run at once.
const CASES: [(&str, Fault, usize, usize); 12] = [
    ("a logout with 3 near caches, all holders healthy", Fault::None, 2_000, 1),
    ("the same, four at once", Fault::None, 10_000, 4),
    ("the same, one holder stopped past its cache lease and continued", Fault::Stopped, 10_000, 32),
    ("the same, one holder killed", Fault::Killed, 10_000, 32),
    ("the same, one holder killed while it is the leader", Fault::KilledLeader, 10_000, 32),
    ("the same, one holder's link cut", Fault::Cut, 10_000, 8),
    ("the same, one holder's link a black hole", Fault::BlackHole, 10_000, 32),
    ("the same, one holder's link without messages", Fault::Deaf, 10_000, 32),
    ("the same, one holder's link 300 ms slow", Fault::Slow, 10_000, 16),
    ("the same, replies late to one holder and messages lost", Fault::LateReplies, 10_000, 32),
    ("the same, Redis restarted without its data", Fault::Forgetful, 10_000, 32),
    ("the same, the cache switched on and off", Fault::Switched, 10_000, 8),
];

pub async fn measure() -> Vec<Figure> {
    let mut figures = throughput().await;
    for (what, fault, rounds, together) in CASES {
        let rounds = rounds_of(rounds);
        let mut tally = Scene::set_up(fault).await.run(fault, rounds, together).await;
        assert!(tally.accepted.is_empty(), "{what}: accepted after the answer: {:?}", tally.accepted);
        assert!(tally.hits > 0.0 && tally.rounds * 2 > rounds, "{what}: nothing is proved by {tally:?}");
        let aim = if fault == Fault::None {
            "p50 under 3 ms"
        } else {
            "cache lease (2 s) + 0.5 s at most: 2500 ms"
        };
        let mut measured = format!(
            "p50 {:.1} ms, p99 {:.1} ms, longest {:.0} ms (0 acceptances after the answer in {} rounds)",
            quantile(&mut tally.logouts, 0.5),
            quantile(&mut tally.logouts, 0.99),
            quantile(&mut tally.logouts, 1.0),
            tally.rounds
        );
        if !tally.takeovers.is_empty() {
            let longest = quantile(&mut tally.takeovers, 1.0);
            measured +=
                &format!("; {} times another led after {longest:.0} ms at most", tally.takeovers.len());
        }
        figures.push(Figure { what, aim, measured });
    }
    figures
}

/// Clients that close, and failovers of Redis.
pub async fn measure_failovers() -> Vec<Figure> {
    let mut figures = vec![clients_that_hang_up().await];
    let rounds = rounds_of(ROUNDS);
    let each = AT_EACH_FAILOVER.min(rounds.div_ceil(2));
    let held =
        "coordinated failover behind a proxy, replication link held: near caches on two workers, off on one";
    figures.push(failovers(held, coordinated_failovers(rounds, each).await));
    let paused =
        "Sentinel failover, holder paused (SIGSTOP) through it with requests waiting when it continues";
    figures.push(failovers(paused, sentinel_failovers(rounds, each).await));
    figures
}

async fn clients_that_hang_up() -> Figure {
    let tally = hang_ups(rounds_of(ROUNDS), 32).await;
    assert!(tally.accepted.is_empty(), "accepted after the answer: {:?}", tally.accepted);
    assert!(tally.split.is_empty(), "neither alive everywhere nor refused everywhere: {:?}", tally.split);
    assert!(tally.unaudited.is_empty(), "ended without its audit entry: {:?}", tally.unaudited);
    assert!(tally.ended * 4 > tally.rounds, "nothing is proved by {tally:?}");
    Figure {
        what: "hang-ups: the client closes at a random moment of a revocation, one holder's link 15 ms slow",
        aim: "0 sessions that are alive on one worker and refused on another; an audit entry for each that ended",
        measured: format!(
            "0 split, 0 without their entry, 0 acceptances after the answer to a second try in {} rounds ({} sessions had \
             ended at the second try, {} had not; {} clients were answered before they hung up)",
            tally.rounds, tally.ended, tally.alive, tally.answered
        ),
    }
}

fn failovers(what: &'static str, tally: Failovers) -> Figure {
    assert!(tally.accepted.is_empty(), "{what}: accepted after the answer: {:?}", tally.accepted);
    Figure {
        what,
        aim: "0 acceptances after an answered logout",
        measured: format!(
            "0 acceptances in {} checks after {} answered logouts over {} failovers",
            tally.checks, tally.revocations, tally.failovers
        ),
    }
}

async fn throughput() -> Vec<Figure> {
    let builder = Cluster::bare(1).env("RUST_LOG", "warn,bangui::worker=info");
    let cluster = builder.env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    holds(&cluster.client(0), true).await;
    let cost = cost(&cluster).await;
    vec![
        Figure {
            what: "Redis commands per authenticated request, near cache on",
            aim: "near 0",
            measured: cost.commands(),
        },
        Figure {
            what: "authenticated requests a second, near cache on, as a ratio to `/healthz` in the same run",
            aim: "0.9 or better",
            measured: cost.ratio(),
        },
    ]
}
