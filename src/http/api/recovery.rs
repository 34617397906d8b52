//! A pending recovery: a jail was switched on and fail2ban went down, or lost jails, soon after.
//!
//! It is dismissed, or rolled back: the jail is switched off and fail2ban started.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::jail_changes::{JailChange, answer};
use super::rolled_back::RolledBack;
use super::time;
use crate::actions::dismiss_recovery::dismiss;
use crate::actions::{Actor, roll_back};
use crate::domain::{JailChangeId, JailChangeKind, Timestamp};
use crate::http::error::{Problem, Result};
use crate::http::extract::{Path, Query};
use crate::http::state::AppState;

/// Which pending recovery the user saw.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RecoveryQuery {
    /// The `detected_at` of the pending recovery that is meant.
    #[param(format = DateTime)]
    detected_at: Option<String>,
}

impl RecoveryQuery {
    fn detected_at(&self) -> Result<Option<Timestamp>> {
        let parse = |text: &String| {
            time::parse(text).ok_or_else(|| {
                Problem::malformed("`detected_at` must be a time such as 2026-01-31T12:00:00.000000Z")
            })
        };
        self.detected_at.as_ref().map(parse).transpose()
    }
}

/// Dismisses the pending recovery; nothing changes on the host.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/recovery", tag = "servers", params(("server" = String, Path), RecoveryQuery),
    responses((status = 204), (status = 409, description = "Another recovery is pending than the one named")))]
pub async fn clear(
    State(state): State<AppState>,
    actor: Actor,
    Path(server): Path<String>,
    Query(query): Query<RecoveryQuery>,
) -> Result<StatusCode> {
    let server = state.server(&server)?.name;
    dismiss(&state, actor, server, query.detected_at()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rolls back: switches the jail of the pending recovery off and starts fail2ban.
#[utoipa::path(post, path = "/api/v1/servers/{server}/recovery/rollback", tag = "servers", params(("server" = String, Path), RecoveryQuery),
    responses((status = 200, body = RolledBack), (status = 202, body = JailChange, description = "It takes longer than 30 s: follow it at `Location`"),
        (status = 409, description = "No recovery is pending, or another one than the one named"),
        (status = 422, description = "fail2ban's configuration would be invalid"), (status = 502, description = "The agent cannot be reached")))]
pub async fn roll_back(
    State(state): State<AppState>,
    actor: Actor,
    Path(server): Path<String>,
    Query(query): Query<RecoveryQuery>,
) -> Result<Response> {
    let server = state.server(&server)?;
    let pending = roll_back::pending(&state, &server.name, query.detected_at()?).await?;
    let target = server.jail(pending.jail_name.clone());
    let change = {
        let (state, actor, target) = (state.clone(), actor.clone(), target.clone());
        async move { Ok(RolledBack::from(roll_back::roll_back(&state, actor, target, pending).await?)) }
    };
    answer(&state, &actor, &target, (JailChangeKind::RollBack, JailChangeId::of(rand::random())), change)
        .await
}
