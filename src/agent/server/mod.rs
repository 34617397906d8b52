//! The agent's end of the bridge: HTTP on a unix socket, on loopback, or over TLS, in front of fail2ban.
//!
//! Every request passes the same gate first, whatever its path: a valid token, unless the handshake has required a worker's
//! certificate instead; a small body; a free slot. Then come the routes of [`wire`], which ask the service; those about jails and
//! bans are in `routes.rs`. All refusals are a [`Refusal`](super::refusal::Refusal), those of axum's own extractors included.

mod answer;
mod listen;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, warn};

use answer::{Deadline, refuse, refuse_with};

use super::host::service::AgentService;
use super::names::Names;
use super::refusal::RefusalKind;
use super::tls::Identity;
use super::token::Tokens;
use super::wire;
use crate::config::{AgentConfig, AgentListen};
use crate::fail2ban::{Client, Fail2banError, Options};
use crate::net::flood::shortened;
use crate::net::{Capacity, Flood, Limits, Server};
use crate::telemetry::traces;

/// The most requests at the same time; one more is refused as `busy`.
const MAX_REQUESTS: usize = 256;
/// The most log lines per minute about refused requests: anybody who reaches the agent can cause them.
const REFUSAL_LINES: u64 = 10;
/// How many characters of such a request's path are logged.
const LOGGED_PATH: usize = 100;
/// No body has a reason to be larger.
const MAX_BODY: usize = 64 * 1024;

/// A worker keeps a few connections. One that is idle for longer than this is closed, and the worker opens another.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
pub(in crate::agent) const CONNECTIONS: usize = 2 * MAX_REQUESTS;
/// How much of an answer may wait for its worker to read it: lists of bans are large, and a worker may be far away.
pub(in crate::agent) const MAX_UNREAD_BYTES: usize = 64 * 1024;
/// How long requests in flight may take once the agent stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the agent until `shutdown`.
///
/// # Errors
/// If it cannot listen, or its certificate cannot be used.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (name, worker_ca) = (config.name.as_deref(), config.worker_ca.as_deref());
    let tls = config.tls.as_ref().map(|tls| Identity::load(tls, worker_ca, name)).transpose()?.map(Arc::new);
    let by_certificate = tls.is_some() && worker_ca.is_some() && matches!(config.listen, AgentListen::Tcp(_));
    if config.token.is_none() && !by_certificate {
        anyhow::bail!(
            "neither a token nor the workers' certificate is configured: set BANGUI_AGENT_TOKEN or BANGUI_WORKER_CA, \
             or the agent would obey anyone"
        );
    }
    let listen::Open { listener, file } = listen::open(&config.listen, tls.clone()).await?;
    let client = Client::start(Options::new(&config.fail2ban_socket));
    let service = Arc::new(AgentService::new(&config, client, tls));
    let leftover = Arc::clone(&service.changer);
    tokio::spawn(async move { leftover.recover().await });
    let app = router(service, config.token.as_ref().map(|token| Arc::new(Tokens::new(token))));
    let capacity = Capacity { all: CONNECTIONS, share: CONNECTIONS / 2, reserve: 0, proxies: Vec::new() };
    let limits =
        Limits { capacity, header_timeout: HEADER_TIMEOUT, send_buffer: MAX_UNREAD_BYTES, probes: &[] };
    let server = Server::new(app, limits, shutdown);
    server.accept(listener).await;
    drop(file);
    server.finish(STOP_TIMEOUT).await;
    info!("agent stopped");
    Ok(())
}

/// The routes, behind the gate.
fn router(service: Arc<AgentService>, tokens: Option<Arc<Tokens>>) -> Router {
    let gate = Gate {
        tokens,
        places: Arc::new(Semaphore::new(MAX_REQUESTS)),
        refusals: Arc::new(Flood::of(REFUSAL_LINES)),
    };
    Router::new()
        .route("/v1/info", get(info))
        .route("/v1/status", get(status))
        .route("/v1/jails", get(jails))
        .route("/v1/backend-commands", get(backend_commands))
        .merge(routes::router())
        .fallback(|| async {
            refuse_with(StatusCode::NOT_FOUND, RefusalKind::Request, "this agent has no such route")
        })
        .method_not_allowed_fallback(|| async {
            refuse_with(
                StatusCode::METHOD_NOT_ALLOWED,
                RefusalKind::Request,
                "this route does not take that method",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(gate, pass))
        .with_state(service)
}

async fn info(State(service): State<Arc<AgentService>>, names: Names) -> Json<wire::Info> {
    Json(names.of(service.info()))
}

async fn status(
    State(service): State<Arc<AgentService>>,
    Deadline(deadline): Deadline,
    names: Names,
) -> Json<wire::Status> {
    Json(names.of(service.status(deadline).await))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JailsQuery {
    #[serde(default)]
    backend: bool,
}

async fn jails(
    State(service): State<Arc<AgentService>>,
    Deadline(deadline): Deadline,
    names: Names,
    query: Result<Query<JailsQuery>, QueryRejection>,
) -> Result<Json<wire::Jails>, Response> {
    let Query(query) = query.map_err(|rejection| refuse(RefusalKind::Request, &rejection.body_text()))?;
    service.jails(query.backend, deadline).await.map(|jails| Json(names.of(jails))).map_err(not_answered)
}

async fn backend_commands(
    State(service): State<Arc<AgentService>>,
    Deadline(deadline): Deadline,
) -> Result<Json<wire::BackendSupport>, Response> {
    service.backend_commands(deadline).await.map(Json).map_err(not_answered)
}

#[derive(Clone)]
struct Gate {
    /// None if the handshake lets in nobody but workers.
    tokens: Option<Arc<Tokens>>,
    places: Arc<Semaphore>,
    refusals: Arc<Flood>,
}

/// Checks every request, even one for a route that does not exist.
async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes()).and_then(bearer);
    if let Some(tokens) = &gate.tokens
        && !tokens.accepts(given.unwrap_or_default()).await
    {
        let reason = if given.is_some() { "the token is wrong" } else { "there is no bearer token" };
        if let Some(more) = gate.refusals.admit() {
            let path = shortened(request.uri().path(), LOGGED_PATH);
            warn!(http.path = path, refused_before = more, "refused a request: {reason}");
        }
        return refuse(RefusalKind::Token, reason);
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > MAX_BODY) {
        return refuse_with(
            StatusCode::PAYLOAD_TOO_LARGE,
            RefusalKind::Request,
            "the body is larger than 64 KiB",
        );
    }
    let Ok(_place) = gate.places.try_acquire() else {
        return refuse(RefusalKind::Busy, "the agent has too many requests at once: try again");
    };
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = traces::served(request.method().as_str(), path, request.headers());
    next.run(request).instrument(span).await
}

/// The token in `Bearer <token>`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn not_answered(error: Fail2banError) -> Response {
    let kind = if matches!(error, Fail2banError::Busy(_)) { RefusalKind::Busy } else { RefusalKind::Down };
    refuse(kind, &error.to_string())
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
