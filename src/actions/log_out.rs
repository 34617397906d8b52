//! Logging out, on every worker at once.

use super::{Actor, Context};
use crate::store::StoreError;

/// Ends the session that asks. If another request ended it a moment ago, that is a success too.
///
/// # Errors
/// [`StoreError`]: whether the session has ended is then unknown, or not confirmed by the replicas.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn log_out(context: &Context, actor: Actor) -> Result<(), StoreError> {
    let Some(session) = actor.session else { return Ok(()) };
    let task = context.clone();
    let action = async move {
        let record = actor.record("session.end");
        let ended = task.store.end_checked_session(&actor.owner(), &session, &record).await;
        task.note_unconfirmed(record, ended).await
    };
    context.complete(action).await
}
