//! Settings that are read several times at once, as a worker does that starts while they are changed: the newest stay in force.

use bangui::actions::Actor;
use bangui::config::{Environment, Flags, roles};
use bangui::settings::{Bootstrap, Live};
use bangui::store::{Store, StoredSettings};
use serde_json::json;

use crate::support::cluster::store_config;
use crate::support::redis::Redis;

/// Rounds; without the order about one in a hundred ends with older settings in force.
const ROUNDS: u64 = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_settings_that_are_read_at_once_the_newest_stay_in_force() {
    let redis = Redis::start().await;
    let store = Store::open_unsupervised(&store_config(&redis)).unwrap();
    store.ready().await.unwrap();
    let variables = [("BANGUI_REDIS_URL".to_owned(), redis.url().into())].into();
    let environment = Environment { variables, ..Environment::default() };
    let live = Live::new(Bootstrap::of(&roles::serve(&environment, &Flags::new()).unwrap().config));
    for revision in 0..ROUNDS {
        let mut reading = tokio::task::JoinSet::new();
        let read = |reading: &mut tokio::task::JoinSet<()>| {
            let (store, live) = (store.clone(), live.clone());
            reading.spawn(async move { store.load_settings(&live).await.unwrap() });
        };
        (0..3).for_each(|_| read(&mut reading));
        let seen = StoredSettings { revision, ..StoredSettings::default() };
        let overrides = json!({ "probe_interval_seconds": 10 + revision % 2 }).as_object().unwrap().clone();
        let record = Actor::operator().record("test");
        store.write_settings(&seen, &overrides, &json!({}), &record).await.unwrap();
        (0..3).for_each(|_| read(&mut reading));
        while let Some(read) = reading.join_next().await {
            read.unwrap();
        }
        assert_eq!(live.now().revision, revision + 1, "older settings are in force");
    }
}
