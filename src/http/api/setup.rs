//! The setup of a new installation: the first password, once, for somebody who can prove that the installation is theirs.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actions::set_up::{self, set_up};
use crate::http::auth::address::CallerAddress;
use crate::http::error::Result;
use crate::http::extract::{Json, STRANGERS_BODY};
use crate::http::state::AppState;

/// The body of the setup.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// 12 characters or more, 1,024 bytes at most, and not an easily guessed one.
    #[schema(min_length = 12, max_length = 1024)]
    password: String,
    /// `BANGUI_SETUP_TOKEN`, or the code in a worker's log.
    token: String,
}

/// Whether the setup is complete.
#[derive(Serialize, ToSchema)]
pub struct SetupView {
    complete: bool,
}

/// Whether the first password has been set.
#[utoipa::path(get, path = "/api/v1/setup", tag = "session", security(()), responses((status = 200, body = SetupView)))]
pub async fn show(State(state): State<AppState>) -> Result<axum::Json<SetupView>> {
    Ok(axum::Json(SetupView { complete: set_up::is_complete(&state).await? }))
}

/// Sets the first password, once in the life of an installation.
#[utoipa::path(post, path = "/api/v1/setup", tag = "session", security(()), request_body = Claim,
    responses((status = 201, body = SetupView), (status = 409, description = "The first password has already been set"), (status = 429, description = "Too many attempts")))]
pub async fn complete(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    Json(Claim { password, token }): Json<Claim, STRANGERS_BODY>,
) -> Result<(StatusCode, axum::Json<SetupView>)> {
    set_up(&state, ip, set_up::Claim { password, token }).await?;
    Ok((StatusCode::CREATED, axum::Json(SetupView { complete: true })))
}
