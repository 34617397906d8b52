//! How a server's state changes: old state + news + `now` -> new state + events.
//!
//! The table is that of `process_health_probe_result` in the Python program that this one replaces, "the original"; the tests
//! compare the two:
//!
//! | before  | probe   | effect |
//! |---------|---------|--------|
//! | offline | online  | `came_online`; an unresolved pending recovery is resolved |
//! | online  | offline | `went_offline`; within the crash window of an activation, and with no unresolved pending recovery, a new one |
//! | same    | same    | the status is replaced, nothing else |
//!
//! The original knew online and offline. Here there are more conditions, which fit in as follows:
//!
//! * `degraded` is online. Losing jails within the crash window creates a pending recovery as going offline does.
//! * A pending recovery is resolved by becoming `up`, not by merely accepting connections (`busy`) nor by
//!   coming back without the jails (`degraded`).
//! * `unreachable` says nothing about fail2ban: only what is shown changes, and the next probe is compared
//!   with the condition before it (`ServerState::settled`).
//!
//! Switches of jails, and the activation that a crash is attributed to, are in [`super::switches`].
//!
//! A new kind of news needs a function here, an [`Event`] if users should see it, and a row in the tests.

use chrono::TimeDelta;

use super::switches::{may_be_off, settle_by_what_runs};
use super::{
    Activation, Answer, BackendCommands, Condition, Event, JailName, ProbeOutcome, ServerState, ServerStatus,
    Timestamp,
};

/// A server that has accepted connections for this long without answering counts as down.
pub const HUNG_AFTER: TimeDelta = TimeDelta::seconds(60);

/// Applies the outcome of a probe.
#[must_use]
pub fn on_probe(
    mut state: ServerState,
    outcome: ProbeOutcome,
    now: Timestamp,
    crash_window: TimeDelta,
) -> (ServerState, Vec<Event>) {
    let before = state.settled;
    let missing_before = std::mem::take(&mut state.status.missing_jails);
    state.status.checked_at = Some(now);

    let condition = match outcome {
        ProbeOutcome::Unreachable { reason, .. } => {
            state.status.condition = Condition::Unreachable;
            state.status.error = Some(reason);
            state.status.missing_jails = missing_before;
            // Whether it stayed busy in between is unknown, so the count of seconds starts again.
            state.busy_since = None;
            return (state, Vec::new());
        }
        ProbeOutcome::Answered(answer) => answered(&mut state, answer, now),
        ProbeOutcome::Busy { reason, working } => {
            if working {
                state.busy_since = None;
            }
            let since = *state.busy_since.get_or_insert(now);
            state.status.missing_jails.clone_from(&missing_before);
            if now - since >= HUNG_AFTER {
                let seconds = (now - since).num_seconds();
                went_down(
                    &mut state.status,
                    format!("hung: accepts connections but has not answered for {seconds} s"),
                )
            } else {
                state.status.error = Some(reason);
                Condition::Busy
            }
        }
        ProbeOutcome::Down { reason } => {
            state.busy_since = None;
            went_down(&mut state.status, reason)
        }
    };
    state.status.condition = condition;
    state.settled = condition;

    let mut events = Vec::new();
    let mut crashed = false;
    match (before.online(), condition.online()) {
        (false, true) => {
            state.online_since = Some(now);
            state.backend_commands = BackendCommands::Unknown;
            events.push(Event::CameOnline { version: state.status.version.clone() });
        }
        (true, false) => {
            crashed = true;
            events.push(Event::WentOffline { reason: state.status.error.clone().unwrap_or_default() });
        }
        _ => {}
    }
    let newly_missing = state.status.missing_jails.iter().any(|jail| !missing_before.contains(jail));
    if condition == Condition::Degraded && (newly_missing || !before.online()) {
        crashed = true;
        events.push(Event::Degraded { missing: state.status.missing_jails.clone() });
    }
    if crashed {
        events.extend(pend_recovery(&mut state, now, crash_window));
    }
    if condition == Condition::Up && before != Condition::Up {
        events.extend(resolve_recovery(&mut state));
    }
    (state, events)
}

fn answered(state: &mut ServerState, answer: Answer, now: Timestamp) -> Condition {
    state.busy_since = None;
    if state.status.version.as_ref() != Some(&answer.version) {
        state.backend_commands = BackendCommands::Unknown;
    }
    settle_by_what_runs(state, &answer, now);
    let settled = |jail: &&JailName| !state.switching.iter().any(|switch| switch.jail_name == **jail);
    state.expected_jails.extend(answer.jails.keys().filter(settled).cloned());
    state.status.missing_jails = state
        .expected_jails
        .iter()
        .filter(|jail| !may_be_off(&state.switching, jail))
        .filter(|jail| !answer.jails.contains_key(*jail))
        .cloned()
        .collect();
    state.status.stalled_jails = answer.stalled.into_iter().collect();
    state.status.version = Some(answer.version);
    state.status.jails = answer.jails;
    if state.status.missing_jails.is_empty() {
        state.status.error = stalled_only(&state.status.stalled_jails);
        Condition::Up
    } else {
        let missing: Vec<&str> = state.status.missing_jails.iter().map(JailName::as_str).collect();
        state.status.error = Some(format!("jails that ran before are not running: {}", missing.join(", ")));
        Condition::Degraded
    }
}

/// The error about jails that are listed but do not run. They do not make a server degraded: fail2ban lists a jail for a moment
/// before it starts it, and nothing was lost.
fn stalled_only(stalled: &[JailName]) -> Option<String> {
    let names: Vec<&str> = stalled.iter().map(JailName::as_str).collect();
    (!names.is_empty()).then(|| format!("jails are listed but do not run: {}", names.join(", ")))
}

/// An offline server shows no jails and no numbers, as in the original; its version stays, to be compared.
fn went_down(status: &mut ServerStatus, reason: String) -> Condition {
    status.jails.clear();
    status.stalled_jails.clear();
    status.error = Some(reason);
    Condition::Down
}

fn pend_recovery(state: &mut ServerState, now: Timestamp, crash_window: TimeDelta) -> Option<Event> {
    let activation = state.last_activation.as_ref()?;
    let since = now - activation.at;
    if since > crash_window || state.pending_recovery.as_ref().is_some_and(|pending| !pending.recovered) {
        return None;
    }
    state.pending_recovery = Some(activation.crashed(now));
    Some(Event::ActivationCrashDetected {
        jail: activation.jail_name.clone(),
        seconds_since_activation: since.num_seconds(),
        condition: state.settled,
    })
}

fn resolve_recovery(state: &mut ServerState) -> Option<Event> {
    let pending = state.pending_recovery.as_mut().filter(|pending| !pending.recovered)?;
    pending.recovered = true;
    Some(Event::RecoveryResolved { jail: pending.jail_name.clone() })
}

/// Records an activation of `jail` without a switch, as the original did. Only tests use it: the program records a switch
/// ([`super::switches::begin_switch`]).
#[must_use]
pub fn record_activation(
    mut state: ServerState,
    jail: JailName,
    now: Timestamp,
) -> (ServerState, Vec<Event>) {
    state.last_activation = Some(Activation::new(jail.clone(), now));
    (state, vec![Event::ActivationRecorded { jail }])
}

/// The pending recovery that was to be dismissed is no longer the one that is there.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("another recovery has become pending in between, detected at {detected_at}")]
pub struct RecoveryChanged {
    /// When the one that is there was detected.
    pub detected_at: Timestamp,
}

/// Dismisses the pending recovery; with none there, nothing changes. `expected` is the `detected_at` that the user saw.
///
/// # Errors
/// [`RecoveryChanged`] if `expected` is given and another recovery has become pending since.
pub fn clear_pending_recovery(
    mut state: ServerState,
    expected: Option<Timestamp>,
) -> Result<(ServerState, Vec<Event>), RecoveryChanged> {
    let Some(pending) = state.pending_recovery.take() else { return Ok((state, Vec::new())) };
    match expected {
        Some(expected) if expected != pending.detected_at => {
            Err(RecoveryChanged { detected_at: pending.detected_at })
        }
        _ => Ok((state, vec![Event::RecoveryCleared { jail: pending.jail_name }])),
    }
}

/// The run of fail2ban that a detection of [`BackendCommands`] was made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectedOn {
    /// fail2ban's version.
    pub version: Option<String>,
    /// When it came online.
    pub online_since: Option<Timestamp>,
}

impl DetectedOn {
    /// The run of fail2ban that `state` describes.
    #[must_use]
    pub fn of(state: &ServerState) -> Self {
        Self { version: state.status.version.clone(), online_since: state.online_since }
    }
}

/// Applies a detection; `None` if fail2ban was restarted or upgraded since it began: then nothing must be stored.
#[must_use]
pub fn on_detection(mut state: ServerState, on: &DetectedOn, supported: bool) -> Option<ServerState> {
    if DetectedOn::of(&state) != *on {
        return None;
    }
    state.backend_commands = supported.into();
    Some(state)
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
