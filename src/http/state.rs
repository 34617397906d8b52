//! The state that handlers use: the [`Context`] of actions, to which an [`AppState`] dereferences, and the parts that only HTTP needs.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::auth::proxies::Proxies;
use super::event_clients::EventClients;
use super::middleware::host::AllowedHosts;
use super::middleware::refused::RefusedLog;
use crate::actions::Context;
use crate::actions::inspections::Inspections;
use crate::store::Feed;

/// The parts that the HTTP interface is built from.
pub struct Parts {
    /// The parts that actions use.
    pub context: Context,
    /// Whether this worker is ready; the worker keeps a clone and moves it to the next phase.
    pub readiness: Readiness,
    /// The address that users type; with `https` the cookie is `__Host-bangui`.
    pub public_url: Option<Url>,
    /// The proxies whose `X-Forwarded-*` headers are trusted.
    pub proxies: Proxies,
    /// The hosts that requests may be for.
    pub hosts: AllowedHosts,
    /// What the clients of `GET /api/v1/events` are sent.
    pub events: Feed,
    /// What `GET /metrics` shows; `None` when metrics are served on a separate address ([`super::metrics_router`]).
    pub metrics: Option<PrometheusHandle>,
}

/// [`Parts`], shared by all requests and cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

struct Inner {
    parts: Parts,
    event_clients: Arc<EventClients>,
    inspections: Inspections,
    worker_header: HeaderValue,
    refused: RefusedLog,
}

impl AppState {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let worker_header = HeaderValue::from_str(parts.context.worker.as_str())
            .unwrap_or_else(|_| HeaderValue::from_static("unnamed"));
        let event_clients = Arc::new(EventClients::default());
        let refused = RefusedLog::default();
        let inspections = Inspections::default();
        Self(Arc::new(Inner { parts, event_clients, inspections, worker_header, refused }))
    }

    /// Whether this worker is ready.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.0.parts.readiness
    }

    /// The address that users type.
    #[must_use]
    pub fn public_url(&self) -> Option<&Url> {
        self.0.parts.public_url.as_ref()
    }

    /// What authenticator apps call this installation.
    #[must_use]
    pub fn issuer(&self) -> String {
        // A colon would end the name.
        let host = self.public_url().and_then(Url::host_str).map(|host| host.replace(':', "-"));
        host.map_or_else(|| "bangui".to_owned(), |host| format!("bangui {host}"))
    }

    /// The proxies whose `X-Forwarded-*` headers are trusted.
    #[must_use]
    pub fn proxies(&self) -> &Proxies {
        &self.0.parts.proxies
    }

    /// The hosts that requests may be for.
    #[must_use]
    pub fn hosts(&self) -> &AllowedHosts {
        &self.0.parts.hosts
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

    /// The clients that follow the events.
    #[must_use]
    pub fn event_clients(&self) -> &Arc<EventClients> {
        &self.0.event_clients
    }

    /// The refusals in the access log.
    pub(in crate::http) fn refused(&self) -> &RefusedLog {
        &self.0.refused
    }

    /// Logs how many refusals were only counted, in the minutes that are over, or in all of them.
    pub fn log_folded_refusals(&self, everything: bool) {
        self.0.refused.close(everything);
    }

    /// The recent answers of agents to a diagnosis.
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

/// The lifecycle of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not ready yet.
    Starting,
    /// Ready: gets requests.
    Serving,
    /// Still answers, but reports that it is not ready, and asks every client to reconnect.
    Draining,
}

/// The worker's [`Phase`], shared between the worker, which moves it on, and the requests, which read it.
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

    /// The start is over; a worker that already drains keeps draining.
    pub fn serve(&self) {
        self.phase.fetch_max(1, Ordering::Relaxed);
        self.started.cancel();
    }

    /// The worker begins to drain.
    pub fn drain(&self) {
        self.phase.fetch_max(2, Ordering::Relaxed);
        self.started.cancel();
        self.draining.cancel();
    }

    /// Waits until the start is over.
    pub async fn started(&self) {
        self.started.cancelled().await;
    }

    /// Waits until the worker drains.
    pub async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// The worker's place in its lifecycle.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }
}
