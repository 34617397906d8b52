//! The atomic steps of sessions, each against a real Redis: no ended session comes back, and none is missing from the list.

use std::time::Duration;

use bangui::actions::Actor;
use bangui::domain::access::Access;
use bangui::store::{
    AuditRecord, LoginOrigin, OnceKind, OnceSecret, Owner, SessionDetails, SessionLife, SessionToken,
    SessionsCursor, Store,
};

use crate::store::store;
use crate::support::redis::Redis;
use crate::support::{SOON, eventually};

const LIFE: SessionLife =
    SessionLife { idle: Duration::from_secs(1800), absolute: Duration::from_secs(43_200) };

fn audit() -> AuditRecord {
    Actor::operator().record("test")
}

fn begun(_: &SessionDetails) -> AuditRecord {
    audit()
}

fn origin() -> LoginOrigin {
    LoginOrigin { ip: "198.51.100.7".parse().unwrap(), user_agent: "test".to_owned() }
}

async fn logged_in(store: &Store) -> SessionToken {
    let admin = Owner::admin();
    let generation = store.account(&admin.username).await.unwrap().unwrap().generation;
    store
        .begin_session((&admin, &Access::everything()), generation, &origin(), LIFE, begun)
        .await
        .unwrap()
        .unwrap()
        .0
}

async fn lives(store: &Store, token: &SessionToken) -> bool {
    store.check_session(token, LIFE).await.unwrap().session.is_some()
}

#[tokio::test]
async fn revoking_all_sessions_kills_a_login_in_flight_and_keeps_the_one_that_is_kept() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    let admin = Owner::admin();
    assert!(store.create_admin("hash", &audit()).await.unwrap());
    let generation = store.account(&admin.username).await.unwrap().unwrap().generation;
    let (kept, other) = (logged_in(&store).await, logged_in(&store).await);

    store.end_all_sessions(&admin, Some(&kept.id()), &audit()).await.unwrap();
    assert!(lives(&store, &kept).await);
    assert!(!lives(&store, &other).await);
    let in_flight = store
        .begin_session((&admin, &Access::everything()), generation, &origin(), LIFE, begun)
        .await
        .unwrap();
    assert!(in_flight.is_none(), "a login that read the account before the revocation");
    let listed = store.list_sessions(&admin, None, 10, LIFE).await.unwrap();
    assert_eq!(listed.items.len(), 1);

    store.end_all_sessions(&admin, None, &audit()).await.unwrap();
    assert!(!lives(&store, &kept).await);
}

#[tokio::test]
async fn a_touch_never_recreates_a_session_that_was_ended_since_it_was_checked() {
    let redis = Redis::start().await;
    let script = include_str!("../../src/store/scripts/session_touch.lua");
    let far = "99999999999999";
    let touched: u64 = redis.command(&["EVAL", script, "1", "gone", "1000", far, "0"]).await;
    assert_eq!(touched, 0);
    assert_eq!(redis.command::<u64>(&["EXISTS", "gone"]).await, 0);
}

#[tokio::test]
async fn touches_never_let_a_session_outlive_its_absolute_end() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    store.create_admin("hash", &audit()).await.unwrap();
    let life = SessionLife { idle: Duration::from_millis(4_000), absolute: Duration::from_millis(2_500) };
    let admin = Owner::admin();
    let (token, details) = store
        .begin_session((&admin, &Access::everything()), 1, &origin(), life, begun)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(details.session.idle_expires_at, details.session.expires_at, "cut at the absolute end");
    let begun = tokio::time::Instant::now();
    while store.check_session(&token, life).await.unwrap().session.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(6), "touched past its absolute end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "touches kept it alive until then");
}

#[tokio::test]
async fn pages_of_sessions_hold_each_session_once() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    store.create_admin("hash", &audit()).await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..25 {
        tokens.push(logged_in(&store).await.id().to_string());
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list_sessions(&Owner::admin(), cursor, 10, LIFE).await.unwrap();
        seen.extend(page.items.iter().map(|item| item.session.id.to_string()));
        cursor = page.next_cursor.as_deref().map(|next| SessionsCursor::parse(next).unwrap());
        if cursor.is_none() {
            break;
        }
    }
    tokens.sort();
    seen.sort();
    assert_eq!(seen, tokens);
}

#[tokio::test]
async fn logins_take_sessions_that_have_run_out_from_the_index() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    store.create_admin("hash", &audit()).await.unwrap();
    let admin = Owner::admin();
    let short = SessionLife { idle: Duration::from_millis(1), ..LIFE };
    for _ in 0..10 {
        store
            .begin_session((&admin, &Access::everything()), 1, &origin(), short, begun)
            .await
            .unwrap()
            .unwrap();
    }
    let kept = logged_in(&store).await;
    eventually("the short sessions to leave the index", SOON, || async {
        store
            .begin_session((&admin, &Access::everything()), 1, &origin(), short, begun)
            .await
            .unwrap()
            .unwrap();
        let indexed: u64 = redis.command(&["SCARD", "{it}:sessions:admin"]).await;
        (indexed < 5).then_some(())
    })
    .await;
    let listed = store.list_sessions(&admin, None, 50, LIFE).await.unwrap();
    assert!(listed.items.iter().any(|item| item.session.id == kept.id()), "the live one stays");
}

#[tokio::test]
async fn a_log_out_ends_the_session_also_when_the_index_has_lost_it() {
    let redis = Redis::start().await;
    let store = store(&redis).await;
    store.create_admin("hash", &audit()).await.unwrap();
    let token = logged_in(&store).await;
    redis.command::<u64>(&["DEL", "{it}:sessions:admin"]).await;
    let session = store.check_session(&token, LIFE).await.unwrap().session.unwrap();
    store.end_checked_session(&session.owner(), &session.id, &audit()).await.unwrap();
    assert!(!lives(&store, &token).await);
}

#[tokio::test]
async fn what_is_kept_to_be_used_once_is_taken_by_one_of_two_stores_and_not_with_its_hash() {
    let redis = Redis::start().await;
    let (one, other) = (store(&redis).await, store(&redis).await);
    for round in 0..100_u8 {
        let secret = OnceSecret::fresh().unwrap();
        one.keep_once(OnceKind::AppSetup, &secret.hash(), &[round, 0, 255], SOON).await.unwrap();
        let seen = other.see_once(OnceKind::AppSetup, &secret.hash()).await.unwrap();
        assert_eq!(seen, Some(vec![round, 0, 255]), "seeing it does not take it");
        let hash = secret.hash();
        let (a, b) = tokio::join!(
            one.take_once(OnceKind::AppSetup, &hash),
            other.take_once(OnceKind::AppSetup, &hash)
        );
        let taken = [a.unwrap(), b.unwrap()];
        assert_eq!(taken.iter().flatten().count(), 1, "{taken:?}");
        let keys: Vec<String> = redis.command(&["KEYS", "{it}:once:*"]).await;
        assert!(keys.is_empty(), "{keys:?}");
    }
    let secret = OnceSecret::fresh().unwrap();
    one.keep_once(OnceKind::AppSetup, &secret.hash(), b"x", SOON).await.unwrap();
    let keys: Vec<String> = redis.command(&["KEYS", "{it}:once:*"]).await;
    assert!(!keys[0].contains(secret.reveal()), "the key has the hash alone: {}", keys[0]);
    let life: i64 = redis.command(&["PTTL", &keys[0]]).await;
    assert!(life > 0, "{life}");
}
