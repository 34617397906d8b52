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
use crate::agent::wire;
use crate::domain::transition::{RecoveryChanged, clear_pending_recovery};
use crate::domain::{JailCounts, JailName, ServerName};

/// All servers, as their last probes left them.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", responses((status = 200, body = List<ServerView>)))]
pub async fn list(State(state): State<AppState>, _: Caller) -> Result<axum::Json<List<ServerView>>> {
    let names: Vec<ServerName> = state.agents.keys().cloned().collect();
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
    let stored = state.store.server(name).await?;
    Ok(axum::Json(ServerView::new(name, stored)))
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
    state.store.request_probe(name).await?;
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
    state.store.change_server(name, change).await?;
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

/// A jail as users see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct JailView {
    #[schema(value_type = String)]
    name: JailName,
    #[serde(flatten)]
    counts: JailCounts,
    backend: Option<String>,
    idle: Option<bool>,
}

impl From<wire::Jail> for JailView {
    fn from(jail: wire::Jail) -> Self {
        Self { name: jail.name, counts: jail.counts, backend: jail.backend, idle: jail.idle }
    }
}

/// The jails that run, asked of the server itself.
#[utoipa::path(get, path = "/api/v1/servers/{server}/jails", tag = "servers", params(("server" = String, Path)),
    responses((status = 200, body = List<JailView>), (status = 502, description = "The agent cannot be reached")))]
pub async fn list_jails(
    State(state): State<AppState>,
    _: Caller,
    Path(server): Path<String>,
) -> Result<axum::Json<List<JailView>>> {
    let jails = ask_jails(&state, &server).await?;
    Ok(axum::Json(List { items: jails.into_iter().map(JailView::from).collect(), next_cursor: None }))
}

/// One jail that runs.
#[utoipa::path(get, path = "/api/v1/servers/{server}/jails/{jail}", tag = "servers", params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailView), (status = 502, description = "The agent cannot be reached")))]
pub async fn show_jail(
    State(state): State<AppState>,
    _: Caller,
    Path((server, jail)): Path<(String, String)>,
) -> Result<axum::Json<JailView>> {
    configured(&state, &server)?;
    let wanted = JailName::parse(&jail).map_err(|_| Problem::not_found("jail"))?;
    let jails = ask_jails(&state, &server).await?;
    let found = jails.into_iter().find(|jail| jail.name == wanted);
    Ok(axum::Json(found.ok_or_else(|| Problem::not_found("jail"))?.into()))
}

/// The running jails. Whether this fail2ban can be asked for backend and idleness is found out once for the
/// whole cluster; as long as that is unknown, it is not asked.
async fn ask_jails(state: &AppState, server: &str) -> Result<Vec<wire::Jail>> {
    let (name, agent) = configured(state, server)?;
    let supported = state.store.backend_commands(name, async || agent.backend_commands().await).await?;
    Ok(agent.jails(supported.unwrap_or(false)).await?)
}

/// The server of that name, or 404.
fn configured<'a>(state: &'a AppState, server: &str) -> Result<(&'a ServerName, &'a AgentClient)> {
    let name = ServerName::parse(server).ok();
    name.and_then(|name| state.agents.get_key_value(&name)).ok_or_else(|| Problem::not_found("server"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_jail_shows_its_counts_beside_its_name_and_null_for_what_is_unknown() {
        let counts =
            JailCounts { currently_failed: 1, total_failed: 2, currently_banned: 3, total_banned: 4 };
        let jail =
            wire::Jail { name: JailName::parse("sshd").unwrap(), counts, backend: None, idle: Some(false) };
        assert_eq!(
            serde_json::to_value(JailView::from(jail)).unwrap(),
            json!({
                "name": "sshd", "currently_failed": 1, "total_failed": 2, "currently_banned": 3,
                "total_banned": 4, "backend": null, "idle": false,
            })
        );
    }

    #[test]
    fn a_changed_recovery_is_a_conflict_that_names_the_one_there_is() {
        let detected_at = time::parse("2026-01-31T12:00:00.000001Z").unwrap();
        let problem = Problem::from(RecoveryChanged { detected_at });
        assert_eq!(problem.status(), StatusCode::CONFLICT);
        assert!(format!("{problem:?}").contains("2026-01-31T12:00:00.000001Z"));
    }
}
