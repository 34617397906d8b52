//! The jails of a server, asked of its agent.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Problem, Result};
use super::extract::{Caller, Path};
use super::servers::configured;
use super::sessions::List;
use super::state::AppState;
use crate::agent::wire;
use crate::domain::{JailCounts, JailName};

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
pub async fn list(
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
pub async fn show(
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
    let supported = state.store.backend_commands(&name, async || agent.backend_commands().await).await?;
    Ok(agent.jails(supported.unwrap_or(false)).await?)
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
}
