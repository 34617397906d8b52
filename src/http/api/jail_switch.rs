//! Switching a jail on and off.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::server_view::ActivationView;
use crate::actions::Actor;
use crate::actions::switch_jail::{self, SwitchOutcome};
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

/// A change that takes longer than a client should wait: the jail shows when it is done, and so does the audit.
#[derive(Debug, Serialize, ToSchema)]
pub struct JailSwitching {
    #[schema(value_type = String)]
    jail: JailName,
    /// Always true.
    under_way: bool,
}

/// Switches a jail on, also after the next restart.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/activate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 202, body = JailSwitching), (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run with it, in its own words; nothing was changed")))]
pub async fn activate(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    Ok(shown(switch_jail::activate(&state, actor, target).await?))
}

/// Switches a jail off, also after the next restart; its bans are lifted.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/deactivate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 202, body = JailSwitching), (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run without it; nothing was changed")))]
pub async fn deactivate(
    State(state): State<AppState>,
    actor: Actor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    Ok(shown(switch_jail::deactivate(&state, actor, target).await?))
}

/// 200 with the jail as it is now, or 202 with where it will show.
fn shown(outcome: SwitchOutcome) -> Response {
    match outcome {
        SwitchOutcome::Switched(switched) => axum::Json(JailSwitched::from(switched)).into_response(),
        SwitchOutcome::UnderWay { server, jail } => {
            let location = format!("/api/v1/servers/{server}/jails/{}", jail.to_segment());
            let body = axum::Json(JailSwitching { jail, under_way: true });
            (StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response()
        }
    }
}
