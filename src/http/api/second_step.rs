//! The second step of a login that waits for a second factor.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::factors::ProposedApp;
use super::session::LoggedIn;
use crate::actions::finish_login::{self, SecondStep};
use crate::actions::set_up_at_login;
use crate::domain::second_factor::RecoveryCode;
use crate::http::auth::address::{CallerAddress, login_origin};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::extract::{Json, STRANGERS_BODY};
use crate::http::state::AppState;

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
    responses((status = 201, body = LoggedIn), (status = 401, description = "Wrong code; or the login has ended"),
        (status = 429, description = "Too many attempts")))]
pub async fn finish(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Json(SecondFactor { login, code }): Json<SecondFactor, STRANGERS_BODY>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<LoggedIn>)> {
    let origin = login_origin(ip, &headers);
    let replaces = cookie.session_of_browser(&headers);
    let step = SecondStep { secret: login, code, origin, replaces };
    let begun = finish_login::finish(&state, step).await?;
    let set = cookie.set(&begun.token);
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, set)], axum::Json(begun.into())))
}

/// A login whose account must set up a second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitingLogin {
    /// The `login` of the problem `second-factor-setup-required`.
    login: String,
}

/// Proposes an authenticator app for a login that was answered `second-factor-setup-required`.
#[utoipa::path(post, path = "/api/v1/session/factor/app", tag = "session", security(()), request_body = WaitingLogin,
    responses((status = 201, body = ProposedApp), (status = 401, description = "The login has ended")))]
pub async fn propose_app(
    State(state): State<AppState>,
    Json(WaitingLogin { login }): Json<WaitingLogin, STRANGERS_BODY>,
) -> Result<(StatusCode, axum::Json<ProposedApp>)> {
    let proposed = set_up_at_login::propose(&state, &login).await?;
    let shown = ProposedApp::new(&state, &proposed.secret, proposed.username.as_str());
    Ok((StatusCode::CREATED, axum::Json(shown)))
}

/// The answer to a login that has set up a second factor.
#[derive(Serialize, ToSchema)]
pub struct LoggedInWithCodes {
    #[serde(flatten)]
    login: LoggedIn,
    /// Recovery codes, which are not shown again.
    recovery_codes: Vec<String>,
}

/// Sets up the app with its first code, and finishes the login.
#[utoipa::path(post, path = "/api/v1/session/factor/app/confirm", tag = "session", security(()), request_body = SecondFactor,
    responses((status = 201, body = LoggedInWithCodes), (status = 401, description = "Wrong code; or the login has ended")))]
pub async fn set_app(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Json(SecondFactor { login, code }): Json<SecondFactor, STRANGERS_BODY>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<LoggedInWithCodes>)> {
    let origin = login_origin(ip, &headers);
    let replaces = cookie.session_of_browser(&headers);
    let step = SecondStep { secret: login, code, origin, replaces };
    let (begun, codes) = set_up_at_login::set_up(&state, step).await?;
    let set = cookie.set(&begun.token);
    let recovery_codes = codes.iter().map(RecoveryCode::shown).collect();
    let answer = LoggedInWithCodes { login: begun.into(), recovery_codes };
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, set)], axum::Json(answer)))
}
