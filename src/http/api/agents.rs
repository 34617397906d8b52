//! The agents with their versions. Separate from `cluster.rs`, which asks only Redis.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::sessions::List;
use crate::actions::ask_agents::ask_agents;
use crate::agent::wire;
use crate::domain::{JailName, ServerName};
use crate::http::auth::caller::Caller;
use crate::http::error::Result;
use crate::http::state::AppState;

/// An agent as users see it.
#[derive(Serialize, ToSchema)]
pub struct Agent {
    /// The server that this agent belongs to.
    #[schema(value_type = String)]
    server: ServerName,
    /// Its version of bangui; `null` if it could not be asked.
    version: Option<String>,
    /// The version of fail2ban that it last talked to.
    fail2ban_version: Option<String>,
    /// Identifies this run of the agent: two servers with the same value share one agent.
    instance: Option<String>,
    /// The jail whose change was interrupted and is being undone.
    #[schema(value_type = Option<String>)]
    interrupted_change: Option<JailName>,
    /// Why it could not be asked.
    error: Option<String>,
}

impl Agent {
    fn new(server: ServerName, answer: std::result::Result<wire::Info, String>) -> Self {
        let (info, error) = match answer {
            Ok(info) => (Some(info), None),
            Err(error) => (None, Some(error)),
        };
        let (version, fail2ban_version, instance, interrupted_change) = info.map_or_else(
            Default::default,
            |wire::Info { agent_version, fail2ban_version, instance, interrupted_change, .. }| {
                (Some(agent_version), fail2ban_version, instance, interrupted_change)
            },
        );
        Self { server, version, fail2ban_version, instance, interrupted_change, error }
    }
}

/// The agents of all servers, all asked now: one that does not answer within two seconds has an `error`.
#[utoipa::path(get, path = "/api/v1/cluster/agents", tag = "cluster", responses((status = 200, body = List<Agent>)))]
pub async fn list(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<List<Agent>>> {
    let answers = ask_agents(&state, &caller.session.access).await;
    let items = answers.into_iter().map(|(server, answer)| Agent::new(server, answer));
    Ok(axum::Json(List { items: items.collect(), next_cursor: None }))
}
