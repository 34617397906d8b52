//! `bangui reset-password`: sets a new admin password and ends all sessions. Needs access to Redis and nothing else.
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep, timeout};

use super::{Outcome, one_thread, started};
use crate::actions::Actor;
use crate::config::{Environment, Flags, ResetPasswordConfig, roles, values};
use crate::password;
use crate::store::Store;

const REDIS_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ATTEMPTS: usize = 3;

/// Sets the password and prints what was done.
///
/// # Errors
/// If the configuration is invalid, there is no terminal to ask on, the entries differ, or Redis does not store it.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::reset_password(environment, flags)?);
    println!("{}", one_thread()?.block_on(reset(config))?);
    Ok(())
}

/// Stores the hash of the password from the configuration or the terminal. Returns the line to print.
async fn reset(config: ResetPasswordConfig) -> anyhow::Result<String> {
    let password = match config.password {
        Some(password) => password,
        None => tokio::task::spawn_blocking(ask).await.context("failed to prompt for the password")??,
    };
    let hash = tokio::task::spawn_blocking(move || password::hash(password.expose_secret()))
        .await
        .context("failed to hash the password")??;
    let store = Store::open_unsupervised(&config.redis)?;
    connected(&store).await?;
    let record = Actor::operator().record("password.reset");
    timeout(REDIS_TIMEOUT, store.reset_password(&hash, &record))
        .await
        .context("Redis did not answer: the password may or may not have been changed, try again")??;
    Ok("Changed the password of the admin and ended all sessions.".to_owned())
}

async fn connected(store: &Store) -> anyhow::Result<()> {
    let end = Instant::now() + REDIS_TIMEOUT;
    while let Err(error) = store.available() {
        if Instant::now() >= end {
            return Err(error)
                .context("nothing was changed: check that Redis runs and that BANGUI_REDIS_URL is right");
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Asks twice, without echo.
fn ask() -> anyhow::Result<SecretString> {
    let prompt = |text| {
        rpassword::prompt_password(text)
            .map(SecretString::from)
            .context("there is no terminal to ask on: set BANGUI_ADMIN_PASSWORD_FILE")
    };
    for _ in 0..MAX_ATTEMPTS {
        let first = prompt("New password of admin: ")?;
        if let Err(allowed) = values::password(first.expose_secret(), None) {
            eprintln!("The password {allowed}.");
            continue;
        }
        if prompt("Repeat the password: ")?.expose_secret() == first.expose_secret() {
            return Ok(first);
        }
        eprintln!("The passwords differ.");
    }
    bail!("no valid password after {MAX_ATTEMPTS} attempts: nothing was changed")
}
