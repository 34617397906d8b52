//! The agent's end of the bridge: HTTP on a unix socket or loopback, in front of fail2ban.
//!
//! Every request passes the same gate first, whatever its path: a valid token, a small body, a free place. Then
//! come the routes of [`wire`], which ask the desk. All refusals are a [`wire::Refusal`], those of axum's own
//! extractors included.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Json;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::change::{ChangeError, Changed, Changer, Edit};
use super::desk::Desk;
use super::listen::{self, Listener};
use super::token::Tokens;
use super::wire;
use crate::config::AgentConfig;
use crate::domain::JailName;
use crate::fail2ban::{Client, Fail2banError, Options};

/// Requests at the same time; one more is `busy`.
const MAX_REQUESTS: usize = 256;
/// No body has a reason to be larger.
const MAX_BODY: u64 = 64 * 1024;
/// No caller waits longer than this.
const MAX_DEADLINE: Duration = wire::CHANGE_DEADLINE;
/// Requests in flight at the stop may take this long.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Runs the agent until `shutdown`.
///
/// # Errors
/// If it cannot listen.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener = listen::open(&config.listen).await?;
    let client = Client::start(Options::new(&config.fail2ban_socket));
    let changer = Changer::new(&config, client.clone());
    let leftover = Arc::clone(&changer);
    tokio::spawn(async move { leftover.recover().await });
    let desk = Arc::new(Desk::new(client, changer));
    let app = router(desk, Arc::new(Tokens::new(&config.token)));
    match listener {
        Listener::Tcp(listener) => serve(listener, app, shutdown).await,
        Listener::Unix(listener, _file) => serve(listener, app, shutdown).await,
    }
}

async fn serve<L>(listener: L, app: Router, shutdown: CancellationToken) -> anyhow::Result<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let serving = axum::serve(listener, app).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let patience = async {
        shutdown.cancelled().await;
        sleep(STOP_WITHIN).await;
    };
    tokio::select! {
        served = serving => served.context("the agent stopped serving")?,
        () = patience => warn!("stopped with requests still in flight after {STOP_WITHIN:?}"),
    }
    info!("the agent has stopped");
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
        .route("/v1/jails/{jail}/activate", post(activate))
        .route("/v1/jails/{jail}/deactivate", post(deactivate))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "request", "this agent has no such route") })
        .method_not_allowed_fallback(|| async {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "request", "this route does not take that method")
        })
        .layer(from_fn_with_state(gate, pass))
        .with_state(desk)
}

async fn info(State(desk): State<Arc<Desk>>) -> Json<wire::Info> {
    Json(desk.info())
}

async fn status(State(desk): State<Arc<Desk>>, Deadline(deadline): Deadline) -> Json<wire::Status> {
    Json(desk.status(deadline).await)
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
    query: Result<Query<JailsQuery>, QueryRejection>,
) -> Result<Json<wire::Jails>, Response> {
    let Query(query) =
        query.map_err(|rejection| refuse(StatusCode::BAD_REQUEST, "request", &rejection.body_text()))?;
    desk.jails(query.backend, deadline).await.map(Json).map_err(not_answered)
}

async fn backend_commands(
    State(desk): State<Arc<Desk>>,
    Deadline(deadline): Deadline,
) -> Result<Json<wire::BackendSupport>, Response> {
    desk.backend_commands(deadline).await.map(Json).map_err(not_answered)
}

async fn activate(
    State(desk): State<Arc<Desk>>,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
) -> Result<Json<wire::JailChanged>, Response> {
    change(&desk, jail, Edit::Activate, deadline).await
}

async fn deactivate(
    State(desk): State<Arc<Desk>>,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
) -> Result<Json<wire::JailChanged>, Response> {
    change(&desk, jail, Edit::Deactivate, deadline).await
}

async fn change(
    desk: &Desk,
    jail: JailName,
    edit: Edit,
    deadline: Instant,
) -> Result<Json<wire::JailChanged>, Response> {
    let changed =
        desk.changer.change(jail.clone(), edit, deadline).await.map_err(|error| not_changed(&error))?;
    let Changed { active, changed } = changed;
    Ok(Json(wire::JailChanged { jail, active, changed }))
}

/// The jail in the path.
struct Jail(JailName);

impl<S: Send + Sync> FromRequestParts<S> for Jail {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let bad = |reason: &str| refuse(StatusCode::BAD_REQUEST, "request", reason);
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| bad(&rejection.body_text()))?;
        JailName::parse(&name).map(Self).map_err(|error| bad(&error.to_string()))
    }
}

/// Until when a caller waits.
struct Deadline(Instant);

impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let wait = match parts.headers.get(wire::DEADLINE_HEADER) {
            None if parts.method == Method::GET => wire::DEFAULT_DEADLINE,
            None => wire::CHANGE_DEADLINE,
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
    if length.is_some_and(|length: u64| length > MAX_BODY) {
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

fn not_changed(error: &ChangeError) -> Response {
    let (status, kind) = match error {
        ChangeError::UnknownJail(_) => (StatusCode::NOT_FOUND, "jail"),
        ChangeError::Configuration(_) => (StatusCode::UNPROCESSABLE_ENTITY, "configuration"),
        ChangeError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        ChangeError::Down(_) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        ChangeError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    refuse(status, kind, &error.to_string())
}

fn refuse(status: StatusCode, kind: &str, reason: &str) -> Response {
    (status, Json(wire::Refusal { kind: kind.into(), reason: reason.into() })).into_response()
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
