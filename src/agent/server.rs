//! The agent's end of the bridge.
use tokio_util::sync::CancellationToken;

use crate::config::AgentConfig;

/// Runs the agent until `shutdown`.
///
/// # Errors
/// If it cannot listen.
pub async fn run(_config: AgentConfig, _shutdown: CancellationToken) -> anyhow::Result<()> {
    todo!()
}
