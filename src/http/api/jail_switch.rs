//! Switching a jail on and off.

use axum::extract::State;
use axum::response::Response;

use super::jail_changes::{JailChange, answer};
use super::jails::JailSwitched;
use crate::actions::{Actor, switch_jail};
use crate::domain::JailChangeKind;
use crate::http::error::Result;
use crate::http::extract::Path;
use crate::http::state::AppState;

/// Switches a jail on, also after the next restart.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/activate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 202, body = JailChange, description = "It takes longer than 30 s: `Location` will show its outcome"),
        (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run with it, in its own words; nothing was changed")))]
pub async fn activate(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let change = {
        let (state, actor, target) = (state.clone(), actor.clone(), target.clone());
        async move { Ok(JailSwitched::from(switch_jail::activate(&state, actor, target).await?)) }
    };
    answer(&state, &actor, &target, JailChangeKind::Activate, change).await
}

/// Switches a jail off, also after the next restart; its bans are lifted.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/deactivate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 202, body = JailChange, description = "It takes longer than 30 s: `Location` will show its outcome"),
        (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run without it; nothing was changed")))]
pub async fn deactivate(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let change = {
        let (state, actor, target) = (state.clone(), actor.clone(), target.clone());
        async move { Ok(JailSwitched::from(switch_jail::deactivate(&state, actor, target).await?)) }
    };
    answer(&state, &actor, &target, JailChangeKind::Deactivate, change).await
}
