//! Dismissing a pending recovery: a jail was activated, fail2ban went down or lost jails soon after, and the user does not want to
//! roll back.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{Actor, Context};
use crate::domain::transition::{RecoveryChanged, clear_pending_recovery};
use crate::domain::{PendingRecovery, ServerName, ServerState, Timestamp};
use crate::store::{AuditRecord, ChangeError, StoreError};

/// Why a recovery was not dismissed.
#[derive(Debug, thiserror::Error)]
pub enum DismissError {
    /// The pending recovery is not the one that the user saw.
    #[error(transparent)]
    Changed(#[from] RecoveryChanged),
    /// Redis failed.
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

/// Dismisses the pending recovery; without one, nothing changes. `expected` is the `detected_at` that the user saw.
///
/// # Errors
/// [`DismissError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", name = "dismiss_recovery", skip_all)]
pub async fn dismiss(
    context: &Context,
    actor: Actor,
    server: ServerName,
    expected: Option<Timestamp>,
) -> Result<(), DismissError> {
    let task = context.clone();
    let action = async move {
        if clear(&task, &server, expected, Some(&actor)).await? {
            tracing::info!(
                server.name = %server,
                "`{}` dismissed the pending recovery of server `{server}`", actor.username()
            );
        }
        Ok(())
    };
    context.complete(action).await
}

/// Clears the pending recovery, with an audit entry that names the user who dismissed it; false if there was none.
pub(super) async fn clear(
    context: &Context,
    server: &ServerName,
    expected: Option<Timestamp>,
    dismissed_by: Option<&Actor>,
) -> Result<bool, DismissError> {
    // Set by each attempt to write; the last attempt is the one that was written.
    let cleared = AtomicBool::new(false);
    let change = |before: ServerState, _now| {
        let record = dismissed_by.zip(before.pending_recovery.as_ref()).map(|(actor, pending)| AuditRecord {
            target: Some(server.to_string()),
            before: summary(pending),
            ..actor.record("recovery.clear")
        });
        let (after, events) = clear_pending_recovery(before, expected)?;
        // Without an event there was nothing to clear, so nothing is written.
        let changed = !events.is_empty();
        cleared.store(changed, Ordering::Relaxed);
        Ok::<_, RecoveryChanged>(changed.then_some((after, events, record)))
    };
    context.store.change_server_audited(server, change).await?;
    Ok(cleared.into_inner())
}

/// A pending recovery, for the audit.
pub(super) fn summary(pending: &PendingRecovery) -> Value {
    let at = |moment: Timestamp| moment.to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({
        "jail_name": pending.jail_name, "activated_at": at(pending.activated_at),
        "detected_at": at(pending.detected_at), "recovered": pending.recovered,
    })
}
