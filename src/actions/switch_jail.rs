//! Switching a jail on and off: a transaction of the agent, framed by the record in the server's state.
//!
//! The record comes first, because a crash during the change is the likeliest one. What the agent refused is put back as it
//! was. Where no answer came the record stays: the change may be under way, and a crash would be caused by it. Where Redis did
//! not answer whether it has the record, nothing is asked of the agent, and the record is looked for by the switch's id.
//!
//! A jail that is expected to run and is in none of the files any more is given up by switching it off.

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

/// How long a record that may have been written is looked for; after that a probe settles it by what runs.
const TAKE_BACK_TIMEOUT: Duration = Duration::from_secs(120);
const TAKE_BACK_INTERVAL: Duration = Duration::from_secs(1);

/// A jail after a switch.
#[derive(Debug, Clone)]
pub struct JailSwitched {
    /// Its name.
    pub jail: JailName,
    /// Whether it runs now.
    pub active: bool,
    /// False if it was so before.
    pub changed: bool,
    /// The server's latest activation now.
    pub last_activation: Option<Activation>,
}

/// Why a jail was not switched, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// Nothing was changed, unless the agent says otherwise.
    #[error(transparent)]
    NotMade(AgentError),
    /// The agent did not answer, and the jail is not seen to be as asked.
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
        // The host is changed, or not, whatever Redis says now.
        tracing::warn!(
            server.name = %change.target.server, jail.name = %change.target.jail, error = %error,
            "failed to finalize the activation record: a crash within its window may be misattributed to it"
        );
    }
    followed.end(&answer).await;
    conclude(change, answer, on, &id).await
}

/// The change with its switch recorded, and whether the jail was expected to run. What could not be recorded is not begun. A
/// write that Redis did not answer may have been made: then it is taken back.
async fn recorded(change: HostChange, switch: &JailSwitch) -> Result<(HostChange, bool), StoreError> {
    let error = match change.context.store.begin_switch(switch).await {
        Ok(expected) => return Ok((change, expected)),
        Err(error) => error,
    };
    if let StoreError::Unavailable { .. } = &error {
        // The caller is answered before Redis is back.
        let in_flight = change.context.in_flight.clone();
        in_flight.spawn(take_back(change, switch.clone(), error.clone()));
    } else {
        change.end((Value::Null, Value::Null), format!("not tried: {error}")).await;
    }
    Err(error)
}

/// Takes back what may have been recorded of a switch that was not made, as soon as Redis answers.
async fn take_back(change: HostChange, switch: JailSwitch, error: StoreError) {
    let began = Instant::now();
    let outcome = loop {
        match change.context.store.take_back_if_recorded(&switch).await {
            Ok(true) => break format!("not tried: {error}; the record of it was written, and is taken back"),
            Ok(false) => break format!("not tried: {error}"),
            Err(_) if began.elapsed() < TAKE_BACK_TIMEOUT => {
                let pause = TAKE_BACK_INTERVAL.mul_f64(rand::rng().random_range(0.5..=1.0));
                sleep(pause).await;
            }
            Err(_) => {
                break format!("not tried: {error}; it is not known whether the record of it was written");
            }
        }
    };
    change.end((Value::Null, Value::Null), outcome).await;
}

/// Whether a switch is done, by what an answer says of the host; none if that is not known.
fn ended(answer: &Result<JailChanged, AgentError>, on: bool) -> Option<bool> {
    match answer {
        // A jail that ran already was not activated now; one that was off already is off.
        Ok(JailChanged { changed, .. }) => Some(*changed || !on),
        Err(AgentError::Refused { kind: RefusedKind::UnderWay, .. }) => None,
        // It may run. A jail that is not off is expected to run, and missing if it does not.
        Err(AgentError::Refused { kind: RefusedKind::Unsettled, .. }) if on => None,
        // If it had gone down by what was tried, the agent could not have undone that: unsettled.
        Err(AgentError::Refused { .. } | AgentError::Busy { .. } | AgentError::Down { .. }) => Some(false),
        Err(AgentError::Unreachable { .. }) => None,
    }
}

async fn ask(agent: &AgentClient, jail: &JailName, on: bool) -> Result<JailChanged, AgentError> {
    let (answer, begun) = match on {
        true => until_finished(move || agent.activate(jail)).await,
        false => until_finished(move || agent.deactivate(jail)).await,
    };
    // By the one that was under way.
    answer.map(|answer| JailChanged { changed: answer.changed || begun, ..answer })
}

/// A jail that is neither running nor in any file is off: switching it off is how one that was `expected` to run is given up.
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

/// An answer that did not come leaves open what was done: if the jail is as asked, it was.
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
