//! Switching a jail on and off: a transaction of the agent, framed by a record in the server's state.
//!
//! The record comes first, because a crash is most likely during the change. If the agent refuses, the record is taken back. If it
//! does not answer, the record stays: the change may be under way, and could cause a crash. If Redis does not answer whether it
//! has the record, the agent is not asked, and the record is found later by the switch's id and taken back.
//!
//! Switching off a jail that is expected to run, but is no longer in any file, makes bangui stop expecting it.

use std::time::Duration;

use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::follow_change::Followed;
use super::host_change::HostChange;
use super::until_finished::until_finished;
use super::{Actor, Context, JailTarget};
use crate::agent::client::{AgentClient, AgentError, JailChanged, RefusedKind};
use crate::domain::undo::{Deed, UndoId};
use crate::domain::{Activation, JailChangeId, JailChangeKind, JailName};
use crate::store::{JailSwitch, StoreError};

/// How long this worker tries to take back a record that may have been written; after that a probe settles it by what runs.
const TAKE_BACK_TIMEOUT: Duration = Duration::from_secs(120);
const TAKE_BACK_INTERVAL: Duration = Duration::from_secs(1);

/// A jail after a switch.
#[derive(Debug, Clone)]
pub struct JailSwitched {
    /// Its name.
    pub jail: JailName,
    /// Whether it runs now.
    pub active: bool,
    /// False if it was already in that state.
    pub changed: bool,
    /// The server's latest activation now.
    pub last_activation: Option<Activation>,
}

/// Why a jail was not switched, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The agent refused or failed: nothing was changed, unless the error says otherwise.
    #[error(transparent)]
    NotMade(AgentError),
    /// The agent did not answer, and a later look did not show the jail as asked.
    #[error("it is unknown whether the jail was changed")]
    Unknown(#[source] AgentError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Switches a jail on, and keeps it on across restarts. Runs to completion even if the caller stops waiting; its steps are shown
/// under `id`.
///
/// # Errors
/// [`SwitchError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn activate(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    id: JailChangeId,
) -> Result<JailSwitched, SwitchError> {
    context.complete(switch(context.clone(), actor, target, true, id)).await
}

/// Switches a jail off, and keeps it off across restarts; its bans are lifted. Otherwise as [`activate`].
///
/// # Errors
/// [`SwitchError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn deactivate(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    id: JailChangeId,
) -> Result<JailSwitched, SwitchError> {
    context.complete(switch(context.clone(), actor, target, false, id)).await
}

async fn switch(
    context: Context,
    actor: Actor,
    target: JailTarget,
    on: bool,
    id: JailChangeId,
) -> Result<JailSwitched, SwitchError> {
    let what = if on { "jail.activate" } else { "jail.deactivate" };
    let switch = JailSwitch::new(target.server.clone(), target.jail.clone(), on)?;
    let change = HostChange::begin(context, actor, target, what, json!({ "active": on })).await?;
    let (change, expected) = recorded(change, &switch).await?;
    let store = &change.context.store;
    let kind = if on { JailChangeKind::Activate } else { JailChangeKind::Deactivate };
    let mut followed = Followed::new(&change, kind, id.clone());
    let agent = followed.agent();
    let answer = followed.until(ask(&agent, &change.target.jail, on)).await;
    let answer = look_again(&change.target, answer, on).await;
    let answer = given_up(&change.target, answer, !on && expected);
    let noted = match ended(&answer, on) {
        Some(done) => store.end_switch(&switch, done).await,
        None => store.abandon_switch(&switch).await,
    };
    if let Err(error) = noted {
        // The outcome on the host does not depend on Redis: only log.
        tracing::warn!(
            server.name = %change.target.server, jail.name = %change.target.jail, error = %error,
            "failed to finalize the activation record: a crash within its window may be misattributed to it"
        );
    }
    followed.end(&answer).await;
    conclude(change, answer, on, &id).await
}

/// Records the switch; returns the change, and whether the jail was expected to run. A switch that could not be recorded does not
/// begin. A write that Redis did not confirm may have been made: it is then taken back.
async fn recorded(change: HostChange, switch: &JailSwitch) -> Result<(HostChange, bool), StoreError> {
    let error = match change.context.store.begin_switch(switch).await {
        Ok(expected) => return Ok((change, expected)),
        Err(error) => error,
    };
    if let StoreError::Unavailable { .. } = &error {
        // In the background: the caller is answered before Redis is back.
        let in_flight = change.context.in_flight.clone();
        in_flight.spawn(take_back(change, switch.clone(), error.clone()));
    } else {
        change.end((Value::Null, Value::Null), format!("not tried: {error}")).await;
    }
    Err(error)
}

/// Takes back the record of a switch that was not made, if it was written, as soon as Redis answers.
async fn take_back(change: HostChange, switch: JailSwitch, error: StoreError) {
    let began = Instant::now();
    let outcome = loop {
        match change.context.store.take_back_if_recorded(&switch).await {
            Ok(true) => {
                break format!(
                    "not tried: {error}; the record of the switch was written, and has been removed"
                );
            }
            Ok(false) => break format!("not tried: {error}"),
            Err(_) if began.elapsed() < TAKE_BACK_TIMEOUT => {
                let pause = TAKE_BACK_INTERVAL.mul_f64(rand::rng().random_range(0.5..=1.0));
                sleep(pause).await;
            }
            Err(_) => {
                break format!(
                    "not tried: {error}; it is not known whether the record of the switch was written"
                );
            }
        }
    };
    change.end((Value::Null, Value::Null), outcome).await;
}

/// Whether the switch was made, judged by the agent's answer; none if that is not known.
fn ended(answer: &Result<JailChanged, AgentError>, on: bool) -> Option<bool> {
    match answer {
        // A jail that already ran was not activated now; a jail that was already off counts as switched off.
        Ok(JailChanged { changed, .. }) => Some(*changed || !on),
        Err(AgentError::Refused { kind: RefusedKind::UnderWay, .. }) => None,
        // It may run. (A jail that may not be off stays expected: it counts as missing if it does not run.)
        Err(AgentError::Refused { kind: RefusedKind::Unsettled, .. }) if on => None,
        // If the attempt had brought fail2ban down, the agent could not have undone it, and would have answered `Unsettled`.
        Err(AgentError::Refused { .. } | AgentError::Busy { .. } | AgentError::Down { .. }) => Some(false),
        Err(AgentError::Unreachable { .. }) => None,
    }
}

async fn ask(agent: &AgentClient, jail: &JailName, on: bool) -> Result<JailChanged, AgentError> {
    let (answer, begun) = match on {
        true => until_finished(move || agent.activate(jail)).await,
        false => until_finished(move || agent.deactivate(jail)).await,
    };
    // `begun`: changed by the earlier request, which was still under way.
    answer.map(|answer| JailChanged { changed: answer.changed || begun, ..answer })
}

/// A jail that neither runs nor is in any file is off. If it was `expected` to run, switching it off ends that.
fn given_up(
    target: &JailTarget,
    answer: Result<JailChanged, AgentError>,
    expected: bool,
) -> Result<JailChanged, AgentError> {
    match answer {
        Err(AgentError::Refused { kind: RefusedKind::Jail, .. }) if expected => {
            Ok(JailChanged { jail: target.jail.clone(), active: false, changed: false })
        }
        answer => answer,
    }
}

/// After a missing answer, reads the jail: if it is as asked, the switch was made.
async fn look_again(
    target: &JailTarget,
    answer: Result<JailChanged, AgentError>,
    wanted: bool,
) -> Result<JailChanged, AgentError> {
    if !matches!(answer, Err(AgentError::Unreachable { .. })) {
        return answer;
    }
    match target.agent.jail_view(&target.jail).await {
        Ok(Some(view)) if view.running == wanted && view.enabled == wanted => {
            Ok(JailChanged { jail: target.jail.clone(), active: wanted, changed: true })
        }
        _ => answer,
    }
}

async fn conclude(
    change: HostChange,
    answer: Result<JailChanged, AgentError>,
    on: bool,
    id: &JailChangeId,
) -> Result<JailSwitched, SwitchError> {
    let (states, outcome) = match &answer {
        Ok(JailChanged { active, changed, .. }) => {
            let before = if *changed { !active } else { *active };
            ((json!({ "active": before }), json!({ "active": active })), "done".to_owned())
        }
        Err(error) => ((Value::Null, Value::Null), error.to_string()),
    };
    let entry = change.end(states, outcome).await;
    if matches!(answer, Ok(JailChanged { changed: true, .. })) {
        change.keep_undo(&UndoId::from(id), Deed::Switched { on }, entry).await;
    }
    change.show(&answer).await;
    let JailChanged { jail, active, changed } = answer.map_err(|error| match error {
        error @ AgentError::Unreachable { .. } => SwitchError::Unknown(error),
        error => SwitchError::NotMade(error),
    })?;
    let stored = change.context.store.server(&change.target.server).await?;
    Ok(JailSwitched { jail, active, changed, last_activation: stored.state.last_activation.clone() })
}
