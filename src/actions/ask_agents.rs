//! Asking every agent what it is: all at once, so that none delays the answer for long.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

use super::Context;
use crate::agent::wire;
use crate::domain::ServerName;
use crate::domain::access::Access;

/// The most agents that are asked at once.
const MAX_CONCURRENT_AGENTS: usize = 128;
/// An agent answers this from memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Each server that the account is for, with what its agent reports about itself, or why it did not answer.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn ask_agents(context: &Context, access: &Access) -> Vec<(ServerName, Result<wire::Info, String>)> {
    let agents =
        context.reached(access).into_iter().filter_map(|name| Some((context.agents.get(&name)?, name)));
    let asked = stream::iter(agents).map(|(agent, name)| async move {
        let answer = match timeout(ANSWER_TIMEOUT, agent.info()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {ANSWER_TIMEOUT:?}")),
        };
        (name, answer)
    });
    asked.buffered(MAX_CONCURRENT_AGENTS).collect().await
}
