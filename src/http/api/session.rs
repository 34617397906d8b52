//! The caller's own session: log in, look, log out.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::setup::PASSWORD_BYTES;
use super::time::Time;
use crate::http::auth::address::CallerAddress;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::author::{Author, note};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::extract::{Caller, Ending, Json};
use crate::http::state::AppState;
use crate::store::{AuditRecord, LoginOrigin, SessionDetails, SessionId, SessionToken, Username};

/// How often a login is begun anew because sessions were revoked while it was under way.
const ATTEMPTS: usize = 3;
/// More than a session takes as JSON, but for one with a very long user agent.
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

/// Logs in: the token for `Authorization`, and the same as a cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", security(()), request_body = Login,
    responses((status = 201, body = LoggedIn), (status = 401, description = "Wrong name or password"),
        (status = 409, description = "There is no password yet"), (status = 429, description = "Too many attempts")))]
pub async fn log_in(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1], axum::Json<LoggedIn>)> {
    let origin = LoginOrigin { ip, user_agent: user_agent(&headers) };
    let begun = attempt(&state, &login, &origin).await;
    let outcome = begun.as_ref().map_or_else(outcome_of, |_| "success");
    metrics::counter!("bangui_logins_total", "outcome" => outcome).increment(1);
    tracing::info!(client.address = %ip, login.outcome = outcome, "login from {ip}: {outcome}");
    let (token, details) = begun?;
    let id = details.session.id;
    // Only a login that succeeded: anybody could fill the audit with the others.
    let record = AuditRecord {
        username: details.session.username.as_str().to_owned(),
        session: Some(id),
        address: Some(ip),
        worker: Some(state.worker.clone()),
        after: json!({ "user_agent": details.user_agent }),
        ..AuditRecord::of_admin("session.begin")
    };
    note(&state, &record).await;
    let session = SessionView::new(details, id);
    let answer = LoggedIn { token: token.reveal(), session };
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie.set(&token))], axum::Json(answer)))
}

/// The login under its limits.
async fn attempt(
    state: &AppState,
    login: &Login,
    origin: &LoginOrigin,
) -> Result<(SessionToken, SessionDetails)> {
    let attempt = Attempt::begin(state, &login.username, origin.ip).await?;
    attempt.settle(begin(state, login, origin).await, StatusCode::UNAUTHORIZED).await
}

/// Checks the password and begins the session. Sessions revoked, or the password changed, between the two: then
/// this login may have rested on what was true before, and is begun anew.
async fn begin(
    state: &AppState,
    login: &Login,
    origin: &LoginOrigin,
) -> Result<(SessionToken, SessionDetails)> {
    let known = Username::parse(&login.username);
    let username = known.clone().unwrap_or_else(Username::admin);
    for _ in 0..ATTEMPTS {
        let Some(account) = state.store.account(&username).await? else {
            return Err(before_setup(state).await);
        };
        if login.password.len() > *PASSWORD_BYTES.end() {
            return Err(wrong_login());
        }
        let hash = known.as_ref().map(|_| account.password_hash.as_str());
        if !state.gate.verify(&login.password, hash).await? {
            return Err(wrong_login());
        }
        let generation = account.generation;
        if let Some(begun) =
            state.store.begin_session(&username, generation, origin, state.session_life()).await?
        {
            return Ok(begun);
        }
    }
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "login-overtaken",
        "The login was overtaken",
        "all sessions were ended, or the password was changed, while this login was under way: try again",
    )
    .retry_after(1))
}

/// The caller's session.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = SessionView)))]
pub async fn show(State(state): State<AppState>, caller: Caller) -> Result<Response> {
    let id = caller.session.id;
    let details = state.store.session_details(caller.session).await?;
    // `axum::Json` begins with 128 bytes and lets them grow, and this is the answer to every check of a session.
    let mut json = Vec::with_capacity(SHOWN_BYTES);
    serde_json::to_writer(&mut json, &SessionView::new(details, id))
        .map_err(|error| Problem::internal(format!("a session cannot be shown: {error}")))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response())
}

/// Logs out, on every worker at once.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204)) )]
pub async fn log_out(
    State(state): State<AppState>,
    Ending(author): Ending<Author>,
    cookie: CookieKind,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1])> {
    // Another request may have ended it a moment ago, which is what this one wants.
    let ending = state.store.end_checked_session(&author.caller.session).await;
    author.note_done(&state, "session.end", None, ending).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie.remove())]))
}

/// A session as users see it.
#[derive(Serialize, ToSchema)]
pub struct SessionView {
    #[schema(value_type = String)]
    id: SessionId,
    username: String,
    created_at: Time,
    last_seen_at: Time,
    idle_expires_at: Time,
    expires_at: Time,
    #[schema(value_type = String)]
    ip: IpAddr,
    user_agent: String,
    current: bool,
}

impl SessionView {
    /// Shows a session to the caller whose own one is `current`.
    pub fn new(details: SessionDetails, current: SessionId) -> Self {
        let SessionDetails { session, user_agent } = details;
        Self {
            id: session.id,
            username: session.username.as_str().to_owned(),
            created_at: session.created_at.into(),
            last_seen_at: session.last_seen_at.into(),
            idle_expires_at: session.idle_expires_at.into(),
            expires_at: session.expires_at.into(),
            ip: session.ip,
            user_agent,
            current: current == session.id,
        }
    }
}

fn user_agent(headers: &HeaderMap) -> String {
    let bytes = headers.get(header::USER_AGENT).map_or(&[][..], HeaderValue::as_bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

fn outcome_of(problem: &Problem) -> &'static str {
    match problem.status() {
        StatusCode::UNAUTHORIZED => "wrong",
        StatusCode::TOO_MANY_REQUESTS => "limited",
        StatusCode::CONFLICT => "before_setup",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "error",
    }
}

/// The same words for a wrong password and a name that nobody has.
fn wrong_login() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong-login",
        "Wrong name or password",
        "this name and password do not belong together",
    )
}

async fn before_setup(state: &AppState) -> Problem {
    super::setup::log_code(state).await;
    Problem::conflict(
        "setup-incomplete",
        "Nobody can log in yet",
        "the first password is set with POST /api/v1/setup and the code in a worker's log",
    )
}
