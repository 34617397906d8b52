//! Switching a jail on and off.

use axum::extract::State;
use axum::response::Response;

use super::jail_changes::{JailChange, answer};
use super::jails::JailSwitched;
use crate::actions::{Actor, switch_jail};
use crate::domain::{JailChangeId, JailChangeKind};
use crate::http::error::Result;
use crate::http::extract::Path;
use crate::http::state::AppState;

/// Switches a jail on for good: it stays on after a restart.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/activate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 202, body = JailChange, description = "It takes longer than 30 s: follow it at `Location`"),
        (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run with this jail: the detail has its own words; nothing was changed")))]
pub async fn activate(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let (target, id) = (state.jail(&server, &jail)?, JailChangeId::of(rand::random()));
    let change = {
        let (state, actor, target, id) = (state.clone(), actor.clone(), target.clone(), id.clone());
        async move { Ok(JailSwitched::from(switch_jail::activate(&state, actor, target, id).await?)) }
    };
    answer(&state, &actor, &target, (JailChangeKind::Activate, id), change).await
}

/// Switches a jail off for good: it stays off after a restart. Its bans are lifted.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/deactivate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 202, body = JailChange, description = "It takes longer than 30 s: follow it at `Location`"),
        (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run without this jail; nothing was changed")))]
pub async fn deactivate(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let (target, id) = (state.jail(&server, &jail)?, JailChangeId::of(rand::random()));
    let change = {
        let (state, actor, target, id) = (state.clone(), actor.clone(), target.clone(), id.clone());
        async move { Ok(JailSwitched::from(switch_jail::deactivate(&state, actor, target, id).await?)) }
    };
    answer(&state, &actor, &target, (JailChangeKind::Deactivate, id), change).await
}
