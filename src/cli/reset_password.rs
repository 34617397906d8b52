//! `bangui reset-password`: sets a new admin password and ends all sessions. Needs access to Redis and nothing else.

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::{Failure, Outcome, REDIS_TIMEOUT, connected, one_thread, started};
use crate::actions::Actor;
use crate::config::{Environment, Flags, ResetPasswordConfig, roles};
use crate::password::{self, rules};
use crate::store::{Store, Username};

const MAX_ATTEMPTS: usize = 3;

/// Sets the password and prints what was done.
///
/// # Errors
/// If the configuration is invalid, there is no terminal to ask on, the entries differ, or Redis does not store it.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::reset_password(environment, flags)?);
    if let Some(password) = &config.password {
        rules::check(password.expose_secret(), Username::ADMIN)
            .map_err(|weak| Failure::Refused(format!("BANGUI_ADMIN_PASSWORD: {weak}")))?;
    }
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
    store.keep_audit_for(config.audit_kept);
    connected(&store).await.context("nothing was changed")?;
    let record = Actor::operator().record("password.reset");
    timeout(REDIS_TIMEOUT, store.reset_password(&hash, &record))
        .await
        .context("Redis did not answer: the password may or may not have been changed, try again")??;
    Ok("Changed the password of the admin and ended all sessions.".to_owned())
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
        if let Err(weak) = rules::check(first.expose_secret(), Username::ADMIN) {
            eprintln!("Refused: {weak}.");
            continue;
        }
        if prompt("Repeat the password: ")?.expose_secret() == first.expose_secret() {
            return Ok(first);
        }
        eprintln!("The passwords differ.");
    }
    bail!("no valid password after {MAX_ATTEMPTS} attempts: nothing was changed")
}
