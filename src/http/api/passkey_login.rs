//! Logins with a passkey: alone, or as the second factor.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::session::LoggedIn;
use crate::actions::log_in_with_passkey::{self, Challenge, Signed};
use crate::http::auth::address::{CallerAddress, login_origin};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::extract::{Json, STRANGERS_BODY};
use crate::http::state::AppState;

/// The body of the beginning.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyLogin {
    /// The `login` of the problem `second-factor-required`; without it, the passkey stands alone.
    #[serde(default)]
    login: Option<String>,
}

/// What a browser signs.
#[derive(Serialize, ToSchema)]
pub struct PasskeyChallenge {
    /// For `/api/v1/session/passkey/finish`.
    ceremony: String,
    /// For `navigator.credentials.get`, as JSON.
    #[schema(value_type = Object)]
    options: Value,
}

/// Begins a login with a passkey. It is to be finished within five minutes, at any worker, once. Each call is an attempt at a login.
#[utoipa::path(post, path = "/api/v1/session/passkey", tag = "session", security(()), request_body = PasskeyLogin,
    responses((status = 200, body = PasskeyChallenge), (status = 401, description = "The login has ended"),
        (status = 409, description = "Passkeys cannot be used here"), (status = 429, description = "Too many attempts")))]
pub async fn begin(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    Json(PasskeyLogin { login }): Json<PasskeyLogin, STRANGERS_BODY>,
) -> Result<axum::Json<PasskeyChallenge>> {
    let Challenge { ceremony, options } = log_in_with_passkey::begin(&state, ip, login.as_deref()).await?;
    Ok(axum::Json(PasskeyChallenge { ceremony: ceremony.reveal().to_owned(), options }))
}

/// What a browser has signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedChallenge {
    /// The `ceremony` of the challenge.
    ceremony: String,
    /// What `navigator.credentials.get` gave, as JSON.
    #[schema(value_type = Object)]
    credential: Value,
}

/// Finishes a login with a passkey.
#[utoipa::path(post, path = "/api/v1/session/passkey/finish", tag = "session", security(()), request_body = SignedChallenge,
    responses((status = 201, body = LoggedIn), (status = 401, description = "The passkey is refused; or the login has ended"),
        (status = 409, description = "Passkeys cannot be used here")))]
pub async fn finish(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Json(SignedChallenge { ceremony, credential }): Json<SignedChallenge, STRANGERS_BODY>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<LoggedIn>)> {
    let origin = login_origin(ip, &headers);
    let replaces = cookie.session_of_browser(&headers);
    let signed = Signed { ceremony, credential, origin, replaces };
    let begun = log_in_with_passkey::finish(&state, signed).await?;
    let set = cookie.set(&begun.token);
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, set)], axum::Json(begun.into())))
}
