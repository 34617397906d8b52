//! Ending sessions of the actor's own account: one of them, all of them, or all except the one that asks.
//!
//! Ending another session needs a confirmed password: a stolen session must not throw its owner out, neither at once nor one
//! by one.

use super::confirm_session::ConfirmationRequired;
use super::{Actor, Context};
use crate::store::{AuditRecord, SessionId, StoreError};

/// Why a session was not ended.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The account has no such session.
    #[error("there is no such session")]
    Unknown,
    /// The password was not confirmed.
    #[error(transparent)]
    Unconfirmed(#[from] ConfirmationRequired),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The outcome of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// Whether the session that asked is among those that ended.
    pub own: bool,
}

/// Ends one session of the actor's account.
///
/// # Errors
/// [`RevokeError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn revoke_one(context: &Context, actor: Actor, id: SessionId) -> Result<Revoked, RevokeError> {
    let own = actor.session == Some(id);
    if !own {
        context.require_confirmation::<RevokeError>(&actor).await?;
    }
    let task = context.clone();
    let action = async move {
        let record = AuditRecord { target: Some(id.to_string()), ..actor.record("session.revoke") };
        let ended = task.store.end_session(&actor.owner(), &id, &record).await;
        if task.note_unconfirmed(record, ended).await? {
            Ok(Revoked { own })
        } else {
            Err(RevokeError::Unknown)
        }
    };
    context.complete(action).await
}

/// Ends all sessions of the actor's account, or all except the one that asks.
///
/// # Errors
/// [`RevokeError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn revoke_all(context: &Context, actor: Actor, keep_own: bool) -> Result<Revoked, RevokeError> {
    context.require_confirmation::<RevokeError>(&actor).await?;
    let task = context.clone();
    let action = async move {
        let keep = actor.session.filter(|_| keep_own);
        let what = if keep.is_some() { "session.revoke_others" } else { "session.revoke_all" };
        let record = actor.record(what);
        let ended = task.store.end_all_sessions(&actor.owner(), keep.as_ref(), &record).await;
        task.note_unconfirmed(record, ended).await?;
        Ok(Revoked { own: keep.is_none() })
    };
    context.complete(action).await
}
