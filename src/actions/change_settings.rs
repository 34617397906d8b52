//! Changing the runtime settings, for all workers.

use serde_json::{Map, Value, json};

use super::confirm_session::ConfirmationRequired;
use super::{Actor, Context};
use crate::domain::undo::{Deed, UndoId, Undoable};
use crate::settings::{self, Effective, Mistake};
use crate::store::{AuditRecord, StoreError, Trail};

/// Why settings were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeSettingsError {
    /// Their revision is not the one that the change was based on.
    #[error("the settings changed in between: they are at revision {revision}")]
    Stale {
        /// The current revision, or a recent one.
        revision: u64,
    },
    /// One of them is sensitive, and the password was not confirmed.
    #[error(transparent)]
    Unconfirmed(#[from] ConfirmationRequired),
    /// Not all values are acceptable.
    #[error("invalid settings: {}", .0.len())]
    Invalid(Vec<Mistake>),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Changes settings if `expected` accepts their revision; `null` removes an override. Returns the settings that are then in force. The
/// change can be undone under the id `undo`.
///
/// # Errors
/// [`ChangeSettingsError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn change_settings(
    context: &Context,
    actor: Actor,
    expected: impl FnOnce(u64) -> bool + Send + 'static,
    patch: Map<String, Value>,
    undo: UndoId,
) -> Result<Effective, ChangeSettingsError> {
    let task = context.clone();
    context.complete(async move { change(&task, &actor, expected, &patch, &undo).await }).await
}

async fn change(
    context: &Context,
    actor: &Actor,
    expected: impl FnOnce(u64) -> bool,
    patch: &Map<String, Value>,
    undo: &UndoId,
) -> Result<Effective, ChangeSettingsError> {
    let read = context.store.settings().await?;
    let bootstrap = context.settings.bootstrap();
    if !expected(read.revision) {
        return Err(ChangeSettingsError::Stale { revision: read.revision });
    }
    let before = bootstrap.with(&read.overrides, read.revision);
    let overrides = bootstrap.patched(&read.overrides, patch).map_err(ChangeSettingsError::Invalid)?;
    if overrides == read.overrides {
        return Ok(before);
    }
    let sensitive = patch.keys().any(|name| settings::is_sensitive(name));
    if sensitive {
        context.require_confirmation::<ChangeSettingsError>(actor).await?;
    }
    let after = bootstrap.with(&overrides, read.revision);
    let (was, is) = (named(&before, patch), named(&after, patch));
    let trail = if sensitive { Trail::Security } else { Trail::Changes };
    let audit =
        AuditRecord { trail, before: was.clone(), after: is.clone(), ..actor.record("settings.change") };
    let facts = json!({ "revision": read.revision + 1, "before": was, "after": is });
    let written = context.store.write_settings(&read, &overrides, &facts, &audit).await;
    let (revision, entry) = written.map_err(|error| match error {
        StoreError::Conflict => ChangeSettingsError::Stale { revision: read.revision + 1 },
        error => error.into(),
    })?;
    let before = patch.keys().map(|name| (name.clone(), read.overrides.get(name).cloned())).collect();
    let username = actor.username().to_owned();
    let done = Undoable { username, server: None, jail: None, deed: Deed::Product { before, revision } };
    context.keep_undo(undo, &done, &format!("{}/{entry}", trail.as_str())).await;
    Ok(bootstrap.with(&overrides, revision))
}

/// The settings that a patch names.
fn named(effective: &Effective, patch: &Map<String, Value>) -> Value {
    let named = effective.shown().filter(|(name, ..)| patch.contains_key(*name));
    Value::Object(named.map(|(name, value, _)| (name.to_owned(), value)).collect())
}
