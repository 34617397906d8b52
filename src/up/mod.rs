//! Everything on one machine: `bangui up`.
pub mod child;

use crate::config::UpConfig;
use crate::shutdown::Shutdown;

/// Runs everything until it is told to stop.
///
/// # Errors
/// If something cannot be started.
pub async fn run(_config: UpConfig, _shutdown: Shutdown) -> anyhow::Result<()> {
    todo!()
}
