//! The transition table, row by row, and against the original's function on random histories.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::domain::{JailCounts, PendingRecovery, Unknown, UnreachableKind};

const WINDOW: TimeDelta = TimeDelta::seconds(60);

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn jail(name: &str) -> JailName {
    JailName::parse(name).unwrap()
}

fn answer(jails: &[&str]) -> ProbeOutcome {
    answer_of("1.0.2", jails)
}

fn answer_of(version: &str, jails: &[&str]) -> ProbeOutcome {
    let jails = jails.iter().map(|name| (jail(name), JailCounts::default())).collect();
    ProbeOutcome::Answered(Answer { version: version.to_owned(), jails, stalled: BTreeSet::new() })
}

fn down() -> ProbeOutcome {
    ProbeOutcome::Down { reason: "connection refused".to_owned() }
}

fn busy() -> ProbeOutcome {
    ProbeOutcome::Busy { reason: "no answer within 2 s".to_owned(), working: false }
}

fn unreachable() -> ProbeOutcome {
    ProbeOutcome::Unreachable { kind: UnreachableKind::Network, reason: "timed out".to_owned() }
}

/// Applies a history of (second, news) in order; returns the last state and the kinds of all events.
struct History {
    state: ServerState,
    kinds: Vec<&'static str>,
}

impl History {
    fn new() -> Self {
        Self { state: ServerState::default(), kinds: Vec::new() }
    }

    fn probe(mut self, second: i64, outcome: ProbeOutcome) -> Self {
        let (state, events) = on_probe(self.state, outcome, at(second), WINDOW);
        self.state = state;
        self.kinds.extend(events.iter().map(Event::kind));
        self
    }

    fn activate(mut self, second: i64, name: &str) -> Self {
        self.state = record_activation(self.state, jail(name), at(second)).0;
        self
    }

    fn pending(&self) -> Option<(&str, i64, bool)> {
        let pending = self.state.pending_recovery.as_ref()?;
        Some((pending.jail_name.as_str(), (pending.detected_at - at(0)).num_seconds(), pending.recovered))
    }
}

#[test]
fn the_first_probe_ever_finds_a_server_that_came_online_or_stays_offline() {
    let up = History::new().probe(0, answer(&["sshd"]));
    assert_eq!(up.kinds, ["server.came_online"]);
    assert_eq!(up.state.status.condition, Condition::Up);

    let never_up = History::new().activate(0, "sshd").probe(1, down());
    assert_eq!(never_up.kinds, [""; 0], "it was offline before, so nothing changed");
    assert_eq!(never_up.pending(), None);
    assert_eq!(never_up.state.status.condition, Condition::Down);
}

#[test]
fn same_and_same_replaces_the_status_and_nothing_else() {
    let before = History::new().probe(0, answer(&["sshd"]));
    let pending = PendingRecovery {
        jail_name: jail("sshd"),
        activated_at: at(0),
        detected_at: at(1),
        recovered: false,
        unknown: Unknown::new(),
    };
    let state = ServerState { pending_recovery: Some(pending.clone()), ..before.state };
    let (after, events) = on_probe(state, answer(&["sshd"]), at(10), WINDOW);
    assert!(events.is_empty());
    assert_eq!(after.pending_recovery, Some(pending));
    assert_eq!(after.status.checked_at, Some(at(10)));
}

#[test]
fn a_crash_60_s_after_an_activation_is_blamed_on_it_and_one_at_60_000_001_s_is_not() {
    let inside = History::new().probe(0, answer(&[])).activate(0, "web").probe(60, down());
    assert_eq!(inside.pending(), Some(("web", 60, false)));
    assert_eq!(inside.kinds, ["server.came_online", "server.went_offline", "recovery.pending"]);

    let state = History::new().probe(0, answer(&[])).activate(0, "web").state;
    let (after, events) = on_probe(state, down(), at(60) + TimeDelta::microseconds(1), WINDOW);
    assert_eq!(after.pending_recovery, None);
    assert_eq!(events.len(), 1, "only went_offline: {events:?}");
}

#[test]
fn coming_back_resolves_a_pending_recovery_and_keeps_its_other_facts() {
    let history =
        History::new().probe(0, answer(&[])).activate(5, "web").probe(10, down()).probe(20, answer(&[]));
    assert_eq!(history.pending(), Some(("web", 10, true)));
    assert_eq!(history.state.pending_recovery.as_ref().unwrap().activated_at, at(5));
    assert_eq!(history.kinds.last(), Some(&"recovery.resolved"));
}

#[test]
fn a_second_crash_after_a_recovered_one_becomes_the_pending_recovery() {
    let history = History::new()
        .probe(0, answer(&[]))
        .activate(0, "web")
        .probe(10, down())
        .probe(20, answer(&[]))
        .activate(30, "mail")
        .probe(40, down());
    assert_eq!(history.pending(), Some(("mail", 40, false)));
}

#[test]
fn an_unresolved_recovery_is_left_as_it_is_by_another_crash() {
    // Unresolved while online: it came back without its jails.
    let history = History::new()
        .probe(0, answer(&["sshd"]))
        .activate(0, "web")
        .probe(10, down())
        .probe(20, answer(&[]))
        .activate(30, "mail")
        .probe(40, down());
    assert_eq!(history.pending(), Some(("web", 10, false)));
}

#[test]
fn losing_jails_within_the_window_pends_a_recovery_that_ends_when_they_are_back() {
    let lost =
        History::new().probe(0, answer(&["sshd", "web"])).activate(5, "web").probe(10, answer(&["web"]));
    assert_eq!(lost.state.status.condition, Condition::Degraded);
    assert_eq!(lost.state.status.missing_jails, [jail("sshd")]);
    assert_eq!(lost.pending(), Some(("web", 10, false)));
    assert_eq!(lost.kinds, ["server.came_online", "server.degraded", "recovery.pending"]);

    let still = lost.probe(20, answer(&["web"]));
    assert_eq!(still.kinds.len(), 3, "reported once, not at every probe");
    let back = still.probe(30, answer(&["sshd", "web"]));
    assert_eq!(back.pending(), Some(("web", 10, true)));
    assert_eq!(back.state.status.condition, Condition::Up);
}

#[test]
fn a_jail_lost_by_a_server_that_was_degraded_already_is_reported_too() {
    let history = History::new()
        .probe(0, answer(&["a", "b", "c"]))
        .probe(1, answer(&["b", "c"]))
        .activate(200, "c")
        .probe(201, answer(&["c"]));
    assert_eq!(
        history.kinds,
        ["server.came_online", "server.degraded", "server.degraded", "recovery.pending"]
    );
}

#[test]
fn busy_is_online_and_after_60_s_of_it_the_server_is_down_and_hung() {
    let busy_for = |second| History::new().probe(0, answer(&["sshd"])).probe(1, busy()).probe(second, busy());
    let still = busy_for(60);
    assert_eq!(still.state.status.condition, Condition::Busy);
    assert_eq!(still.state.status.jails.len(), 1, "the last numbers are shown while it is busy");
    let hung = busy_for(61);
    assert_eq!(hung.state.status.condition, Condition::Down);
    assert!(hung.state.status.error.as_ref().unwrap().starts_with("hung"));
    assert_eq!(hung.kinds, ["server.came_online", "server.went_offline"]);
    let later = hung.probe(71, busy());
    assert_eq!(later.state.status.condition, Condition::Down, "hung stays down, it does not flap");
}

#[test]
fn an_unreachable_agent_changes_what_is_shown_and_no_transition() {
    let away = History::new().probe(0, answer(&["sshd"])).activate(1, "web").probe(2, unreachable());
    assert_eq!(away.state.status.condition, Condition::Unreachable);
    assert_eq!(away.kinds, ["server.came_online"]);
    assert_eq!(away.pending(), None);

    let was_up_all_along = away.probe(3, answer(&["sshd"]));
    assert_eq!(was_up_all_along.kinds, ["server.came_online"]);

    let crashed_meanwhile = History::new()
        .probe(0, answer(&["sshd"]))
        .activate(1, "web")
        .probe(2, unreachable())
        .probe(3, down());
    assert_eq!(crashed_meanwhile.pending(), Some(("web", 3, false)), "compared with the condition before it");
}

#[test]
fn a_pending_recovery_is_cleared_only_if_it_is_the_one_that_was_seen() {
    let state = History::new().probe(0, answer(&[])).activate(0, "web").probe(10, down()).state;
    assert_eq!(
        clear_pending_recovery(state.clone(), Some(at(9))),
        Err(RecoveryChanged { detected_at: at(10) })
    );
    let (cleared, events) = clear_pending_recovery(state.clone(), Some(at(10))).unwrap();
    assert_eq!(cleared.pending_recovery, None);
    assert_eq!(events.len(), 1);
    assert!(clear_pending_recovery(state, None).unwrap().0.pending_recovery.is_none());
}

#[test]
fn a_detection_is_forgotten_with_its_version_and_run_and_a_late_one_is_not_stored() {
    let state = History::new().probe(0, answer(&["sshd"])).state;
    let on = DetectedOn::of(&state);
    let known = on_detection(state.clone(), &on, true).unwrap();
    assert_eq!(known.backend_commands, BackendCommands::Supported);

    let upgraded = on_probe(known.clone(), answer_of("1.1.0", &["sshd"]), at(1), WINDOW).0;
    assert_eq!(upgraded.backend_commands, BackendCommands::Unknown);
    assert_eq!(on_detection(upgraded, &on, true), None);

    let gone = on_probe(known, down(), at(1), WINDOW).0;
    let restarted = on_probe(gone, answer(&["sshd"]), at(2), WINDOW).0;
    assert_eq!(restarted.backend_commands, BackendCommands::Unknown);
    assert_eq!(on_detection(restarted, &on, true), None, "the same version, another run");
}

#[test]
fn fields_of_a_newer_version_are_kept_through_a_rewrite() {
    #[derive(serde::Serialize)]
    struct Newer {
        status: BTreeMap<&'static str, u8>,
        colour: &'static str,
    }
    let newer = Newer { status: BTreeMap::from([("shade", 7)]), colour: "green" };
    let state: ServerState = rmp_serde::from_slice(&rmp_serde::to_vec_named(&newer).unwrap()).unwrap();
    let (state, _) = on_probe(state, answer(&["sshd"]), at(0), WINDOW);
    let stored: rmpv::Value = rmp_serde::from_slice(&rmp_serde::to_vec_named(&state).unwrap()).unwrap();
    assert_eq!(stored["colour"], rmpv::Value::from("green"));
    assert_eq!(stored["status"]["shade"], rmpv::Value::from(7));
    let again: ServerState = rmp_serde::from_slice(&rmp_serde::to_vec_named(&state).unwrap()).unwrap();
    assert_eq!(again, state);
}

/// `process_health_probe_result` of the original (`runtime_state.py`), line by line, on the facts it knew.
#[derive(Debug, Clone, Default, PartialEq)]
struct Original {
    online: bool,
    pending: Option<(JailName, Timestamp, Timestamp, bool)>,
    last_activation: Option<(JailName, Timestamp)>,
}

impl Original {
    fn process_health_probe_result(&mut self, online: bool, now: Timestamp) {
        let previous = std::mem::replace(&mut self.online, online);
        if online && !previous {
            if let Some(existing) = self.pending.as_mut().filter(|existing| !existing.3) {
                existing.3 = true;
            }
        } else if !online
            && previous
            && let Some((jail_name, activated_at)) = self.last_activation.clone()
            && (now - activated_at).num_milliseconds() <= 60_000
            && self.pending.as_ref().is_none_or(|current| current.3)
        {
            self.pending = Some((jail_name, activated_at, now, false));
        }
    }
}

#[derive(Debug, Clone)]
enum News {
    Online,
    Offline,
    Activated(bool),
    Cleared,
}

proptest! {
    #[test]
    fn on_what_the_original_knew_we_do_exactly_what_it_did(
        history in prop::collection::vec(
            (0i64..45, prop_oneof![
                Just(News::Online), Just(News::Offline), any::<bool>().prop_map(News::Activated), Just(News::Cleared)
            ]),
            0..60,
        )
    ) {
        let mut original = Original::default();
        let mut state = ServerState::default();
        let mut second = 0;
        for (wait, news) in history {
            second += wait;
            let now = at(second);
            match news {
                News::Online | News::Offline => {
                    let online = matches!(news, News::Online);
                    original.process_health_probe_result(online, now);
                    state = on_probe(state, if online { answer(&["sshd"]) } else { down() }, now, WINDOW).0;
                }
                News::Activated(which) => {
                    let name = jail(if which { "a" } else { "b" });
                    original.last_activation = Some((name.clone(), now));
                    state = record_activation(state, name, now).0;
                }
                News::Cleared => {
                    original.pending = None;
                    state = clear_pending_recovery(state, None).unwrap().0;
                }
            }
            let ours = Original {
                online: state.status.condition.online(),
                pending: state.pending_recovery.clone().map(|p| (p.jail_name, p.activated_at, p.detected_at, p.recovered)),
                last_activation: state.last_activation.clone().map(|a| (a.jail_name, a.at)),
            };
            prop_assert_eq!(ours, original.clone());
        }
    }
}

#[test]
fn a_jail_that_is_listed_and_never_ran_is_named_and_no_loss() {
    let stalled = ProbeOutcome::Answered(Answer {
        version: "1.0.2".to_owned(),
        jails: BTreeMap::new(),
        stalled: [jail("ghost")].into(),
    });
    let seen = History::new().probe(0, stalled);
    assert_eq!(seen.state.status.stalled_jails, [jail("ghost")]);
    assert!(seen.state.status.error.as_ref().is_some_and(|error| error.contains("ghost")));
    assert_eq!(seen.state.status.condition, Condition::Up);
}
