//! The caller's password.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actions::Actor;
use crate::actions::change_password::{PasswordChange, change_password};
use crate::http::error::Result;
use crate::http::extract::Json;
use crate::http::state::AppState;

/// The body of the change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    current: String,
    /// 10 to 1,024 bytes.
    #[schema(min_length = 10, max_length = 1024)]
    new: String,
}

/// Sets another password, and ends every other session.
#[utoipa::path(put, path = "/api/v1/password", tag = "session", request_body = Change,
    responses((status = 204), (status = 403, description = "`current` is wrong, or the request comes from another site"),
        (status = 409, description = "Another changed it meanwhile"), (status = 429, description = "Too many attempts")))]
pub async fn change(
    State(state): State<AppState>,
    actor: Actor,
    Json(Change { current, new }): Json<Change>,
) -> Result<StatusCode> {
    change_password(&state, actor, PasswordChange { current, new }).await?;
    Ok(StatusCode::NO_CONTENT)
}
