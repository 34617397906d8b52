//! The fail2ban servers and their jails.
//!
//! What is told of a server is its document in Redis, as the last probe left it: no request waits for a
//! fail2ban. Its jails are asked of the agent itself. A name that is not configured, or that can be none, is
//! refused the same way, before Redis is asked.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{Problem, Result};
use super::extract::{Caller, Path, Query};
use super::server_view::ServerView;
use super::sessions::List;
use super::state::AppState;
use super::time;
use crate::agent::client::AgentClient;

use crate::domain::ServerName;
use crate::domain::transition::{RecoveryChanged, clear_pending_recovery};

/// All servers, as their last probes left them.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", responses((status = 200, body = List<ServerView>)))]
pub async fn list(State(state): State<AppState>, _: Caller) -> Result<axum::Json<List<ServerView>>> {
    let names: Vec<ServerName> = state.agents.names();
    let stored = state.store.servers(&names).await?;
    let items = names.iter().zip(stored).map(|(name, stored)| ServerView::new(name, stored)).collect();
    Ok(axum::Json(List { items, next_cursor: None }))
}

/// One server.
#[utoipa::path(get, path = "/api/v1/servers/{server}", tag = "servers", params(("server" = String, Path)), responses((status = 200, body = ServerView)))]
pub async fn show(
    State(state): State<AppState>,
    _: Caller,
    Path(server): Path<String>,
) -> Result<axum::Json<ServerView>> {
    let (name, _) = configured(&state, &server)?;
    let stored = state.store.server(&name).await?;
    Ok(axum::Json(ServerView::new(&name, stored)))
}

/// What was asked for will be done.
#[derive(Serialize, ToSchema)]
pub struct Requested {
    requested: bool,
}

/// Asks for a probe at once, by the worker that leads.
#[utoipa::path(post, path = "/api/v1/servers/{server}/probe", tag = "servers", params(("server" = String, Path)), responses((status = 202, body = Requested)))]
pub async fn probe(
    State(state): State<AppState>,
    _: Caller,
    Path(server): Path<String>,
) -> Result<(StatusCode, axum::Json<Requested>)> {
    let (name, _) = configured(&state, &server)?;
    state.store.request_probe(&name).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(Requested { requested: true })))
}

/// Which pending recovery the user saw.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RecoveryQuery {
    /// When the one that the user saw was detected.
    #[param(format = DateTime)]
    detected_at: Option<String>,
}

/// Puts the pending recovery aside.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/recovery", tag = "servers", params(("server" = String, Path), RecoveryQuery),
    responses((status = 204), (status = 409, description = "Another one is pending than the one named")))]
pub async fn clear_recovery(
    State(state): State<AppState>,
    caller: Caller,
    Path(server): Path<String>,
    Query(query): Query<RecoveryQuery>,
) -> Result<StatusCode> {
    let (name, _) = configured(&state, &server)?;
    let expected = match query.detected_at.as_deref() {
        None => None,
        Some(text) => Some(time::parse(text).ok_or_else(|| {
            Problem::malformed("`detected_at` must be a time such as 2026-01-31T12:00:00.000000Z")
        })?),
    };
    let change = |before, _now| {
        let (after, events) = clear_pending_recovery(before, expected)?;
        // no event: there was nothing to clear, so nothing is written
        Ok::<_, RecoveryChanged>((!events.is_empty()).then_some((after, events)))
    };
    state.store.change_server(&name, change).await?;
    tracing::info!(
        server.name = %name,
        "`{}` put the pending recovery of server `{name}` aside", caller.session.username.as_str()
    );
    Ok(StatusCode::NO_CONTENT)
}

impl From<RecoveryChanged> for Problem {
    fn from(changed: RecoveryChanged) -> Self {
        let detected_at = time::Time(changed.detected_at).to_string();
        Self::conflict(
            "recovery-changed",
            "Another recovery has become pending",
            format!("the recovery that is pending now was detected at {detected_at}; nothing was cleared"),
        )
        .with("detected_at", detected_at)
    }
}

/// The server of that name, or 404.
pub fn configured(state: &AppState, server: &str) -> Result<(ServerName, AgentClient)> {
    let name = ServerName::parse(server).ok();
    name.and_then(|name| state.agents.get(&name).map(|agent| (name, agent)))
        .ok_or_else(|| Problem::not_found("server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_recovery_is_a_conflict_that_names_the_one_there_is() {
        let detected_at = time::parse("2026-01-31T12:00:00.000001Z").unwrap();
        let problem = Problem::from(RecoveryChanged { detected_at });
        assert_eq!(problem.status(), StatusCode::CONFLICT);
        assert!(format!("{problem:?}").contains("2026-01-31T12:00:00.000001Z"));
    }
}
