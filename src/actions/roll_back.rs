//! Rolling back after a crash: the jail whose activation likely caused it is switched off, and fail2ban started.

use serde_json::{Value, json};

use super::dismiss_recovery::{DismissError, clear, summary};
use super::host_change::HostChange;
use super::target::JailTarget;
use super::until_finished::until_finished;
use super::{Actor, Context};
use crate::agent::client::{AgentError, RolledBack};
use crate::domain::transition::RecoveryChanged;
use crate::domain::{PendingRecovery, ServerName, Timestamp};
use crate::store::StoreError;

/// Why an activation was not rolled back, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum RollBackError {
    /// The server did not go down after an activation, or is already back.
    #[error("no recovery is pending on {server}")]
    NonePending {
        /// The server.
        server: ServerName,
    },
    /// The pending recovery is not the one that the user saw.
    #[error(transparent)]
    Changed(#[from] RecoveryChanged),
    /// The agent refused or did not answer: the jail may be off already.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DismissError> for RollBackError {
    fn from(error: DismissError) -> Self {
        match error {
            DismissError::Changed(changed) => changed.into(),
            DismissError::Store(error) => error.into(),
        }
    }
}

/// Switches off the jail of a [`pending`] recovery (`target`), and starts fail2ban.
///
/// # Errors
/// [`RollBackError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn roll_back(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    pending: PendingRecovery,
) -> Result<RolledBack, RollBackError> {
    let task = context.clone();
    context.complete(bring_back(task, actor, target, pending)).await
}

/// The pending recovery, if it is the one that the user saw: `expected` is its `detected_at`.
///
/// # Errors
/// [`RollBackError`].
pub async fn pending(
    context: &Context,
    server: &ServerName,
    expected: Option<Timestamp>,
) -> Result<PendingRecovery, RollBackError> {
    let pending = context.store.server(server).await?.state.pending_recovery.clone();
    let Some(pending) = pending.filter(|pending| !pending.recovered) else {
        return Err(RollBackError::NonePending { server: server.clone() });
    };
    match expected {
        Some(expected) if expected != pending.detected_at => {
            Err(RecoveryChanged { detected_at: pending.detected_at }.into())
        }
        _ => Ok(pending),
    }
}

async fn bring_back(
    context: Context,
    actor: Actor,
    target: JailTarget,
    pending: PendingRecovery,
) -> Result<RolledBack, RollBackError> {
    let wanted = json!({ "active": false });
    let change = HostChange::begin(context, actor, target, "recovery.roll_back", wanted).await?;
    let (agent, jail) = (&change.target.agent, &change.target.jail);
    let (rolled_back, _) = until_finished(move || agent.roll_back(jail)).await;
    let outcome = rolled_back.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
    let after = rolled_back.as_ref().map_or(Value::Null, |back| json!(back));
    change.end((summary(&pending), after), outcome).await;
    let back = rolled_back?;
    let (context, server) = (&change.context, &change.target.server);
    context.store.record_rollback(server, &back.jail).await?;
    clear(context, server, Some(pending.detected_at), None).await?;
    context.store.request_probe(server).await?;
    Ok(back)
}
