//! A leader whose process is gone is replaced long before its lease expires; one that is paused or cut off is not, nor a healthy one
//! whose subscription Redis has ended.

use std::collections::BTreeSet;
use std::time::Duration;

use bangui::store::{Acquired, Fence, HeldTerm, Lease, Store, WorkerId};

use crate::support::proxy::Mode;
use crate::support::redis::{MonitoredCommand, Redis, USER};
use crate::support::worker::field;
use crate::support::{Cluster, SOON, eventually};

const LEASE: &str = "{it}:lease";
const WATCHER: &str = "{it}:watcher";
/// A lease that expires long after [`SOON`]: whoever leads before then has taken over from a leader that is gone.
pub const LONG_TTL_MS: u64 = 120_000;
/// What a script does that is refused: it looks.
const READS: [&str; 4] = ["GET", "TIME", "PTTL", "PUBSUB"];

async fn ids(cluster: &Cluster) -> Vec<String> {
    let mut ids = Vec::new();
    for worker in &cluster.workers {
        let answer = worker.client().get("/healthz").await;
        ids.push(answer.headers["x-bangui-worker"].to_str().unwrap().to_owned());
    }
    ids
}

/// What the lease holds: `owner|epoch`.
async fn held(redis: &Redis) -> Option<String> {
    redis.command(&["GET", LEASE]).await
}

fn epoch(term: &str) -> u64 {
    term.split_once('|').unwrap().1.parse().unwrap()
}

async fn subscriptions(redis: &Redis, term: &str) -> u64 {
    let (_, count): (String, u64) = redis.command(&["PUBSUB", "NUMSUB", &format!("it:leader:{term}")]).await;
    count
}

/// How many times subscriptions have been counted.
async fn looks(redis: &Redis) -> u64 {
    let counts = redis.command_counts().await;
    counts.iter().filter(|(name, _)| name.starts_with("pubsub")).map(|(_, calls)| calls).sum()
}

/// The connections whose last command counted subscriptions, except those of the tests.
async fn lookers(redis: &Redis) -> BTreeSet<String> {
    let clients: String = redis.command(&["CLIENT", "LIST"]).await;
    let user = format!("user={USER} ");
    let looking = clients.lines().filter(|line| line.contains("cmd=pubsub") && line.contains(&user));
    looking.filter_map(|line| Some(line.split_once(" addr=")?.0.to_owned())).collect()
}

/// Waits until the watcher, not the test, has counted a few more times.
async fn is_looked_at(redis: &Redis) {
    let before = looks(redis).await;
    eventually("looks at the leader", SOON, || async { (looks(redis).await >= before + 4).then_some(()) })
        .await;
}

/// The leader's term, its place and the watcher's among the workers, once the watcher has seen the leader.
async fn watched(cluster: &Cluster) -> (String, usize, usize) {
    watched_in(&cluster.redis, cluster).await
}

/// The same, where the workers use this Redis.
pub async fn watched_in(redis: &Redis, cluster: &Cluster) -> (String, usize, usize) {
    let ids = ids(cluster).await;
    let found = eventually("a leader that is watched", 2 * SOON, || async {
        let term = held(redis).await?;
        let leader = ids.iter().position(|id| term.starts_with(id))?;
        let watcher: Option<String> = redis.command(&["GET", WATCHER]).await;
        let watcher = ids.iter().position(|id| Some(id) == watcher.as_ref())?;
        (watcher != leader && subscriptions(redis, &term).await == 1).then_some((term, leader, watcher))
    })
    .await;
    is_looked_at(redis).await;
    found
}

/// What the lease holds once that is another term.
pub async fn successor(redis: &Redis, term: &str) -> String {
    eventually("another leader", SOON, || async { held(redis).await.filter(|now| now != term) }).await
}

/// Commands that name the term and write, or that would take its lease.
fn writes_of(term: &str, seen: &[MonitoredCommand]) -> Vec<MonitoredCommand> {
    let names_it = |seen: &&MonitoredCommand| seen.command.contains(term);
    let wrote = |seen: &&MonitoredCommand| {
        seen.all().skip(1).any(|command| !READS.contains(&MonitoredCommand::name(command).as_str()))
    };
    seen.iter().filter(names_it).filter(wrote).cloned().collect()
}

/// Attempts to take the lease of this term from a leader that is gone.
fn takeovers(term: &str, seen: &[MonitoredCommand]) -> usize {
    let channel = format!("it:leader:{term}");
    let tries = |seen: &&MonitoredCommand| {
        MonitoredCommand::name(&seen.command) == "EVALSHA" && seen.command.contains(&channel)
    };
    seen.iter().filter(tries).count()
}

async fn elections(redis: &Redis) -> u64 {
    let events: redis::Value = redis.command(&["XRANGE", "{it}:events", "-", "+"]).await;
    format!("{events:?}").matches("scheduler.elected").count() as u64
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_long_before_its_lease_expires_whoever_watched_it() {
    let mut cluster = Cluster::bare(3).env("BANGUI_LEASE_TTL_MS", LONG_TTL_MS).set_up().await;
    for round in 0..5 {
        let (term, leader, watcher) = watched(&cluster).await;
        let expected = ids(&cluster).await.swap_remove(watcher);
        let before = elections(&cluster.redis).await;
        cluster.workers.remove(leader).process.kill();
        let next = successor(&cluster.redis, &term).await;
        assert!(epoch(&next) > epoch(&term), "round {round}: {next} after {term}");
        assert!(next.starts_with(&expected), "round {round}: the watcher takes over");
        assert_eq!(elections(&cluster.redis).await, before + 1, "round {round}");
        cluster.add_worker().await;
    }
}

#[tokio::test]
async fn a_watcher_that_is_killed_or_paused_is_replaced_and_the_leader_is_watched_all_the_same() {
    let mut cluster = Cluster::bare(4).env("BANGUI_LEASE_TTL_MS", LONG_TTL_MS).set_up().await;
    let (term, _, watcher) = watched(&cluster).await;
    cluster.workers.remove(watcher).process.kill();
    let (same, _, watcher) = watched(&cluster).await;
    assert_eq!(same, term);
    cluster.workers[watcher].pause();
    let paused = cluster.workers.remove(watcher);
    let (same, leader, _) = watched(&cluster).await;
    assert_eq!(same, term);
    cluster.workers.remove(leader).process.kill();
    let next = successor(&cluster.redis, &term).await;
    assert!(epoch(&next) > epoch(&term));
    paused.resume();
    // From here on that worker counts too; the new leader is not affected.
    is_looked_at(&cluster.redis).await;
    assert_eq!(held(&cluster.redis).await, Some(next));
}

#[tokio::test]
async fn of_two_watchers_one_takes_over() {
    let mut cluster = Cluster::bare(3).env("BANGUI_LEASE_TTL_MS", LONG_TTL_MS).set_up().await;
    for round in 0..3 {
        let (term, leader, watcher) = watched(&cluster).await;
        let watching = eventually("the watcher to look", SOON, || async {
            Some(lookers(&cluster.redis).await).filter(|lookers| !lookers.is_empty())
        })
        .await;
        // The other one begins at once, and the watcher finds out when it next renews its claim, up to a second later.
        let other = ids(&cluster).await.swap_remove(3 - leader - watcher);
        cluster.redis.command::<()>(&["SET", WATCHER, &other, "PX", "3000"]).await;
        cluster.redis.command::<()>(&["PUBLISH", "it:wake", "released"]).await;
        eventually("the other one to look", SOON, || async {
            (!lookers(&cluster.redis).await.is_subset(&watching)).then_some(())
        })
        .await;
        let before = elections(&cluster.redis).await;
        cluster.workers.remove(leader).process.kill();
        let next = successor(&cluster.redis, &term).await;
        cluster.add_worker().await;
        let (still, ..) = watched(&cluster).await;
        assert_eq!(still, next, "round {round}");
        assert_eq!(elections(&cluster.redis).await, before + 1, "round {round}");
    }
}

async fn fenced_lease(store: &Store, ttl: Duration) -> (Lease, Fence) {
    let mut lease = store.lease(WorkerId::fresh().unwrap(), ttl);
    match lease.acquire().await.unwrap() {
        Acquired::Taken { fence, .. } => (lease, fence),
        Acquired::Held { remaining } => panic!("held by another for {remaining:?}"),
    }
}

async fn term_of(lease: &mut Lease) -> HeldTerm {
    lease.held().await.unwrap().unwrap().term
}

#[tokio::test]
async fn nobody_takes_over_from_a_leader_that_subscribes_or_whose_lease_is_another_ones_by_then() {
    let (cluster, _) = Cluster::bare(0).start_surroundings().await;
    let store = cluster.connected_store().await;
    let ttl = Duration::from_secs(60);
    let (mut leads, fence) = fenced_lease(&store, ttl).await;
    let presence = store.subscribe_as_leader(&fence).await.unwrap();
    let mut waits = store.lease(WorkerId::fresh().unwrap(), ttl);
    let term = term_of(&mut waits).await;
    assert!(waits.is_present(&term).await.unwrap());
    assert!(matches!(waits.take_over(&term).await.unwrap(), Acquired::Held { .. }));
    assert!(leads.renew(&fence).await.unwrap().is_some(), "it still leads");

    drop(presence);
    eventually("the end of its subscription", SOON, || async {
        (subscriptions(&cluster.redis, &held(&cluster.redis).await?).await == 0).then_some(())
    })
    .await;
    let mut also_waits = store.lease(WorkerId::fresh().unwrap(), ttl);
    let Acquired::Taken { fence: next, .. } = waits.take_over(&term).await.unwrap() else {
        panic!("nobody subscribes");
    };
    assert!(next.epoch() > fence.epoch());
    assert!(matches!(also_waits.take_over(&term).await.unwrap(), Acquired::Held { .. }), "it comes late");
    assert!(leads.renew(&fence).await.unwrap().is_none(), "the former leader learns it");
    assert!(waits.renew(&next).await.unwrap().is_some());
}

#[tokio::test]
async fn the_watch_is_one_workers_until_it_lets_it_expire_or_another_one_leads() {
    let (cluster, _) = Cluster::bare(0).start_surroundings().await;
    let store = cluster.connected_store().await;
    let waits = || store.lease(WorkerId::fresh().unwrap(), Duration::from_secs(60));
    let (mut one, mut other) = (waits(), waits());
    for _ in 0..2 {
        assert!(one.claim_watch().await.unwrap());
        assert!(!other.claim_watch().await.unwrap());
    }
    let ttl: i64 = cluster.redis.command(&["PTTL", WATCHER]).await;
    assert!((1..=3000).contains(&ttl), "{ttl}");
    // Each worker sees the other's claim instead of its own.
    let (_leads, _) = fenced_lease(&store, Duration::from_secs(60)).await;
    assert!(other.claim_watch().await.unwrap(), "a new leader is watched by whoever claims that first");
    assert!(one.held().await.unwrap().unwrap().watched);
    assert!(!other.held().await.unwrap().unwrap().watched);
}

#[tokio::test]
async fn a_leader_that_never_subscribes_as_those_of_older_versions_is_left_to_its_lease() {
    let cluster = Cluster::bare(0).env("BANGUI_LEASE_TTL_MS", 3000).start().await;
    let store = cluster.connected_store().await;
    let (mut leads, fence) = fenced_lease(&store, Duration::from_secs(3)).await;
    let term = held(&cluster.redis).await.unwrap();
    let mut cluster = cluster;
    cluster.add_worker().await;
    let monitor = cluster.redis.monitor().await;
    for _ in 0..4 {
        is_looked_at(&cluster.redis).await;
        assert!(leads.renew(&fence).await.unwrap().is_some(), "it is disturbed");
    }
    successor(&cluster.redis, &term).await;
    assert_eq!(takeovers(&term, &monitor.stop(&cluster.redis).await), 0);
}

/// Pauses the leader, or cuts it off. Returns what it wrote and which takeovers were tried until the next leader, and what it writes
/// afterwards.
async fn is_replaced_when_its_lease_expires(
    cluster: &Cluster,
    leader: usize,
    term: &str,
    away: impl Fn(bool),
) {
    away(true);
    let monitor = cluster.redis.monitor().await;
    let next = successor(&cluster.redis, term).await;
    assert!(epoch(&next) > epoch(term));
    let seen = monitor.stop(&cluster.redis).await;
    assert_eq!(takeovers(term, &seen), 0, "its subscription is still there");
    comes_back_and_writes_nothing(cluster, leader, (term, &next), || away(false)).await;
}

async fn comes_back_and_writes_nothing(
    cluster: &Cluster,
    leader: usize,
    (term, next): (&str, &str),
    back: impl FnOnce(),
) {
    let monitor = cluster.redis.monitor().await;
    back();
    eventually("the former leader to know it", SOON, || async {
        let said = |line: &serde_json::Value| {
            field(line, "message").and_then(|m| m.as_str()).is_some_and(|m| m.contains("lost leadership"))
                && field(line, "lease.epoch").and_then(serde_json::Value::as_u64) == Some(epoch(term))
        };
        cluster.workers[leader].log().iter().any(said).then_some(())
    })
    .await;
    is_looked_at(&cluster.redis).await;
    let seen = monitor.stop(&cluster.redis).await;
    let writes = writes_of(term, &seen);
    assert!(writes.is_empty(), "a write of the old term was taken: {writes:?}");
    assert_eq!(held(&cluster.redis).await.as_deref(), Some(next), "the new leader was disturbed");
}

#[tokio::test]
async fn a_leader_that_is_paused_is_replaced_when_its_lease_expires_and_writes_nothing_when_it_wakes() {
    let cluster = Cluster::bare(3).env("BANGUI_LEASE_TTL_MS", 3000).set_up().await;
    let (term, leader, _) = watched(&cluster).await;
    let away = |away| match away {
        true => cluster.workers[leader].pause(),
        false => cluster.workers[leader].resume(),
    };
    is_replaced_when_its_lease_expires(&cluster, leader, &term, away).await;
}

#[tokio::test]
async fn a_leader_that_the_network_cuts_off_is_replaced_when_its_lease_expires() {
    let (mut cluster, _) =
        Cluster::bare(0).env("BANGUI_LEASE_TTL_MS", 3000).proxied().start_surroundings().await;
    // The first one leads, behind the proxy; the others have direct connections.
    cluster.add_worker().await;
    eventually("the first one to lead", SOON, || held(&cluster.redis)).await;
    cluster.environment.insert("BANGUI_REDIS_URL".to_owned(), cluster.redis.url());
    cluster.add_worker().await;
    cluster.add_worker().await;
    let (term, leader, _) = watched(&cluster).await;
    assert_eq!(leader, 0);
    let proxy = cluster.proxy.as_ref().unwrap();
    // Bytes are swallowed, and no connection is closed.
    let away = |away| proxy.set(if away { Mode::BlackHole } else { Mode::Pass });
    is_replaced_when_its_lease_expires(&cluster, leader, &term, away).await;
}

#[tokio::test]
async fn a_leader_whose_subscription_redis_ends_while_it_is_paused_is_replaced_and_writes_nothing_when_it_wakes()
 {
    let cluster = Cluster::bare(3).env("BANGUI_LEASE_TTL_MS", LONG_TTL_MS).set_up().await;
    let (term, leader, _) = watched(&cluster).await;
    cluster.workers[leader].pause();
    // Those of the others too; they come back.
    cluster.redis.command::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    let next = successor(&cluster.redis, &term).await;
    assert!(epoch(&next) > epoch(&term));
    comes_back_and_writes_nothing(&cluster, leader, (&term, &next), || cluster.workers[leader].resume())
        .await;
}

#[tokio::test]
async fn a_leader_whose_subscription_redis_ends_subscribes_again_and_stays_the_leader() {
    let cluster = Cluster::bare(3).env("BANGUI_LEASE_TTL_MS", 5000).set_up().await;
    let (term, ..) = watched(&cluster).await;
    for _ in 0..5 {
        cluster.redis.command::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        let (still, ..) = watched(&cluster).await;
        assert_eq!(still, term);
    }
}

#[tokio::test]
async fn a_leader_that_may_not_subscribe_any_more_renews_its_lease_and_stays_the_leader() {
    let cluster = Cluster::bare(3).env("BANGUI_LEASE_TTL_MS", 5000).set_up().await;
    let (term, ..) = watched(&cluster).await;
    // Redis ends the subscriptions that are not allowed any more.
    let rule = ["ACL", "SETUSER", USER, "resetchannels", "&it:wake", "&it:revoked"];
    cluster.redis.command::<()>(&rule).await;
    eventually("the end of the subscription", SOON, || async {
        (subscriptions(&cluster.redis, &term).await == 0).then_some(())
    })
    .await;
    for _ in 0..4 {
        is_looked_at(&cluster.redis).await;
        assert_eq!(held(&cluster.redis).await.as_deref(), Some(term.as_str()));
    }
    // Allowed again, it is watched as before.
    cluster.redis.command::<()>(&["ACL", "SETUSER", USER, "&it:leader:*"]).await;
    assert_eq!(watched(&cluster).await.0, term);
}

#[tokio::test]
async fn a_restart_of_redis_ends_every_subscription_and_leaves_the_leader_in_place() {
    let mut cluster = Cluster::bare(3).env("BANGUI_LEASE_TTL_MS", 30_000).set_up().await;
    let (term, ..) = watched(&cluster).await;
    for _ in 0..2 {
        cluster.redis.restart().await;
        let (still, ..) = watched(&cluster).await;
        assert_eq!(still, term);
    }
}

#[tokio::test]
async fn only_one_of_the_waiting_workers_looks_at_the_leader() {
    let cluster = Cluster::bare(5).env("BANGUI_LEASE_TTL_MS", 5000).set_up().await;
    watched(&cluster).await;
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        is_looked_at(&cluster.redis).await;
        seen.extend(lookers(&cluster.redis).await);
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}
