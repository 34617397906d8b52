//! Switches one by one. Those that overlap in any way are in `switches_overlap_tests.rs`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::domain::transition::on_probe;
use crate::domain::{Condition, JailCounts, ProbeOutcome};

pub(super) const WINDOW: TimeDelta = TimeDelta::seconds(60);
const LATE: i64 = SWITCH_TIMEOUT.num_seconds() + 10;

pub(super) fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

pub(super) fn jail(name: &str) -> JailName {
    JailName::parse(name).unwrap()
}

fn down() -> ProbeOutcome {
    ProbeOutcome::Down { reason: "connection refused".to_owned() }
}

pub(super) fn answer(jails: impl IntoIterator<Item = JailName>) -> ProbeOutcome {
    let jails = jails.into_iter().map(|jail| (jail, JailCounts::default())).collect();
    ProbeOutcome::Answered(Answer { version: "1.0.2".to_owned(), jails, stalled: BTreeSet::new() })
}

/// A state with the news applied in order. A switch is named after its place in the order of their beginnings.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    pub(super) state: ServerState,
    pub(super) begun: Vec<(SwitchId, JailName, bool)>,
}

impl History {
    pub(super) fn of(jails: &[&str]) -> Self {
        Self::default().probe(0, jails)
    }

    pub(super) fn probe(self, second: i64, jails: &[&str]) -> Self {
        let (state, _) =
            on_probe(self.state, answer(jails.iter().map(|name| jail(name))), at(second), WINDOW);
        Self { state, ..self }
    }

    pub(super) fn begin(mut self, second: i64, name: &str, on: bool) -> Self {
        let id = SwitchId::new(self.begun.len().to_string());
        self.state = begin_switch(self.state, id.clone(), jail(name), on, at(second)).0;
        self.begun.push((id, jail(name), on));
        self
    }

    pub(super) fn end(mut self, which: usize, done: bool) -> Self {
        let (id, jail, on) = &self.begun[which];
        self.state = end_switch(self.state, id, jail, *on, done);
        self
    }

    pub(super) fn abandon(mut self, which: usize) -> Self {
        self.state = abandon_switch(self.state, &self.begun[which].0);
        self
    }

    fn blamed(&self) -> Option<&str> {
        self.state.last_activation.as_ref().map(|activation| activation.jail_name.as_str())
    }

    fn pending_after_a_crash(&self, second: i64) -> Option<String> {
        let (crashed, _) = on_probe(self.state.clone(), down(), at(second), WINDOW);
        crashed.pending_recovery.map(|pending| pending.jail_name.to_string())
    }
}

#[test]
fn one_switch_after_the_other_leaves_the_latest_activation_and_a_switch_off_of_that_jail_clears_it() {
    let db = History::of(&[]).begin(1, "db", true).end(0, true);
    assert_eq!(db.blamed(), Some("db"));
    let refused = db.clone().begin(2, "web", true);
    assert_eq!(refused.blamed(), Some("web"), "recorded before it is applied");
    assert_eq!(refused.end(1, false).state, db.state, "as if it had never begun");
    let web = db.begin(2, "web", true).end(1, true);
    assert_eq!(web.blamed(), Some("web"));
    let other_off = web.clone().begin(3, "db", false).end(2, true);
    assert_eq!(other_off.blamed(), Some("web"));
    let going = web.clone().begin(3, "web", false);
    assert_eq!(going.blamed(), None, "a jail that is being switched off is no crash");
    assert_eq!(going.clone().end(2, false).state, web.state);
    assert_eq!(going.end(2, true).blamed(), None);
}

#[test]
fn a_jail_switched_off_is_not_missed_and_one_that_was_not_is() {
    let going = History::of(&["sshd", "web"]).begin(1, "web", false);
    let off = going.clone().end(0, true).probe(2, &["sshd"]);
    assert_eq!(off.state.status.condition, Condition::Up);
    let lost = going.end(0, false).probe(2, &["sshd"]);
    assert_eq!(lost.state.status.missing_jails, [jail("web")]);
}

#[test]
fn a_jail_that_is_expected_is_so_while_it_is_switched_and_no_more_once_it_was_given_up() {
    let gone = History::of(&["sshd", "web"]).probe(1, &["sshd"]);
    assert_eq!(gone.state.status.missing_jails, [jail("web")]);
    // Asked for twice: the second one finds the first in flight.
    let giving_up = gone.begin(2, "web", false).begin(3, "web", false);
    assert!(was_expected(&giving_up.state, &jail("web")) && !was_expected(&giving_up.state, &jail("db")));
    let given_up = giving_up.end(0, true).end(1, true).probe(4, &["sshd"]);
    assert!(!was_expected(&given_up.state, &jail("web")));
    assert_eq!(given_up.state.status.condition, Condition::Up);
}

#[test]
fn an_activated_jail_that_is_gone_before_the_next_probe_is_missing() {
    let lost = History::of(&["sshd"]).begin(1, "web", true).end(0, true).probe(2, &["sshd"]);
    assert_eq!(lost.state.status.missing_jails, [jail("web")]);
    assert_eq!(lost.state.pending_recovery.unwrap().jail_name, jail("web"));
}

#[test]
fn two_overlapping_activations_that_are_refused_in_any_order_leave_no_record() {
    for order in [[0, 1], [1, 0]] {
        let both = History::of(&[]).begin(1, "a", true).begin(2, "b", true);
        let neither = order.into_iter().fold(both, |history, which| history.end(which, false));
        assert_eq!(neither.state, History::of(&[]).state);
    }
}

#[test]
fn the_end_of_a_switch_off_keeps_the_record_of_an_activation_of_the_same_jail_that_began_since() {
    let both = History::of(&["web"]).begin(1, "web", false).begin(2, "web", true);
    for order in [[0, 1], [1, 0]] {
        let ended = order.into_iter().fold(both.clone(), |history, which| history.end(which, true));
        assert_eq!(ended.pending_after_a_crash(3).as_deref(), Some("web"), "{order:?}");
        let runs = ended.clone().probe(3, &["web"]);
        assert_eq!((runs.blamed(), runs.state.switching.len()), (Some("web"), 0), "{order:?}");
        // Or the host made them the other way round.
        let off = ended.probe(3, &[]);
        assert_eq!((off.blamed(), off.state.switching.len()), (None, 0), "{order:?}");
        assert_eq!(off.state.status.condition, Condition::Up);
    }
}

#[test]
fn a_switch_off_hides_an_activation_before_it_whose_worker_died() {
    let dead = History::of(&["sshd"]).begin(1, "web", true).begin(2, "web", false);
    assert_eq!(dead.blamed(), None);
    assert_eq!(dead.clone().end(1, true).blamed(), None);
    assert_eq!(dead.end(1, false).blamed(), Some("web"), "it is not off");
}

#[test]
fn what_is_seen_of_a_jail_while_it_is_switched_is_neither_a_loss_nor_a_run() {
    // An activation that is undone: it ran for a moment.
    let undone = History::of(&["sshd"]).begin(1, "web", true).probe(2, &["sshd", "web"]).probe(3, &["sshd"]);
    let undone = undone.end(0, false).probe(4, &["sshd"]);
    assert_eq!((undone.state.status.condition, undone.state.pending_recovery), (Condition::Up, None));
    // A jail that is switched off runs until it does not.
    let off =
        History::of(&["sshd", "web"]).begin(1, "web", false).probe(2, &["sshd", "web"]).probe(3, &["sshd"]);
    assert_eq!((off.state.status.condition, off.state.pending_recovery), (Condition::Up, None));
    // Another jail that is lost is a loss.
    let lost = History::of(&["sshd"]).begin(1, "web", true).probe(2, &["web"]);
    assert_eq!(lost.state.pending_recovery.unwrap().jail_name, jail("web"));
}

#[test]
fn a_jail_that_ran_before_its_activation_is_missed_while_the_outcome_of_that_is_not_known() {
    let lost = History::of(&["sshd", "web"]).begin(1, "web", true).probe(2, &["sshd"]);
    assert_eq!(lost.state.status.missing_jails, [jail("web")]);
    assert_eq!(lost.state.status.condition, Condition::Degraded);
    assert_eq!(lost.state.pending_recovery.as_ref().unwrap().jail_name, jail("web"));
    assert_eq!(lost.probe(3, &["sshd", "web"]).state.status.condition, Condition::Up);
}

#[test]
fn a_switch_whose_worker_died_is_settled_by_what_runs_once_it_cannot_be_under_way() {
    for (runs, blamed) in [(&["sshd", "db", "web"][..], "web"), (&["sshd", "db"][..], "db")] {
        let dead = History::of(&["sshd"]).begin(1, "db", true).end(0, true).begin(2, "web", true);
        let early = dead.probe(LATE - 20, runs);
        assert_eq!(early.blamed(), Some("web"), "it may still be under way");
        let settled = early.probe(LATE, runs);
        assert_eq!(settled.blamed(), Some(blamed), "{runs:?}");
        assert!(settled.state.switching.is_empty() && settled.state.status.condition == Condition::Up);
    }
    for (runs, blamed) in [(&["sshd"][..], None), (&["sshd", "web"][..], Some("web"))] {
        let on = History::of(&["sshd"]).begin(1, "web", true).end(0, true);
        let settled = on.begin(2, "web", false).probe(LATE, runs);
        assert_eq!(settled.blamed(), blamed, "{runs:?}");
        assert_eq!(settled.state.status.condition, Condition::Up);
    }
    // It is expected again afterwards.
    let left = History::of(&["web"]).begin(1, "web", true).probe(LATE, &["web"]).probe(LATE + 1, &[]);
    assert_eq!(left.state.status.condition, Condition::Degraded);
}

#[test]
fn a_jail_activated_beside_a_switch_whose_worker_died_is_missing_if_it_is_lost() {
    let on = History::of(&["sshd"]).begin(1, "web", true).begin(2, "web", true).end(1, true);
    let at_once = on.clone().probe(3, &["sshd", "web"]).probe(4, &["sshd"]);
    assert_eq!(at_once.state.status.missing_jails, [jail("web")], "the other one may still be under way");
    let lost = on.clone().probe(3, &["sshd", "web"]).probe(LATE, &["sshd"]);
    assert_eq!(lost.state.status.missing_jails, [jail("web")]);
    let going = on.begin(3, "web", false).probe(4, &["sshd"]);
    assert!(going.state.status.missing_jails.is_empty(), "it may be off");
}

/// Found by `make chaos-host` with seed 14764087476530893333: the agent was killed during the first activation.
#[test]
fn a_jail_switched_off_and_on_again_beside_a_switch_whose_outcome_is_not_known_is_missing_if_it_is_lost() {
    let dead = History::of(&["sshd"]).begin(1, "web", true);
    let off = dead.begin(2, "web", false).end(1, true).probe(3, &["sshd"]);
    assert_eq!(off.state.status.condition, Condition::Up);
    let on = off.begin(4, "web", true).end(2, true).probe(5, &["sshd", "web"]);
    for second in [6, LATE] {
        let lost = on.clone().probe(second, &["sshd"]);
        assert_eq!(lost.state.status.missing_jails, [jail("web")], "{second}");
    }
    let refused = on.clone().begin(6, "web", false);
    assert!(refused.clone().probe(7, &["sshd"]).state.status.missing_jails.is_empty(), "it may be off");
    assert_eq!(refused.end(3, false).probe(7, &["sshd"]).state.status.missing_jails, [jail("web")]);
    // Nor does it matter that the first switch off was given up: the jail was wanted on after it.
    let given_up = History::of(&["web"]).begin(1, "web", false).abandon(0);
    let on = given_up.clone().begin(2, "web", true).end(1, true).probe(3, &["web"]);
    assert_eq!(on.probe(4, &[]).state.status.missing_jails, [jail("web")]);
    assert_eq!(given_up.probe(4, &[]).state.status.condition, Condition::Up, "it may be off");
    // The switch off was asked for while the activation was in flight: which of them came last is not known.
    let overlapping =
        History::of(&["sshd"]).begin(1, "web", true).begin(2, "web", false).end(1, true).end(0, true);
    assert_eq!(overlapping.probe(3, &["sshd"]).state.status.condition, Condition::Up);
}

/// Found by `make chaos-host` with seed 9134243781809359029: the agent was killed during an activation, the jail was switched
/// off, a reload that had read the files before started it once more, and fail2ban crashed.
#[test]
fn a_jail_that_runs_again_after_it_was_switched_off_is_missing_if_it_is_lost_whatever_was_given_up_before() {
    let given_up = History::of(&["sshd"]).begin(1, "web", true).abandon(0);
    let off = given_up.clone().begin(2, "web", false).end(1, true).probe(3, &["sshd"]);
    assert_eq!((off.state.status.condition, off.blamed()), (Condition::Up, None));
    let lost = off.probe(4, &["sshd", "web"]).probe(5, &["sshd"]);
    assert_eq!(lost.state.status.missing_jails, [jail("web")]);
    // Not while it is not known whether it is off.
    let refused = given_up.clone().begin(2, "web", false).end(1, false);
    let going = given_up.begin(2, "web", false);
    for unknown in [refused, going] {
        let gone = unknown.probe(3, &["sshd", "web"]).probe(4, &["sshd"]);
        assert_eq!(gone.state.status.condition, Condition::Up);
    }
}

#[test]
fn after_a_rollback_no_activation_of_that_jail_before_it_is_blamed_also_one_whose_worker_died() {
    let dead = History::of(&["sshd"]).begin(1, "web", true);
    let back = rolled_back(dead.state, SwitchId::new("rollback"), &jail("web"), at(3));
    assert_eq!(back.last_activation, None);
    let mut history = History { state: back, begun: dead.begun };
    assert_eq!(history.clone().end(0, true).blamed(), None, "its end is late");
    let settled = history.clone().probe(LATE, &["sshd"]);
    assert_eq!((settled.blamed(), settled.state.switching.len()), (None, 0));
    history.begun.push((SwitchId::new("unused"), jail("web"), true));
    let since = history.begin(4, "web", true);
    assert_eq!(since.blamed(), Some("web"), "this one began after the rollback");
}

#[test]
fn the_end_of_a_switch_that_a_probe_gave_up_on_counts_for_the_jail() {
    let given_up = History::of(&["web"]).begin(1, "web", false).probe(LATE, &["web"]);
    let off = given_up.end(0, true).probe(LATE + 2, &[]);
    assert_eq!((off.state.status.condition, off.blamed()), (Condition::Up, None));
}

#[test]
fn what_a_version_without_ids_began_and_recorded_is_kept_beside_ours() {
    // As such a version begins a switch: the record written, and an entry with the one before.
    let mut old = History::of(&["sshd"]).begin(1, "db", true).end(0, true);
    let previous = old.state.last_activation.replace(Activation::new(jail("old"), at(2)));
    let entry = Switch {
        id: None,
        previous: previous.clone(),
        ..Switch::new(SwitchId::new(""), jail("old"), true, at(2))
    };
    old.state.switching.push(entry);
    let beside = old.begin(3, "web", true);
    assert_eq!(beside.blamed(), Some("web"));
    // It ended well, as such a version says it: only its entry goes.
    let mut ended = beside.clone();
    ended.state.switching.retain(|switch| switch.id.is_some());
    assert_eq!(ended.end(1, false).blamed(), Some("db"), "the newest of those that are known to be settled");
    assert_eq!(beside.clone().end(1, false).blamed(), Some("old"));
    // It put back the record of before, being the latest.
    let mut refused = beside.end(1, false);
    refused.state.switching.clear();
    refused.state.last_activation = previous;
    assert_eq!(refused.begin(4, "app", true).end(2, false).blamed(), Some("db"));
}

#[test]
fn a_switch_of_an_earlier_version_is_read() {
    let stored =
        serde_json::json!({ "switching": [{ "jail_name": "web", "at": 1_700_000_000_000_000_i64 }] });
    let state: ServerState = serde_json::from_value(stored).unwrap();
    assert!(
        !state.switching[0].on && state.switching[0].previous.is_none() && state.switching[0].id.is_none()
    );
}
