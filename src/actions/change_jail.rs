//! Changing the settings of a jail, at once and until its next reload, or for good; and "unban, and ignore from now on".

use serde_json::{Value, json};

use super::host_change::HostChange;
use super::until_finished::until_finished;
use super::{Actor, Context, JailTarget};
use crate::agent::client::{AgentError, ChangeSettings, JailView};
use crate::domain::{JailSettings, Network};
use crate::store::StoreError;

/// Why the settings of a jail were not changed, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum ChangeJailError {
    /// No setting was named.
    #[error("no setting is named")]
    Empty,
    /// The jail cannot be read, so nothing was tried.
    #[error(transparent)]
    Unreadable(AgentError),
    /// The agent refused.
    #[error(transparent)]
    Refused(AgentError),
    /// The agent did not answer.
    #[error("it is unknown whether the settings were changed")]
    Unknown(#[source] AgentError),
    /// The server has no such jail.
    #[error("there is no such jail")]
    NoJail,
    /// Redis did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Changes settings of a jail, with `persistent` also after the next reload or restart; the jail as it is then.
///
/// # Errors
/// [`ChangeJailError`].
pub async fn change_settings(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    settings: JailSettings,
    persistent: bool,
) -> Result<JailView, ChangeJailError> {
    if settings.is_empty() {
        return Err(ChangeJailError::Empty);
    }
    let (task, wanted) = (context.clone(), ChangeSettings { settings, persistent });
    let action = async move {
        let before = read(&target).await?;
        let change = HostChange::begin(task, actor, target, "jail.settings", json!(wanted)).await?;
        let (agent, jail, wanted) = (&change.target.agent, &change.target.jail, &wanted);
        let (answer, _) = until_finished(move || agent.change_settings(jail, wanted)).await;
        conclude(change, before, json!(wanted), answer).await
    };
    context.complete(action).await
}

/// Unbans an address or network and ignores it from now on, in one step; the jail as it is then.
///
/// # Errors
/// [`ChangeJailError`].
pub async fn ignore(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    network: Network,
    persistent: bool,
) -> Result<JailView, ChangeJailError> {
    let task = context.clone();
    let action = async move {
        let before = read(&target).await?;
        let wanted = json!({ "ignore": network, "persistent": persistent });
        let change = HostChange::begin(task, actor, target, "jail.ignore", wanted.clone()).await?;
        let (agent, jail) = (&change.target.agent, &change.target.jail);
        let (answer, _) = until_finished(move || agent.ignore(jail, network, persistent)).await;
        conclude(change, before, wanted, answer).await
    };
    context.complete(action).await
}

/// The jail before the change; none too while fail2ban is down: the change itself is then refused with what keeps it down.
async fn read(target: &JailTarget) -> Result<Option<JailView>, ChangeJailError> {
    match target.agent.jail_view(&target.jail).await {
        Err(AgentError::Down { .. }) => Ok(None),
        view => view.map_err(ChangeJailError::Unreadable),
    }
}

async fn conclude(
    change: HostChange,
    before: Option<JailView>,
    wanted: Value,
    answer: Result<Option<JailView>, AgentError>,
) -> Result<JailView, ChangeJailError> {
    let settings = |view: &JailView| json!({ "bantime": view.bantime, "findtime": view.findtime, "maxretry": view.maxretry, "ignoreip": view.ignoreip });
    let before = before.as_ref().map_or(Value::Null, settings);
    let (after, outcome) = match &answer {
        Ok(view) => (view.as_ref().map_or(wanted, settings), "done".to_owned()),
        Err(error) => (wanted, error.to_string()),
    };
    change.end((before, after), outcome).await;
    change.show(&answer).await;
    let view = answer.map_err(|error| match error {
        // Of a fail2ban that went away during the change, the agent says that it is not settled.
        error @ (AgentError::Refused { .. } | AgentError::Down { .. }) => ChangeJailError::Refused(error),
        // A busy fail2ban too: a command that it did not answer may be carried out later.
        error => ChangeJailError::Unknown(error),
    })?;
    view.ok_or(ChangeJailError::NoJail)
}
