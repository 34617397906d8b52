//! What handlers work with: the [`Context`] of actions, which an [`AppState`] dereferences to, and what HTTP has besides.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::actions::Context;
use crate::actions::inspections::Inspections;
use crate::store::Feed;

/// Clients at once.
pub const MAX_EVENT_CLIENTS: usize = 1_000;

/// The ready-made parts that the HTTP interface is put together from.
pub struct Parts {
    /// What actions work with.
    pub context: Context,
    /// Whether this worker takes work; `main` keeps a clone and moves it on.
    pub readiness: Readiness,
    /// What users type; `https` makes the cookie a secure one.
    pub public_url: Option<Url>,
    /// What the clients of `GET /api/v1/events` are sent.
    pub events: Feed,
    /// What `GET /metrics` shows; `None` when it has an address of its own ([`super::metrics_router`]).
    pub metrics: Option<PrometheusHandle>,
}

/// [`Parts`], shared by all requests and cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    parts: Parts,
    event_clients: Arc<Semaphore>,
    inspections: Inspections,
    worker_header: HeaderValue,
}

impl AppState {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let worker_header = HeaderValue::from_str(parts.context.worker.as_str())
            .unwrap_or_else(|_| HeaderValue::from_static("unnamed"));
        let event_clients = Arc::new(Semaphore::new(MAX_EVENT_CLIENTS));
        let inspections = Inspections::default();
        Self(Arc::new(Shared { parts, event_clients, inspections, worker_header }))
    }

    /// Whether this worker takes work.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.0.parts.readiness
    }

    /// What users type.
    #[must_use]
    pub fn public_url(&self) -> Option<&Url> {
        self.0.parts.public_url.as_ref()
    }

    /// What the clients of `GET /api/v1/events` are sent.
    #[must_use]
    pub fn events(&self) -> &Feed {
        &self.0.parts.events
    }

    /// What `GET /metrics` shows.
    #[must_use]
    pub fn metrics(&self) -> Option<&PrometheusHandle> {
        self.0.parts.metrics.as_ref()
    }

    /// Places of clients that follow the events.
    #[must_use]
    pub fn event_clients(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.event_clients)
    }

    /// What agents said lately to a diagnosis.
    #[must_use]
    pub fn inspections(&self) -> &Inspections {
        &self.0.inspections
    }

    /// This worker's id as the value of `x-bangui-worker`.
    #[must_use]
    pub fn worker_header(&self) -> HeaderValue {
        self.0.worker_header.clone()
    }
}

impl Deref for AppState {
    type Target = Context;
    fn deref(&self) -> &Context {
        &self.0.parts.context
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
