//! What must be true before a worker says that it is ready: sockets are bound, stored settings and servers are in force, somebody
//! can log in.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::error::ServeError;
use crate::actions::set_up::{self, ProvisionError, Provisioned};
use crate::agent::client::Credentials;
use crate::agent::client::fleet::Fleet;
use crate::config::{Listen, ServeConfig};
use crate::settings::Live;
use crate::store::{Store, StoreError};

/// How often a worker looks whether somebody can log in.
const ACCOUNT_CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Binds a socket, or takes the one that came as standard input.
pub async fn bind(listen: &Listen) -> Result<TcpListener, ServeError> {
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

/// Makes a client for each configured agent.
pub fn agents(config: &ServeConfig) -> Result<Fleet, ServeError> {
    if config.servers.is_empty() && config.groups.is_empty() {
        return Ok(Fleet::default());
    }
    let refused = |error: anyhow::Error| ServeError::Refused(format!("{error:#}"));
    let credentials = Credentials::new(&config.agents).map_err(refused)?;
    for group in &config.groups {
        credentials.try_group(group).map_err(refused)?;
    }
    let listed = config.servers.iter().map(|server| {
        let client = credentials
            .client(&server.url, server.shared_token)
            .map_err(|error| ServeError::Refused(format!("BANGUI_SERVERS, {}: {error:#}", server.name)))?;
        Ok((server.name.clone(), client))
    });
    let listed = listed.collect::<Result<_, ServeError>>()?;
    Ok(Fleet::new(Some(credentials), listed, &config.groups))
}

/// Waits for Redis and prepares everything that requests need; does not return while Redis is away or must not be used.
pub async fn prepare(config: &ServeConfig, store: &Store, settings: &Live, agents: &Fleet) {
    store.connected().await;
    load_settings(store, settings).await;
    if !config.groups.is_empty() {
        load_servers(store, agents).await;
    }
    prepare_login(config, store).await;
}

/// What users set at run time is in force before the worker says that it is ready.
async fn load_settings(store: &Store, settings: &Live) {
    while let Err(error) = store.load_settings(settings).await {
        if matches!(error, StoreError::Corrupt { .. }) {
            return; // Logged by the part that follows them, and waiting does not mend it.
        }
        retry_pause().await;
    }
}

/// A request for a server that is discovered already finds it on a worker that has just started.
async fn load_servers(store: &Store, agents: &Fleet) {
    loop {
        match store.discoveries().await {
            Ok(stored) => return agents.apply(&stored.servers),
            Err(StoreError::Corrupt { .. }) => return, // Logged by the part that follows them.
            Err(_) => {}
        }
        retry_pause().await;
    }
}

/// Makes sure that somebody can log in before the worker is ready. Where Redis refuses writes that has to wait, and the worker
/// serves reads: [`keep_login_possible`] continues with it.
async fn prepare_login(config: &ServeConfig, store: &Store) {
    let refused = |error: &anyhow::Error| {
        matches!(error.downcast_ref(), Some(StoreError::WritesRefused(_) | StoreError::Full(_)))
    };
    loop {
        let Err(error) = make_login_possible(config, store).await else { return };
        tracing::warn!(
            error = format!("{error:#}"),
            "failed to look up or create the admin account: retrying"
        );
        if refused(&error) {
            return;
        }
        retry_pause().await;
    }
}

/// The same for as long as the worker runs: Redis may lose the account, and with it the setup code.
pub async fn keep_login_possible(config: ServeConfig, store: Store) {
    loop {
        let wait = ACCOUNT_CHECK_INTERVAL.mul_f64(rand::rng().random_range(0.9..1.1));
        sleep(wait).await;
        let missing = async {
            if !store.setup_complete().await? {
                make_login_possible(&config, &store).await?;
            }
            anyhow::Ok(())
        };
        if let Err(error) = missing.await {
            tracing::debug!(
                error = format!("{error:#}"),
                "failed to look up or create the admin account: retrying"
            );
        }
    }
}

/// Provisions the admin, or sees to it that the code that setup wants is in the log.
async fn make_login_possible(config: &ServeConfig, store: &Store) -> anyhow::Result<()> {
    match (&config.admin_password, &config.setup_token) {
        (Some(password), _) => provision(store, password).await,
        (None, Some(_)) => Ok(()),
        (None, None) => Ok(set_up::setup_code(store).await.map(drop)?),
    }
}

async fn retry_pause() {
    let wait = rand::rng().random_range(300..700);
    sleep(Duration::from_millis(wait)).await;
}

async fn provision(store: &Store, password: &SecretString) -> anyhow::Result<()> {
    match set_up::provision(store, password).await {
        Ok(Provisioned::Created) => tracing::info!("created the admin account with BANGUI_ADMIN_PASSWORD"),
        Ok(Provisioned::Unchanged) => {}
        Ok(Provisioned::Different) => tracing::warn!(
            "BANGUI_ADMIN_PASSWORD differs from the stored password, which stays in force: \
             to change it, run `bangui reset-password`"
        ),
        // As itself: `prepare_login` tells by it whether waiting helps.
        Err(ProvisionError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
