//! What must be true before a worker says that it is ready: sockets are bound, stored settings and servers are in force, somebody
//! can log in.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::error::ServeError;
use crate::agent::client::Credentials;
use crate::agent::client::fleet::Fleet;
use crate::config::{Listen, ServeConfig};
use crate::http;
use crate::password;
use crate::settings::Live;
use crate::store::{AuditRecord, Store, StoreError, Username};

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
        if matches!(error, StoreError::Corrupt(_)) {
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
            Err(StoreError::Corrupt(_)) => return, // Logged by the part that follows them.
            Err(_) => {}
        }
        retry_pause().await;
    }
}

/// Makes sure that somebody can log in: provisions the admin, or logs the code that setup asks for.
async fn prepare_login(config: &ServeConfig, store: &Store) {
    loop {
        let prepared = match &config.admin_password {
            Some(password) => provision(store, password).await,
            None => log_setup_code(config, store).await,
        };
        let Err(error) = prepared else { return };
        tracing::warn!(error = format!("{error:#}"), "failed to read the admin account: retrying");
        retry_pause().await;
    }
}

async fn retry_pause() {
    let wait = rand::rng().random_range(300..700);
    sleep(Duration::from_millis(wait)).await;
}

/// The same once-only step as setup; it never overwrites.
async fn provision(store: &Store, password: &SecretString) -> anyhow::Result<()> {
    let account = store.account(&Username::admin()).await?;
    let password = password.clone();
    if let Some(account) = account {
        let same = tokio::task::spawn_blocking(move || {
            password::verify(password.expose_secret(), &account.password_hash)
        })
        .await?;
        if !same {
            tracing::warn!(
                "BANGUI_ADMIN_PASSWORD differs from the stored password, which stays in force: \
                 to change it, run `bangui reset-password`"
            );
        }
        return Ok(());
    }
    let hash = tokio::task::spawn_blocking(move || password::hash(password.expose_secret())).await??;
    if store.create_admin(&hash).await? {
        tracing::info!("created the admin account with BANGUI_ADMIN_PASSWORD");
        if let Err(error) = store.audit(&AuditRecord::of_admin("setup.complete")).await {
            tracing::error!(error = %error, "failed to write the audit entry");
        }
    }
    Ok(())
}

/// One code for the whole cluster, logged by each worker that starts before setup.
async fn log_setup_code(config: &ServeConfig, store: &Store) -> anyhow::Result<()> {
    if config.setup_token.is_some() {
        return Ok(());
    }
    if let Some(code) = store.setup_code(&http::api::setup::fresh_code()).await? {
        tracing::warn!(
            setup.code = code,
            "nobody can log in yet: POST /api/v1/setup takes this code as its token, once"
        );
    }
    Ok(())
}
