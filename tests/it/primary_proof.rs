//! What reads a session, and what grants a near cache its lease, proves by itself that it is the primary: nothing here relies on
//! a watchdog that would notice a second later.

use std::time::Duration;

use bangui::actions::Actor;
use bangui::domain::access::Access;
use bangui::store::{LoginOrigin, Owner, SessionLife, Store, StoreError};

use crate::support::cluster::store_config;
use crate::support::redis::Redis;

const LIFE: SessionLife =
    SessionLife { idle: Duration::from_secs(1800), absolute: Duration::from_secs(43_200) };

/// It follows nobody, and keeps what it has; its clients stay connected.
async fn demote(redis: &Redis) {
    redis.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
}

#[tokio::test]
async fn a_session_is_read_from_no_demoted_primary_though_no_watchdog_looks() {
    let redis = Redis::start().await;
    let (store, parts) = Store::open(&store_config(&redis)).unwrap();
    let mut watchdog = None;
    for part in parts {
        let task = tokio::spawn(part.run);
        if part.name == "redis-connection" {
            watchdog = Some(task);
        }
    }
    store.ready().await.unwrap();
    let admin = Owner::admin();
    let audit = Actor::operator().record("test");
    store.create_admin("a hash", &audit).await.unwrap();
    let generation = store.account(&admin.username).await.unwrap().unwrap().generation;
    let origin = LoginOrigin { ip: [198, 51, 100, 7].into(), user_agent: "test".to_owned() };
    let begun = store
        .begin_session((&admin, &Access::everything()), generation, &origin, LIFE, |_| audit.clone())
        .await;
    let (token, _) = begun.unwrap().unwrap();
    assert!(store.check_session(&token, LIFE).await.unwrap().session.is_some());

    let watchdog = watchdog.unwrap();
    watchdog.abort();
    assert!(watchdog.await.unwrap_err().is_cancelled());
    demote(&redis).await;
    let read = store.check_session(&token, LIFE).await;
    assert!(matches!(read, Err(StoreError::Unavailable { .. })), "{read:?}");
}

#[tokio::test]
async fn a_demoted_primary_grants_no_lease_fills_no_near_cache_and_names_nobody_who_is_behind() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let holders = "{m}:holders";
    let id = "0".repeat(32);
    let join = redis::Script::new(include_str!("../../src/store/scripts/cache_join.lua"));
    let joined: (String, u64) =
        join.key(holders).arg(&id).arg(1_000).invoke_async(&mut connection).await.unwrap();
    let renew = redis::Script::new(include_str!("../../src/store/scripts/cache_renew.lua"));
    let mut renew = renew.prepare_invoke();
    renew.key(holders).arg(&id).arg(&joined.0).arg(joined.1);
    // The number is the same as before, and it is written all the same.
    assert_eq!(renew.invoke_async::<i64>(&mut connection).await.unwrap(), 1);
    let read = redis::Script::new(include_str!("../../src/store/scripts/session_read.lua"));
    let mut read = read.prepare_invoke();
    read.key("{m}:generation").key("{m}:session").arg(&joined.0);
    read.invoke_async::<redis::Value>(&mut connection).await.unwrap();
    // What the second try of a logout asks before it is answered 401.
    let behind = redis::Script::new(include_str!("../../src/store/scripts/cache_behind.lua"));
    let mut behind = behind.prepare_invoke();
    behind.key(holders);
    behind.invoke_async::<redis::Value>(&mut connection).await.unwrap();

    demote(&redis).await;
    for call in [renew, read, behind] {
        let refused = call.invoke_async::<redis::Value>(&mut connection).await.unwrap_err();
        // Redis 6.2 wraps it.
        let read_only = refused.code() == Some("READONLY") || refused.to_string().contains("READONLY");
        assert!(read_only, "{refused}");
    }
}
