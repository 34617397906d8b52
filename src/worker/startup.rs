//! The steps before a worker is ready: bind sockets, apply stored settings and servers, make login possible.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::error::ServeError;
use crate::actions::set_up::{self, ProvisionError, Provisioned};
use crate::agent::client::Credentials;
use crate::agent::client::fleet::Fleet;
use crate::config::{Listen, ServeConfig};
use crate::password::rules::{self, WeakPassword};
use crate::settings::Live;
use crate::store::{Store, StoreError, Username};
use crate::telemetry::Lasting;

/// How often a worker checks that the admin account exists.
const ACCOUNT_CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Binds the socket of a variable, or takes the one inherited as standard input.
pub async fn bind(listen: &Listen, variable: &str) -> Result<TcpListener, ServeError> {
    match listen {
        Listen::Address(address) => TcpListener::bind(address).await.map_err(|error| {
            ServeError::Failed(anyhow::anyhow!(
                "failed to listen on {address}: {error}. Stop the process that uses it, or set {variable}"
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

/// Creates a client for each configured agent.
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

/// Waits for Redis and prepares everything that requests need. Does not return while Redis is unreachable or unusable.
///
/// # Errors
/// If `BANGUI_ADMIN_PASSWORD` would become the first password and is too weak.
pub async fn prepare(
    config: &ServeConfig,
    store: &Store,
    settings: &Live,
    agents: &Fleet,
) -> Result<(), ServeError> {
    store.connected().await;
    load_settings(store, settings).await;
    if !config.groups.is_empty() {
        load_servers(store, agents).await;
    }
    prepare_login(config, store).await
}

/// Applies the runtime settings before the worker is ready.
async fn load_settings(store: &Store, settings: &Live) {
    while let Err(error) = store.load_settings(settings).await {
        if matches!(error, StoreError::Corrupt { .. }) {
            return; // Logged by the part `settings`; retrying does not help.
        }
        retry_pause().await;
    }
}

/// Loads the discovered servers, so that a worker that has just started knows them.
async fn load_servers(store: &Store, agents: &Fleet) {
    loop {
        match store.discoveries().await {
            Ok(stored) => return agents.apply(&stored.servers),
            Err(StoreError::Corrupt { .. }) => return, // Logged by the part `discovery`.
            Err(_) => {}
        }
        retry_pause().await;
    }
}

/// Makes login possible before the worker is ready. If Redis refuses writes, the worker serves reads in the meantime and
/// [`keep_login_possible`] retries.
async fn prepare_login(config: &ServeConfig, store: &Store) -> Result<(), ServeError> {
    let refused = |error: &anyhow::Error| error.downcast_ref().is_some_and(StoreError::refuses_writes);
    let failing = Lasting::new();
    loop {
        let Err(error) = make_login_possible(config, store).await else {
            if failing.ends().is_some() {
                tracing::info!("looked up or created the admin account: users can log in again");
            }
            return Ok(());
        };
        if let Some(weak) = error.downcast_ref::<WeakPassword>() {
            return Err(ServeError::Refused(format!(
                "BANGUI_ADMIN_PASSWORD is refused as the admin's password: {weak}"
            )));
        }
        let reason = format!("{error:#}");
        if failing.fails(&reason).is_some() {
            tracing::warn!(error = reason, "failed to look up or create the admin account: retrying");
        }
        if refused(&error) {
            return Ok(());
        }
        retry_pause().await;
    }
}

/// Repeats this while the worker runs: Redis may lose the account and the setup code.
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

/// Provisions the admin, or logs the setup code.
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
        Ok(Provisioned::Unchanged) => {
            if let Err(weak) = rules::check(password.expose_secret(), Username::ADMIN) {
                tracing::warn!("the admin's password would be refused today: change it ({weak})");
            }
        }
        Ok(Provisioned::Different) => tracing::warn!(
            "ignoring BANGUI_ADMIN_PASSWORD: the admin already has another password. \
             To change it, run `bangui reset-password`"
        ),
        // Unwrapped: `prepare_login` decides by it whether retrying helps.
        Err(ProvisionError::Store(error)) => return Err(error.into()),
        Err(ProvisionError::Weak(error)) => return Err(error.into()),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_refused_with_the_variable_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = Listen::Address(taken.local_addr().unwrap());
        let refusal = bind(&listen, "BANGUI_METRICS_LISTEN").await.unwrap_err().to_string();
        assert!(refusal.ends_with("or set BANGUI_METRICS_LISTEN"), "{refusal}");
    }
}
