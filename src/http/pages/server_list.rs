//! All servers that an account is for, as their last probes left them.

use crate::domain::ServerName;
use crate::domain::access::Access;
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::{StoreError, StoredServer};

/// A server and its stored state, or why that cannot be read.
pub type Listed = (ServerName, std::result::Result<StoredServer, StoreError>);

/// All servers, by name.
///
/// # Errors
/// If Redis fails.
pub async fn read(state: &AppState, access: &Access) -> Result<Vec<Listed>> {
    let names = state.reached(access);
    let stored = state.store.servers(&names).await?;
    Ok(names.into_iter().zip(stored).collect())
}
