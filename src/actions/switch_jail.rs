//! Switching a jail on and off: a transaction of the agent, framed by the record in the server's state.
//!
//! The record comes first, because a crash during the change is the likeliest one. What the agent refused is put back as it
//! was. Where no answer came the record stays: the change may be under way, and a crash would be caused by it. Where Redis did
//! not answer whether it has the record, nothing is asked of the agent, and the record is looked for by the switch's id.
//!
//! A change that takes longer than somebody should wait for is reported as [`SwitchOutcome::UnderWay`] and runs to its end.

use std::time::Duration;

use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::host_change::HostChange;
use super::{Actor, Context, JailTarget};
use crate::agent::client::{AgentError, JailChanged, RefusedKind};
use crate::domain::{Activation, JailName, ServerName};
use crate::store::{JailSwitch, StoreError};

/// A change that takes longer than this goes on by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// However long it takes; the agent gives up at this time too.
const MAX_CHANGE: Duration = Duration::from_secs(3600);
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long a record that may have been written is looked for; after that a probe settles it by what runs.
const TAKE_BACK_WITHIN: Duration = Duration::from_secs(120);
const TAKE_BACK_EVERY: Duration = Duration::from_secs(1);

/// What came of a switch.
#[derive(Debug, Clone)]
pub enum SwitchOutcome {
    /// The jail is as asked.
    Switched(JailSwitched),
    /// The change has begun and goes on: the jail shows when it is finished, and so does the audit.
    UnderWay {
        /// The server.
        server: ServerName,
        /// The jail.
        jail: JailName,
    },
}

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
    /// Redis did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Switches a jail on, also after the next restart.
///
/// # Errors
/// [`SwitchError`].
pub async fn activate(
    context: &Context,
    actor: Actor,
    target: JailTarget,
) -> Result<SwitchOutcome, SwitchError> {
    let named = (target.server.clone(), target.jail.clone());
    answered_soon(context, named, switch(context.clone(), actor, target, true)).await
}

/// Switches a jail off, also after the next restart; its bans are lifted.
///
/// # Errors
/// [`SwitchError`].
pub async fn deactivate(
    context: &Context,
    actor: Actor,
    target: JailTarget,
) -> Result<SwitchOutcome, SwitchError> {
    let named = (target.server.clone(), target.jail.clone());
    answered_soon(context, named, switch(context.clone(), actor, target, false)).await
}

/// What came of a change, or that it is under way if it takes long.
async fn answered_soon(
    context: &Context,
    (server, jail): (ServerName, JailName),
    change: impl Future<Output = Result<JailSwitched, SwitchError>> + Send + 'static,
) -> Result<SwitchOutcome, SwitchError> {
    match timeout(ANSWER_WITHIN, context.complete(change)).await {
        Ok(ended) => ended.map(SwitchOutcome::Switched),
        Err(_) => Ok(SwitchOutcome::UnderWay { server, jail }),
    }
}

async fn switch(
    context: Context,
    actor: Actor,
    target: JailTarget,
    on: bool,
) -> Result<JailSwitched, SwitchError> {
    let what = if on { "jail.activate" } else { "jail.deactivate" };
    let switch = JailSwitch::new(target.server.clone(), target.jail.clone(), on)?;
    let change = HostChange::begin(context, actor, target, what, json!({ "active": on })).await?;
    let change = recorded(change, &switch).await?;
    let store = &change.context.store;
    let answer = ask_until_finished(&change.target, on).await;
    let answer = look_again(&change.target, answer, on).await;
    if let Some(done) = ended(&answer, on)
        && let Err(error) = store.end_switch(&switch, done).await
    {
        // The host is changed, or not, whatever Redis says now.
        tracing::warn!(
            server.name = %change.target.server, jail.name = %change.target.jail, error = %error,
            "failed to finalize the activation record: a crash within its window may be misattributed to it"
        );
    }
    conclude(change, answer).await
}

/// What could not be recorded is not begun. A write that Redis did not answer may have been made: then it is taken back.
async fn recorded(change: HostChange, switch: &JailSwitch) -> Result<HostChange, StoreError> {
    let Err(error) = change.context.store.begin_switch(switch).await else { return Ok(change) };
    if let StoreError::Unavailable { .. } = &error {
        // Whoever asked has their answer before Redis is back.
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
            Err(_) if began.elapsed() < TAKE_BACK_WITHIN => {
                let pause = TAKE_BACK_EVERY.mul_f64(rand::rng().random_range(0.5..=1.0));
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
        Err(AgentError::Refused { .. } | AgentError::Busy { .. }) => Some(false),
        // Down too: nothing was changed, and it may have gone down by what was tried.
        Err(_) => None,
    }
}

/// Asks until a change that has begun is finished: asking again waits for its turn, and then finds the jail as asked.
async fn ask_until_finished(target: &JailTarget, on: bool) -> Result<JailChanged, AgentError> {
    let JailTarget { agent, jail, .. } = target;
    let (began, mut begun) = (Instant::now(), false);
    loop {
        let answer = match on {
            true => agent.activate(jail).await,
            false => agent.deactivate(jail).await,
        };
        let under_way = matches!(answer, Err(AgentError::Refused { kind: RefusedKind::UnderWay, .. }));
        let waits = under_way || matches!(answer, Err(AgentError::Busy { .. }));
        begun |= under_way;
        if !begun || !waits || began.elapsed() > MAX_CHANGE {
            return answer.map(|answer| JailChanged { changed: answer.changed || begun, ..answer });
        }
        let pause = ASK_AGAIN.mul_f64(rand::rng().random_range(0.5..=1.0));
        sleep(pause).await;
    }
}

/// An answer that did not come leaves open what was done: if the jail is as asked, it was.
async fn look_again(
    target: &JailTarget,
    answer: Result<JailChanged, AgentError>,
    wanted: bool,
) -> Result<JailChanged, AgentError> {
    let Err(error) = &answer else { return answer };
    if matches!(error, AgentError::Refused { .. } | AgentError::Busy { .. }) {
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
) -> Result<JailSwitched, SwitchError> {
    let (states, outcome) = match &answer {
        Ok(JailChanged { active, changed, .. }) => {
            let before = if *changed { !active } else { *active };
            ((json!({ "active": before }), json!({ "active": active })), "done".to_owned())
        }
        Err(error) => ((Value::Null, Value::Null), error.to_string()),
    };
    change.end(states, outcome).await;
    change.show(&answer).await;
    let JailChanged { jail, active, changed } = answer.map_err(|error| match error {
        error @ (AgentError::Refused { .. } | AgentError::Busy { .. }) => SwitchError::NotMade(error),
        error => SwitchError::Unknown(error),
    })?;
    let stored = change.context.store.server(&change.target.server).await?;
    Ok(JailSwitched { jail, active, changed, last_activation: stored.state.last_activation })
}
