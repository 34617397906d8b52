//! The second step of a login that waits for a second factor: one that the account has, or one that is set up here.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::factors::ProposedApp;
use super::passkeys::PasskeyOptions;
use super::session::LoggedIn;
use crate::actions::finish_login::{self, SecondStep};
use crate::actions::log_in::LoggedIn as Begun;
use crate::actions::set_up_at_login::{self, PasskeyStep};
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
    Ok(with_codes(cookie, set_up_at_login::set_up(&state, step).await?))
}

fn with_codes(
    cookie: CookieKind,
    (begun, codes): (Begun, Vec<RecoveryCode>),
) -> (StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<LoggedInWithCodes>) {
    let set = cookie.set(&begun.token);
    let recovery_codes = codes.iter().map(RecoveryCode::shown).collect();
    let answer = LoggedInWithCodes { login: begun.into(), recovery_codes };
    (StatusCode::CREATED, [(header::SET_COOKIE, set)], axum::Json(answer))
}

/// Begins to set up a passkey for a login that was answered `second-factor-setup-required`. It is to be finished within five minutes, at
/// any worker, once.
#[utoipa::path(post, path = "/api/v1/session/factor/passkey", tag = "session", security(()), request_body = WaitingLogin,
    responses((status = 200, body = PasskeyOptions), (status = 401, description = "The login has ended"),
        (status = 409, description = "Passkeys cannot be used here")))]
pub async fn begin_passkey(
    State(state): State<AppState>,
    Json(WaitingLogin { login }): Json<WaitingLogin, STRANGERS_BODY>,
) -> Result<axum::Json<PasskeyOptions>> {
    Ok(axum::Json(PasskeyOptions { options: set_up_at_login::begin_passkey(&state, &login).await? }))
}

/// The passkey that a browser has made for a login that waits.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstPasskey {
    /// The `login` of the problem `second-factor-setup-required`.
    login: String,
    /// What you call it.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// What `navigator.credentials.create` gave, as JSON.
    #[schema(value_type = Object)]
    credential: Value,
}

/// Sets up the passkey that the browser has made, and finishes the login.
#[utoipa::path(post, path = "/api/v1/session/factor/passkey/finish", tag = "session", security(()), request_body = FirstPasskey,
    responses((status = 201, body = LoggedInWithCodes), (status = 401, description = "The login has ended"),
        (status = 403, description = "The passkey is refused, or the request comes from another site"),
        (status = 409, description = "No passkey is being added for this login, or it is known already; or passkeys cannot be used here")))]
pub async fn add_passkey(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Json(FirstPasskey { login, name, credential }): Json<FirstPasskey, STRANGERS_BODY>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<LoggedInWithCodes>)> {
    let origin = login_origin(ip, &headers);
    let replaces = cookie.session_of_browser(&headers);
    let step = PasskeyStep { secret: login, name, credential, origin, replaces };
    Ok(with_codes(cookie, set_up_at_login::add_passkey(&state, step).await?))
}
