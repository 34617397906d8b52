//! One worker, from start to stop.
//!
//! ```text
//! listen ─▶ connected to a usable Redis ─▶ account provisioned ─▶ ready ─▶ ... ─▶ SIGTERM, or a part fails
//!        ─▶ not ready, `Connection: close`, scheduled jobs stopped, lease released, all at once
//!        ─▶ after the drain time: stop accepting, finish requests and changes in flight (11 s at most) ─▶ exit
//! ```
//!
//! It listens before Redis answers, so that `/healthz` and `/readyz` can report its state. Everything that runs as long as the
//! worker does is a part under one supervisor (`tasks.rs`). A part that crashes stops the whole worker, which is then restarted
//! from outside (systemd, Kubernetes, `up`): simpler than running half a worker. `startup.rs` has what comes before ready,
//! `heartbeat.rs` what a worker writes about itself.

mod error;
mod heartbeat;
mod memory;
mod refusals;
mod startup;
mod tasks;

pub use error::ServeError;

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::actions::{Context, InFlight, Passkeys, Refusals};
use crate::agent::client::fleet::Fleet;
use crate::config::{Listen, ServeConfig};
use crate::http::{self, AllowedHosts, AppState, Proxies, Readiness};
use crate::jobs::bans::BanJobs;
use crate::net::{Capacity, Limits, Listener, MAX_UNREAD_BYTES, Server, open_files};
use crate::password::PasswordGate;
use crate::provider::Provider;
use crate::scheduler::{self, Scheduler};
use crate::settings::{Bootstrap, Live};
use crate::shutdown::{self, Shutdown};
use crate::store::{Feed, Store, WorkerId};
use crate::telemetry;
use tasks::{Stage, Supervisor};

/// How long a client may take for the headers of a request, and how long it may keep an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The paths that load balancers and the kubelet request: answered even if clients hold all connections.
const PROBES: &[&str] = &["/healthz", "/readyz"];
/// Connections for them.
const PROBE_CONNECTIONS: usize = 64;
/// How long requests and changes in flight may take to finish after the last connection was accepted.
const GRACE: Duration = Duration::from_secs(10);
/// The minimum time for a change that began at the last moment.
const CHANGE_GRACE: Duration = Duration::from_secs(1);
/// How long signing off from Redis may take.
const SIGN_OFF_TIMEOUT: Duration = Duration::from_secs(3);

/// Open files for connections and everything else; connections to agents are added.
const OTHER_FILES: u64 = 500;

/// What the parts of a worker share.
#[derive(Clone)]
struct Worker {
    config: ServeConfig,
    id: WorkerId,
    store: Store,
    agents: Fleet,
    settings: Live,
    events: Feed,
    readiness: Readiness,
    proxies: Proxies,
    in_flight: InFlight,
    provider: Option<Provider>,
    parts: Supervisor,
}

/// The HTTP servers of a worker.
struct Servers {
    http: Server,
    metrics: Option<Server>,
}

/// Runs one worker until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError::Refused`] if it may not run, [`ServeError::Failed`] if a part of it failed.
pub async fn run(config: ServeConfig) -> Result<(), ServeError> {
    let shutdown = shutdown::signals().context("failed to listen for signals")?;
    let metrics = telemetry::install_metrics().context("failed to set up metrics")?;
    let id = WorkerId::fresh().context("failed to generate the worker's id")?;
    let listener = startup::bind(&config.listen, "BANGUI_LISTEN").await?;
    let metrics_listener = match config.metrics_listen {
        Some(address) => Some(startup::bind(&Listen::Address(address), "BANGUI_METRICS_LISTEN").await?),
        None => None,
    };
    let (store, store_parts) =
        Store::open(&config.redis).map_err(|error| ServeError::Refused(format!("{error:#}")))?;
    store.keep_audit_for(config.audit_kept);
    let agents = startup::agents(&config)?;
    let connections = config.max_connections + PROBE_CONNECTIONS;
    open_files::raise(OTHER_FILES + (connections + 2 * config.servers.len()) as u64);
    let readiness = Readiness::starting();
    let parts = Supervisor::new(readiness.clone());
    for part in store_parts {
        parts.run(Stage::Connect, part.name, part.run);
    }
    let settings = Live::new(Bootstrap::of(&config));
    let (events, in_flight) = (Feed::new(), InFlight::default());
    let proxies = Proxies::new(&config.trusted_proxies, config.trusted_proxy_hops);
    let provider = config.provider.clone().map(Provider::new).transpose();
    let provider = provider.context("failed to prepare single sign-on")?;
    let worker = Worker {
        config,
        id,
        store,
        agents,
        settings,
        events,
        readiness,
        proxies,
        in_flight,
        provider,
        parts,
    };
    let servers = worker.listen(listener, metrics_listener, &metrics)?;
    worker.follow(metrics);
    tokio::select! {
        () = shutdown.soft.cancelled() => {}
        () = worker.parts.failed() => {}
        reason = worker.store.refused() => return Err(ServeError::Refused(reason)),
        ended = worker.live() => match ended {
            Err(refused) => return Err(refused),
            Ok(never) => match never {},
        },
    }
    worker.end(servers, &shutdown).await;
    match worker.parts.failure() {
        Some(failure) => Err(ServeError::Failed(failure.into())),
        None => Ok(()),
    }
}

/// How many connections this worker accepts from clients; `memory.rs` adds up what they cost.
fn limits(config: &ServeConfig) -> Limits {
    // If only proxies can reach this worker, each connection is a proxy's.
    let only_proxies = config.trusted_proxy_hops.is_some();
    let capacity = Capacity {
        all: config.max_connections,
        share: if only_proxies { config.max_connections } else { config.max_connections_per_address },
        reserve: PROBE_CONNECTIONS,
        proxies: config.trusted_proxies.clone(),
    };
    Limits { capacity, header_timeout: HEADER_TIMEOUT, send_buffer: MAX_UNREAD_BYTES, probes: PROBES }
}

impl Worker {
    /// Accepts connections, before anything else is ready.
    fn listen(
        &self,
        listener: TcpListener,
        metrics_listener: Option<TcpListener>,
        metrics: &PrometheusHandle,
    ) -> Result<Servers, ServeError> {
        let addr = listener.local_addr().context("the listening socket has no address")?;
        let public_url = self.config.public_url.as_ref();
        let state = AppState::new(http::Parts {
            context: Context {
                store: self.store.clone(),
                agents: self.agents.clone(),
                worker: self.id.clone(),
                settings: self.settings.clone(),
                gate: PasswordGate::new(),
                provider: self.provider.clone(),
                password_login: self.config.password_login.clone(),
                setup_token: self.config.setup_token.clone(),
                admin_is_provisioned: self.config.admin_password.is_some(),
                trusted_proxies: self.config.trusted_proxies.clone(),
                in_flight: self.in_flight.clone(),
                refusals: Refusals::default(),
                passkeys: Passkeys::of(public_url),
            },
            readiness: self.readiness.clone(),
            public_url: self.config.public_url.clone(),
            proxies: self.proxies.clone(),
            hosts: AllowedHosts::new(&self.config.allowed_hosts, public_url, addr.ip()),
            events: self.events.clone(),
            metrics: metrics_listener.is_none().then(|| metrics.clone()),
        });
        let refused = state.clone();
        self.parts.run_until(Stage::Follow, "refusals", |stop| refusals::report(refused, stop));
        tracing::info!(http.addr = %addr, worker.id = self.id.as_str(), "listening");
        if let Some(listener) = &metrics_listener {
            let addr = listener.local_addr().context("the socket of the metrics has no address")?;
            tracing::info!(metrics.addr = %addr, "listening for /metrics");
        }
        let limits = limits(&self.config);
        let serve = |name, listener, router| {
            let server = Server::new(router, limits.clone(), self.parts.stop_of(Stage::Listen));
            let accepting = server.clone();
            let accept = async move { accepting.accept(Listener::Tcp(listener)).await };
            self.parts.run(Stage::Listen, name, accept);
            server
        };
        Ok(Servers {
            http: serve("http-listener", listener, http::router(state.clone())),
            metrics: metrics_listener.map(|listener| {
                serve("metrics-listener", listener, http::metrics_router(state, metrics.clone()))
            }),
        })
    }

    /// Starts the parts that requests need until the last one is answered.
    fn follow(&self, metrics: PrometheusHandle) {
        let Self { store, settings, parts, .. } = self;
        parts.run_until(Stage::Follow, "metrics-upkeep", |stop| telemetry::upkeep(metrics, stop));
        parts.run(Stage::Follow, "wakes", {
            let store = store.clone();
            async move { store.follow_wakes().await }
        });
        parts.run(Stage::Follow, "settings", {
            let (store, settings) = (store.clone(), settings.clone());
            async move { store.follow_settings(&settings).await }
        });
        parts.run(Stage::Follow, "near-cache", {
            let (store, settings) = (store.clone(), settings.clone());
            async move { store.hold_sessions(&settings).await }
        });
        parts.run(Stage::Follow, "events", {
            let (store, events) = (store.clone(), self.events.clone());
            async move { store.follow_events(&events).await }
        });
        if let Some(provider) = self.provider.clone() {
            parts.run_until(
                Stage::Follow,
                "provider",
                |stop| async move { provider.keep_current(stop).await },
            );
        }
        if !self.config.groups.is_empty() {
            let (store, agents) = (store.clone(), self.agents.clone());
            parts.run(Stage::Follow, "discovery", async move {
                store.follow_discoveries(|servers| agents.apply(servers)).await;
            });
        }
    }

    /// Becomes ready and starts work as soon as Redis is usable.
    async fn live(&self) -> Result<Infallible, ServeError> {
        startup::prepare(&self.config, &self.store, &self.settings, &self.agents).await?;
        self.readiness.serve();
        self.work();
        std::future::pending().await
    }

    /// Starts the work that other workers can take over.
    fn work(&self) {
        let Self { config, store, agents, parts, .. } = self;
        let scheduler = Scheduler {
            store: store.clone(),
            agents: agents.clone(),
            groups: config.groups.clone(),
            worker: self.id.clone(),
            lease_ttl: config.lease_ttl,
            settings: self.settings.clone(),
        };
        let ban_jobs = BanJobs { store: store.clone(), agents: agents.clone(), worker: self.id.clone() };
        parts.run_until(Stage::Work, "scheduler", |stop| scheduler.run(stop));
        parts.run_until(Stage::Work, "ban-jobs", |stop| ban_jobs.run(stop));
        parts.run(Stage::Work, "account", startup::keep_login_possible(config.clone(), store.clone()));
        parts.run(
            Stage::Work,
            "heartbeat",
            heartbeat::run(store.clone(), self.id.clone(), self.proxies.clone()),
        );
    }

    /// Stops the parts, stage by stage, and signs off from Redis.
    async fn end(&self, servers: Servers, shutdown: &Shutdown) {
        let drain = self.config.drain;
        tracing::info!(drain_seconds = drain.as_secs(), "draining: not ready, still serving");
        self.readiness.drain();
        self.parts.stop(Stage::Work);
        // During the drain, so that another worker takes over at once.
        let handing_over = tokio::spawn(self.clone().hand_over());
        tokio::select! {
            () = sleep(drain) => {}
            () = shutdown.hard.cancelled() => {}
        }
        self.parts.stop(Stage::Listen);
        let give_up_at = Instant::now() + GRACE;
        let finished = async {
            let metrics = async {
                match &servers.metrics {
                    Some(server) => server.finish(Duration::ZERO).await,
                    None => 0,
                }
            };
            tokio::join!(servers.http.finish(GRACE), metrics)
        };
        tokio::select! {
            _ = finished => {}
            () = shutdown.hard.cancelled() => {
                tracing::warn!("received a second signal: cutting the requests in flight");
            }
        }
        // Changes need the later stages, which are stopped after this.
        let give_up_at = give_up_at.max(Instant::now() + CHANGE_GRACE);
        tokio::select! {
            finished = timeout_at(give_up_at, self.in_flight.finished()) => if finished.is_err() {
                tracing::warn!("timed out waiting for changes in flight: their outcome is unknown");
            },
            () = shutdown.hard.cancelled() => {}
        }
        let sign_off = async {
            // If it panicked, that is logged, and a lease that is still held expires.
            let _ = handing_over.await;
            self.parts.stop(Stage::Follow);
            self.parts.stopped(Stage::Follow).await;
            self.store.stop_holding().await;
            if let Err(error) = self.store.leave(&self.id).await {
                tracing::debug!(error = %error, "failed to remove this worker from the list: its entry expires");
            }
        };
        if timeout(SIGN_OFF_TIMEOUT, sign_off).await.is_err() {
            tracing::warn!("timed out releasing the lease: it expires if it is still held");
        }
        self.parts.stop(Stage::Connect);
        tracing::info!("stopped");
    }

    /// Waits until the work has stopped, which releases the lease. Releases it for a scheduler that crashed.
    async fn hand_over(self) {
        self.parts.stopped(Stage::Work).await;
        if self.parts.failure().is_some() {
            scheduler::release_left_behind(&self.store, &self.id, self.config.lease_ttl).await;
        }
    }
}
