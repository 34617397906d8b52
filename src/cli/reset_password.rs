//! `bangui reset-password`: a new admin password for whoever can reach Redis. Ends all sessions.
use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::{Failure, Outcome, REDIS_PATIENCE, connected, one_thread, started};
use crate::actions::Actor;
use crate::config::{Environment, Flags, ResetPasswordConfig, roles};
use crate::password::{self, rules};
use crate::store::{Store, Username};

const ATTEMPTS: usize = 3;

/// Sets the password and prints a line about it.
///
/// # Errors
/// If the configuration is wrong, there is no terminal to ask on, the two entries differ, or Redis does not take it.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::reset_password(environment, flags)?);
    if let Some(password) = &config.password {
        rules::check(password.expose_secret(), Username::ADMIN)
            .map_err(|weak| Failure::Refused(format!("BANGUI_ADMIN_PASSWORD: {weak}")))?;
    }
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
    store.keep_audit_for(config.audit_kept);
    connected(&store).await.context("nothing was changed")?;
    let record = Actor::operator().record("password.reset");
    timeout(REDIS_PATIENCE, store.reset_password(&hash, &record))
        .await
        .context("Redis did not answer; whether the password was changed is unknown: try again")??;
    Ok("The admin's password is changed, and all sessions have ended.".to_owned())
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
        if let Err(weak) = rules::check(first.expose_secret(), Username::ADMIN) {
            eprintln!("Refused: {weak}.");
            continue;
        }
        if prompt("Once more: ")?.expose_secret() == first.expose_secret() {
            return Ok(first);
        }
        eprintln!("The two differ.");
    }
    bail!("no password after {ATTEMPTS} attempts; nothing was changed")
}
