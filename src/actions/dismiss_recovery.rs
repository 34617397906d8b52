//! Dismissing a pending recovery: a jail was activated and fail2ban went down, or lost jails, soon after, and the user wants no
//! rollback.

use std::sync::{Mutex, PoisonError};

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{Actor, Context};
use crate::domain::transition::{RecoveryChanged, clear_pending_recovery};
use crate::domain::{PendingRecovery, ServerName, ServerState, Timestamp};
use crate::store::{AuditRecord, ChangeError, StoreError};

/// Why a recovery was not dismissed.
#[derive(Debug, thiserror::Error)]
pub enum DismissError {
    /// Another one is pending than the one that was named.
    #[error(transparent)]
    Changed(#[from] RecoveryChanged),
    /// Redis did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ChangeError<RecoveryChanged>> for DismissError {
    fn from(error: ChangeError<RecoveryChanged>) -> Self {
        match error {
            ChangeError::Refused(changed) => changed.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}

/// Dismisses the pending recovery; with none there, nothing changes. `expected` is the `detected_at` that the user saw.
///
/// # Errors
/// [`DismissError`].
pub async fn dismiss(
    context: &Context,
    actor: Actor,
    server: ServerName,
    expected: Option<Timestamp>,
) -> Result<(), DismissError> {
    let task = context.clone();
    let action = async move {
        let Some(dismissed) = clear(&task, &server, expected).await? else { return Ok(()) };
        let (target, before) = (Some(server.to_string()), summary(&dismissed));
        task.note(&AuditRecord { target, before, ..actor.record("recovery.clear") }).await;
        tracing::info!(
            server.name = %server,
            "`{}` dismissed the pending recovery of server `{server}`", actor.username()
        );
        Ok(())
    };
    context.complete(action).await
}

/// Clears the pending recovery; the one that was there.
pub(super) async fn clear(
    context: &Context,
    server: &ServerName,
    expected: Option<Timestamp>,
) -> Result<Option<PendingRecovery>, DismissError> {
    // Of the try that was written: each earlier one is overwritten by the next.
    let cleared = Mutex::new(None);
    let change = |before: ServerState, _now| {
        cleared.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&before.pending_recovery);
        let (after, events) = clear_pending_recovery(before, expected)?;
        // no event: there was nothing to clear, so nothing is written
        Ok::<_, RecoveryChanged>((!events.is_empty()).then_some((after, events)))
    };
    context.store.change_server(server, change).await?;
    Ok(cleared.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A pending recovery, for the audit.
pub(super) fn summary(pending: &PendingRecovery) -> Value {
    let at = |moment: Timestamp| moment.to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({
        "jail_name": pending.jail_name, "activated_at": at(pending.activated_at),
        "detected_at": at(pending.detected_at), "recovered": pending.recovered,
    })
}
