//! Changing the settings of a jail, until its next reload or for good; and "unban, and ignore from now on".

use serde_json::{Value, json};

use super::follow_change::Followed;
use super::host_change::HostChange;
use super::settings_seen::{in_files, in_force};
use super::until_finished::until_finished;
use super::{Actor, Context, JailTarget};
use crate::agent::client::{AgentError, ChangeSettings, JailView};
use crate::domain::undo::{Deed, SettingsDeed, UndoId};
use crate::domain::{JailChangeId, JailChangeKind, JailSettings, Network};
use crate::store::StoreError;

/// Why the settings of a jail were not changed, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum ChangeJailError {
    /// No setting was named.
    #[error("the change names no setting")]
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
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Changes settings of a jail, with `persistent` also for after the next reload or restart. Returns the jail afterwards. The steps
/// of the change are shown under `id`.
///
/// # Errors
/// [`ChangeJailError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn change_settings(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    settings: JailSettings,
    persistent: bool,
    id: JailChangeId,
) -> Result<JailView, ChangeJailError> {
    if settings.is_empty() {
        return Err(ChangeJailError::Empty);
    }
    let (task, wanted) = (context.clone(), ChangeSettings { settings, persistent });
    let action = async move {
        let before = read(&target).await?;
        let change = HostChange::begin(task, actor, target, "jail.settings", json!(wanted)).await?;
        let mut followed = Followed::new(&change, JailChangeKind::Settings, id.clone());
        let (agent, jail, wanted) = (&followed.agent(), &change.target.jail, &wanted);
        let (answer, _) = followed.until(until_finished(move || agent.change_settings(jail, wanted))).await;
        followed.end(&answer).await;
        let force = before.as_ref().map(in_force).unwrap_or_default();
        let files = before.as_ref().and_then(in_files);
        let deed = SettingsDeed::of(force, files, &wanted.settings, persistent).map(Deed::Settings);
        conclude(change, before, json!(wanted), answer, (&id, deed)).await
    };
    context.complete(action).await
}

/// Unbans an address or network and ignores it from now on, in one step. Returns the jail afterwards.
///
/// # Errors
/// [`ChangeJailError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", name = "never_ban", skip_all)]
pub async fn ignore(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    network: Network,
    persistent: bool,
    id: JailChangeId,
) -> Result<JailView, ChangeJailError> {
    let task = context.clone();
    let action = async move {
        let before = read(&target).await?;
        let wanted = json!({ "ignore": network, "persistent": persistent });
        let change = HostChange::begin(task, actor, target, "jail.ignore", wanted.clone()).await?;
        let mut followed = Followed::new(&change, JailChangeKind::Ignore, id.clone());
        let (agent, jail) = (&followed.agent(), &change.target.jail);
        let (answer, _) =
            followed.until(until_finished(move || agent.ignore(jail, network, persistent))).await;
        followed.end(&answer).await;
        let seen = before.as_ref().and_then(|view| in_files(view).filter(|_| persistent));
        let seen = seen.or_else(|| before.as_ref().map(in_force)).unwrap_or_default();
        let deed = (!seen.ignores(network)).then_some(Deed::Ignored { network, persistent });
        conclude(change, before, wanted, answer, (&id, deed)).await
    };
    context.complete(action).await
}

/// The jail before the change; none also while fail2ban is down: the change itself is then refused, with the reason.
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
    (id, deed): (&JailChangeId, Option<Deed>),
) -> Result<JailView, ChangeJailError> {
    let settings = |view: &JailView| json!({ "bantime": view.bantime, "findtime": view.findtime, "maxretry": view.maxretry, "ignoreip": view.ignoreip });
    let before = before.as_ref().map_or(Value::Null, settings);
    let (after, outcome) = match &answer {
        Ok(view) => (view.as_ref().map_or(wanted, settings), "done".to_owned()),
        Err(error) => (wanted, error.to_string()),
    };
    let entry = change.end((before, after), outcome).await;
    if answer.is_ok()
        && let Some(deed) = deed
    {
        change.keep_undo(&UndoId::from(id), deed, entry).await;
    }
    change.show(&answer).await;
    let view = answer.map_err(|error| match error {
        // If fail2ban goes away during the change, the agent answers `Unsettled` instead.
        error @ (AgentError::Refused { .. } | AgentError::Down { .. }) => ChangeJailError::Refused(error),
        // Also for a busy fail2ban: it may carry out later a command that it did not answer.
        error => ChangeJailError::Unknown(error),
    })?;
    view.ok_or(ChangeJailError::NoJail)
}
