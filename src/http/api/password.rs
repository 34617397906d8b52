//! The caller's password. With a new one the caller's session gets a new token.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actions::change_password::{PasswordChange, change_password};
use crate::http::auth::actor::Person;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::extract::Json;
use crate::http::state::AppState;

/// The body of a change of the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    current: String,
    /// 12 characters or more, 1,024 bytes at most, and not an easily guessed one.
    #[schema(min_length = 12, max_length = 1024)]
    new: String,
}

/// Changes the password, ends every other session, and gives this one a new token, which is in `Set-Cookie` even for a client
/// that sends its token as a bearer.
#[utoipa::path(put, path = "/api/v1/password", tag = "session", request_body = PasswordRequest,
    responses((status = 204, description = "Changed; the session's new token is in `Set-Cookie`"),
        (status = 403, description = "Tokens may not do this; or `current` is wrong; or passwords are switched off; or the request comes from another site"),
        (status = 409, description = "It was changed at the same time"), (status = 429, description = "Too many attempts")))]
pub async fn change(
    State(state): State<AppState>,
    Person(actor): Person,
    cookie: CookieKind,
    Json(PasswordRequest { current, new }): Json<PasswordRequest>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1])> {
    let token = change_password(&state, actor, PasswordChange { current, new }).await?.token;
    let set_cookie = token.as_ref().map_or_else(|| cookie.remove(), |token| cookie.set(token));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, set_cookie)]))
}
