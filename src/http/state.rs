//! What handlers work with: ready-made parts, put together by `main` and cheap to clone for each request.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::http::HeaderValue;
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::agent::client::fleet::Fleet;
use crate::password::PasswordGate;
use crate::settings::Live;
use crate::store::{Feed, LoginLimits, SessionLife, Store, WorkerId};

/// Clients at once.
pub const MAX_EVENT_CLIENTS: usize = 1_000;

/// The parts that the HTTP interface stands on.
pub struct Parts {
    /// Everything the cluster remembers.
    pub store: Store,
    /// The configured servers, each with its agent.
    pub agents: Fleet,
    /// This worker.
    pub worker: WorkerId,
    /// What is in force now.
    pub settings: Live,
    /// The door to the password hash.
    pub gate: PasswordGate,
    /// Whether this worker takes work; `main` keeps a clone and moves it on.
    pub readiness: Readiness,
    /// `BANGUI_SETUP_TOKEN`; without it the cluster's one-time code counts.
    pub setup_token: Option<SecretString>,
    /// Whether `BANGUI_ADMIN_PASSWORD` provisions the admin: then setup is always done.
    pub admin_is_provisioned: bool,
    /// What users type; `https` makes the cookie a secure one.
    pub public_url: Option<Url>,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What is told to the clients of `GET /api/v1/events`.
    pub events: Feed,
    /// What `GET /metrics` shows; `None` when it has an address of its own ([`super::metrics_router`]).
    pub metrics: Option<PrometheusHandle>,
}

/// [`Parts`], shared by all requests.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    parts: Parts,
    event_clients: Arc<Semaphore>,
    worker_header: HeaderValue,
}

impl AppState {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let worker_header = HeaderValue::from_str(parts.worker.as_str())
            .unwrap_or_else(|_| HeaderValue::from_static("unnamed"));
        let event_clients = Arc::new(Semaphore::new(MAX_EVENT_CLIENTS));
        Self(Arc::new(Shared { parts, event_clients, worker_header }))
    }

    /// How long sessions live, now.
    #[must_use]
    pub fn session_life(&self) -> SessionLife {
        let now = self.settings.now();
        SessionLife { idle: now.settings.session_idle, absolute: now.settings.session_absolute }
    }

    /// How many passwords may be tried, now.
    #[must_use]
    pub fn login_limits(&self) -> LoginLimits {
        let now = self.settings.now();
        LoginLimits { attempts: now.settings.login_limit, failures: now.settings.login_failure_limit }
    }

    /// Places of clients that follow the events.
    #[must_use]
    pub fn event_clients(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.event_clients)
    }

    /// This worker's id as the value of `x-bangui-worker`.
    #[must_use]
    pub fn worker_header(&self) -> HeaderValue {
        self.0.worker_header.clone()
    }
}

impl Deref for AppState {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

/// Where a worker stands between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not ready yet.
    Starting,
    /// Takes work.
    Serving,
    /// Still answers, but says that it is not ready, and asks every client to come back on a new connection.
    Draining,
}

/// The worker's [`Phase`], shared between `main`, which moves it on, and the requests, which look at each.
#[derive(Debug, Clone)]
pub struct Readiness {
    phase: Arc<AtomicU8>,
    started: CancellationToken,
    draining: CancellationToken,
}

impl Readiness {
    /// A worker that is starting.
    #[must_use]
    pub fn starting() -> Self {
        Self {
            phase: Arc::new(AtomicU8::new(0)),
            started: CancellationToken::new(),
            draining: CancellationToken::new(),
        }
    }

    /// Start is over; a worker that drains already stays so.
    pub fn serve(&self) {
        self.phase.fetch_max(1, Ordering::Relaxed);
        self.started.cancel();
    }

    /// The end has begun.
    pub fn drain(&self) {
        self.phase.fetch_max(2, Ordering::Relaxed);
        self.started.cancel();
        self.draining.cancel();
    }

    /// Waits until start is over.
    pub async fn started(&self) {
        self.started.cancelled().await;
    }

    /// Waits until the end has begun.
    pub async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// Where the worker stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }
}
