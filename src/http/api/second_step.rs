//! The second step of a login that waits for a second factor.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::ToSchema;

use super::session::{LoggedIn, user_agent};
use crate::actions::finish_login::{self, SecondStep};
use crate::http::auth::address::CallerAddress;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::extract::{Json, STRANGERS_BODY};
use crate::http::state::AppState;
use crate::store::LoginOrigin;

/// The body of the second step.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondFactor {
    /// The `login` of the problem `second-factor-required`.
    login: String,
    /// A code of the authenticator app, or a recovery code.
    code: String,
}

/// Finishes a login that was answered `second-factor-required`, at any worker, within five minutes. Five wrong codes end it.
#[utoipa::path(post, path = "/api/v1/session/factor", tag = "session", security(()), request_body = SecondFactor,
    responses((status = 201, body = LoggedIn), (status = 401, description = "Wrong code; or the login does not wait any more"),
        (status = 429, description = "Too many attempts")))]
pub async fn finish(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Json(SecondFactor { login, code }): Json<SecondFactor, STRANGERS_BODY>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<LoggedIn>)> {
    let origin = LoginOrigin { ip, user_agent: user_agent(&headers) };
    let replaces = cookie.session_of_browser(&headers);
    let step = SecondStep { secret: login, code, origin, replaces };
    let begun = finish_login::finish(&state, step).await?;
    let set = cookie.set(&begun.token);
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, set)], axum::Json(begun.into())))
}
