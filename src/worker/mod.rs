//! One worker, from its start to its end.
//!
//! ```text
//! listen ─▶ Redis answers and may be used ─▶ account provisioned ─▶ ready ─▶ ... ─▶ SIGTERM
//! SIGTERM ─▶ not ready, `Connection: close`, schedule stopped and lease released at once
//!         ─▶ after the drain time: accept no more, finish what is in flight (10 s at most) ─▶ gone
//! ```
//!
//! It listens before Redis answers, so that `/healthz` and `/readyz` can say how it is. A part that ends by itself is
//! a crash, and takes the worker down with it: a supervisor starts it anew, which is simpler than half a worker.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::actions::set_up::{self, Provisioned};
use crate::actions::{Context, InFlight};
use crate::agent::client::Credentials;
use crate::agent::client::fleet::Fleet;
use crate::config::{Listen, ServeConfig};
use crate::domain::Timestamp;
use crate::http::{self, AppState, Parts, Readiness};
use crate::jobs::bans::BanJobs;
use crate::net::{listener, open_files};
use crate::password::PasswordGate;
use crate::scheduler::Scheduler;
use crate::settings::{Bootstrap, Live};
use crate::shutdown::{self, Shutdown};
use crate::store::{Feed, Store, StoreError, WorkerId, WorkerInfo, cluster::HEARTBEAT_EVERY};
use crate::telemetry;

/// Requests in flight have this long to end once nothing more is accepted.
const GRACE: Duration = Duration::from_secs(10);
/// The scheduler and the last words to Redis have this long.
const FAREWELL: Duration = Duration::from_secs(3);

/// Clients at once, and what else is open; connections to agents come on top.
const OTHER_FILES: u64 = 2_000;

/// Why a worker ended that was not told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It must not run with this configuration or this Redis: exit code 2.
    #[error("{0}")]
    Refused(String),
    /// It failed while running: exit code 1.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

/// Runs one worker until SIGTERM or SIGINT.
///
/// # Errors
/// As [`ServeError`] tells.
pub async fn run(config: ServeConfig) -> Result<(), ServeError> {
    let shutdown = shutdown::signals().context("signals cannot be listened for")?;
    let metrics = telemetry::install_metrics().context("the metrics cannot be set up")?;
    let worker = WorkerId::fresh().context("this worker cannot be given a name")?;
    let listener = bind(&config.listen).await?;
    let metrics_listener = match config.metrics_listen {
        Some(address) => Some(bind(&Listen::Address(address)).await?),
        None => None,
    };
    let store = Store::open(&config.redis).map_err(|error| ServeError::Refused(format!("{error:#}")))?;
    let agents = agents(&config)?;
    let settings = Live::new(Bootstrap::of(&config));
    open_files::raise(OTHER_FILES + 2 * config.servers.len() as u64);
    let events = Feed::new();
    let (readiness, in_flight) = (Readiness::starting(), InFlight::default());
    let state = AppState::new(Parts {
        context: Context {
            store: store.clone(),
            agents: agents.clone(),
            worker: worker.clone(),
            settings: settings.clone(),
            gate: PasswordGate::new(),
            setup_token: config.setup_token.clone(),
            admin_is_provisioned: config.admin_password.is_some(),
            trusted_proxies: config.trusted_proxies.clone(),
            in_flight: in_flight.clone(),
        },
        readiness: readiness.clone(),
        public_url: config.public_url.clone(),
        events: events.clone(),
        metrics: config.metrics_listen.is_none().then(|| metrics.clone()),
    });

    let stop_http = CancellationToken::new();
    let addr = listener.local_addr().context("the listening socket has no address")?;
    tracing::info!(http.addr = %addr, worker.id = worker.as_str(), "listening");
    let mut http =
        tokio::spawn(listener::run(listener, http::router(state.clone()), stop_http.clone(), GRACE));
    if let Some(listener) = metrics_listener {
        let router = http::metrics_router(state, metrics.clone());
        tokio::spawn(listener::run(listener, router, stop_http.clone(), Duration::ZERO));
    }
    tokio::spawn(telemetry::upkeep(metrics, stop_http.clone()));
    {
        let (store, settings, stop) = (store.clone(), settings.clone(), stop_http.clone());
        tokio::spawn(async move { stop.run_until_cancelled(store.hold_sessions(&settings)).await });
    }
    {
        // While it drains, too: it answers until then.
        let (store, settings, stop) = (store.clone(), settings.clone(), stop_http.clone());
        tokio::spawn(async move { stop.run_until_cancelled(store.follow_settings(&settings)).await });
    }

    if !config.groups.is_empty() {
        let (store, agents, stop) = (store.clone(), agents.clone(), stop_http.clone());
        tokio::spawn(async move {
            stop.run_until_cancelled(store.follow_discoveries(|servers| agents.apply(servers))).await
        });
    }

    {
        let (store, stop) = (store.clone(), stop_http.clone());
        tokio::spawn(async move { stop.run_until_cancelled(store.follow_events(&events)).await });
    }

    let scheduler = Scheduler {
        store: store.clone(),
        agents,
        groups: config.groups.clone(),
        worker: worker.clone(),
        lease_ttl: config.lease_ttl,
        settings: settings.clone(),
    };
    let mut work = tokio::spawn(work(
        config.clone(),
        store.clone(),
        scheduler,
        readiness.clone(),
        shutdown.soft.clone(),
    ));
    tokio::select! {
        () = shutdown.soft.cancelled() => {}
        ended = &mut work => match ended.context("the scheduler's task has crashed")? {
            Ok(()) if shutdown.soft.is_cancelled() => {}
            Ok(()) => return Err(anyhow::anyhow!("the scheduler's task has ended by itself").into()),
            Err(error) => return Err(error),
        },
        ended = &mut http => {
            ended.context("the HTTP task has crashed")?;
            return Err(anyhow::anyhow!("the HTTP task has ended by itself").into());
        }
    }

    tracing::info!(drain_seconds = config.drain.as_secs(), "stopping: not ready any more, still serving");
    readiness.drain();
    wait(config.drain, &shutdown).await;
    stop_http.cancel();
    tokio::select! {
        cut = http => match cut.context("the HTTP task has crashed")? {
            0 => {}
            cut => tracing::warn!(cut, "requests were still in flight and had to be cut"),
        },
        () = shutdown.hard.cancelled() => tracing::warn!("told twice to stop: requests in flight are cut"),
    }
    tokio::select! {
        finished = timeout(GRACE, in_flight.finished()) => if finished.is_err() {
            tracing::warn!("timed out waiting for changes whose clients have gone: their outcome is unknown");
        },
        () = shutdown.hard.cancelled() => {}
    }
    let farewell = async {
        if !work.is_finished() {
            // Its own errors are told where they happen.
            let _ = work.await;
        }
        store.stop_holding().await;
        let _ = store.leave(&worker).await;
    };
    if timeout(FAREWELL, farewell).await.is_err() {
        tracing::warn!("Redis did not answer the last words: the lease, if held, will run out");
    }
    tracing::info!("stopped");
    Ok(())
}

/// What a worker does besides answering requests.
async fn work(
    config: ServeConfig,
    store: Store,
    scheduler: Scheduler,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        usable = store.ready() => usable.map_err(ServeError::Refused)?,
    }
    let prepare = async {
        first_settings(&store, &scheduler.settings).await;
        first_servers(&store, &scheduler).await;
        prepare_login(&config, &store).await;
    };
    if stop.run_until_cancelled(prepare).await.is_none() {
        return Ok(());
    }
    readiness.serve();
    let (worker, started_at) = (scheduler.worker.clone(), store.about_now());
    let ban_jobs = BanJobs { store: store.clone(), agents: scheduler.agents.clone(), worker: worker.clone() };
    tokio::select! {
        ((), ()) = async { tokio::join!(scheduler.run(stop.clone()), ban_jobs.run(stop.clone())) } => {}
        () = heartbeats(&store, &worker, started_at) => {}
        reason = store.refused() => return Err(ServeError::Refused(reason)),
    }
    Ok(())
}

/// What users set at run time is in force before the worker says that it is ready.
async fn first_settings(store: &Store, settings: &Live) {
    while let Err(error) = store.load_settings(settings).await {
        if matches!(error, StoreError::Corrupt(_)) {
            return; // Told where it is followed, and nothing that waiting mends.
        }
        let wait = rand::rng().random_range(300..700);
        sleep(Duration::from_millis(wait)).await;
    }
}

/// A request for a server that is discovered already finds it on a worker that has just started.
async fn first_servers(store: &Store, scheduler: &Scheduler) {
    if scheduler.groups.is_empty() {
        return;
    }
    loop {
        match store.discoveries().await {
            Ok(stored) => return scheduler.agents.apply(&stored.servers),
            Err(StoreError::Corrupt(_)) => return, // Told where they are followed.
            Err(_) => {}
        }
        let wait = rand::rng().random_range(300..700);
        sleep(Duration::from_millis(wait)).await;
    }
}

async fn heartbeats(store: &Store, worker: &WorkerId, started_at: Timestamp) {
    let info = WorkerInfo {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    loop {
        if let Err(error) = store.heartbeat(worker, &info, started_at).await {
            tracing::debug!(error = %error, "the heartbeat could not be written");
        }
        let wait = HEARTBEAT_EVERY.mul_f64(rand::rng().random_range(0.9..1.1));
        sleep(wait).await;
    }
}

/// Makes sure that somebody can log in: provisions the admin, or tells the code that setup wants.
async fn prepare_login(config: &ServeConfig, store: &Store) {
    loop {
        let prepared = match &config.admin_password {
            Some(password) => provision(store, password).await,
            None => tell_setup_code(config, store).await,
        };
        let Err(error) = prepared else { return };
        tracing::warn!(error = format!("{error:#}"), "the account cannot be looked at yet, trying again");
        let wait = rand::rng().random_range(300..700);
        sleep(Duration::from_millis(wait)).await;
    }
}

async fn provision(store: &Store, password: &SecretString) -> anyhow::Result<()> {
    match set_up::provision(store, password).await? {
        Provisioned::Created => tracing::info!("the admin account was made with BANGUI_ADMIN_PASSWORD"),
        Provisioned::Unchanged => {}
        Provisioned::Different => tracing::warn!(
            "BANGUI_ADMIN_PASSWORD is not the password that is stored, which stays: \
             to set it, run `bangui reset-password`"
        ),
    }
    Ok(())
}

/// One code for the whole cluster, told by each worker that starts before setup.
async fn tell_setup_code(config: &ServeConfig, store: &Store) -> anyhow::Result<()> {
    if config.setup_token.is_some() {
        return Ok(());
    }
    if let Some(code) = set_up::setup_code(store).await? {
        tracing::warn!(
            setup.code = code,
            "nobody can log in yet: POST /api/v1/setup takes this code as its token, once"
        );
    }
    Ok(())
}

async fn bind(listen: &Listen) -> Result<TcpListener, ServeError> {
    match listen {
        Listen::Address(address) => TcpListener::bind(address).await.map_err(|error| {
            ServeError::Failed(anyhow::anyhow!(
                "cannot listen on {address}: {error}. Is another process there? Set BANGUI_LISTEN"
            ))
        }),
        Listen::Inherited => {
            let inherited =
                std::io::stdin().as_fd().try_clone_to_owned().context("standard input is closed")?;
            let listener = std::net::TcpListener::from(inherited);
            listener.set_nonblocking(true).context("standard input is not a listening socket")?;
            Ok(TcpListener::from_std(listener).context("standard input is not a listening socket")?)
        }
    }
}

fn agents(config: &ServeConfig) -> Result<Fleet, ServeError> {
    let Some(token) = &config.agent_token else { return Ok(Fleet::default()) };
    let credentials = Credentials::new(token, config.agent_ca.as_ref());
    let listed = config.servers.iter().map(|server| {
        let client = credentials
            .client(&server.url)
            .map_err(|error| ServeError::Refused(format!("BANGUI_SERVERS, {}: {error:#}", server.name)))?;
        Ok((server.name.clone(), client))
    });
    let listed = listed.collect::<Result<_, ServeError>>()?;
    Ok(Fleet::new(Some(credentials), listed))
}

/// Waits for the drain time; a second signal cuts it short.
async fn wait(drain: Duration, shutdown: &Shutdown) {
    tokio::select! {
        () = sleep(drain) => {}
        () = shutdown.hard.cancelled() => {}
    }
}
