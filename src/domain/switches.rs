//! Jails being switched on and off, and which activation a crash is attributed to while several switches overlap.
//!
//! ```text
//! begin ──▶ in flight ──▶ done ──▶ (held while another switch of the same jail is in flight) ──▶ folded into the record
//!               │
//!               ├──▶ not done: removed, as if it had never begun
//!               └──▶ its worker died: after [`SWITCH_TIMEOUT`] decided by what runs
//! ```
//!
//! A host makes its changes one after the other, in an order that is not known here. So no switch overwrites what another one
//! recorded: each is a separate entry in `ServerState::switching`, found by its id, and `last_activation` is computed from
//! them (`blamed`): the newest among the activations in flight and the one settled before them. Switches of different jails are
//! independent. Switches of one jail that overlapped are settled together once all of them have ended: if some were done in each
//! direction, their order decides, and the next probe sees it by whether the jail runs.
//!
//! Versions that knew no ids of switches write `last_activation` themselves: `adopt` takes over what they wrote.

use chrono::TimeDelta;

use super::{Activation, Answer, Event, JailName, ServerState, Switch, SwitchId, Timestamp};

/// A switch of a jail that has not ended after this time never will: its worker is gone. Longer than the agent can take.
pub const SWITCH_TIMEOUT: TimeDelta = TimeDelta::seconds(150);

/// Records that a switch of `jail` begins. Store this *before* it is applied: a crash is likeliest during an activation.
///
/// The jail may start and stop several times until the switch has ended, and a probe may see it at any moment. A stopped jail is
/// then no loss, unless it ran before it was switched on.
#[must_use]
pub fn begin_switch(
    mut state: ServerState,
    id: SwitchId,
    jail: JailName,
    on: bool,
    now: Timestamp,
) -> (ServerState, Vec<Event>) {
    adopt(&mut state);
    let (previous, expected) = (state.last_activation.clone(), state.expected_jails.contains(&jail));
    let of_jail = state.switching.iter().filter(|switch| switch.jail_name == jail);
    let over = of_jail.filter(|switch| switch.done || switch.abandoned);
    let follows = over.filter_map(|switch| switch.id.clone()).collect();
    state.switching.push(Switch { previous, expected, follows, ..Switch::new(id, jail.clone(), on, now) });
    let events = match on {
        true => vec![Event::ActivationRecorded { jail }],
        false => {
            state.expected_jails.remove(&jail);
            vec![]
        }
    };
    (recomputed(state), events)
}

/// Whether `jail` was expected to run before the switches of it in flight began.
#[must_use]
pub fn was_expected(state: &ServerState, jail: &JailName) -> bool {
    let mut of_jail = state.switching.iter().filter(|switch| switch.jail_name == *jail);
    state.expected_jails.contains(jail) || of_jail.any(|switch| switch.expected)
}

/// Records that a switch has ended: the jail is as asked (`done`), or nothing was changed, and then the switch leaves no trace.
///
/// Ending it again changes nothing. If a probe has settled it already, it still says whether the jail is expected to run.
#[must_use]
pub fn end_switch(
    mut state: ServerState,
    id: &SwitchId,
    jail: &JailName,
    on: bool,
    done: bool,
) -> ServerState {
    adopt(&mut state);
    match state.switching.iter().position(|switch| switch.id.as_ref() == Some(id)) {
        Some(place) if done => {
            state.switching[place].done = true;
            // Even beside a switch whose worker died: if the jail is lost from here on, it is missing at once.
            if is_surely_on(&state.switching, jail) {
                state.expected_jails.insert(jail.clone());
            }
        }
        Some(place) => {
            let taken_back = state.switching.remove(place);
            restore_expectation(&mut state, &taken_back);
        }
        None if !done => {}
        None if on => drop(state.expected_jails.insert(jail.clone())),
        None => switched_off(&mut state, jail),
    }
    settle_done(&mut state, jail);
    recomputed(state)
}

/// Records that the agent did not answer, and that nobody waits for the end of a switch any more. It may still be made.
#[must_use]
pub fn abandon_switch(mut state: ServerState, id: &SwitchId) -> ServerState {
    let mut switches = state.switching.iter_mut();
    if let Some(switch) = switches.find(|switch| switch.id.as_ref() == Some(id)) {
        switch.abandoned = true;
    }
    state
}

/// Records that an activation of `jail` was rolled back: it is off, and no earlier activation of it is blamed for a crash.
#[must_use]
pub fn rolled_back(state: ServerState, id: SwitchId, jail: &JailName, now: Timestamp) -> ServerState {
    let (mut state, _) = begin_switch(state, id.clone(), jail.clone(), false, now);
    if let Some(switch) = state.switching.last_mut() {
        switch.rollback = true;
    }
    end_switch(state, &id, jail, false, true)
}

/// Settles the switches of every jail that has none in flight any more, by what a probe saw running.
pub(super) fn settle_by_what_runs(state: &mut ServerState, answer: &Answer, now: Timestamp) {
    if state.switching.is_empty() {
        return;
    }
    adopt(state);
    let in_flight = |switch: &&Switch| !switch.done && now - switch.at <= SWITCH_TIMEOUT;
    let busy: Vec<JailName> =
        state.switching.iter().filter(in_flight).map(|switch| switch.jail_name.clone()).collect();
    let over: Vec<Switch> =
        state.switching.extract_if(.., |switch| !busy.contains(&switch.jail_name)).collect();
    for switch in &over {
        let jail = &switch.jail_name;
        if answer.jails.contains_key(jail) == switch.on || is_surely_on(&over, jail) {
            fold(state, switch);
        } else {
            restore_expectation(state, switch);
        }
    }
    *state = recomputed(std::mem::take(state));
}

/// Whether a jail may be off because it was switched off, or is being switched off.
pub(super) fn may_be_off(switches: &[Switch], jail: &JailName) -> bool {
    let mut of_jail = switches.iter().filter(|switch| switch.jail_name == *jail);
    of_jail.any(|switch| !switch.on) && !is_surely_on(switches, jail)
}

/// Whether a jail was activated for certain, and not switched off since: if it does not run, it is lost. That holds even if an
/// earlier switch off that was abandoned is made after all.
fn is_surely_on(switches: &[Switch], jail: &JailName) -> bool {
    let of_jail = || switches.iter().filter(|switch| switch.jail_name == *jail);
    of_jail().any(|last| last.on && last.done && of_jail().all(|other| other.on || comes_before(other, last)))
}

/// Whether `last` was asked for after `other` had ended or had been abandoned.
fn comes_before(other: &Switch, last: &Switch) -> bool {
    other.id.as_ref().is_some_and(|id| last.follows.contains(id))
}

/// Settles the switches of one jail if one of them has the last word: it is done, and every other one is done in the same direction
/// or came before it. If an abandoned one is made after all, the next probe sees by what runs that the jail is no longer as it was
/// switched, which must not stay hidden until the abandoned switch times out.
fn settle_done(state: &mut ServerState, jail: &JailName) {
    let of_jail = || state.switching.iter().filter(|switch| switch.jail_name == *jail);
    let has_last_word = |last: &&Switch| {
        let same = |other: &Switch| other.done && other.on == last.on;
        last.done && of_jail().all(|other| same(other) || comes_before(other, last))
    };
    let Some(on) = of_jail().find(has_last_word).map(|last| last.on) else { return };
    let over: Vec<Switch> = state.switching.extract_if(.., |switch| switch.jail_name == *jail).collect();
    for switch in over.iter().filter(|switch| switch.on == on) {
        fold(state, switch);
    }
}

/// Records that the jail is as this switch wanted it.
fn fold(state: &mut ServerState, switch: &Switch) {
    if switch.on {
        state.expected_jails.insert(switch.jail_name.clone());
        let settled = state.settled_activation.take().into_iter();
        state.settled_activation = settled.chain([activation(state, switch)]).max_by_key(|one| one.at);
    } else {
        switched_off(state, &switch.jail_name);
    }
}

/// A jail that is off is not expected to run, and no crash is blamed on its activation.
fn switched_off(state: &mut ServerState, jail: &JailName) {
    state.expected_jails.remove(jail);
    state.settled_activation.take_if(|settled| settled.jail_name == *jail);
}

/// A jail that was not switched off is expected as before. If it was lost by the attempt, the next probe finds it missing.
fn restore_expectation(state: &mut ServerState, switch: &Switch) {
    if !switch.on && switch.expected {
        state.expected_jails.insert(switch.jail_name.clone());
    }
}

/// The activation that a crash is attributed to: the newest one that is in effect, or may be.
///
/// A switch off hides the activations of its jail that began before it. If both are done, the host may have made them in the other
/// order, so until a probe has seen which, a crash is attributed to the activation; unless the switch off is a rollback.
fn blamed(state: &ServerState) -> Option<Activation> {
    let hidden = |place: usize, of: &Switch| {
        state.switching.iter().skip(place).any(|later| {
            let undecided = later.done && of.done && !later.rollback;
            !later.on && later.jail_name == of.jail_name && !undecided
        })
    };
    let begun = state.switching.iter().enumerate();
    let begun = begun.filter(|(place, switch)| switch.on && !hidden(*place, switch));
    let begun = begun.map(|(_, switch)| activation(state, switch));
    let going_off = |one: &Activation| {
        state.switching.iter().any(|switch| !switch.on && switch.jail_name == one.jail_name)
    };
    let settled = state.settled_activation.clone().filter(|one| !going_off(one));
    settled.into_iter().chain(begun).max_by_key(|one| one.at)
}

/// The activation that this switch made; as it is stored if it is the latest, since a newer version may have recorded more in it.
fn activation(state: &ServerState, switch: &Switch) -> Activation {
    let fresh = Activation::new(switch.jail_name.clone(), switch.at);
    state.last_activation.clone().filter(|stored| stored.is(&fresh)).unwrap_or(fresh)
}

fn recomputed(mut state: ServerState) -> ServerState {
    state.last_activation = blamed(&state);
    if state.switching.is_empty() {
        state.settled_activation = None;
    }
    state
}

/// Takes over what was recorded by versions that know no ids of switches, or without these functions.
fn adopt(state: &mut ServerState) {
    if !state.switching.iter().any(|switch| switch.id.is_some()) {
        let first = state.switching.first();
        state.settled_activation =
            first.map_or(state.last_activation.clone(), |first| first.previous.clone());
    }
    let same = match (&blamed(state), &state.last_activation) {
        (Some(ours), Some(stored)) => ours.is(stored),
        (ours, stored) => ours.is_none() && stored.is_none(),
    };
    if !same {
        state.settled_activation = state.last_activation.clone();
    }
}

#[cfg(test)]
#[path = "switches_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "switches_overlap_tests.rs"]
mod overlap_tests;
