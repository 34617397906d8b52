//! Asking the leader to probe a server now.

use super::Context;
use crate::domain::ServerName;
use crate::store::StoreError;

/// Asks for a probe of this server. It changes nothing worth an audit entry.
///
/// # Errors
/// [`StoreError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn request_probe(context: &Context, server: ServerName) -> Result<(), StoreError> {
    let store = context.store.clone();
    context.complete(async move { store.request_probe(&server).await }).await
}
