//! Up to four switches that overlap in any way, against a host that makes them one after the other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{History, WINDOW, answer, at, jail};
use super::*;
use crate::domain::Condition;
use crate::domain::transition::on_probe;

/// How a switch ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// The host makes it, the worker records the end.
    Answered,
    /// The host refuses it, the worker records that.
    Refused,
    /// The host makes it, and the worker never learns of it, or dies.
    Lost,
    /// The worker dies before the host has it.
    Died,
    /// The host makes it, or does not, and the worker abandons it.
    GivenUp { made: bool },
}

impl Fate {
    fn is_made(self) -> bool {
        matches!(self, Self::Answered | Self::Lost | Self::GivenUp { made: true })
    }
}

/// What the host did, one change after the other, and what must follow.
#[derive(Debug, Default)]
struct Host {
    runs: BTreeSet<JailName>,
    changed: BTreeMap<usize, bool>,
}

fn plan() -> impl Strategy<Value = (Vec<(bool, bool, Fate)>, Vec<usize>)> {
    let fate = prop_oneof![
        4 => Just(Fate::Answered), 2 => Just(Fate::Refused), 1 => Just(Fate::Lost), 1 => Just(Fate::Died),
        2 => any::<bool>().prop_map(|made| Fate::GivenUp { made })
    ];
    prop::collection::vec((any::<bool>(), any::<bool>(), fate), 1..=4).prop_flat_map(|switches| {
        // Each switch takes three steps, and a probe (the number after theirs) may come between any of them.
        let mut steps: Vec<usize> = (0..switches.len()).flat_map(|which| [which; 3]).collect();
        steps.extend([switches.len(); 3]);
        (Just(switches), Just(steps).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn however_up_to_four_switches_overlap_the_record_is_that_of_what_the_host_did(
        (switches, steps) in plan(), recorded in any::<bool>(),
    ) {
        let names = ["a", "b"];
        let mut history = History::of(&["a", "sshd"]);
        if recorded {
            history.state.last_activation = Some(Activation::new(jail("a"), at(0)));
        }
        let mut host = Host { runs: [jail("a"), jail("sshd")].into(), ..Host::default() };
        // By number of the switch: its place among those begun, its second, and how many steps it has taken.
        let mut begun: BTreeMap<usize, (usize, i64)> = BTreeMap::new();
        let mut taken = vec![0; switches.len()];
        for (second, which) in (1..).zip(steps) {
            let Some((second_jail, on, fate)) = switches.get(which).copied() else {
                let (state, events) = on_probe(history.state, answer(host.runs.clone()), at(second), WINDOW);
                prop_assert!(events.is_empty(), "nothing was lost: {events:?}");
                history.state = state;
                continue;
            };
            let name = names[usize::from(second_jail)];
            match taken[which] {
                0 => {
                    begun.insert(which, (history.begun.len(), second));
                    history = history.begin(second, name, on);
                }
                1 if fate.is_made() => {
                    let changed = if on { host.runs.insert(jail(name)) } else { host.runs.remove(&jail(name)) };
                    host.changed.insert(which, changed);
                }
                2 if fate == Fate::Answered => {
                    history = history.end(begun[&which].0, host.changed[&which] || !on);
                }
                2 if matches!(fate, Fate::GivenUp { .. }) => history = history.abandon(begun[&which].0),
                2 if fate == Fate::Refused => history = history.end(begun[&which].0, false),
                _ => {}
            }
            taken[which] += 1;
            // A crash now is blamed on what the host did last, if that was an activation that nobody has begun to undo.
            let off_begun = |name: usize| {
                begun.keys().any(|which| !switches[*which].1 && usize::from(switches[*which].0) == name)
            };
            for (which, changed) in &host.changed {
                let (second_jail, on, _) = switches[*which];
                if *changed && on && !off_begun(usize::from(second_jail)) {
                    let newer_undone = begun.iter().any(|(other, (_, second))| {
                        switches[*other].1 && *second > begun[which].1 && off_begun(usize::from(switches[*other].0))
                    });
                    let blamed = history.state.last_activation.as_ref().is_some_and(|one| one.at >= at(begun[which].1));
                    prop_assert!(blamed || newer_undone, "{:?}", history.state);
                }
            }
        }

        let (state, events) = on_probe(history.state, answer(host.runs.clone()), at(500), WINDOW);
        prop_assert!(events.is_empty(), "nothing was lost: {events:?}");
        prop_assert_eq!(&state.expected_jails, &host.runs);
        prop_assert!(state.switching.is_empty() && state.settled_activation.is_none());
        prop_assert_eq!(state.status.condition, Condition::Up);
        // The activations that are in effect, and those that were and are not any more.
        let (mut on_now, mut undone) = (Vec::new(), Vec::new());
        if recorded {
            let undone_by = switches.iter().enumerate().any(|(which, (second_jail, on, fate))| {
                !second_jail && !on && *fate == Fate::Answered && host.changed.contains_key(&which)
            });
            if undone_by || !host.runs.contains(&jail("a")) { &mut undone } else { &mut on_now }.push((0, "a"));
        }
        for (which, (second_jail, on, fate)) in switches.iter().enumerate() {
            let (name, second) = (names[usize::from(*second_jail)], begun[&which].1);
            let unanswered = !matches!(fate, Fate::Answered | Fate::Refused);
            if *on && (unanswered || host.changed.get(&which) == Some(&true)) {
                if host.runs.contains(&jail(name)) { &mut on_now } else { &mut undone }.push((second, name));
            }
        }
        let newest = on_now.iter().max().copied();
        let blamed = state.last_activation.as_ref().map(|one| ((one.at - at(0)).num_seconds(), one.jail_name.as_str()));
        // One activation is remembered: where the newest was undone after it was settled, none is left of those before.
        let forgotten = blamed.is_none() && undone.iter().max() > newest.as_ref();
        prop_assert!(blamed == newest || forgotten, "{blamed:?}, in effect: {on_now:?}, undone: {undone:?}");
    }
}
