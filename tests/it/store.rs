//! The atomic steps, each against a real Redis: the promises rely on what they refuse. The steps of sessions are in
//! `store_sessions.rs`.

use std::time::Duration;

use bangui::config::RedisConfig;
use bangui::domain::hours::{ServerHours, count};
use bangui::domain::transition::record_activation;
use bangui::domain::undo::{Deed, UndoId, Undoable};
use bangui::domain::{JailCounts, JailName, ServerName, ServerState};
use bangui::store::{
    Acquired, ChangeError, Fence, HoursChange, JobTurn, Lease, ReadList, Store, StoreError, StoredBan, Taken,
    WorkerId,
};

use crate::support::cluster::PREFIX;
use crate::support::redis::Redis;

/// A time in ms that will not come soon.
const AHEAD: &str = "5000000000000";

pub async fn store(redis: &Redis) -> Store {
    let config = RedisConfig {
        url: redis.url().into(),
        prefix: PREFIX.to_owned(),
        ca: None,
        min_replicas: 0,
        pool_size: 8,
    };
    let store = Store::open_unsupervised(&config).unwrap();
    store.ready().await.unwrap();
    store
}

fn lease(store: &Store, ttl_ms: u64) -> Lease {
    store.lease(WorkerId::fresh().unwrap(), Duration::from_millis(ttl_ms))
}

async fn take(lease: &mut Lease) -> Fence {
    match lease.acquire().await.unwrap() {
        Acquired::Taken { fence, .. } => fence,
        Acquired::Held { remaining } => panic!("held by another for {remaining:?}"),
    }
}

fn server() -> ServerName {
    ServerName::parse("web-1").unwrap()
}

#[tokio::test]
async fn a_scheduled_write_is_refused_without_a_lease_with_an_older_epoch_and_with_another_owner() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let mut first = lease(&store, 60_000);
    let fence = take(&mut first).await;
    let read = store.server(&server()).await.unwrap();
    let state = ServerState::default();
    store.write_probed(&fence, &server(), &read, &state, &HoursChange::default(), &[]).await.unwrap();

    assert!(first.release(&fence).await.unwrap());
    let read = store.server(&server()).await.unwrap();
    let refused = store.write_probed(&fence, &server(), &read, &state, &HoursChange::default(), &[]).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "nobody holds it: {refused:?}");

    let again = take(&mut first).await;
    assert!(again.epoch() > fence.epoch());
    let refused = store.write_probed(&fence, &server(), &read, &state, &HoursChange::default(), &[]).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "the same owner in an older term: {refused:?}");
    assert!(first.release(&again).await.unwrap());

    let other = take(&mut lease(&store, 60_000)).await;
    let refused = store.write_probed(&again, &server(), &read, &state, &HoursChange::default(), &[]).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "another holds it: {refused:?}");
    store.write_probed(&other, &server(), &read, &state, &HoursChange::default(), &[]).await.unwrap();
}

#[tokio::test]
async fn hours_are_written_by_the_holder_of_the_lease_with_the_state_or_not_at_all() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let mut lease = lease(&store, 60_000);
    let fence = take(&mut lease).await;
    let before = ServerHours::default();
    let jails = [(JailName::parse("app").unwrap(), JailCounts::default())].into();
    let after = count(before.clone(), &jails, store.about_now());
    let change = HoursChange::between(&before, &after).unwrap();
    let (read, state) = (store.server(&server()).await.unwrap(), ServerState::default());
    store.write_probed(&fence, &server(), &read, &state, &HoursChange::default(), &[]).await.unwrap();

    let refused = store.write_probed(&fence, &server(), &read, &state, &change, &[]).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "another wrote since: {refused:?}");
    assert_eq!(store.server_hours(&server()).await.unwrap(), before);
    let read = store.server(&server()).await.unwrap();
    store.write_probed(&fence, &server(), &read, &state, &change, &[]).await.unwrap();
    assert_eq!(store.server_hours(&server()).await.unwrap(), after);

    assert!(lease.release(&fence).await.unwrap());
    let gone = HoursChange::between(&after, &before).unwrap();
    let read = store.server(&server()).await.unwrap();
    let refused = store.write_probed(&fence, &server(), &read, &state, &gone, &[]).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "nobody holds it: {refused:?}");
    assert_eq!(store.server_hours(&server()).await.unwrap(), after);
}

#[tokio::test]
async fn a_renewal_never_recreates_a_lease_and_a_release_never_takes_anothers() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let mut first = lease(&store, 60_000);
    let fence = take(&mut first).await;
    redis.command::<u64>(&["DEL", "{it}:lease"]).await;
    assert_eq!(first.renew(&fence).await.unwrap(), None);

    let mut second = lease(&store, 60_000);
    let other = take(&mut second).await;
    assert_eq!(first.renew(&fence).await.unwrap(), None);
    assert!(!first.release(&fence).await.unwrap());
    assert!(second.renew(&other).await.unwrap().is_some());
}

#[tokio::test]
async fn an_epoch_is_greater_than_every_one_before_also_when_redis_lost_its_data() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    // As after a clock that was ahead: without the epoch that the worker has seen, the second one would be Redis's time.
    redis.command::<()>(&["SET", "{it}:epoch", AHEAD]).await;
    let before = take(&mut lease(&store, 60_000)).await;
    redis.command::<String>(&["FLUSHALL"]).await;
    let after = take(&mut lease(&store, 60_000)).await;
    assert!(after.epoch() > before.epoch(), "{} after {}", after.epoch(), before.epoch());
}

#[tokio::test]
async fn a_lost_answer_to_the_acquisition_is_harmless() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let mut lease = lease(&store, 60_000);
    assert_eq!(take(&mut lease).await, take(&mut lease).await);
}

#[tokio::test]
async fn a_new_leader_neither_repeats_a_run_that_was_done_nor_skips_one_that_was_cut_short() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let hour = Duration::from_secs(3600);
    let mut first = lease(&store, 60_000);
    let fence = take(&mut first).await;
    assert!(matches!(store.begin_job(&fence, "probe", hour, 1).await.unwrap(), JobTurn::Begun { .. }));
    store.end_job(&fence, "probe", "ok").await.unwrap();
    first.release(&fence).await.unwrap();

    let mut second = lease(&store, 60_000);
    let fence = take(&mut second).await;
    let turn = store.begin_job(&fence, "probe", hour, 2).await.unwrap();
    assert!(matches!(turn, JobTurn::NotDue { wait } if wait > hour * 9 / 10), "{turn:?}");
    assert!(matches!(
        store.begin_job(&fence, "remove-silent-workers", hour, 3).await.unwrap(),
        JobTurn::Begun { .. }
    ));
    second.release(&fence).await.unwrap();

    let fence = take(&mut lease(&store, 60_000)).await;
    let turn = store.begin_job(&fence, "remove-silent-workers", hour, 4).await.unwrap();
    assert!(matches!(turn, JobTurn::Begun { .. }), "begun by a leader that did not end it: {turn:?}");
    let jobs = store.cluster().await.unwrap().jobs;
    assert_eq!(jobs.iter().map(|job| job.runs).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(jobs[1].last_outcome.as_deref(), Some("interrupted"));
}

#[tokio::test]
async fn missed_runs_collapse_into_one_and_the_schedule_keeps_its_grid() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let fence = take(&mut lease(&store, 60_000)).await;
    let minute = Duration::from_secs(60);
    store.begin_job(&fence, "probe", minute, 5).await.unwrap();
    store.end_job(&fence, "probe", "ok").await.unwrap();
    // As if it had last been due three and a half minutes ago.
    let due: i64 = redis.command(&["HGET", "{it}:job:probe", "next_due_at"]).await;
    let missed = (due - 270_000).to_string();
    redis.command::<u64>(&["HSET", "{it}:job:probe", "next_due_at", &missed]).await;

    assert!(matches!(store.begin_job(&fence, "probe", minute, 6).await.unwrap(), JobTurn::Begun { .. }));
    store.end_job(&fence, "probe", "ok").await.unwrap();
    let turn = store.begin_job(&fence, "probe", minute, 7).await.unwrap();
    assert!(
        matches!(turn, JobTurn::NotDue { wait } if wait <= Duration::from_secs(30)),
        "on the grid: {turn:?}"
    );
    let next: i64 = redis.command(&["HGET", "{it}:job:probe", "next_due_at"]).await;
    assert_eq!((next - due).rem_euclid(60_000), 30_000, "the grid of the missed run");
}

#[tokio::test]
async fn of_two_changes_at_once_both_take_effect() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let name = server();
    let add = |text: String| {
        let (store, name) = (store.clone(), name.clone());
        async move {
            let jail = JailName::parse(&text).unwrap();
            let changed = store.change_server(&name, |mut state, _| {
                state.expected_jails.insert(jail.clone());
                Ok::<_, ()>(Some((state, vec![])))
            });
            match changed.await {
                Ok(_) => {}
                Err(ChangeError::Refused(()) | ChangeError::Store(_)) => panic!("not written"),
            }
        }
    };
    futures_util::future::join_all((0..8).map(|n| add(format!("jail-{n}")))).await;
    let stored = store.server(&name).await.unwrap();
    assert_eq!(stored.state.expected_jails.len(), 8);
    assert_eq!(stored.revision, 8);
}

#[tokio::test]
async fn an_event_is_in_the_stream_if_and_only_if_its_write_was_made() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let fence = take(&mut lease(&store, 60_000)).await;
    let before: u64 = redis.command(&["XLEN", "{it}:events"]).await;
    let read = store.server(&server()).await.unwrap();
    let jail = JailName::parse("sshd").unwrap();
    let (state, events) = record_activation((*read.state).clone(), jail, read.read_at);
    store.write_probed(&fence, &server(), &read, &state, &HoursChange::default(), &events).await.unwrap();
    let refused =
        store.write_probed(&fence, &server(), &read, &state, &HoursChange::default(), &events).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    let after: u64 = redis.command(&["XLEN", "{it}:events"]).await;
    assert_eq!(after - before, 1);
}

#[tokio::test]
async fn a_lost_answer_to_the_begin_of_a_job_does_not_lose_the_run() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let fence = take(&mut lease(&store, 60_000)).await;
    let hour = Duration::from_secs(3600);
    for _ in 0..2 {
        let turn = store.begin_job(&fence, "probe", hour, 7).await.unwrap();
        assert!(matches!(turn, JobTurn::Begun { .. }), "asked again with the same attempt: {turn:?}");
    }
    let turn = store.begin_job(&fence, "probe", hour, 8).await.unwrap();
    assert!(matches!(turn, JobTurn::NotDue { .. }), "{turn:?}");
    assert_eq!(store.cluster().await.unwrap().jobs[0].runs, 1);
}

#[tokio::test]
async fn what_only_the_leader_may_take_is_refused_to_one_that_was_deposed() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let mut first = lease(&store, 60_000);
    let deposed = take(&mut first).await;
    first.release(&deposed).await.unwrap();
    let leads = take(&mut lease(&store, 60_000)).await;
    store.request_probe(&server()).await.unwrap();
    assert!(matches!(store.take_probe_requests(&deposed).await, Err(StoreError::Fenced)));
    assert!(matches!(store.remove_silent_workers(&deposed).await, Err(StoreError::Fenced)));
    let place = (server(), JailName::parse("sshd").unwrap());
    let list = |ip: &str| vec![StoredBan { ip: ip.to_owned(), since: None, until: None }];
    let read = |counts| ReadList { counts, weight: 1, tag: None };
    store.write_bans(&leads, &place, read((1, 1)), list("203.0.113.1"), vec![]).await.unwrap();
    let late = store.write_bans(&deposed, &place, read((1, 2)), list("203.0.113.2"), vec![]).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    assert!(matches!(store.forget_bans(&deposed, &place).await, Err(StoreError::Fenced)));
    let (page, _) = store.bans(&place.0, &place.1, "", None, 10).await.unwrap();
    assert_eq!(page.items, list("203.0.113.1"), "the leader's list stays");
    assert_eq!(store.ban_lists().await.unwrap(), std::slice::from_ref(&place));
    store.forget_bans(&leads, &place).await.unwrap();
    assert!(store.bans(&place.0, &place.1, "", None, 10).await.unwrap().0.items.is_empty());
    assert_eq!(store.ban_counts(&[place]).await.unwrap(), [None]);
    assert!(store.ban_lists().await.unwrap().is_empty());
    assert_eq!(store.take_probe_requests(&leads).await.unwrap(), [server()]);
}

#[tokio::test]
async fn an_undo_is_offered_until_its_time_is_over_and_taken_by_one_person_who_may_give_it_back() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let [over, open] = [1, 2].map(UndoId::of);
    let deed = Deed::Switched { on: true };
    let done = Undoable { username: "admin".to_owned(), server: None, jail: None, deed };
    for id in [&over, &open] {
        store.keep_undo(id, &done, &format!("changes/{id}")).await.unwrap();
    }
    assert_eq!(store.undo_offers().await.unwrap().len(), 2);
    redis.command::<u64>(&["ZADD", "{it}:undos", "1", &format!("changes/{over} {over}")]).await;
    let offered: Vec<String> = store.undo_offers().await.unwrap().into_keys().collect();
    assert_eq!(offered, [format!("changes/{open}")]);

    assert_eq!(store.take_undo(&open, "admin").await.unwrap(), Taken::Yours(Box::new(done.clone())));
    let second = store.take_undo(&open, "other").await.unwrap();
    assert!(matches!(&second, Taken::Before { by, .. } if by == "admin"), "{second:?}");
    assert_eq!(store.undoable(&[over, open.clone()]).await.unwrap(), [Some(done.clone()), None]);
    store.give_undo_back(&open).await.unwrap();
    assert_eq!(store.take_undo(&open, "other").await.unwrap(), Taken::Yours(Box::new(done)));
}
