use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use serde_json::json;

use super::*;
use crate::config::{Environment, Flags, roles};

fn bootstrap(variables: &[(&str, &str)]) -> Bootstrap {
    let required = [("BANGUI_REDIS_URL", "redis://127.0.0.1")];
    let variables = variables.iter().chain(&required);
    let environment = Environment {
        variables: variables.map(|(name, value)| ((*name).to_owned(), value.into())).collect(),
        ..Environment::default()
    };
    Bootstrap::of(&roles::serve(&environment, &Flags::new()).unwrap().config)
}

fn map(value: Value) -> Overrides {
    value.as_object().unwrap().clone()
}

fn shown(effective: &Effective) -> BTreeMap<&'static str, (Value, Origin)> {
    effective.shown().map(|(name, value, origin)| (name, (value, origin))).collect()
}

#[test]
fn the_environment_overrides_defaults_and_a_user_overrides_both() {
    let bootstrap = bootstrap(&[("BANGUI_PROBE_INTERVAL_SECONDS", "7"), ("BANGUI_LOGIN_LIMIT", "10/60")]);
    let overrides = map(json!({ "session_cache_enabled": true, "login_limit": "3/9" }));
    let effective = bootstrap.with(&overrides, 4);
    assert_eq!(
        shown(&effective),
        BTreeMap::from([
            ("session_idle_seconds", (json!(1800), Origin::Default)),
            ("session_absolute_seconds", (json!(43_200), Origin::Default)),
            ("session_cache_enabled", (json!(true), Origin::Runtime)),
            ("session_cache_ttl_seconds", (json!(5), Origin::Default)),
            ("probe_interval_seconds", (json!(7), Origin::Environment)),
            ("activation_crash_window_seconds", (json!(60), Origin::Default)),
            ("login_limit", (json!("3/9"), Origin::Runtime)),
            ("login_failure_limit", (json!("100/3600"), Origin::Default)),
            ("second_factor_roles", (json!(""), Origin::Default)),
        ])
    );
    assert_eq!(effective.settings.login_limit.burst.get(), 3);
    assert_eq!(effective.revision, 4);
    // Set in the environment to the default value: it still counts as set there.
    assert_eq!(
        shown(&bootstrap.with(&Overrides::new(), 0))["login_limit"],
        (json!("10/60"), Origin::Environment)
    );
}

#[test]
fn a_patch_is_merged_into_earlier_overrides_and_null_puts_back() {
    let bootstrap = bootstrap(&[]);
    let first = bootstrap.patched(&Overrides::new(), &map(json!({ "probe_interval_seconds": 3 }))).unwrap();
    let second = bootstrap.patched(&first, &map(json!({ "login_limit": "5/5" }))).unwrap();
    assert_eq!(Value::from(second.clone()), json!({ "probe_interval_seconds": 3, "login_limit": "5/5" }));
    let third = bootstrap.patched(&second, &map(json!({ "probe_interval_seconds": null }))).unwrap();
    assert_eq!(Value::from(third.clone()), json!({ "login_limit": "5/5" }));
    assert_eq!(bootstrap.patched(&third, &Overrides::new()).unwrap(), third);
    assert_eq!(bootstrap.patched(&third, &map(json!({ "probe_interval_seconds": null }))).unwrap(), third);
}

#[test]
fn what_a_newer_version_stored_is_kept_and_passed_over() {
    let bootstrap = bootstrap(&[]);
    let stored = map(json!({ "of_the_future": [1], "probe_interval_seconds": "every full moon" }));
    let effective = bootstrap.with(&stored, 1);
    assert_eq!(shown(&effective)["probe_interval_seconds"], (json!(10), Origin::Default));
    let patched = bootstrap.patched(&stored, &map(json!({ "login_limit": "5/5" }))).unwrap();
    assert_eq!(patched["of_the_future"], json!([1]));
    assert_eq!(patched["probe_interval_seconds"], "every full moon");
}

#[test]
fn all_mistakes_of_a_patch_are_reported_together() {
    let bootstrap = bootstrap(&[]);
    let wrong = map(json!({
        "listen": "0.0.0.0:80", "probe_interval_seconds": 0, "login_limit": 10, "session_cache_enabled": "yes",
        "session_cache_ttl_seconds": 5,
    }));
    let mistakes = bootstrap.patched(&Overrides::new(), &wrong).unwrap_err();
    let names: Vec<&str> = mistakes.iter().map(|mistake| mistake.name.as_str()).collect();
    assert_eq!(names, ["listen", "login_limit", "probe_interval_seconds", "session_cache_enabled"]);
    assert!(
        mistakes[0].allowed.starts_with("is not a setting; there are session_idle_seconds, "),
        "{mistakes:?}"
    );
    assert_eq!(mistakes[2].allowed, "must be a whole number of seconds from 1 to 86400");
}

#[test]
fn values_are_accepted_up_to_their_bounds_and_no_further() {
    let bootstrap = bootstrap(&[]);
    let takes = |name: &str, value: Value| {
        let patch = [(name.to_owned(), value)].into_iter().collect();
        bootstrap.patched(&Overrides::new(), &patch).is_ok()
    };
    for (name, good, bad) in [
        ("probe_interval_seconds", json!([1, 86_400]), json!([0, 86_401, -1, 1.5, 1e3, "1", true, [1], {}])),
        ("activation_crash_window_seconds", json!([0, 86_400]), json!([86_401, u64::MAX, -0.0])),
        ("session_cache_ttl_seconds", json!([0, 3600]), json!([3601])),
        ("session_idle_seconds", json!([1, 43_200]), json!([0, 43_201])),
        ("session_absolute_seconds", json!([1800, 315_360_000]), json!([1799, 315_360_001])),
        ("session_cache_enabled", json!([true, false]), json!(["true", 1, 0])),
        (
            "login_limit",
            json!(["1/1", "4294967295/31536000"]),
            json!(["0/1", "1/0", "10", "4294967296/1", "", 1]),
        ),
    ] {
        for value in good.as_array().unwrap() {
            assert!(takes(name, value.clone()), "{name} {value}");
        }
        for value in bad.as_array().unwrap() {
            assert!(!takes(name, value.clone()), "{name} {value}");
        }
    }
}

#[test]
fn settings_are_validated_as_a_whole_and_not_one_by_one() {
    let bootstrap = bootstrap(&[]);
    let both = map(json!({ "session_idle_seconds": 50_000, "session_absolute_seconds": 60_000 }));
    let stored = bootstrap.patched(&Overrides::new(), &both).unwrap();
    // Resetting one of them leaves the other in conflict with the default.
    let mistakes = bootstrap.patched(&stored, &map(json!({ "session_absolute_seconds": null }))).unwrap_err();
    assert_eq!(mistakes[0].name, "session_idle_seconds");
    assert!(mistakes[0].allowed.contains("43200"), "{mistakes:?}");
}

#[tokio::test]
async fn a_watcher_is_handed_each_change_once_and_hears_of_nothing_that_changes_nothing() {
    let live = Live::new(bootstrap(&[]));
    let mut watcher = live.watch();
    assert!(!live.replace(&Overrides::new(), 0));
    assert!(watcher.changed().now_or_never().is_none());
    assert!(live.replace(&map(json!({ "probe_interval_seconds": 3 })), 1));
    let given = watcher.changed().now_or_never().expect("a change");
    assert_eq!((given.revision, given.settings.probe_interval), (1, Duration::from_secs(3)));
    assert_eq!(live.now(), given);
    assert!(watcher.changed().now_or_never().is_none());
}

#[tokio::test]
async fn settings_of_a_redis_that_counts_from_the_start_again_reach_a_watcher() {
    let live = Live::new(bootstrap(&[]));
    assert!(live.replace(&map(json!({ "probe_interval_seconds": 3 })), 1));
    let mut watcher = live.watch();
    // The same revision, another value.
    assert!(live.replace(&map(json!({ "probe_interval_seconds": 4 })), 1));
    let given = watcher.changed().now_or_never().expect("a change");
    assert_eq!(given.settings.probe_interval, Duration::from_secs(4));
}

#[tokio::test]
async fn who_waits_for_a_condition_is_handed_the_settings_that_meet_it() {
    let live = Live::new(bootstrap(&[]));
    let mut watcher = live.watch();
    let mut waiting = Box::pin(watcher.until(|settings| settings.probe_interval == Duration::from_secs(4)));
    for (revision, seconds) in [(1, 3), (2, 5)] {
        live.replace(&map(json!({ "probe_interval_seconds": seconds })), revision);
        assert!(waiting.as_mut().now_or_never().is_none(), "{seconds} s are not 4 s");
    }
    live.replace(&map(json!({ "probe_interval_seconds": 4 })), 3);
    assert_eq!(waiting.await.revision, 3);
    let at_once =
        live.watch().until(|settings| settings.probe_interval == Duration::from_secs(4)).now_or_never();
    assert_eq!(at_once.expect("they meet it already").revision, 3);
}

#[test]
fn the_settings_are_read_and_watched_while_another_thread_changes_them() {
    let live = Live::new(bootstrap(&[]));
    let changing = live.clone();
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut watcher = live.watch();
        let mut seen = 0;
        while seen < 20_000 {
            // A read inside the condition: the settings passed and those read may differ, but neither read may block.
            let given = watcher.until(|_| live.now().revision >= seen).now_or_never().expect("it is met");
            assert!(given.revision >= seen, "revision {} after {seen}", given.revision);
            seen = given.revision;
        }
        sender.send(()).unwrap();
    });
    for revision in 1..=20_000 {
        changing.replace(&map(json!({ "probe_interval_seconds": 3 + revision % 7 })), revision);
    }
    done.recv_timeout(Duration::from_secs(20)).expect("a read that waits for a change");
}
