//! Epochs on a real Redis with the real script, whose clock is in the test's hand: it jumps both ways, and Redis forgets, or
//! comes back with what it had a while ago.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use redis::Connection;

use crate::support::redis::Redis;

const WORKERS: usize = 3;
const LEASE: &str = "{m}:lease";
const EPOCH: &str = "{m}:epoch";

/// Something that happens.
#[derive(Debug, Clone)]
enum Act {
    /// This worker asks for the lease.
    Acquire(usize),
    /// Whoever holds the lease gives it back, or it runs out.
    Free,
    /// Redis's clock jumps by so many ms.
    Jump(i64),
    /// Redis loses everything.
    Forget,
    /// What Redis has now may come back.
    Remember,
    /// It does.
    GoBack,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..WORKERS).prop_map(Act::Acquire),
        4 => Just(Act::Free),
        3 => prop_oneof![Just(0), Just(1), -5..5_i64, -100_000..100_000_i64].prop_map(Act::Jump),
        2 => Just(Act::Forget),
        1 => Just(Act::Remember),
        1 => Just(Act::GoBack),
    ]
}

/// Lives through it. Workers that wait for the lease look at it again and again, so each has seen every term that began while it
/// ran. (A process that is started after Redis has forgotten them all can only be told apart by its owner's id.)
fn live_through(connection: &mut Connection, source: &str, history: Vec<Act>) -> Result<(), TestCaseError> {
    let script = redis::Script::new(source);
    let mut clock: i64 = 1_795_000_000_000;
    let mut seen = [0_u64; WORKERS];
    let mut given = BTreeSet::new();
    let mut remembered: (Option<String>, Option<String>) = (None, None);
    let _: () = redis::cmd("FLUSHALL").query(connection).unwrap();
    for act in history {
        match act {
            Act::Acquire(w) => {
                let (seconds, micros) = (clock / 1000, clock % 1000 * 1000);
                let (taken, epoch, _, held): (bool, u64, i64, u64) = script
                    .key(LEASE)
                    .key(EPOCH)
                    .key("{m}:events")
                    .arg(format!("worker{}", w))
                    .arg(60_000)
                    .arg(100)
                    .arg(seen[w])
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
    source.replace("redis.call('TIME')", "{ARGV[5], ARGV[6]}")
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
