//! The agent's end of the bridge: HTTP on a unix socket, on loopback, or over TLS, in front of fail2ban.
//!
//! The routes about jails and bans are in `routes.rs`. Every request passes the same gate first, whatever its path: a valid token, a small body, a free place. Then
//! come the routes of [`wire`], which ask the desk. All refusals are a [`wire::Refusal`], those of axum's own
//! extractors included.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::desk::Desk;
use super::listen;
use super::names::Names;
use super::tls::Identity;
use super::token::Tokens;
use super::{routes, serving, wire};
use crate::config::AgentConfig;
use crate::fail2ban::{Client, Fail2banError, Options};

/// Requests at the same time; one more is `busy`.
const MAX_REQUESTS: usize = 256;
/// No body has a reason to be larger.
const MAX_BODY: usize = 64 * 1024;
/// No caller waits longer than this.
const MAX_DEADLINE: Duration = wire::CHANGE_DEADLINE;

/// Runs the agent until `shutdown`.
///
/// # Errors
/// If it cannot listen, or its certificate cannot be used.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> anyhow::Result<()> {
    let name = config.name.as_deref();
    let tls = config.tls.as_ref().map(|tls| Identity::load(tls, name)).transpose()?.map(Arc::new);
    let listener = listen::open(&config.listen, tls.is_some()).await?;
    let client = Client::start(Options::new(&config.fail2ban_socket));
    let desk = Arc::new(Desk::new(&config, client));
    let leftover = Arc::clone(&desk.changer);
    tokio::spawn(async move { leftover.recover().await });
    let app = router(desk, Arc::new(Tokens::new(&config.token)));
    serving::run(listener, tls, app, shutdown).await;
    Ok(())
}

/// The routes, behind the gate.
fn router(desk: Arc<Desk>, tokens: Arc<Tokens>) -> Router {
    let gate = Gate { tokens, places: Arc::new(Semaphore::new(MAX_REQUESTS)) };
    Router::new()
        .route("/v1/info", get(info))
        .route("/v1/status", get(status))
        .route("/v1/jails", get(jails))
        .route("/v1/backend-commands", get(backend_commands))
        .merge(routes::router())
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "request", "this agent has no such route") })
        .method_not_allowed_fallback(|| async {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "request", "this route does not take that method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(gate, pass))
        .with_state(desk)
}

async fn info(State(desk): State<Arc<Desk>>, names: Names) -> Json<wire::Info> {
    Json(names.of(desk.info()))
}

async fn status(
    State(desk): State<Arc<Desk>>,
    Deadline(deadline): Deadline,
    names: Names,
) -> Json<wire::Status> {
    Json(names.of(desk.status(deadline).await))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JailsQuery {
    #[serde(default)]
    backend: bool,
}

async fn jails(
    State(desk): State<Arc<Desk>>,
    Deadline(deadline): Deadline,
    names: Names,
    query: Result<Query<JailsQuery>, QueryRejection>,
) -> Result<Json<wire::Jails>, Response> {
    let Query(query) =
        query.map_err(|rejection| refuse(StatusCode::BAD_REQUEST, "request", &rejection.body_text()))?;
    desk.jails(query.backend, deadline).await.map(|jails| Json(names.of(jails))).map_err(not_answered)
}

async fn backend_commands(
    State(desk): State<Arc<Desk>>,
    Deadline(deadline): Deadline,
) -> Result<Json<wire::BackendSupport>, Response> {
    desk.backend_commands(deadline).await.map(Json).map_err(not_answered)
}

/// Until when a caller waits.
pub(super) struct Deadline(pub(super) Instant);

impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let wait = match parts.headers.get(wire::DEADLINE_HEADER) {
            None if parts.method != Method::GET => wire::CHANGE_DEADLINE,
            None if parts.uri.path().ends_with("/bans") => wire::LIST_DEADLINE,
            None => wire::DEFAULT_DEADLINE,
            Some(value) => {
                let millis = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                    let reason = format!("{} must be a number of milliseconds", wire::DEADLINE_HEADER);
                    refuse(StatusCode::BAD_REQUEST, "request", &reason)
                })?;
                Duration::from_millis(millis)
            }
        };
        Ok(Self(Instant::now() + wait.min(MAX_DEADLINE)))
    }
}

#[derive(Clone)]
struct Gate {
    tokens: Arc<Tokens>,
    places: Arc<Semaphore>,
}

/// What every request must pass, also one for a route that does not exist.
async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes()).and_then(bearer);
    if !gate.tokens.accepts(given.unwrap_or_default()).await {
        let reason = if given.is_some() { "the token is wrong" } else { "there is no bearer token" };
        warn!(http.path = request.uri().path(), "refused a request: {reason}");
        return refuse(StatusCode::UNAUTHORIZED, "token", reason);
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > MAX_BODY) {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "request", "the body is larger than 64 KiB");
    }
    let Ok(_place) = gate.places.try_acquire() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", "the agent has too many requests at once");
    };
    next.run(request).await
}

/// The token in `Bearer <token>`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn not_answered(error: Fail2banError) -> Response {
    let kind = if matches!(error, Fail2banError::Busy(_)) { "busy" } else { "down" };
    refuse(StatusCode::SERVICE_UNAVAILABLE, kind, &error.to_string())
}

pub(super) fn refuse(status: StatusCode, kind: &str, reason: &str) -> Response {
    (status, Json(wire::Refusal { kind: kind.into(), reason: reason.into() })).into_response()
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
