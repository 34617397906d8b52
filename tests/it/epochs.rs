//! Epochs on a real Redis with the real script, whose clock the test controls: it jumps both ways, and Redis forgets, or
//! comes back with the data it had a while ago.

use std::collections::BTreeSet;
use std::time::Duration;

use bangui::actions::Actor;
use bangui::agent::client::{JobEpoch, JobKey};
use bangui::domain::{BanAction, BanJobId, BanJobProgress, JailName, ServerName};
use bangui::store::{Acquired, Cancelled, NewBanJob, Store, WorkerId};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use redis::Connection;

use crate::support::cluster::{server_is, store_config};
use crate::support::redis::Redis;
use crate::support::{Cluster, SOON, eventually};

const WORKERS: usize = 3;
const LEASE: &str = "{m}:lease";
const EPOCH: &str = "{m}:epoch";

/// Something that happens.
#[derive(Debug, Clone)]
enum Act {
    /// This worker asks for the lease.
    Acquire(usize),
    /// This worker takes it from a leader that subscribes to no channel.
    TakeOver(usize),
    /// The holder gives the lease back, or it expires.
    Free,
    /// Redis's clock jumps by so many ms.
    Jump(i64),
    /// Redis loses everything.
    Forget,
    /// A copy of Redis's data is made.
    Remember,
    /// Redis comes back with that copy.
    GoBack,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..WORKERS).prop_map(Act::Acquire),
        3 => (0..WORKERS).prop_map(Act::TakeOver),
        4 => Just(Act::Free),
        3 => prop_oneof![Just(0), Just(1), -5..5_i64, -100_000..100_000_i64].prop_map(Act::Jump),
        2 => Just(Act::Forget),
        1 => Just(Act::Remember),
        1 => Just(Act::GoBack),
    ]
}

/// Plays a history. Workers that wait for the lease keep polling it, so each has seen every term that began while it ran. (A
/// process that is started after Redis has forgotten them all can only be distinguished by its owner's id.)
fn live_through(connection: &mut Connection, source: &str, history: Vec<Act>) -> Result<(), TestCaseError> {
    let script = redis::Script::new(source);
    let mut clock: i64 = 1_795_000_000_000;
    let mut seen = [0_u64; WORKERS];
    let mut given = BTreeSet::new();
    let mut remembered: (Option<String>, Option<String>) = (None, None);
    let _: () = redis::cmd("FLUSHALL").query(connection).unwrap();
    for act in history {
        match act {
            Act::Acquire(w) | Act::TakeOver(w) => {
                let held: Option<String> = redis::cmd("GET").arg(LEASE).query(connection).unwrap();
                let gone = held.filter(|_| matches!(act, Act::TakeOver(_))).unwrap_or_default();
                let (seconds, micros) = (clock / 1000, clock % 1000 * 1000);
                let (taken, epoch, _, held): (bool, u64, i64, u64) = script
                    .key(LEASE)
                    .key(EPOCH)
                    .key("{m}:events")
                    .key("{m}:watcher")
                    .arg(format!("worker{}", w))
                    .arg(60_000)
                    .arg(100)
                    .arg(seen[w])
                    .arg(&gone)
                    .arg(format!("m:leader:{gone}"))
                    .arg("m:wake")
                    .arg(seconds)
                    .arg(micros)
                    .invoke(connection)
                    .unwrap();
                let term = (w, held);
                if taken && !given.contains(&term) {
                    prop_assert!(epoch > seen[w], "epoch {epoch} after {}", seen[w]);
                    let another = given.iter().find(|(owner, of)| *of == epoch && *owner != w);
                    prop_assert!(another.is_none(), "epoch {epoch} is {another:?}'s too");
                    given.insert(term);
                }
                seen = seen.map(|seen| seen.max(held));
            }
            Act::Free => redis::cmd("DEL").arg(LEASE).query(connection).unwrap(),
            Act::Jump(ms) => clock += ms,
            Act::Forget => redis::cmd("FLUSHALL").query(connection).unwrap(),
            Act::Remember => remembered = redis::cmd("MGET").arg(LEASE).arg(EPOCH).query(connection).unwrap(),
            Act::GoBack => {
                let _: () = redis::cmd("FLUSHALL").query(connection).unwrap();
                for (key, value) in [(LEASE, &remembered.0), (EPOCH, &remembered.1)] {
                    if let Some(value) = value {
                        let _: () = redis::cmd("SET").arg(key).arg(value).query(connection).unwrap();
                    }
                }
            }
        }
    }
    Ok(())
}

/// The first history that breaks the rule, if there is one.
async fn broken(source: String) -> Option<String> {
    let server = Redis::start_with(&[]).await;
    let client = redis::Client::open(format!("redis+unix://{}", server.socket().display())).unwrap();
    let run = tokio::task::spawn_blocking(move || {
        let connection = std::cell::RefCell::new(client.get_connection().unwrap());
        let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
        )
        .run(&prop::collection::vec(act(), 1..60), |history| {
            live_through(&mut connection.borrow_mut(), &source, history)
        });
        match outcome {
            Ok(()) => None,
            Err(TestError::Fail(why, history)) => Some(format!("{why} of {history:?}")),
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
    });
    run.await.unwrap()
}

/// The script, with the time from its last two arguments.
fn source() -> String {
    let source = include_str!("../../src/store/scripts/lease_acquire.lua");
    assert!(source.contains("redis.call('TIME')"));
    source.replace("redis.call('TIME')", "{ARGV[8], ARGV[9]}")
}

#[tokio::test]
async fn no_two_terms_have_one_epoch_though_redis_forgets_and_its_clock_jumps_both_ways() {
    assert_eq!(broken(source()).await, None);
}

#[tokio::test]
async fn without_what_the_worker_has_seen_two_terms_would_have_one_epoch() {
    let seen = ", tonumber(ARGV[4])";
    assert!(source().contains(seen));
    let broken = broken(source().replace(seen, ", 0")).await.expect("a history that breaks it");
    println!("{broken}");
}

const AHEAD: u64 = 5_000_000_000_000;

async fn store(redis: &Redis) -> Store {
    let store = Store::open_unsupervised(&store_config(redis)).unwrap();
    store.ready().await.unwrap();
    store
}

/// A job that unbans everything in a jail.
fn job(jail: &str) -> NewBanJob<'static> {
    NewBanJob {
        id: BanJobId::of(7),
        server: ServerName::parse("web-1").unwrap(),
        jail: JailName::parse(jail).unwrap(),
        order: BanAction::UnbanAll,
        ips: &[],
        progress: BanJobProgress::default(),
        changed: &[],
        audit: Actor::operator().record("test"),
    }
}

/// The epoch of the lease or claim that this worker takes next, on a Redis that has forgotten everything.
async fn next_epochs(redis: &Redis, store: &Store) -> [u64; 3] {
    redis.command::<()>(&["FLUSHALL"]).await;
    let worker = WorkerId::fresh().unwrap();
    let Acquired::Taken { fence, .. } =
        store.lease(worker.clone(), Duration::from_secs(60)).acquire().await.unwrap()
    else {
        panic!("nobody else holds it")
    };
    let job = job("sshd");
    assert!(store.create_ban_job(&job).await.unwrap());
    let (open, _) = store.open_ban_jobs().await.unwrap();
    let claim = store.claim_ban_job(&open[0], &worker).await.unwrap().unwrap();
    let cancelled = store.cancel_ban_job(&job.id, &worker, &job.audit).await.unwrap();
    let Cancelled::Begun { claim: cancelled, .. } = cancelled else { panic!("{cancelled:?}") };
    [fence.epoch(), claim.epoch, cancelled.epoch]
}

#[tokio::test]
async fn an_epoch_counts_however_a_worker_has_seen_it() {
    let redis = Redis::start().await;
    let other = store(&redis).await;
    redis.command::<()>(&["SET", "{it}:epoch", &AHEAD.to_string()]).await;
    let mut held = other.lease(WorkerId::fresh().unwrap(), Duration::from_secs(60));
    held.acquire().await.unwrap();
    let (waits, looks, is_given) = (store(&redis).await, store(&redis).await, store(&redis).await);
    // By an attempt at a lease that another holds, by `GET /cluster`, and by an agent's refusal.
    let mut lease = waits.lease(WorkerId::fresh().unwrap(), Duration::from_secs(60));
    assert!(matches!(lease.acquire().await.unwrap(), Acquired::Held { .. }));
    looks.cluster().await.unwrap();
    is_given.see_epoch(AHEAD);
    for (how, store) in
        [("held by it", other), ("waits", waits), ("looks", looks), ("is given one", is_given)]
    {
        let epochs = next_epochs(&redis, &store).await;
        assert!(epochs.iter().all(|epoch| *epoch > AHEAD), "{how}: {epochs:?}");
        assert!(epochs[1] < epochs[2], "{how}: {epochs:?}");
    }
}

#[tokio::test]
async fn an_epoch_that_an_agent_knows_and_redis_has_forgotten_is_passed_by_the_next_claim() {
    let cluster = Cluster::with_fail2ban(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let job = job("app");
    let key = JobKey::parse(job.id.as_str()).unwrap();
    let known = JobEpoch { key, epoch: AHEAD, incarnation: None, owner: Some("another".to_owned()) };
    cluster.agent.as_ref().unwrap().client().fence(&known).await.unwrap();
    assert!(cluster.connected_store().await.create_ban_job(&job).await.unwrap());
    eventually("the job to be done under a later claim", 4 * SOON, || async {
        let shown = client.get(&format!("/api/v1/ban-jobs/{}", job.id)).await;
        (shown.expect(200).body["state"] == "done").then_some(())
    })
    .await;
}
