//! The caller's own session: log in, show, confirm, log out.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use crate::actions::{confirm_session, log_in, log_out};
use crate::domain::access::{Role, ServerPattern};
use crate::http::auth::actor::Person;
use crate::http::auth::address::{CallerAddress, login_origin};
use crate::http::auth::caller::{AwaitRevocation, Caller};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::extract::{Json, STRANGERS_BODY};
use crate::http::state::AppState;
use crate::store::{SessionDetails, SessionId, Username};

/// More than the JSON of a session takes, unless its user agent is very long.
const SHOWN_BYTES: usize = 512;

/// The body of a login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    password: String,
    #[serde(default = "admin")]
    username: String,
}

fn admin() -> String {
    Username::ADMIN.to_owned()
}

/// The answer to a login.
#[derive(Serialize, ToSchema)]
pub struct LoggedIn {
    token: String,
    session: SessionView,
}

/// Why there is no session yet: a problem document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "this is the schema of what error/factors.rs makes")]
pub struct LoginRefused {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// By which the login continues, where the password was right.
    login: Option<String>,
    /// By what: `app`, `recovery-code`, `passkey`; or, where a second factor must be set up, which it may be: `app`, `passkey`.
    factors: Option<Vec<String>>,
    /// How long the login waits.
    expires_in_seconds: Option<u64>,
}

impl From<log_in::LoggedIn> for LoggedIn {
    fn from(begun: log_in::LoggedIn) -> Self {
        let log_in::LoggedIn { token, details, .. } = begun;
        let id = details.session.id;
        Self { token: token.reveal(), session: SessionView::new(details, Some(id)) }
    }
}

/// Logs in. If the account has a second factor, the answer is the problem `second-factor-required`; if it has none and its role needs one,
/// `second-factor-setup-required`. The answer has the token for `Authorization`, and sets it as a cookie too.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", security(()), request_body = Login,
    responses((status = 201, body = LoggedIn), (status = 401, body = LoginRefused,
            content_type = "application/problem+json", description = "Wrong name or password; or a second factor is required"),
        (status = 403, description = "Passwords are switched off for this account; or the request comes from another site"),
        (status = 409, description = "There is no password yet"), (status = 429, description = "Too many attempts")))]
pub async fn log_in(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Json(login): Json<Login, STRANGERS_BODY>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<LoggedIn>)> {
    let Login { username, password } = login;
    let origin = login_origin(ip, &headers);
    let replaces = cookie.session_of_browser(&headers);
    let begun = log_in::log_in(&state, log_in::Login { username, password, origin, replaces }).await?;
    let set = cookie.set(&begun.token);
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, set)], axum::Json(begun.into())))
}

/// The body of a confirmation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    password: String,
}

/// Confirms the password: for five minutes this session may make sensitive changes.
#[utoipa::path(post, path = "/api/v1/session/confirm", tag = "session", request_body = Confirmation,
    responses((status = 204), (status = 403, description = "Tokens may not do this; or the password is wrong; or the account has none; or the request comes from another site"),
        (status = 429, description = "Too many attempts")))]
pub async fn confirm(
    State(state): State<AppState>,
    Person(actor): Person,
    Json(Confirmation { password }): Json<Confirmation>,
) -> Result<StatusCode> {
    confirm_session::confirm_session(&state, actor, password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's session.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = SessionView)))]
pub async fn show(State(state): State<AppState>, caller: Caller) -> Result<Response> {
    // The answer to every session check, and hardly ever different from the last one.
    let json = caller.session.shown(async |session| {
        let id = session.id;
        let details = state.store.session_details(session).await?;
        // `axum::Json` would start with 128 bytes and reallocate.
        let mut json = Vec::with_capacity(SHOWN_BYTES);
        serde_json::to_writer(&mut json, &SessionView::new(details, Some(id)))
            .map_err(|error| Problem::internal(format!("a session cannot be shown: {error}")))?;
        Ok::<_, Problem>(json)
    });
    let json = json.await?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response())
}

/// Logs out, on every worker at once.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204)) )]
pub async fn log_out(
    State(state): State<AppState>,
    AwaitRevocation(Person(actor)): AwaitRevocation<Person>,
    cookie: CookieKind,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1])> {
    log_out::log_out(&state, actor).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie.remove())]))
}

/// A session as users see it.
#[derive(Serialize, ToSchema)]
pub struct SessionView {
    #[schema(value_type = String)]
    id: SessionId,
    username: String,
    /// What the session may do.
    role: Role,
    /// The servers and patterns that the role is for; empty for all servers.
    #[schema(value_type = Vec<String>)]
    servers: Vec<ServerPattern>,
    created_at: Time,
    last_seen_at: Time,
    idle_expires_at: Time,
    expires_at: Time,
    #[schema(value_type = String)]
    ip: IpAddr,
    user_agent: String,
    current: bool,
    /// Why only its `id` and its last use can be shown; absent otherwise. Such a session can still be ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl SessionView {
    /// Shows a session to the caller, whose own session is `current`.
    pub fn new(details: SessionDetails, current: Option<SessionId>) -> Self {
        let SessionDetails { session, user_agent, error } = details;
        Self {
            id: session.id,
            username: session.username.as_str().to_owned(),
            role: session.access.role,
            servers: session.access.servers,
            created_at: session.created_at.into(),
            last_seen_at: session.last_seen_at.into(),
            idle_expires_at: session.idle_expires_at.into(),
            expires_at: session.expires_at.into(),
            ip: session.ip,
            user_agent,
            current: current == Some(session.id),
            error,
        }
    }
}
