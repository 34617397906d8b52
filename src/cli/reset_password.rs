//! `bangui reset-password`: a new admin password for whoever can reach Redis. Ends all sessions.
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep, timeout};

use super::{Outcome, one_thread, started};
use crate::actions::Actor;
use crate::config::{Environment, Flags, ResetPasswordConfig, roles, values};
use crate::password;
use crate::store::Store;

const REDIS_PATIENCE: Duration = Duration::from_secs(10);
const ATTEMPTS: usize = 3;

/// Sets the password and prints a line about it.
///
/// # Errors
/// If the configuration is wrong, there is no terminal to ask on, the two entries differ, or Redis does not take it.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::reset_password(environment, flags)?);
    println!("{}", one_thread()?.block_on(reset(config))?);
    Ok(())
}

/// Takes the password from the configuration or the terminal and stores its hash; the line to print.
async fn reset(config: ResetPasswordConfig) -> anyhow::Result<String> {
    let password = match config.password {
        Some(password) => password,
        None => tokio::task::spawn_blocking(ask).await.context("the prompt broke")??,
    };
    let hash = tokio::task::spawn_blocking(move || password::hash(password.expose_secret()))
        .await
        .context("the hashing broke")??;
    let store = Store::open_unsupervised(&config.redis)?;
    connected(&store).await?;
    let record = Actor::operator().record("password.reset");
    timeout(REDIS_PATIENCE, store.reset_password(&hash, &record))
        .await
        .context("Redis did not answer; whether the password was changed is unknown: try again")??;
    Ok("The admin's password is changed, and all sessions have ended.".to_owned())
}

async fn connected(store: &Store) -> anyhow::Result<()> {
    let end = Instant::now() + REDIS_PATIENCE;
    while let Err(error) = store.available() {
        if Instant::now() >= end {
            return Err(error).context("nothing was changed; is BANGUI_REDIS_URL right, and does Redis run?");
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
            .context("there is no terminal to ask on; put the password into BANGUI_ADMIN_PASSWORD_FILE")
    };
    for _ in 0..ATTEMPTS {
        let first = prompt("New password of admin: ")?;
        if let Err(allowed) = values::password(first.expose_secret(), None) {
            eprintln!("It {allowed}.");
            continue;
        }
        if prompt("Once more: ")?.expose_secret() == first.expose_secret() {
            return Ok(first);
        }
        eprintln!("The two differ.");
    }
    bail!("no password after {ATTEMPTS} attempts; nothing was changed")
}
