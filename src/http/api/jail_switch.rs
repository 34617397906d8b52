//! Switching a jail on and off.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::server_view::ActivationView;
use crate::actions::{Actor, switch_jail};
use crate::domain::JailName;
use crate::http::error::Result;
use crate::http::extract::Path;
use crate::http::state::AppState;

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct JailSwitched {
    #[schema(value_type = String)]
    jail: JailName,
    /// Whether it runs now.
    active: bool,
    /// False if it was so already.
    changed: bool,
    last_activation: Option<ActivationView>,
}

impl From<switch_jail::JailSwitched> for JailSwitched {
    fn from(switched: switch_jail::JailSwitched) -> Self {
        let switch_jail::JailSwitched { jail, active, changed, last_activation } = switched;
        Self { jail, active, changed, last_activation: last_activation.map(ActivationView::from) }
    }
}

/// Switches a jail on, also after the next restart.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/activate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run with it, in its own words; nothing was changed")))]
pub async fn activate(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<axum::Json<JailSwitched>> {
    let target = state.jail(&server, &jail)?;
    Ok(axum::Json(switch_jail::activate(&state, actor, target).await?.into()))
}

/// Switches a jail off, also after the next restart; its bans are lifted.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/deactivate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run without it; nothing was changed")))]
pub async fn deactivate(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<axum::Json<JailSwitched>> {
    let target = state.jail(&server, &jail)?;
    Ok(axum::Json(switch_jail::deactivate(&state, actor, target).await?.into()))
}
